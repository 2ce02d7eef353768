"""A running simulator, a client of it, and the checks that count."""
import contextlib
import subprocess
import time

import boto3
import botocore.config
from botocore.exceptions import ClientError

import shape

PASSED, FAILED = [], []
# What each action answered in this run: "ok" and error codes.
SEEN = {}
# The waiters and paginators of botocore that were used.
USED = set()


def check(what, good, detail=""):
    (PASSED if good else FAILED).append(what)
    if not good:
        print(f"FAILED {what}: {detail}", flush=True)


def same(what, got, expected):
    check(what, got == expected, f"got {got!r}, expected {expected!r}")


def refused(what, code, call, *args, text=None, status=400, **kwargs):
    """The call must be refused with this code, this HTTP status and, if given, this text."""
    try:
        call(*args, **kwargs)
    except ClientError as error:
        answer = error.response
        got = (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"])
        same(f"{what}: {code}", got, (code, status))
        if text is not None:
            same(f"{what}: text", answer["Error"]["Message"], text)
    else:
        check(f"{what}: {code}", False, "was not refused")


class World:
    """A running simulator and a client of it."""

    def __init__(self, binary, *flags):
        self.process = subprocess.Popen(
            [binary, "serve", "--seed", "7", *flags], stdout=subprocess.PIPE, text=True
        )
        self.endpoint = self.process.stdout.readline().strip()
        lines = {}
        for _ in range(6):
            kind, text = self.process.stdout.readline().split()
            lines.setdefault(kind, []).append(text)
        self.vpc, = lines["vpc"]
        self.client = self.connect()
        zones = {s["SubnetId"]: s["AvailabilityZone"] for s in self.client.describe_subnets()["Subnets"]}
        self.subnet, self.other_subnet = sorted(lines["subnet"], key=zones.get)
        nodes = {
            i["InstanceId"]: i["Placement"]["AvailabilityZone"]
            for r in self.client.describe_instances()["Reservations"]
            for i in r["Instances"]
        }
        self.node, self.other_node = sorted(lines["instance"], key=nodes.get)

    def connect(self, **overrides):
        config = {"retries": {"max_attempts": 1, "mode": "standard"}} | overrides
        client = boto3.client(
            "ec2",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="secret",
            config=botocore.config.Config(**config),
        )
        client.meta.events.register("before-parse.ec2", hold_against_shape)
        client.meta.events.register("after-call.ec2", note)
        for getter in ("get_waiter", "get_paginator"):
            setattr(client, getter, noting(getter, getattr(client, getter)))
        return client

    def stop(self):
        self.process.terminate()
        same("serve ends cleanly when told to", self.process.wait(timeout=10), 0)


def noting(getter, get):
    """The same getter, which remembers what it was asked for."""
    def noted(name):
        USED.add((getter, name))
        return get(name)
    return noted


def note(parsed, model, **_):
    """Remember each code that an action gave."""
    code = parsed.get("Error", {}).get("Code")
    SEEN.setdefault(model.name, set()).add(code or "ok")


def hold_against_shape(operation_model, response_dict, **_):
    if response_dict["status_code"] < 300:
        found = shape.differences(operation_model, response_dict["body"])
        check(f"{operation_model.name}: shape", not found, found)


@contextlib.contextmanager
def world(binary, *flags):
    running = World(binary, *flags)
    try:
        yield running
    finally:
        running.stop()


def with_parameter(client, operation, **extra):
    """A client that adds raw parameters, as a client with a newer or broken model would."""
    client.meta.events.register(
        f"before-call.ec2.{operation}", lambda params, **_: params["body"].update(extra)
    )
    return client


def listed(c, eni):
    return [e for e in c.describe_network_interfaces(Filters=[{"Name": "network-interface-id", "Values": [eni]}])["NetworkInterfaces"]]


def patiently(call):
    """Repeat while a fresh id is not yet found, or not yet ready."""
    for _ in range(50):
        try:
            return call()
        except ClientError as error:
            if not error.response["Error"]["Code"].endswith((".NotFound", "IncorrectState")):
                raise
            time.sleep(0.1)
        except Exception as error:  # a waiter that met NotFound
            if "NotFound" not in str(error):
                raise
            time.sleep(0.1)
    raise TimeoutError("the id never appeared")


def until(what, condition):
    for _ in range(100):
        if condition():
            return check(what, True)
        time.sleep(0.1)
    check(what, False, "not within ten seconds")
