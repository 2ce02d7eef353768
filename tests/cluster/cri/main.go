// Command cri asks a container runtime over the Container Runtime Interface, as kubelet does.
//
//	cri SOCKET METHOD < request.json > answer.json
//
// METHOD is a method of runtime.v1.RuntimeService or ImageService, such as RunPodSandbox. Request and answer are the
// JSON form of its messages, with the field names of api.proto. A refusal goes to standard error as one line of JSON,
// {"code": "...", "message": "..."}, with exit code 1; a call that is none has exit code 2.
//
//	cri exec SOCKET CONTAINER COMMAND [ARGUMENT...]
//
// runs a command in a container by ExecSync: its output, its errors and its exit code are ours.
//
//	cri image NAME PROGRAM > image.tar
//
// writes an OCI image of that name whose only file is the static PROGRAM; see image.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What kubelet gives a runtime for a request (its runtimeRequestTimeout).
const limit = 2 * time.Minute

// A usage error, as opposed to a refusal by the runtime.
var errUsage = errors.New("usage: cri SOCKET METHOD | cri exec SOCKET CONTAINER COMMAND... | cri image NAME PROGRAM")

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	if refusal, ok := status.FromError(err); ok {
		line, _ := json.Marshal(map[string]string{"code": refusal.Code().String(), "message": refusal.Message()})
		fmt.Fprintln(os.Stderr, string(line))
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "cri:", err)
	os.Exit(2)
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "image":
		return writeImage(os.Stdout, args[1], args[2])
	case len(args) >= 4 && args[0] == "exec":
		return execSync(args[1], args[2], args[3:])
	case len(args) == 2:
		return call(args[0], args[1])
	default:
		return errUsage
	}
}

// call sends the request on standard input and prints the answer.
func call(socket, name string) error {
	method, err := find(name)
	if err != nil {
		return err
	}
	request, answer, err := messages(method)
	if err != nil {
		return err
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if err := protojson.Unmarshal(input, request); err != nil {
		return fmt.Errorf("understand the request as %s: %w", method.Input().FullName(), err)
	}
	connection, err := connect(socket)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	path := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	if err := connection.Invoke(ctx, path, request, answer); err != nil {
		return err
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(answer)
	if err != nil {
		return fmt.Errorf("show the answer: %w", err)
	}
	fmt.Println(string(text))
	return nil
}

func connect(socket string) (*grpc.ClientConn, error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	return connection, nil
}

// execSync ends the process with the command's exit code, unless the runtime refuses.
func execSync(socket, container string, command []string) error {
	connection, err := connect(socket)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	request := &runtime.ExecSyncRequest{ContainerId: container, Cmd: command, Timeout: int64(limit.Seconds())}
	answer, err := runtime.NewRuntimeServiceClient(connection).ExecSync(ctx, request)
	if err != nil {
		return err
	}
	_, _ = os.Stdout.Write(answer.Stdout)
	_, _ = os.Stderr.Write(answer.Stderr)
	os.Exit(int(answer.ExitCode))
	return nil
}

// find looks a method up by its name.
func find(name string) (protoreflect.MethodDescriptor, error) {
	for _, service := range []protoreflect.FullName{"runtime.v1.RuntimeService", "runtime.v1.ImageService"} {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(service)
		if err != nil {
			return nil, fmt.Errorf("find the service %s: %w", service, err)
		}
		if method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name)); method != nil {
			return method, nil
		}
	}
	return nil, fmt.Errorf("no service of the CRI has a method %q", name)
}

// messages makes an empty request and an empty answer of a method.
func messages(method protoreflect.MethodDescriptor) (proto.Message, proto.Message, error) {
	made := [2]proto.Message{}
	for index, message := range []protoreflect.MessageDescriptor{method.Input(), method.Output()} {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message.FullName())
		if err != nil {
			return nil, nil, fmt.Errorf("find the message %s: %w", message.FullName(), err)
		}
		made[index] = kind.New().Interface()
	}
	return made[0], made[1], nil
}
