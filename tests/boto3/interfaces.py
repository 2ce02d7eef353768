"""Network interfaces, and the places and instances that they are in."""
import datetime
import ipaddress

from botocore import UNSIGNED

from world import check, refused, same, with_parameter


def describe_places(w):
    vpc, = w.client.describe_vpcs(VpcIds=[w.vpc])["Vpcs"]
    same("vpc cidr", vpc["CidrBlock"], "10.0.0.0/16")
    same("vpc cidr associations", [a["CidrBlock"] for a in vpc["CidrBlockAssociationSet"]], ["10.0.0.0/16"])
    by_zone = w.client.describe_subnets(
        Filters=[
            {"Name": "vpc-id", "Values": [w.vpc]},
            {"Name": "availability-zone", "Values": ["us-east-1a"]},
        ]
    )["Subnets"]
    same("subnets by vpc and zone", [s["SubnetId"] for s in by_zone], [w.subnet])
    same("subnet free count: 251 less one node", by_zone[0]["AvailableIpAddressCount"], 250)
    by_name = w.client.describe_subnets(Filters=[{"Name": "tag:Name", "Values": ["example-?"]}])["Subnets"]
    same("wildcards in tag filters", len(by_name), 2)
    waiter = w.client.get_waiter("subnet_available")
    waiter.wait(SubnetIds=[w.subnet])
    w.client.get_waiter("vpc_available").wait(VpcIds=[w.vpc])
    w.client.get_waiter("vpc_exists").wait(VpcIds=[w.vpc])


def describe_instances(w):
    reservation, = w.client.describe_instances(InstanceIds=[w.node])["Reservations"]
    instance, = reservation["Instances"]
    same("instance type", instance["InstanceType"], "c5.large")
    same("instance state", instance["State"], {"Code": 16, "Name": "running"})
    primary, = instance["NetworkInterfaces"]
    age = datetime.datetime.now(datetime.timezone.utc) - instance["LaunchTime"]
    check("launched just now", abs(age.total_seconds()) < 300, instance["LaunchTime"])
    same("primary device index", primary["Attachment"]["DeviceIndex"], 0)
    same("primary delete on termination", primary["Attachment"]["DeleteOnTermination"], True)
    same("instance address is the primary's", instance["PrivateIpAddress"], primary["PrivateIpAddress"])
    check("a public address", ipaddress.ip_address(instance["PublicIpAddress"]), instance)
    w.client.get_waiter("instance_exists").wait(InstanceIds=[w.node])
    w.client.get_waiter("instance_running").wait(InstanceIds=[w.node])
    found = w.client.describe_instances(
        Filters=[{"Name": "network-interface.network-interface-id", "Values": [primary["NetworkInterfaceId"]]}]
    )["Reservations"]
    same("instances by interface", [r["Instances"][0]["InstanceId"] for r in found], [w.node])


def describe_types(w):
    one, = w.client.describe_instance_types(InstanceTypes=["c5.large"])["InstanceTypes"]
    same("c5.large interfaces", one["NetworkInfo"]["MaximumNetworkInterfaces"], 3)
    same("c5.large addresses", one["NetworkInfo"]["Ipv4AddressesPerInterface"], 10)
    same("c5.large hypervisor", one["Hypervisor"], "nitro")
    metal, = w.client.describe_instance_types(InstanceTypes=["c7g.metal"])["InstanceTypes"]
    check("bare metal has no hypervisor", metal["BareMetal"] and "Hypervisor" not in metal, metal)
    big, = w.client.describe_instance_types(InstanceTypes=["p5.48xlarge"])["InstanceTypes"]
    same("p5.48xlarge cards", len(big["NetworkInfo"]["NetworkCards"]), 32)
    pages = list(w.client.get_paginator("describe_instance_types").paginate())
    names = [t["InstanceType"] for page in pages for t in page["InstanceTypes"]]
    check("all types, each once", len(names) == len(set(names)) > 1300, len(names))
    check("pages of at most 100", all(len(p["InstanceTypes"]) <= 100 for p in pages))
    metals = w.client.get_paginator("describe_instance_types").paginate(
        Filters=[{"Name": "bare-metal", "Values": ["true"]}, {"Name": "instance-type", "Values": ["c7g.*"]}]
    )
    same("filtered types", [t["InstanceType"] for p in metals for t in p["InstanceTypes"]], ["c7g.metal"])
    refused("an unknown type", "InvalidInstanceType", w.client.describe_instance_types, InstanceTypes=["c0.nano"])


