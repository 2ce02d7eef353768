"""IPv6: addresses and /80 prefixes of interfaces, and the CIDRs of VPC and subnets."""
import ipaddress

from world import check, refused, same


def cidrs(w):
    vpc, = w.client.describe_vpcs(VpcIds=[w.vpc])["Vpcs"]
    association, = vpc["Ipv6CidrBlockAssociationSet"]
    same("the VPC's state", association["Ipv6CidrBlockState"], {"State": "associated"})
    whole = ipaddress.ip_network(association["Ipv6CidrBlock"])
    same("the VPC has a /56", whole.prefixlen, 56)
    for subnet in w.client.describe_subnets()["Subnets"]:
        part = ipaddress.ip_network(subnet["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])
        check("subnets have a /64 of it", part.prefixlen == 64 and part.subnet_of(whole), part)
        same("nothing is given unasked", subnet["AssignIpv6AddressOnCreation"], False)


def subnet_cidr(w, subnet):
    found, = w.client.describe_subnets(SubnetIds=[subnet])["Subnets"]
    return ipaddress.ip_network(found["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])


def creation(w):
    net = subnet_cidr(w, w.subnet)
    made = w.client.create_network_interface(SubnetId=w.subnet, Ipv6AddressCount=2)["NetworkInterface"]
    given = [ipaddress.ip_address(a["Ipv6Address"]) for a in made["Ipv6Addresses"]]
    check("two addresses of the subnet", len(given) == 2 and all(a in net for a in given), given)
    wanted = str(net.network_address + 0x1234)
    exact = w.client.create_network_interface(SubnetId=w.subnet, Ipv6Addresses=[{"Ipv6Address": wanted}])
    same("an explicit address", [a["Ipv6Address"] for a in exact["NetworkInterface"]["Ipv6Addresses"]], [wanted])
    refused("an address that is taken", "Resource.AlreadyAssigned", w.client.create_network_interface,
            SubnetId=w.subnet, Ipv6Addresses=[{"Ipv6Address": wanted}])
    block = str(ipaddress.ip_network((int(net.network_address) + (7 << 48), 80)))
    prefixes = w.client.create_network_interface(SubnetId=w.subnet, Ipv6Prefixes=[{"Ipv6Prefix": block}])
    same("an explicit prefix", prefixes["NetworkInterface"]["Ipv6Prefixes"], [{"Ipv6Prefix": block}])
    counted = w.client.create_network_interface(SubnetId=w.subnet, Ipv6PrefixCount=3)["NetworkInterface"]
    nets = [ipaddress.ip_network(p["Ipv6Prefix"]) for p in counted["Ipv6Prefixes"]]
    check("three /80", [n.prefixlen for n in nets] == [80] * 3 and all(n.subnet_of(net) for n in nets), nets)
    both = w.client.create_network_interface(SubnetId=w.subnet, Ipv6AddressCount=1, SecondaryPrivateIpAddressCount=2)
    both = both["NetworkInterface"]
    same("both families at once", (len(both["Ipv6Addresses"]), len(both["PrivateIpAddresses"])), (1, 3))
    refused("two kinds at once", "InvalidParameterCombination", w.client.create_network_interface,
            SubnetId=w.subnet, Ipv6AddressCount=1, Ipv6PrefixCount=1)
    for eni in [made, exact["NetworkInterface"], prefixes["NetworkInterface"], counted, both]:
        w.client.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    again = w.client.create_network_interface(SubnetId=w.subnet, Ipv6Addresses=[{"Ipv6Address": wanted}])
    check("a freed address can be had again", again["NetworkInterface"]["Ipv6Addresses"], again)
    w.client.delete_network_interface(NetworkInterfaceId=again["NetworkInterface"]["NetworkInterfaceId"])


def assignment(w):
    c = w.client
    eni = c.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    describe = lambda: c.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    assigned = c.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6AddressCount=2)
    same("assigned: interface", assigned["NetworkInterfaceId"], eni)
    given = assigned["AssignedIpv6Addresses"]
    same("assigned addresses are listed", [a["Ipv6Address"] for a in describe()["Ipv6Addresses"]], given)
    prefix, = c.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6PrefixCount=1)["AssignedIpv6Prefixes"]
    same("assigned prefixes are listed", describe()["Ipv6Prefixes"], [{"Ipv6Prefix": prefix}])
    same("found by one of its addresses", [e["NetworkInterfaceId"] for e in c.describe_network_interfaces(
        Filters=[{"Name": "ipv6-addresses.ipv6-address", "Values": [given[1]]}])["NetworkInterfaces"]], [eni])
    refused("a taken address", "Resource.AlreadyAssigned", c.assign_ipv6_addresses,
            NetworkInterfaceId=eni, Ipv6Addresses=[given[0]])
    refused("an address inside the prefix", "Resource.AlreadyAssigned", c.assign_ipv6_addresses,
            NetworkInterfaceId=eni, Ipv6Addresses=[str(ipaddress.ip_network(prefix).network_address + 9)])
    net = subnet_cidr(w, w.subnet)
    refused("a reserved address", "InvalidParameterValue", c.assign_ipv6_addresses,
            NetworkInterfaceId=eni, Ipv6Addresses=[str(net.network_address + 1)])
    refused("nothing", "MissingParameter", c.assign_ipv6_addresses, NetworkInterfaceId=eni)
    refused("none", "InvalidParameterValue", c.assign_ipv6_addresses, NetworkInterfaceId=eni, Ipv6AddressCount=0)
    refused("two kinds", "InvalidParameterCombination", c.assign_ipv6_addresses,
            NetworkInterfaceId=eni, Ipv6AddressCount=1, Ipv6PrefixCount=1)
    gone = c.unassign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Addresses=[given[0]])
    same("unassigned", (gone["NetworkInterfaceId"], gone["UnassignedIpv6Addresses"]), (eni, [given[0]]))
    same("the other one is left", [a["Ipv6Address"] for a in describe()["Ipv6Addresses"]], [given[1]])
    refused("unassigning twice", "InvalidParameterValue", c.unassign_ipv6_addresses,
            NetworkInterfaceId=eni, Ipv6Addresses=[given[0]])
    refused("unassigning nothing", "MissingParameter", c.unassign_ipv6_addresses, NetworkInterfaceId=eni)
    same("unassigned prefix", c.unassign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Prefixes=[prefix])["UnassignedIpv6Prefixes"], [prefix])
    for call in [c.assign_ipv6_addresses, c.unassign_ipv6_addresses]:
        refused("a malformed interface", "InvalidNetworkInterfaceID.Malformed", call, NetworkInterfaceId="eni-x", Ipv6Addresses=["::5"])
        refused("no such interface", "InvalidNetworkInterfaceID.NotFound", call, NetworkInterfaceId="eni-00000001", Ipv6Addresses=["::5"])
    c.delete_network_interface(NetworkInterfaceId=eni)


