"""Every parameter, filter and error, member by member: the page docs/reference/vpc-sim-api.md against botocore's model
and against the server.

A parameter that the page calls served must be accepted, one that it calls refused must be refused by its name, and the
two together must be all that botocore knows. A filter that it calls served must match something in a world that has one
of everything. An error that an action gives must be on the page, and one on the page must have been given in this run.
"""
import datetime
import html
import pathlib
import re

import botocore
import botocore.session
from botocore.exceptions import ClientError

from world import SEEN, USED, check, same

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "reference" / "vpc-sim-api.md"
DATA = PAGE.parents[2] / "tests" / "vpc-sim" / "data" / "actions.csv"
# Quotas that would take thousands of calls; the model's own tests reach them.
UNREACHED = {"NetworkInterfaceLimitExceeded", "SecurityGroupLimitExceeded", "AddressLimitExceeded"}
IMAGE = "ami-0123456789abcdef0"


def table():
    """The page: for each action its lists by their titles, and which parameters are served only in part."""
    actions = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        name, _, body = section.partition("\n")
        lists = {}
        for title, text in re.findall(r"^- ([^:]+): (.*)\.$", body, re.MULTILINE):
            lists[title] = re.findall(r"`([^`]+)`(?: \(only ([^)]*)\))?(?:, |$)", text)
        actions[name] = {title: dict(members) for title, members in lists.items()}
    return actions


def common_errors():
    text = PAGE.read_text()
    start = text.index("Errors of every action:")
    return set(re.findall(r"`(\w+)`", text[start:text.index("\n\n", start)]))


def query_name(key, shape):
    """How the EC2 protocol writes a member (botocore documents it with its serializer)."""
    name = shape.serialization.get("queryName")
    if name is None:
        name = shape.serialization.get("name", key)
        name = name[0].upper() + name[1:]
    return name


def leaves(shape, path=(), name=""):
    """Each scalar below a structure: the way there, its name in a query, its shape."""
    for key, member in shape.members.items():
        here, written = (*path, key), name + query_name(key, member)
        while member.type_name == "list":
            here, written, member = (*here, 0), f"{written}.N", member.member
        if member.type_name == "structure":
            yield from leaves(member, here, f"{written}.")
        else:
            yield here, written, member


def value(shape):
    if shape.type_name == "string":
        return shape.enum[0] if getattr(shape, "enum", None) else "x"
    return {"integer": 5, "boolean": True, "timestamp": datetime.datetime(2026, 1, 1), "long": 5, "double": 5.0, "blob": b"x"}[shape.type_name]


def nested(path, leaf):
    for step in reversed(path):
        leaf = [leaf] if step == 0 else {step: leaf}
    return leaf


def minimal(w):
    """For each action the least that EC2 accepts."""
    gone = "eni-00000001"
    permission = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    group = {"GroupId": w.group}
    return {
        "AssignIpv6Addresses": {"NetworkInterfaceId": gone, "Ipv6AddressCount": 1},
        "AssignPrivateIpAddresses": {"NetworkInterfaceId": gone, "SecondaryPrivateIpAddressCount": 1},
        "AttachNetworkInterface": {"NetworkInterfaceId": gone, "InstanceId": w.node, "DeviceIndex": 1},
        "AuthorizeSecurityGroupEgress": group | {"IpPermissions": [permission]},
        "AuthorizeSecurityGroupIngress": group | {"IpPermissions": [permission]},
        "CreateNetworkInterface": {"SubnetId": w.subnet},
        "CreateSecurityGroup": {"GroupName": "n", "Description": "d", "VpcId": w.vpc},
        "CreateSubnetCidrReservation": {"SubnetId": w.subnet, "Cidr": "10.0.1.0/28", "ReservationType": "prefix"},
        "CreateTags": {"Resources": [w.subnet], "Tags": [{"Key": "k", "Value": "v"}]},
        "DeleteNetworkInterface": {"NetworkInterfaceId": gone},
        "DeleteSecurityGroup": group,
        "DeleteSubnetCidrReservation": {"SubnetCidrReservationId": "scr-00000001"},
        "DeleteTags": {"Resources": [w.subnet]},
        "DetachNetworkInterface": {"AttachmentId": "eni-attach-00000001"},
        "GetSubnetCidrReservations": {"SubnetId": w.subnet},
        "ModifyNetworkInterfaceAttribute": {"NetworkInterfaceId": gone, "SourceDestCheck": {"Value": True}},
        "RevokeSecurityGroupEgress": group | {"IpPermissions": [permission]},
        "RevokeSecurityGroupIngress": group | {"IpPermissions": [permission]},
        "RunInstances": {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "SubnetId": w.subnet},
        "TerminateInstances": {"InstanceIds": [w.node]},
        "UnassignIpv6Addresses": {"NetworkInterfaceId": gone, "Ipv6Addresses": ["2001:db8::9"]},
        "UnassignPrivateIpAddresses": {"NetworkInterfaceId": gone, "PrivateIpAddresses": ["10.0.1.9"]},
    }


