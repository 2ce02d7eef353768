#!/usr/bin/env python3
"""Write data/actions.csv: which parameters and filters EC2 knows for each action that the simulator serves.

The source is the EC2 model inside the Python package botocore (Apache-2.0, PyPI). The simulator serves fewer; what is in
this file and not served is refused by name, what is not in it is refused as unknown, as EC2 does.

    python3 -m venv /some/where/outside && /some/where/outside/bin/pip install botocore
    /some/where/outside/bin/python tests/vpc-sim/gen/actions.py
"""
import datetime
import gzip
import html
import importlib.metadata
import json
import pathlib
import re

import botocore

TARGET = pathlib.Path(__file__).resolve().parent.parent / "data" / "actions.csv"
ACTIONS = [
    "AssignIpv6Addresses", "AssignPrivateIpAddresses", "AttachNetworkInterface", "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress", "CreateNetworkInterface", "CreateSecurityGroup", "CreateSubnetCidrReservation",
    "CreateTags", "DeleteNetworkInterface", "DeleteSecurityGroup", "DeleteSubnetCidrReservation", "DeleteTags",
    "DescribeAvailabilityZones", "DescribeInstanceTypes", "DescribeInstances", "DescribeNetworkInterfaces",
    "DescribeSecurityGroupRules", "DescribeSecurityGroups", "DescribeSubnets", "DescribeTags", "DescribeVpcs",
    "DetachNetworkInterface", "GetSubnetCidrReservations", "ModifyNetworkInterfaceAttribute",
    "RevokeSecurityGroupEgress", "RevokeSecurityGroupIngress", "RunInstances", "TerminateInstances",
    "UnassignIpv6Addresses", "UnassignPrivateIpAddresses",
]


def query_name(member, value):
    """How the EC2 protocol names a member in a query: queryName, else locationName with a capital, else the member."""
    if "queryName" in value:
        return value["queryName"]
    name = value.get("locationName", member)
    return name[0].upper() + name[1:]


def walk(shapes, shape, prefix):
    for member, value in shapes[shape].get("members", {}).items():
        name = prefix + query_name(member, value)
        target = value["shape"]
        while shapes[target]["type"] == "list":
            name += ".N"
            target = shapes[target]["member"]["shape"]
        if shapes[target]["type"] == "structure":
            yield from walk(shapes, target, name + ".")
        else:
            yield name


def filters(shapes, shape):
    text = shapes[shape].get("members", {}).get("Filters", {}).get("documentation", "")
    for name in re.findall(r"<li>\s*<p>\s*<code>([^<]+)</code>", text):
        name = html.unescape(name)
        yield "tag:" if name in ("tag", "tag:<key>") else name


def main():
    source = pathlib.Path(botocore.__file__).parent / "data" / "ec2" / "2016-11-15" / "service-2.json.gz"
    model = json.loads(gzip.decompress(source.read_bytes()))
    version = importlib.metadata.version("botocore")
    lines = [f"# from botocore {version} (PyPI), taken {datetime.date.today()}; see gen/actions.py"]
    for action in ACTIONS:
        shape = model["operations"][action]["input"]["shape"]
        for name in sorted(walk(model["shapes"], shape, "")):
            lines.append(f"{action},parameter,{name}")
        for name in sorted(set(filters(model["shapes"], shape))):
            lines.append(f"{action},filter,{name}")
    TARGET.write_text("\n".join(lines) + "\n")


main()
