"""Refusals that many actions share: malformed, unknown and missing values, bad pages and filters."""
from members import answer, minimal, table
from world import same, with_parameter

GONE = "eni-00000001"
# The members by which an action names what it is about, with the error's stem and the kind of id.
IDS = {
    "InstanceId": ("InvalidInstanceID", "i"),
    "NetworkInterfaceId": ("InvalidNetworkInterfaceID", "eni"),
    "SubnetId": ("InvalidSubnetID", "subnet"),
    "VpcId": ("InvalidVpcID", "vpc"),
    "InstanceIds": ("InvalidInstanceID", "i"),
    "NetworkInterfaceIds": ("InvalidNetworkInterfaceID", "eni"),
    "SubnetIds": ("InvalidSubnetID", "subnet"),
    "VpcIds": ("InvalidVpcID", "vpc"),
}


def expect(w, action, what, code, kwargs):
    got, text, _ = answer(w.connect(parameter_validation=False), action, kwargs)
    same(f"{action}: {what}: {code} ({text})", got, code)


def ids(w):
    w.group = w.client.create_security_group(GroupName="g", Description="d", VpcId=w.vpc)["GroupId"]
    eni = w.client.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    least = minimal(w)
    for action in table():
        members = w.client.meta.service_model.operation_model(action).input_shape.members
        start = {key: eni if item == GONE else item for key, item in least.get(action, {}).items()}
        for member, (stem, kind) in IDS.items():
            if member not in members or (action, member) == ("RunInstances", "NetworkInterfaceId"):
                continue
            as_list = lambda text: [text] if members[member].type_name == "list" else text
            expect(w, action, f"a malformed {member}", f"{stem}.Malformed", start | {member: as_list("x")})
            expect(w, action, f"an unknown {member}", f"{stem}.NotFound", start | {member: as_list(f"{kind}-00000001")})


def describes(w):
    least = minimal(w)
    for action in table():
        members = w.client.meta.service_model.operation_model(action).input_shape.members
        start = least.get(action, {})
        if "Filters" in members:
            expect(w, action, "an unknown filter", "InvalidParameterValue", start | {"Filters": [{"Name": "nonsense", "Values": ["x"]}]})
            known = next(iter(table()[action]["Filters"]))
            expect(w, action, "a filter without values", "MissingParameter", start | {"Filters": [{"Name": known, "Values": []}]})
        if "NextToken" in members:
            expect(w, action, "a foreign page token", "InvalidPaginationToken", start | {"NextToken": "nonsense"})
            expect(w, action, "a small page", "InvalidMaxResults", start | {"MaxResults": 4})
            expect(w, action, "a large page", "InvalidMaxResults", start | {"MaxResults": 1001})