def slots(w):
    """IPv6 slots are counted apart from IPv4's: ten on a c5.large."""
    c = w.client
    primary = c.describe_instances(InstanceIds=[w.node])["Reservations"][0]["Instances"][0]["NetworkInterfaces"][0]
    eni = primary["NetworkInterfaceId"]
    given = c.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6AddressCount=9)["AssignedIpv6Addresses"]
    prefix = c.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6PrefixCount=1)["AssignedIpv6Prefixes"]
    refused("an eleventh", "PrivateIpAddressLimitExceeded", c.assign_ipv6_addresses,
            NetworkInterfaceId=eni, Ipv6AddressCount=1, text="Number of IPv6 addresses will exceed limit.")
    instance = c.describe_instances(InstanceIds=[w.node])["Reservations"][0]["Instances"][0]
    same("the instance's address is the first", instance["Ipv6Address"], given[0])
    c.unassign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Addresses=given, Ipv6Prefixes=prefix)
    big = c.create_network_interface(SubnetId=w.subnet, Ipv6AddressCount=11)["NetworkInterface"]["NetworkInterfaceId"]
    old = launch(w, "t1.micro")
    refused("a type without IPv6", "UnsupportedOperation", c.assign_ipv6_addresses,
            NetworkInterfaceId=old["NetworkInterfaces"][0]["NetworkInterfaceId"], Ipv6AddressCount=1)
    xen = launch(w, "t2.medium")
    refused("prefixes on Xen", "UnsupportedOperation", c.assign_ipv6_addresses,
            NetworkInterfaceId=xen["NetworkInterfaces"][0]["NetworkInterfaceId"], Ipv6PrefixCount=1)
    refused("attaching more than the type holds", "PrivateIpAddressLimitExceeded", c.attach_network_interface,
            NetworkInterfaceId=big, InstanceId=xen["InstanceId"], DeviceIndex=1)
    c.terminate_instances(InstanceIds=[old["InstanceId"], xen["InstanceId"]])
    c.delete_network_interface(NetworkInterfaceId=big)


def launch(w, kind):
    return w.client.run_instances(ImageId="ami-1", InstanceType=kind, MinCount=1, MaxCount=1, SubnetId=w.subnet)["Instances"][0]


PARTS = [cidrs, creation, assignment, slots]