def answer(client, action, kwargs):
    """The code and the text of the refusal; "ok" when there is none."""
    operation = {api: python for python, api in client.meta.method_to_api_mapping.items()}[action]
    try:
        getattr(client, operation)(**kwargs)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "ok", "", 200


def version():
    """The list of what EC2 has was made from the botocore that the checks here hold it against."""
    first = DATA.read_text().partition("\n")[0]
    check("the list is from this botocore", f"botocore {botocore.__version__} " in first, first)


def parameters(w):
    client, known = w.connect(parameter_validation=False), table()
    least = minimal(w)
    seen_before = {action: set(codes) for action, codes in SEEN.items()}
    for action, lists in known.items():
        shape = client.meta.service_model.operation_model(action).input_shape
        all_leaves = {name: (path, leaf) for path, name, leaf in leaves(shape)}
        served, refused = lists.get("Served", {}), lists.get("Refused", {})
        same(f"{action}: the page has all parameters of botocore", sorted({*served, *refused}), sorted(all_leaves))
        for name, (path, leaf) in all_leaves.items():
            kwargs = least.get(action, {}) | nested(path, value(leaf))
            if "DryRun" in shape.members:
                kwargs["DryRun"] = True
            code, text, _ = answer(client, action, kwargs)
            if name in refused:
                named = re.sub(r"\.N(?=\.|$)", ".1", name) in text
                check(f"{action}: {name} is refused by name", code == "UnsupportedOperation" and named, (code, text))
            elif served[name] == "":
                check(f"{action}: {name} is served", code not in ("UnsupportedOperation", "UnknownParameter"), (code, text))
            else:
                check(f"{action}: {name} is served or refused", code != "UnknownParameter", (code, text))
    # Nonsense values are no test of an action's errors.
    SEEN.clear()
    SEEN.update(seen_before)


def dry_runs(w):
    """Each action that has the parameter; that it denies what a fault denies is tested where faults can be scripted."""
    least = minimal(w)
    for action in table():
        shape = w.client.meta.service_model.operation_model(action).input_shape
        if "DryRun" in shape.members:
            code, text, status = answer(w.client, action, least.get(action, {}) | {"DryRun": True})
            same(f"{action}: a dry run", (code, status), ("DryRunOperation", 412))
            check(f"{action}: would have succeeded", "Request would have succeeded" in text, text)


def documented_filters(shape):
    text = shape.members["Filters"].documentation if "Filters" in shape.members else ""
    names = [html.unescape(name) for name in re.findall(r"<li>\s*<p>\s*<code>([^<]+)</code>", text)]
    return sorted({"tag:" if name in ("tag", "tag:<key>") else name for name in names})