def life_of_an_interface(w):
    free = lambda: w.client.describe_subnets(SubnetIds=[w.subnet])["Subnets"][0]["AvailableIpAddressCount"]
    before = free()
    created = w.client.create_network_interface(
        SubnetId=w.subnet,
        Description="a <test> & \"more\"",
        SecondaryPrivateIpAddressCount=3,
        ClientToken="token-1",
        TagSpecifications=[
            {"ResourceType": "network-interface", "Tags": [{"Key": "k", "Value": "v & w"}, {"Key": "empty", "Value": ""}]}
        ],
    )
    eni = created["NetworkInterface"]
    eni_id = eni["NetworkInterfaceId"]
    same("created: status", eni["Status"], "available")
    same("created: description", eni["Description"], "a <test> & \"more\"")
    same("created: tags", sorted((t["Key"], t["Value"]) for t in eni["TagSet"]), [("empty", ""), ("k", "v & w")])
    same("created: token", created["ClientToken"], "token-1")
    same("created: addresses, the primary first", [a["Primary"] for a in eni["PrivateIpAddresses"]], [True] + [False] * 3)
    same("free count falls by four", before - free(), 4)
    again = w.client.create_network_interface(
        SubnetId=w.subnet, Description=eni["Description"], SecondaryPrivateIpAddressCount=3, ClientToken="token-1",
        TagSpecifications=[
            {"ResourceType": "network-interface", "Tags": [{"Key": "k", "Value": "v & w"}, {"Key": "empty", "Value": ""}]}
        ],
    )
    same("the same token gives the same interface", again["NetworkInterface"]["NetworkInterfaceId"], eni_id)
    refused(
        "the same token with another count", "IdempotentParameterMismatch", w.client.create_network_interface,
        SubnetId=w.subnet, SecondaryPrivateIpAddressCount=4, ClientToken="token-1",
    )

    attached = w.client.attach_network_interface(NetworkInterfaceId=eni_id, InstanceId=w.node, DeviceIndex=1)
    same("attached: card", attached["NetworkCardIndex"], 0)
    describe = lambda: w.client.describe_network_interfaces(NetworkInterfaceIds=[eni_id])["NetworkInterfaces"][0]
    attachment = describe()["Attachment"]
    same("attachment id", attachment["AttachmentId"], attached["AttachmentId"])
    same("attachment", (attachment["InstanceId"], attachment["DeviceIndex"], attachment["Status"]), (w.node, 1, "attached"))
    same("an interface attached by the API survives its instance", attachment["DeleteOnTermination"], False)
    w.client.modify_network_interface_attribute(
        NetworkInterfaceId=eni_id,
        Attachment={"AttachmentId": attached["AttachmentId"], "DeleteOnTermination": True},
    )
    same("delete on termination", describe()["Attachment"]["DeleteOnTermination"], True)
    w.client.modify_network_interface_attribute(NetworkInterfaceId=eni_id, SourceDestCheck={"Value": False})
    w.client.modify_network_interface_attribute(NetworkInterfaceId=eni_id, Description={"Value": "changed"})
    w.client.modify_network_interface_attribute(NetworkInterfaceId=eni_id, Groups=[eni["Groups"][0]["GroupId"]])
    same("modified", (describe()["SourceDestCheck"], describe()["Description"]), (False, "changed"))
    w.client.create_tags(Resources=[eni_id, w.node, w.subnet, w.vpc], Tags=[{"Key": "owner", "Value": "drive"}])
    check("tagged", {"Key": "owner", "Value": "drive"} in describe()["TagSet"], describe()["TagSet"])
    addresses(w, eni_id, describe)
    refused("a second one at the same index", "InvalidParameterValue", attach_new, w, 1,
            text=f"Instance '{w.node}' already has an interface attached at device index '1'.")
    refused("deleting while attached", "InvalidParameterValue", w.client.delete_network_interface,
            NetworkInterfaceId=eni_id, text=f"Network interface '{eni_id}' is currently in use.")
    w.client.detach_network_interface(AttachmentId=attached["AttachmentId"])
    refused("detaching twice", "InvalidAttachmentID.NotFound", w.client.detach_network_interface,
            AttachmentId=attached["AttachmentId"])
    w.client.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[eni_id])
    w.client.delete_network_interface(NetworkInterfaceId=eni_id)
    refused("deleting twice", "InvalidNetworkInterfaceID.NotFound", w.client.delete_network_interface,
            NetworkInterfaceId=eni_id, text=f"The networkInterface ID '{eni_id}' does not exist")
    same("nothing is leaked", free(), before - 1)


