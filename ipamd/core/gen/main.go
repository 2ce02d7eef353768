// Prints what two public tables say of every EC2 instance type, one JSON object a line: the network limits of
// amazon-vpc-cni-k8s and the trunk data of amazon-vpc-resource-controller-k8s. merge.py makes limits.csv of it.
package main

import (
	"encoding/json"
	"log"
	"os"
	"sort"

	cni "github.com/aws/amazon-vpc-cni-k8s/pkg/vpc"
	trunk "github.com/aws/amazon-vpc-resource-controller-k8s/pkg/aws/vpc"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type row struct {
	Type        string
	Ipv4        int
	DefaultCard int
	Cards       []int64
	Hypervisor  string
	BareMetal   bool
	TrunkKnown  bool
	Branches    int
}

func main() {
	names := map[string]bool{}
	for _, t := range ec2types.InstanceType("").Values() {
		names[string(t)] = true
	}
	for t := range trunk.Limits {
		names[t] = true
	}
	// Older than the enumeration of the SDK, still in the table.
	for _, t := range []string{"bmn-sf1.metal", "cr1.8xlarge", "hs1.8xlarge", "p3.2xlarge", "p3.8xlarge", "p3.16xlarge",
		"f1.2xlarge", "f1.4xlarge", "f1.16xlarge", "u-9tb1.metal", "u-12tb1.metal", "u-18tb1.metal", "u-24tb1.metal",
		"u-6tb1.metal", "c5a.metal", "c5ad.metal", "dl1.24xlarge"} {
		names[t] = true
	}
	sorted := make([]string, 0, len(names))
	for t := range names {
		sorted = append(sorted, t)
	}
	sort.Strings(sorted)
	out := json.NewEncoder(os.Stdout)
	for _, t := range sorted {
		limits, ok := cni.GetInstance(t)
		if !ok {
			continue
		}
		r := row{Type: t, Ipv4: limits.IPv4Limit, DefaultCard: limits.DefaultNetworkCardIndex,
			Hypervisor: limits.HypervisorType, BareMetal: limits.IsBareMetal}
		for _, card := range limits.NetworkCards {
			r.Cards = append(r.Cards, card.MaximumNetworkInterfaces)
		}
		if t, ok := trunk.Limits[t]; ok {
			r.TrunkKnown = true
			if t.IsTrunkingCompatible {
				r.Branches = t.BranchInterface
			}
		}
		if err := out.Encode(r); err != nil {
			log.Fatal(err)
		}
	}
}