def one_of_everything(w):
    c = w.client
    w.group = c.create_security_group(GroupName="everything", Description="d", VpcId=w.vpc, TagSpecifications=[
        {"ResourceType": "security-group", "Tags": [{"Key": "k", "Value": "v"}]}])["GroupId"]
    rules = [{
        "IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "192.0.2.0/24"}],
        "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}], "UserIdGroupPairs": [{"GroupId": w.group}],
    }]
    c.authorize_security_group_ingress(GroupId=w.group, IpPermissions=rules)
    c.authorize_security_group_egress(GroupId=w.group, IpPermissions=rules)
    eni = {"SubnetId": w.subnet, "Groups": [w.group], "Description": "d"}
    made = c.run_instances(
        ImageId=IMAGE, InstanceType="c5.large", MinCount=1, MaxCount=1, IamInstanceProfile={"Name": "node"}, ClientToken="t",
        NetworkInterfaces=[
            eni | {"DeviceIndex": 0, "Ipv6AddressCount": 1, "SecondaryPrivateIpAddressCount": 1, "AssociatePublicIpAddress": True},
            eni | {"DeviceIndex": 1, "Ipv4PrefixCount": 1, "Ipv6PrefixCount": 1},
        ],
        TagSpecifications=[{"ResourceType": kind, "Tags": [{"Key": "k", "Value": "v"}]} for kind in ("instance", "network-interface")],
    )["Instances"][0]
    ended = c.run_instances(ImageId=IMAGE, InstanceType="c5.large", MinCount=1, MaxCount=1, SubnetId=w.subnet)["Instances"][0]
    c.terminate_instances(InstanceIds=[ended["InstanceId"]])
    c.create_subnet_cidr_reservation(SubnetId=w.subnet, Cidr="10.0.1.224/28", ReservationType="explicit", TagSpecifications=[
        {"ResourceType": "subnet-cidr-reservation", "Tags": [{"Key": "k", "Value": "v"}]}])
    c.create_tags(Resources=[w.vpc, w.subnet], Tags=[{"Key": "k", "Value": "v"}])
    return made


def found(client, action, name, pattern, kwargs):
    operation = {api: python for python, api in client.meta.method_to_api_mapping.items()}[action]
    result = getattr(client, operation)(Filters=[{"Name": name, "Values": [pattern]}], **kwargs)
    return sum(len(members) for key, members in result.items() if key != "ResponseMetadata" and isinstance(members, list))


def filters(w):
    one_of_everything(w)
    for action, lists in table().items():
        shape = w.client.meta.service_model.operation_model(action).input_shape
        kwargs = {"SubnetId": w.subnet} if "SubnetId" in shape.members else {}
        if action == "DescribeInstanceTypes":
            kwargs = {"InstanceTypes": ["p5.48xlarge"]}
        served, absent = lists.get("Filters", {}), lists.get("Filters on what nothing here has", {})
        unserved = lists.get("Filters refused", {})
        same(f"{action}: the page has all filters", sorted({*served, *absent, *unserved}), documented_filters(shape))
        for name in served:
            name = "tag:k" if name == "tag:" else name
            check(f"{action}: filter {name} finds what has it", found(w.client, action, name, "*", kwargs) > 0)
            same(f"{action}: filter {name} finds nothing else", found(w.client, action, name, "no such value", kwargs), 0)
        for name in absent:
            same(f"{action}: nothing has {name}", found(w.client, action, name, "*", kwargs), 0)
        for name in unserved:
            code, text, _ = answer(w.client, action, kwargs | {"Filters": [{"Name": name, "Values": ["*"]}]})
            check(f"{action}: filter {name} is refused by name", code == "UnsupportedOperation" and name in text, (code, text))


def waiters_and_paginators():
    """All that botocore has for the actions that are served were used."""
    session = botocore.session.get_session()
    model = session.get_waiter_model("ec2")
    snake = botocore.xform_name
    for name in model.waiter_names:
        if model.get_waiter(name).operation in table():
            check(f"the waiter {name} was used", ("get_waiter", snake(name)) in USED)
    for action in session.get_component("data_loader").load_service_model("ec2", "paginators-1")["pagination"]:
        if action in table():
            check(f"the paginator of {action} was used", ("get_paginator", snake(action)) in USED)


def errors():
    """What was given is on the page, and what is on the page was given."""
    common = common_errors()
    for action, lists in table().items():
        given, listed = SEEN.get(action, set()), set(lists.get("Errors", {}))
        check(f"{action} was done", "ok" in given, given)
        unlisted = given - listed - common - {"ok", "DryRunOperation"}
        same(f"{action}: errors that are not on the page", sorted(unlisted), [])
        same(f"{action}: errors that were never given", sorted(listed - given - UNREACHED), [])