def attach_new(w, index):
    eni = w.client.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    w.spare = eni
    w.client.attach_network_interface(NetworkInterfaceId=eni, InstanceId=w.node, DeviceIndex=index)


def addresses(w, eni, describe):
    assigned = w.client.assign_private_ip_addresses(NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=2)
    same("assigned: interface", assigned["NetworkInterfaceId"], eni)
    given = [a["PrivateIpAddress"] for a in assigned["AssignedPrivateIpAddresses"]]
    listed = [a["PrivateIpAddress"] for a in describe()["PrivateIpAddresses"]]
    same("assigned addresses are listed", listed[-2:], given)
    explicit = w.client.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.1.250"])
    same("explicit", [a["PrivateIpAddress"] for a in explicit["AssignedPrivateIpAddresses"]], ["10.0.1.250"])
    refused("an explicit address that is taken", "Resource.AlreadyAssigned", w.client.assign_private_ip_addresses,
            NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.1.250"])
    prefixes = w.client.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=2)["AssignedIpv4Prefixes"]
    nets = [ipaddress.ip_network(p["Ipv4Prefix"]) for p in prefixes]
    check("prefixes are two aligned /28", [n.prefixlen for n in nets] == [28, 28], nets)
    same("prefixes are listed", describe()["Ipv4Prefixes"], prefixes)
    held = len(describe()["PrivateIpAddresses"]) + len(describe()["Ipv4Prefixes"])
    w.client.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=10 - held)
    refused("more than the slots", "PrivateIpAddressLimitExceeded", w.client.assign_private_ip_addresses,
            NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1,
            text="Number of private addresses will exceed limit.")
    refused("two kinds at once", "InvalidParameterCombination", w.client.assign_private_ip_addresses,
            NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1, Ipv4PrefixCount=1)
    refused("nothing", "MissingParameter", w.client.assign_private_ip_addresses, NetworkInterfaceId=eni)
    w.client.unassign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=given)
    refused("unassigning twice", "InvalidParameterValue", w.client.unassign_private_ip_addresses,
            NetworkInterfaceId=eni, PrivateIpAddresses=given,
            text=f"Some of the specified addresses are not assigned to interface {eni}")
    w.client.unassign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4Prefixes=[str(nets[0])])
    check("the prefix is gone", str(nets[0]) not in [p["Ipv4Prefix"] for p in describe()["Ipv4Prefixes"]])


def explicit_creation(w):
    made = w.client.create_network_interface(
        SubnetId=w.other_subnet,
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.2.20", "Primary": True},
            {"PrivateIpAddress": "10.0.2.21", "Primary": False},
        ],
    )["NetworkInterface"]
    same("explicit addresses", [a["PrivateIpAddress"] for a in made["PrivateIpAddresses"]], ["10.0.2.20", "10.0.2.21"])
    block = free_block(w)
    prefix = w.client.create_network_interface(SubnetId=w.other_subnet, Ipv4Prefixes=[{"Ipv4Prefix": block}])
    same("explicit prefix", prefix["NetworkInterface"]["Ipv4Prefixes"], [{"Ipv4Prefix": block}])
    counted = w.client.create_network_interface(SubnetId=w.other_subnet, Ipv4PrefixCount=2)["NetworkInterface"]
    same("prefix count", len(counted["Ipv4Prefixes"]), 2)
    refused("a primary that is taken", "InvalidIPAddress.InUse", w.client.create_network_interface,
            SubnetId=w.other_subnet, PrivateIpAddress="10.0.2.20")
    refused("more addresses than are free", "InsufficientFreeAddressesInSubnet", fill, w, "SecondaryPrivateIpAddressCount")
    refused("more prefixes than are free", "InsufficientCidrBlocks", fill, w, "Ipv4PrefixCount")
    refused("another zone", "InvalidParameterCombination", w.client.attach_network_interface,
            NetworkInterfaceId=made["NetworkInterfaceId"], InstanceId=w.node, DeviceIndex=2)


