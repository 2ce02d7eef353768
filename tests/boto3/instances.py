"""Instances: launched with one interface or several, and ended."""
from botocore.exceptions import WaiterError

from world import check, refused, same

IMAGE = "ami-0123456789abcdef0"


def run(w, **kwargs):
    wanted = {"ImageId": IMAGE, "InstanceType": "c5.large", "MinCount": 1, "MaxCount": 1} | kwargs
    return w.client.run_instances(**wanted)


def free(w, subnet):
    return w.client.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"]


def end(w, *ids):
    return w.client.terminate_instances(InstanceIds=list(ids))["TerminatingInstances"]


def simple(w):
    before = free(w, w.subnet)
    answer = run(
        w, SubnetId=w.subnet, MinCount=2, MaxCount=3, ClientToken="run-1",
        IamInstanceProfile={"Name": "worker"},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "HttpEndpoint": "enabled", "HttpProtocolIpv6": "enabled"},
        Placement={"AvailabilityZone": "us-east-1a"},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "new"}]},
            {"ResourceType": "network-interface", "Tags": [{"Key": "of", "Value": "new"}]},
        ],
    )
    made = answer["Instances"]
    ids = [i["InstanceId"] for i in made]
    same("as many as fit", len(set(ids)), 3)
    same("launch indexes", [i["AmiLaunchIndex"] for i in made], [0, 1, 2])
    same("image and type", {(i["ImageId"], i["InstanceType"]) for i in made}, {(IMAGE, "c5.large")})
    same("each has an address", before - free(w, w.subnet), 3)
    primary = made[0]["NetworkInterfaces"][0]
    same("a primary interface that goes with it", (primary["Attachment"]["DeviceIndex"], primary["Attachment"]["DeleteOnTermination"]), (0, True))
    check("a public address, as the subnet says", "PublicIpAddress" in made[0], made[0])
    same("its profile", made[0]["IamInstanceProfile"]["Arn"], "arn:aws:iam::123456789012:instance-profile/worker")
    options = made[0]["MetadataOptions"]
    same("metadata options", (options["HttpPutResponseHopLimit"], options["HttpProtocolIpv6"]), (2, "enabled"))
    shown = w.client.describe_network_interfaces(NetworkInterfaceIds=[primary["NetworkInterfaceId"]])["NetworkInterfaces"][0]
    same("tags of the interface", shown["TagSet"], [{"Key": "of", "Value": "new"}])
    reservation, = w.client.describe_instances(Filters=[{"Name": "reservation-id", "Values": [answer["ReservationId"]]}])["Reservations"]
    same("one reservation", sorted(i["InstanceId"] for i in reservation["Instances"]), sorted(ids))
    same("instance tags", reservation["Instances"][0]["Tags"], [{"Key": "Name", "Value": "new"}])
    idempotent(w, ids)
    for waiter in ["instance_exists", "instance_running"]:
        w.client.get_waiter(waiter).wait(InstanceIds=ids)
    states = end(w, *ids)
    same("ended", {s["CurrentState"]["Name"] for s in states}, {"shutting-down"} if states[0]["CurrentState"]["Code"] == 32 else {"terminated"})
    w.client.get_waiter("instance_terminated").wait(InstanceIds=ids)
    never_stopped(w, ids[0])
    ended, = w.client.describe_instances(InstanceIds=[ids[0]])["Reservations"][0]["Instances"]
    same("why", ended["StateReason"]["Code"], "Client.UserInitiatedShutdown")
    same("ending twice is no error", end(w, ids[0])[0]["PreviousState"]["Name"], "terminated")
    same("their addresses are free", free(w, w.subnet), before)


def never_stopped(w, ended):
    """Nothing stops here, and the waiter for it says of an ended instance that it never will."""
    try:
        w.client.get_waiter("instance_stopped").wait(InstanceIds=[ended])
    except WaiterError as error:
        check("an ended instance never stops", "terminal failure" in str(error), error)
    else:
        check("an ended instance never stops", False)


def idempotent(w, ids):
    kwargs = dict(
        SubnetId=w.subnet, MinCount=2, MaxCount=3, ClientToken="run-1", IamInstanceProfile={"Name": "worker"},
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "HttpEndpoint": "enabled", "HttpProtocolIpv6": "enabled"},
        Placement={"AvailabilityZone": "us-east-1a"},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "new"}]},
            {"ResourceType": "network-interface", "Tags": [{"Key": "of", "Value": "new"}]},
        ],
    )
    same("the same token gives the same instances", [i["InstanceId"] for i in run(w, **kwargs)["Instances"]], ids)
    refused("another count", "IdempotentParameterMismatch", run, w, **(kwargs | {"MaxCount": 2}))


