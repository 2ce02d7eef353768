#!/usr/bin/env python3
"""Write data/instance_types.csv from the DescribeInstanceTypes answers inside the Python package moto.

moto (Apache-2.0, PyPI) carries the raw EC2 answer for every current type. Run this in a virtual environment that has
moto installed:

    python3 -m venv /some/where/outside && /some/where/outside/bin/pip install moto
    /some/where/outside/bin/python tests/vpc-sim/gen/instance_types.py

The script prints every changed line, so that a corrected limit is seen before it is committed.
"""
import csv
import datetime
import gzip
import importlib.metadata
import io
import json
import pathlib
import sys

import moto

TARGET = pathlib.Path(__file__).resolve().parent.parent / "data" / "instance_types.csv"
COLUMNS = [
    "instance_type", "current_generation", "hypervisor", "bare_metal", "architectures", "vcpus", "cores",
    "threads_per_core", "memory_mib", "network_performance", "max_enis", "max_cards", "default_card",
    "ipv4_per_eni", "ipv6_per_eni", "ipv6_supported", "ena_support", "efa_supported", "max_efa_enis",
    "encryption_in_transit", "cards",
]


def flag(value):
    return "true" if value else "false"


def card(info):
    """index:max ENIs:performance:kinds, kinds joined by +."""
    return ":".join([
        str(info["NetworkCardIndex"]),
        str(info["MaximumNetworkInterfaces"]),
        info["NetworkPerformance"],
        "+".join(info["InterfaceTypes"]),
    ])


def row(info):
    net, cpu = info["NetworkInfo"], info["VCpuInfo"]
    return [
        info["InstanceType"], flag(info["CurrentGeneration"]), info.get("Hypervisor", ""), flag(info["BareMetal"]),
        "+".join(info["ProcessorInfo"]["SupportedArchitectures"]), cpu["DefaultVCpus"], cpu["DefaultCores"],
        cpu["DefaultThreadsPerCore"], info["MemoryInfo"]["SizeInMiB"], net["NetworkPerformance"],
        net["MaximumNetworkInterfaces"], net["MaximumNetworkCards"], net["DefaultNetworkCardIndex"],
        net["Ipv4AddressesPerInterface"], net["Ipv6AddressesPerInterface"], flag(net["Ipv6Supported"]),
        net["EnaSupport"], flag(net["EfaSupported"]), net.get("EfaInfo", {}).get("MaximumEfaInterfaces", ""),
        flag(net["EncryptionInTransitSupported"]), "|".join(card(c) for c in net["NetworkCards"]),
    ]


def main():
    source = pathlib.Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"
    types = json.loads(gzip.decompress(source.read_bytes()))
    text = io.StringIO()
    version = importlib.metadata.version("moto")
    text.write(f"# DescribeInstanceTypes as in moto {version} (PyPI), taken {datetime.date.today()}; see gen/instance_types.py\n")
    out = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    out.writerow(COLUMNS)
    for name in sorted(types):
        out.writerow(row(types[name]))
    if '"' in text.getvalue():
        sys.exit("a field needs quoting: the reader in src/model/limits.rs does not unquote")
    before = set(TARGET.read_text().splitlines()[1:]) if TARGET.exists() else set()
    after = set(text.getvalue().splitlines()[1:])
    for line in sorted(before - after):
        print("-", line)
    for line in sorted(after - before):
        print("+", line)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text.getvalue())


main()