def free_block(w):
    enis = w.client.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [w.other_subnet]}])
    used = [ipaddress.ip_address(a["PrivateIpAddress"]) for e in enis["NetworkInterfaces"] for a in e["PrivateIpAddresses"]]
    blocks = list(ipaddress.ip_network("10.0.2.0/24").subnets(new_prefix=28))[1:-1]
    return str(next(b for b in blocks if not any(a in b for a in used)))


def fill(w, member):
    for _ in range(20):
        w.client.create_network_interface(SubnetId=w.other_subnet, **{member: 14})


def limits(w):
    enis = [w.spare] + [w.client.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"] for _ in range(2)]
    for index, eni in enumerate(enis[:2]):
        w.client.attach_network_interface(NetworkInterfaceId=eni, InstanceId=w.node, DeviceIndex=index + 1)
    refused("a fourth interface on c5.large", "AttachmentLimitExceeded", w.client.attach_network_interface,
            NetworkInterfaceId=enis[2], InstanceId=w.node, DeviceIndex=3,
            text="Interface count 4 exceeds the limit for c5.large")
    refused("attaching what is attached", "InvalidNetworkInterface.InUse", w.client.attach_network_interface,
            NetworkInterfaceId=enis[0], InstanceId=w.node, DeviceIndex=3, text=f"Interface: [{enis[0]}] in use.")
    primary = w.client.describe_network_interfaces(
        Filters=[
            {"Name": "attachment.instance-id", "Values": [w.node]},
            {"Name": "attachment.device-index", "Values": ["0"]},
        ]
    )["NetworkInterfaces"][0]
    refused("detaching the primary", "OperationNotPermitted", w.client.detach_network_interface,
            AttachmentId=primary["Attachment"]["AttachmentId"],
            text="The network interface at device index 0 and networkCard index 0 cannot be detached.")


def lists(w):
    for _ in range(7):
        w.client.create_network_interface(SubnetId=w.subnet, Description="many")
    many = [{"Name": "description", "Values": ["many"]}]
    pages = list(
        w.client.get_paginator("describe_network_interfaces").paginate(
            Filters=many, PaginationConfig={"PageSize": 5}
        )
    )
    same("pages of five", [len(p["NetworkInterfaces"]) for p in pages], [5, 2])
    ids = [e["NetworkInterfaceId"] for p in pages for e in p["NetworkInterfaces"]]
    same("no interface twice", len(set(ids)), 7)
    for paginator, member in [("describe_instances", "Reservations"), ("describe_subnets", "Subnets"), ("describe_vpcs", "Vpcs")]:
        found = [x for p in w.client.get_paginator(paginator).paginate(PaginationConfig={"PageSize": 5}) for x in p[member]]
        check(f"{paginator} pages", len(found) in (1, 2), found)
    available = w.client.describe_network_interfaces(
        Filters=many + [{"Name": "status", "Values": ["available"]}, {"Name": "vpc-id", "Values": [w.vpc]}]
    )["NetworkInterfaces"]
    same("several filters", len(available), 7)
    missing = "eni-00000000000000001"
    refused("one missing of two", "InvalidNetworkInterfaceID.NotFound", w.client.describe_network_interfaces,
            NetworkInterfaceIds=[ids[0], missing], text=f"The networkInterface ID '{missing}' does not exist")


def front_door(w):
    c = w.client
    refused("a malformed id", "InvalidNetworkInterfaceID.Malformed", c.describe_network_interfaces,
            NetworkInterfaceIds=["eni-xyz"], text='Invalid id: "eni-xyz" (expecting "eni-...")')
    refused("a malformed subnet", "InvalidSubnetID.Malformed", c.create_network_interface, SubnetId="subnet_1")
    refused("a malformed instance", "InvalidInstanceID.Malformed", c.describe_instances, InstanceIds=["x"])
    refused("an unknown subnet", "InvalidSubnetID.NotFound", c.create_network_interface, SubnetId="subnet-00000001")
    refused("an unknown instance", "InvalidInstanceID.NotFound", c.describe_instances, InstanceIds=["i-00000001"])
    refused("an unknown vpc", "InvalidVpcID.NotFound", c.describe_vpcs, VpcIds=["vpc-00000001"])
    refused("an unknown group", "InvalidGroup.NotFound", c.create_network_interface, SubnetId=w.subnet, Groups=["sg-00000001"])
    refused("an unknown attachment", "InvalidAttachmentID.NotFound", c.detach_network_interface, AttachmentId="eni-attach-00000001")
    refused("an unknown resource", "InvalidID", c.create_tags, Resources=["foo-00000001"], Tags=[{"Key": "k", "Value": "v"}])
    refused("a reserved tag", "InvalidParameterValue", c.create_tags, Resources=[w.subnet], Tags=[{"Key": "aws:x", "Value": ""}])
    refused("fifty-one tags", "TagLimitExceeded", c.create_tags, Resources=[w.subnet],
            Tags=[{"Key": f"k{n}", "Value": ""} for n in range(51)])
    refused("an unknown filter", "InvalidParameterValue", c.describe_subnets,
            Filters=[{"Name": "nonsense", "Values": ["x"]}], text="The filter 'nonsense' is invalid")
    refused("a filter that is not served", "UnsupportedOperation", c.describe_instance_types,
            Filters=[{"Name": "ebs-info.nvme-support", "Values": ["true"]}])
    refused("a small page", "InvalidMaxResults",
            with_parameter(w.connect(), "DescribeNetworkInterfaces", MaxResults="4").describe_network_interfaces)
    refused("a foreign page token", "InvalidPaginationToken", c.describe_subnets, NextToken="nonsense")
    refused("ids and pages", "InvalidParameterCombination", c.describe_network_interfaces,
            NetworkInterfaceIds=[w.spare], MaxResults=5)
    refused("a dry run", "DryRunOperation", c.create_network_interface, SubnetId=w.subnet, DryRun=True, status=412,
            text="Request would have succeeded, but DryRun flag is set.")
    refused("a parameter that is not served", "UnsupportedOperation", c.create_network_interface, SubnetId=w.subnet, EnablePrimaryIpv6=True)
    refused("a kind that is not served", "UnsupportedOperation", c.create_network_interface, SubnetId=w.subnet, InterfaceType="efa")
    refused("moving an address", "UnsupportedOperation", c.assign_private_ip_addresses,
            NetworkInterfaceId=w.spare, PrivateIpAddresses=["10.0.1.9"], AllowReassignment=True)
    refused("two attributes at once", "InvalidParameterCombination", c.modify_network_interface_attribute,
            NetworkInterfaceId=w.spare, SourceDestCheck={"Value": True}, Description={"Value": "x"})
    refused("no attribute", "InvalidParameterCombination", c.modify_network_interface_attribute, NetworkInterfaceId=w.spare)
    refused("an action that is not served", "InvalidAction", c.describe_volumes)
    refused("an unknown parameter", "UnknownParameter",
            with_parameter(w.connect(), "DescribeVpcs", Nonsense="1").describe_vpcs,
            text="The parameter Nonsense is not recognized")
    refused("an unknown version", "NoSuchVersion",
            with_parameter(w.connect(), "DescribeVpcs", Version="1999-01-01").describe_vpcs)
    refused("a required parameter that is empty", "MissingParameter",
            with_parameter(w.connect(), "DeleteNetworkInterface", NetworkInterfaceId="").delete_network_interface,
            NetworkInterfaceId=w.spare, text="The request must contain the parameter NetworkInterfaceId")
    refused("no credentials", "MissingAuthenticationToken", w.connect(signature_version=UNSIGNED).describe_vpcs, status=403)


PARTS = [describe_places, describe_instances, describe_types, life_of_an_interface, explicit_creation, limits, lists, front_door]
