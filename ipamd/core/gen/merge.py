"""Makes limits.csv from the peer's public tables and EC2's own descriptions.

Usage: go run . | python merge.py DESCRIPTIONS... > ../src/limits.csv
Each DESCRIPTIONS is a file instance_types.json.gz as the PyPI package moto ships it (EC2's DescribeInstanceTypes
answer); an earlier one wins. It supplies the vCPUs, which the peer's table lacks, types that the peer's table
lacks, and the rows named in NEWER, where EC2 has corrected itself since.
"""

import gzip
import json
import sys

# EC2 gives a bare-metal type no hypervisor; the peer's table calls this one nitro.
NEWER = {"c7g.metal"}


def described(paths):
    types = {}
    for path in paths:
        with gzip.open(path) as file:
            for name, data in json.load(file).items():
                types.setdefault(name, data)
    return types


def from_ec2(name, data):
    network = data["NetworkInfo"]
    cards = sorted(network["NetworkCards"], key=lambda card: card["NetworkCardIndex"])
    return {
        "Type": name,
        "Ipv4": network["Ipv4AddressesPerInterface"],
        "DefaultCard": network["DefaultNetworkCardIndex"],
        "Cards": [card["MaximumNetworkInterfaces"] for card in cards],
        "Hypervisor": data.get("Hypervisor", ""),
        "BareMetal": data["BareMetal"],
        "TrunkKnown": False,
        "Branches": 0,
    }


def line(row, vcpus):
    hypervisor = {"unknown": "", "": ""}.get(row["Hypervisor"], row["Hypervisor"])
    if row["BareMetal"]:
        hypervisor = "metal"
    branches = str(row["Branches"]) if row["TrunkKnown"] else ""
    cards = "+".join(str(enis) for enis in row["Cards"])
    return f'{row["Type"]},{vcpus},{hypervisor},{row["DefaultCard"]},{cards},{row["Ipv4"]},{branches}'


def main():
    ec2 = described(sys.argv[1:])
    rows = {}
    for text in sys.stdin:
        row = json.loads(text)
        rows[row["Type"]] = row
    for name, data in ec2.items():
        known = rows.get(name)
        if known is None or name in NEWER:
            rows[name] = from_ec2(name, data)
            if known is not None:
                rows[name].update(TrunkKnown=known["TrunkKnown"], Branches=known["Branches"])
    print("# Network limits per EC2 instance type. Made by ipamd/core/gen on 2026-11-21 from amazon-vpc-cni-k8s v1.23.1")
    print("# (limits), amazon-vpc-resource-controller-k8s v1.8.2 (branch ENIs) and the DescribeInstanceTypes answers in")
    print("# moto 5.2.5 and 5.1.0 (vCPUs, types missing above, c7g.metal). Empty: not known. Branches 0: no trunk possible.")
    print("# type,vcpus,hypervisor,default card,ENIs per card,IPv4 addresses per ENI,branch ENIs")
    for name in sorted(rows):
        vcpus = ec2.get(name, {}).get("VCpuInfo", {}).get("DefaultVCpus", "")
        print(line(rows[name], vcpus))


main()