def with_interfaces(w):
    group = w.client.create_security_group(GroupName="launched", Description="d", VpcId=w.vpc)["GroupId"]
    there = w.client.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    made, = run(w, NetworkInterfaces=[
        {
            "DeviceIndex": 0, "SubnetId": w.subnet, "Groups": [group], "AssociatePublicIpAddress": False,
            "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.200", "Primary": True}, {"PrivateIpAddress": "10.0.1.201", "Primary": False}],
            "Ipv6AddressCount": 1, "Description": "first", "DeleteOnTermination": True,
        },
        {"DeviceIndex": 1, "SubnetId": w.subnet, "Ipv4PrefixCount": 1, "Ipv6PrefixCount": 1, "DeleteOnTermination": False, "InterfaceType": "interface", "NetworkCardIndex": 0},
        {"DeviceIndex": 2, "NetworkInterfaceId": there},
    ])["Instances"]
    enis = {e["Attachment"]["DeviceIndex"]: e for e in made["NetworkInterfaces"]}
    same("three interfaces", sorted(enis), [0, 1, 2])
    same("addresses of the first", [a["PrivateIpAddress"] for a in enis[0]["PrivateIpAddresses"]], ["10.0.1.200", "10.0.1.201"])
    same("its group", [g["GroupId"] for g in enis[0]["Groups"]], [group])
    check("no public address", "PublicIpAddress" not in made, made)
    same("an IPv6 address", len(enis[0]["Ipv6Addresses"]), 1)
    same("prefixes of the second", (len(enis[1]["Ipv4Prefixes"]), len(enis[1]["Ipv6Prefixes"])), (1, 1))
    same("the third was there", enis[2]["NetworkInterfaceId"], there)
    same("which go with it", [enis[n]["Attachment"]["DeleteOnTermination"] for n in range(3)], [True, False, False])
    refused("an interface in use", "InvalidNetworkInterface.InUse", run, w, NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": there}])
    refused("a group with members", "DependencyViolation", w.client.delete_security_group, GroupId=group)
    end(w, made["InstanceId"])
    w.client.get_waiter("instance_terminated").wait(InstanceIds=[made["InstanceId"]])
    refused("the first went with it", "InvalidNetworkInterfaceID.NotFound", w.client.describe_network_interfaces,
            NetworkInterfaceIds=[enis[0]["NetworkInterfaceId"]])
    left = [enis[1]["NetworkInterfaceId"], there]
    w.client.get_waiter("network_interface_available").wait(NetworkInterfaceIds=left)
    for eni in left:
        w.client.delete_network_interface(NetworkInterfaceId=eni)
    w.client.delete_security_group(GroupId=group)


def fewer(w):
    """As many as fit: the rest of a subnet's addresses, but not fewer than the least."""
    room = free(w, w.other_subnet)
    filler = []
    while room > 3:
        count = min(room - 3, 50)
        filler.append(w.client.create_network_interface(SubnetId=w.other_subnet, SecondaryPrivateIpAddressCount=count - 1)["NetworkInterface"]["NetworkInterfaceId"])
        room = free(w, w.other_subnet)
    made = run(w, SubnetId=w.other_subnet, MinCount=1, MaxCount=5)["Instances"]
    same("three fit", len(made), 3)
    refused("none fits", "InsufficientFreeAddressesInSubnet", run, w, SubnetId=w.other_subnet)
    refused("nor does one with a prefix", "InsufficientFreeAddressesInSubnet", run, w,
            NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": w.other_subnet, "Ipv4PrefixCount": 1}])
    end(w, *[i["InstanceId"] for i in made])
    for eni in filler:
        w.client.delete_network_interface(NetworkInterfaceId=eni)
    plain = w.client.create_subnet_cidr_reservation(SubnetId=w.other_subnet, Cidr="10.0.2.0/24", ReservationType="explicit")
    refused("no prefix outside of reservations", "InsufficientFreeAddressesInSubnet", run, w, SubnetId=w.other_subnet)
    refused("no prefix either", "InsufficientCidrBlocks", run, w, NetworkInterfaces=[
        {"DeviceIndex": 0, "SubnetId": w.other_subnet, "PrivateIpAddress": "10.0.2.77", "Ipv4PrefixCount": 1}])
    w.client.delete_subnet_cidr_reservation(SubnetCidrReservationId=plain["SubnetCidrReservation"]["SubnetCidrReservationId"])


def refusals(w):
    c = w.client
    one = {"DeviceIndex": 0, "SubnetId": w.subnet}
    rows = [
        ("no subnet", "VPCIdNotSpecified", {}),
        ("no image", "MissingParameter", {"ImageId": "", "SubnetId": w.subnet}),
        ("an unknown type", "InvalidParameterValue", {"InstanceType": "c0.nano", "SubnetId": w.subnet}),
        ("less than least", "InvalidParameterCombination", {"MinCount": 2, "SubnetId": w.subnet}),
        ("no instance", "InvalidParameterValue", {"MinCount": 0, "SubnetId": w.subnet}),
        ("an unknown subnet", "InvalidSubnetID.NotFound", {"SubnetId": "subnet-00000001"}),
        ("a malformed subnet", "InvalidSubnetID.Malformed", {"SubnetId": "x"}),
        ("another zone", "InvalidParameterValue", {"SubnetId": w.subnet, "Placement": {"AvailabilityZone": "us-east-1b"}}),
        ("an unknown group", "InvalidGroup.NotFound", {"SubnetId": w.subnet, "SecurityGroupIds": ["sg-00000001"]}),
        ("a malformed group", "InvalidGroupId.Malformed", {"SubnetId": w.subnet, "SecurityGroupIds": ["x"]}),
        ("too many groups", "SecurityGroupsPerInterfaceLimitExceeded", {"SubnetId": w.subnet, "SecurityGroupIds": [f"sg-0000000{n}" for n in range(6)]}),
        ("subnet and interfaces", "InvalidParameterCombination", {"SubnetId": w.subnet, "NetworkInterfaces": [one]}),
        ("no primary", "InvalidParameterCombination", {"NetworkInterfaces": [one | {"DeviceIndex": 1}]}),
        ("an index twice", "InvalidParameterCombination", {"NetworkInterfaces": [one, one]}),
        ("too many interfaces", "AttachmentLimitExceeded", {"NetworkInterfaces": [one | {"DeviceIndex": n} for n in range(4)]}),
        ("another subnet's zone", "InvalidParameterCombination", {"NetworkInterfaces": [one, {"DeviceIndex": 1, "SubnetId": w.other_subnet}]}),
        ("more addresses than slots", "PrivateIpAddressLimitExceeded", {"NetworkInterfaces": [one | {"SecondaryPrivateIpAddressCount": 10}]}),
        ("an unknown interface", "InvalidNetworkInterfaceID.NotFound", {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-00000001"}]}),
        ("a malformed interface", "InvalidNetworkInterfaceID.Malformed", {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "x"}]}),
        ("a kind that is not served", "UnsupportedOperation", {"NetworkInterfaces": [one | {"InterfaceType": "efa"}]}),
        ("metadata without tokens", "UnsupportedOperation", {"SubnetId": w.subnet, "MetadataOptions": {"HttpTokens": "optional"}}),
        ("tags of volumes", "InvalidParameterValue", {"SubnetId": w.subnet, "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "k", "Value": "v"}]}]}),
        ("fifty-one tags", "TagLimitExceeded", {"SubnetId": w.subnet, "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}]}),
        ("an unknown group of many", "InvalidGroup.NotFound", {"SubnetId": w.subnet, "MinCount": 2, "MaxCount": 2, "SecurityGroupIds": ["sg-00000001"]}),
        ("one address for two", "InvalidIPAddress.InUse", {"SubnetId": w.subnet, "MinCount": 2, "MaxCount": 2, "PrivateIpAddress": "10.0.1.222"}),
    ]
    before = free(w, w.subnet)
    for what, code, kwargs in rows:
        refused(f"launch: {what}", code, run, w, **kwargs)
    same("refused launches take nothing", free(w, w.subnet), before)
    taken = c.create_network_interface(SubnetId=w.subnet, Ipv6AddressCount=1)["NetworkInterface"]
    refused("a taken IPv6 address", "Resource.AlreadyAssigned", run, w, SubnetId=w.subnet,
            Ipv6Addresses=[{"Ipv6Address": taken["Ipv6Addresses"][0]["Ipv6Address"]}])
    c.delete_network_interface(NetworkInterfaceId=taken["NetworkInterfaceId"])
    refused("ending what is unknown", "InvalidInstanceID.NotFound", c.terminate_instances, InstanceIds=[w.node, "i-00000001"])
    refused("ending what is malformed", "InvalidInstanceID.Malformed", c.terminate_instances, InstanceIds=["x"])
    alive, = c.describe_instances(InstanceIds=[w.node])["Reservations"][0]["Instances"]
    same("all or none are ended", alive["State"]["Name"], "running")


PARTS = [simple, with_interfaces, fewer, refusals]
