// Command probe is the only program of the containers in tests: it waits, answers, asks and measures.
//
//	probe pause                        until TERM or INT
//	probe serve NAME ADDRESS           answers TCP and UDP with "NAME SEEN-IP SEEN-PORT", like the simulator's responders
//	probe ask tcp|udp ADDRESS          prints what is answered
//	probe drain ADDRESS                takes flows, and tells each its length when it ends
//	probe pour ADDRESS BYTES           sends a flow and prints "BYTES MILLISECONDS", as told and from before it connected
//	probe read FILE                    prints a file
//	probe addresses                    prints "INTERFACE ADDRESS/LENGTH" for each address
//
// It needs nothing but the kernel, so an image of it has one file.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// An answer inside one machine takes microseconds; this is for a machine that is busy otherwise.
const patience = 5 * time.Second

// How long a limited flow may take.
const flowLimit = time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "pause":
		untilAskedToStop()
		return nil
	case verb == "serve" && len(args) == 3:
		return serve(args[1], args[2])
	case verb == "ask" && len(args) == 3:
		return ask(args[1], args[2])
	case verb == "drain" && len(args) == 2:
		return drain(args[1])
	case verb == "pour" && len(args) == 3:
		return pour(args[1], args[2])
	case verb == "read" && len(args) == 2:
		text, err := os.ReadFile(args[1])
		fmt.Print(string(text))
		return err
	case verb == "addresses":
		return addresses()
	default:
		return fmt.Errorf("arguments %q make no sense; see the head of its source", args)
	}
}

func untilAskedToStop() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}

func serve(name, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	go answerDatagrams(packets, name)
	go answerConnections(listener, name)
	untilAskedToStop()
	return nil
}

func answerConnections(listener net.Listener, name string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(connection, line(name, connection.RemoteAddr()))
		connection.Close()
	}
}

func answerDatagrams(packets net.PacketConn, name string) {
	datagram := make([]byte, 2048)
	for {
		_, from, err := packets.ReadFrom(datagram)
		if err != nil {
			return
		}
		// Whether the answer arrives is what the asker is there to find out.
		_, _ = packets.WriteTo([]byte(line(name, from)), from)
	}
}

func line(name string, seen net.Addr) string {
	host, port, _ := net.SplitHostPort(seen.String())
	if ip := net.ParseIP(host).To4(); ip != nil {
		host = ip.String()
	}
	return fmt.Sprintf("%s %s %s\n", name, host, port)
}

func ask(protocol, address string) error {
	connection, err := net.DialTimeout(protocol, address, patience)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if protocol == "udp" {
		if _, err := connection.Write([]byte("?")); err != nil {
			return err
		}
	}
	answer := make([]byte, 2048)
	length, err := connection.Read(answer)
	if err != nil {
		return err
	}
	fmt.Print(string(answer[:length]))
	return nil
}

// drain takes one flow after the other.
func drain(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			take(connection.(*net.TCPConn))
		}
	}()
	untilAskedToStop()
	return nil
}

func take(connection *net.TCPConn) {
	defer connection.Close()
	if count, err := io.Copy(io.Discard, connection); err == nil {
		fmt.Fprint(connection, count)
	}
}

func pour(address, bytes string) error {
	count, err := strconv.ParseInt(bytes, 10, 64)
	if err != nil {
		return err
	}
	began := time.Now()
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(began.Add(flowLimit)); err != nil {
		return err
	}
	chunk := make([]byte, 64<<10)
	for count > 0 {
		written, err := connection.Write(chunk[:min(count, int64(len(chunk)))])
		if err != nil {
			return err
		}
		count -= int64(written)
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	said, err := io.ReadAll(connection)
	fmt.Printf("%s %d\n", said, time.Since(began).Milliseconds())
	return err
}

func addresses() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, device := range interfaces {
		held, err := device.Addrs()
		if err != nil {
			return err
		}
		for _, address := range held {
			fmt.Printf("%s %s\n", device.Name, address)
		}
	}
	return nil
}
