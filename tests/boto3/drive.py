"""Drive each action of the simulator's EC2 API with boto3, and hold each raw answer against botocore's shapes.

Usage: drive.py <path of the vpc-sim binary>. Starts `vpc-sim serve` on loopback, without delays for exact comparisons
and with its usual delays for waiters. Exits non-zero when anything differs.
"""
import sys

import delays
import groups
import instances
import interfaces
import ipv6
import members
import places
import refusals
import tags
from world import FAILED, PASSED, world

INSTANT = [interfaces, ipv6, instances, groups, places, tags, refusals]


def main(binary):
    for module in INSTANT:
        with world(binary, "--instant") as w:
            for part in module.PARTS:
                part(w)
    with world(binary, "--instant") as w:
        members.filters(w)
        members.parameters(w)
        members.dry_runs(w)
    with world(binary) as w:
        for part in delays.PARTS:
            part(w)
    members.version()
    members.waiters_and_paginators()
    members.errors()
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    return 1 if FAILED else 0


sys.exit(main(sys.argv[1]))