def rows(w):
    c = w.client
    eni = c.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    full = "10.0.1.0/24"
    bits = {"NetworkInterfaceId": eni}
    many = [f"sg-0000000{n}" for n in range(6)]
    tags = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
    for action, code, kwargs in [
        ("AssignPrivateIpAddresses", "InvalidParameterValue", bits | {"PrivateIpAddresses": ["10.0.1.1"]}),
        ("AssignPrivateIpAddresses", "InvalidParameterValue", bits | {"SecondaryPrivateIpAddressCount": 0}),
        ("AttachNetworkInterface", "MissingParameter", bits | {"InstanceId": w.node}),
        ("AuthorizeSecurityGroupEgress", "InvalidParameterValue", {"GroupId": w.group, "IpPermissions": [{"IpProtocol": "tcp?", "IpRanges": [{"CidrIp": "::"}]}]}),
        ("CreateNetworkInterface", "InvalidGroupId.Malformed", {"SubnetId": w.subnet, "Groups": ["x"]}),
        ("CreateNetworkInterface", "InvalidParameterValue", {"SubnetId": w.subnet, "PrivateIpAddress": "10.0.1.3"}),
        ("CreateNetworkInterface", "InvalidParameterValue", {"SubnetId": w.subnet, "ClientToken": "t" * 65}),
        ("CreateNetworkInterface", "MissingParameter", {}),
        ("CreateNetworkInterface", "PrivateIpAddressLimitExceeded", {"SubnetId": w.subnet, "SecondaryPrivateIpAddressCount": 64}),
        ("CreateNetworkInterface", "SecurityGroupsPerInterfaceLimitExceeded", {"SubnetId": w.subnet, "Groups": many}),
        ("CreateNetworkInterface", "TagLimitExceeded", {"SubnetId": w.subnet, "TagSpecifications": [{"ResourceType": "network-interface", "Tags": tags}]}),
        ("DeleteSubnetCidrReservation", "MissingParameter", {}),
        ("DescribeInstanceTypes", "InvalidParameterCombination", {"InstanceTypes": ["c5.large"], "MaxResults": 5}),
        ("DescribeInstances", "InvalidParameterCombination", {"InstanceIds": [w.node], "MaxResults": 5}),
        ("DetachNetworkInterface", "InvalidNetworkInterfaceAttachmentID.Malformed", {"AttachmentId": "x"}),
        ("DetachNetworkInterface", "InvalidParameterValue", {"AttachmentId": "eni-attach-00000001", "Force": "perhaps"}),
        ("DetachNetworkInterface", "MissingParameter", {}),
        ("ModifyNetworkInterfaceAttribute", "InvalidAttachmentID.NotFound", bits | {"Attachment": {"AttachmentId": "eni-attach-00000001", "DeleteOnTermination": True}}),
        ("ModifyNetworkInterfaceAttribute", "InvalidNetworkInterfaceAttachmentID.Malformed", bits | {"Attachment": {"AttachmentId": "x", "DeleteOnTermination": True}}),
        ("ModifyNetworkInterfaceAttribute", "InvalidGroupId.Malformed", bits | {"Groups": ["x"]}),
        ("ModifyNetworkInterfaceAttribute", "InvalidParameterValue", bits | {"SourceDestCheck": {"Value": "perhaps"}}),
        ("ModifyNetworkInterfaceAttribute", "MissingParameter", bits | {"Attachment": {"DeleteOnTermination": True}}),
        ("TerminateInstances", "InvalidParameterValue", {"InstanceIds": [w.node], "Force": "perhaps"}),
        ("TerminateInstances", "MissingParameter", {}),
        ("UnassignPrivateIpAddresses", "MissingParameter", bits),
    ]:
        client = w.connect(parameter_validation=False)
        if any(item == "perhaps" or item == {"Value": "perhaps"} for item in kwargs.values()):
            # botocore would send a good flag.
            name = next("SourceDestCheck.Value" if key == "SourceDestCheck" else key for key, item in kwargs.items() if "perhaps" in str(item))
            client = with_parameter(client, action, **{name: "perhaps"})
        got, text, _ = answer(client, action, kwargs)
        same(f"{action}: {code} ({text})", got, code)
    nothing_free(w, eni, full)


def nothing_free(w, eni, full):
    c = w.client
    reserved = []
    whole = c.describe_subnets(SubnetIds=[w.subnet])["Subnets"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    for cidr in [full, whole]:
        made = c.create_subnet_cidr_reservation(SubnetId=w.subnet, Cidr=cidr, ReservationType="explicit")
        reserved.append(made["SubnetCidrReservation"]["SubnetCidrReservationId"])
    for action, code, kwargs in [
        ("AssignPrivateIpAddresses", "InsufficientFreeAddressesInSubnet", {"SecondaryPrivateIpAddressCount": 1}),
        ("AssignPrivateIpAddresses", "InsufficientCidrBlocks", {"Ipv4PrefixCount": 1}),
        ("AssignIpv6Addresses", "InsufficientFreeAddressesInSubnet", {"Ipv6AddressCount": 1}),
        ("AssignIpv6Addresses", "InsufficientCidrBlocks", {"Ipv6PrefixCount": 1}),
    ]:
        expect(w, action, "all is set aside", code, {"NetworkInterfaceId": eni} | kwargs)
    for one in reserved:
        c.delete_subnet_cidr_reservation(SubnetCidrReservationId=one)


def prefixes_of_xen(w):
    c = w.client
    made = c.run_instances(ImageId="ami-1", InstanceType="t2.medium", MinCount=1, MaxCount=1, SubnetId=w.subnet)["Instances"][0]
    primary = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
    expect(w, "AssignPrivateIpAddresses", "prefixes on Xen", "UnsupportedOperation", {"NetworkInterfaceId": primary, "Ipv4PrefixCount": 1})
    spare = c.create_network_interface(SubnetId=w.subnet, Ipv4PrefixCount=1)["NetworkInterface"]["NetworkInterfaceId"]
    attach = {"NetworkInterfaceId": spare, "InstanceId": made["InstanceId"], "DeviceIndex": 1}
    expect(w, "AttachNetworkInterface", "prefixes to Xen", "UnsupportedOperation", attach)
    c.terminate_instances(InstanceIds=[made["InstanceId"]])
    expect(w, "AttachNetworkInterface", "to what ends", "IncorrectState", attach)


PARTS = [ids, describes, rows, prefixes_of_xen]
