"""Tags of everything that can have some."""
from world import refused, same, with_parameter


def tags(w):
    c = w.client
    eni = c.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    group = c.create_security_group(GroupName="tagged", Description="d", VpcId=w.vpc)["GroupId"]
    part = c.create_subnet_cidr_reservation(SubnetId=w.subnet, Cidr="10.0.1.240/28", ReservationType="explicit")
    part = part["SubnetCidrReservation"]["SubnetCidrReservationId"]
    kinds = {
        eni: "network-interface", group: "security-group", part: "subnet-cidr-reservation",
        w.node: "instance", w.subnet: "subnet", w.vpc: "vpc",
    }
    c.create_tags(Resources=list(kinds), Tags=[{"Key": "drive", "Value": "tags"}, {"Key": "second", "Value": ""}])
    found = c.describe_tags(Filters=[{"Name": "key", "Values": ["drive"]}, {"Name": "value", "Values": ["ta*"]}])["Tags"]
    same("every kind", {t["ResourceId"]: t["ResourceType"] for t in found}, kinds)
    by_tag = c.describe_tags(Filters=[{"Name": "tag:drive", "Values": ["tags"]}])["Tags"]
    same("by tag, and only that tag", {t["Key"] for t in by_tag}, {"drive"})
    of_one = c.describe_tags(Filters=[{"Name": "resource-id", "Values": [eni]}])["Tags"]
    same("of one resource", [t["Key"] for t in of_one], ["drive", "second"])
    of_kind = c.describe_tags(Filters=[{"Name": "resource-type", "Values": ["subnet-cidr-reservation"]}])["Tags"]
    same("of one kind", {t["ResourceId"] for t in of_kind}, {part})
    everything = c.describe_tags()["Tags"]
    paged = [t for p in c.get_paginator("describe_tags").paginate(PaginationConfig={"PageSize": 5}) for t in p["Tags"]]
    same("pages", paged, everything)
    left = lambda: [t["Key"] for t in c.describe_tags(Filters=[{"Name": "resource-id", "Values": [eni]}])["Tags"]]
    c.delete_tags(Resources=[eni], Tags=[{"Key": "drive", "Value": "other"}])
    same("only with its value", left(), ["drive", "second"])
    c.delete_tags(Resources=[eni], Tags=[{"Key": "second", "Value": ""}, {"Key": "not there"}])
    same("with an empty value", left(), ["drive"])
    c.delete_tags(Resources=list(kinds), Tags=[{"Key": "drive"}, {"Key": "second"}])
    same("without a value", c.describe_tags(Filters=[{"Name": "key", "Values": ["drive", "second"]}])["Tags"], [])
    c.create_tags(Resources=[eni], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    c.delete_tags(Resources=[eni])
    same("all of them", left(), [])
    c.delete_network_interface(NetworkInterfaceId=eni)
    c.delete_security_group(GroupId=group)
    c.delete_subnet_cidr_reservation(SubnetCidrReservationId=part)


def refusals(w):
    c = w.client
    rows = [
        ("InvalidGroup.NotFound", "sg-00000001"), ("InvalidID", "foo-00000001"), ("InvalidInstanceID.NotFound", "i-00000001"),
        ("InvalidNetworkInterfaceID.NotFound", "eni-00000001"), ("InvalidSubnetCidrReservationID.NotFound", "scr-00000001"),
        ("InvalidSubnetID.NotFound", "subnet-00000001"), ("InvalidVpcID.NotFound", "vpc-00000001"),
    ]
    for call in [c.create_tags, c.delete_tags]:
        for code, resource in rows:
            refused("an unknown resource", code, call, Resources=[w.subnet, resource], Tags=[{"Key": "k", "Value": "v"}])
        refused("no resource", "MissingParameter", call, Resources=[], Tags=[{"Key": "k", "Value": "v"}])
        refused("a long key", "InvalidParameterValue", call, Resources=[w.subnet], Tags=[{"Key": "k" * 129, "Value": "v"}])
    refused("a foreign page token", "InvalidPaginationToken", c.describe_tags, NextToken="x")
    refused("an unknown filter", "InvalidParameterValue", c.describe_tags, Filters=[{"Name": "tag-key", "Values": ["x"]}])
    refused("a small page", "InvalidMaxResults", with_parameter(w.connect(), "DescribeTags", MaxResults="4").describe_tags)


PARTS = [tags, refusals]
