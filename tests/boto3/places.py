"""Availability zones and subnet CIDR reservations."""
import ipaddress

from world import check, refused, same, with_parameter


def zones(w):
    c = w.client
    found = c.describe_availability_zones()["AvailabilityZones"]
    same("the zones of the subnets", [(z["ZoneName"], z["ZoneId"]) for z in found], [("us-east-1a", "use1-az1"), ("us-east-1b", "use1-az2")])
    same("open to everybody", {(z["State"], z["OptInStatus"], z["ZoneType"]) for z in found}, {("available", "opt-in-not-required", "availability-zone")})
    same("by name", [z["ZoneId"] for z in c.describe_availability_zones(ZoneNames=["us-east-1b"])["AvailabilityZones"]], ["use1-az2"])
    same("by id", [z["ZoneName"] for z in c.describe_availability_zones(ZoneIds=["use1-az1"], AllAvailabilityZones=True)["AvailabilityZones"]], ["us-east-1a"])
    same("by filter", len(c.describe_availability_zones(Filters=[{"Name": "zone-name", "Values": ["*a"]}])["AvailabilityZones"]), 1)
    refused("an unknown zone", "InvalidParameterValue", c.describe_availability_zones, ZoneNames=["us-east-1z"], text="Invalid availability zone: [us-east-1z]")


def reservations(w):
    c = w.client
    make = lambda **kwargs: c.create_subnet_cidr_reservation(SubnetId=w.subnet, **kwargs)["SubnetCidrReservation"]
    listed = lambda **kwargs: c.get_subnet_cidr_reservations(SubnetId=w.subnet, **kwargs)
    prefixes = make(Cidr="10.0.1.64/27", ReservationType="prefix", Description="for pods",
                    TagSpecifications=[{"ResourceType": "subnet-cidr-reservation", "Tags": [{"Key": "k", "Value": "v"}]}])
    same("as made", (prefixes["Cidr"], prefixes["ReservationType"], prefixes["Description"], prefixes["Tags"]),
         ("10.0.1.64/27", "prefix", "for pods", [{"Key": "k", "Value": "v"}]))
    net = c.describe_subnets(SubnetIds=[w.subnet])["Subnets"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    half = str(list(ipaddress.ip_network(net).subnets(new_prefix=80))[9])
    ipv6 = make(Cidr=half, ReservationType="prefix")
    both = listed()
    same("by family", ([r["Cidr"] for r in both["SubnetIpv4CidrReservations"]], [r["Cidr"] for r in both["SubnetIpv6CidrReservations"]]), (["10.0.1.64/27"], [half]))
    eni = c.create_network_interface(SubnetId=w.subnet, Ipv4PrefixCount=1, Ipv6PrefixCount=1)["NetworkInterface"]
    given = ipaddress.ip_network(eni["Ipv4Prefixes"][0]["Ipv4Prefix"])
    check("prefixes come from there first", given.subnet_of(ipaddress.ip_network("10.0.1.64/27")), given)
    same("in IPv6 too", eni["Ipv6Prefixes"][0]["Ipv6Prefix"], half)
    explicit = make(Cidr="10.0.1.160/28", ReservationType="explicit")
    same("by type", [r["Cidr"] for r in listed(Filters=[{"Name": "reservationType", "Values": ["explicit"]}])["SubnetIpv4CidrReservations"]], ["10.0.1.160/28"])
    same("by tag", [r["Cidr"] for r in listed(Filters=[{"Name": "tag:k", "Values": ["v"]}])["SubnetIpv4CidrReservations"]], ["10.0.1.64/27"])
    reservation_refusals(w)
    more = [make(Cidr=f"10.0.1.{n}/32", ReservationType="explicit") for n in range(180, 184)]
    first = listed(MaxResults=5)
    rest = listed(MaxResults=5, NextToken=first["NextToken"])
    count = lambda page: len(page["SubnetIpv4CidrReservations"]) + len(page["SubnetIpv6CidrReservations"])
    same("pages of both families", (count(first), count(rest), "NextToken" in rest), (5, 2, False))
    for one in [prefixes, ipv6, explicit, *more]:
        gone = c.delete_subnet_cidr_reservation(SubnetCidrReservationId=one["SubnetCidrReservationId"])
        same("deleted", gone["DeletedSubnetCidrReservation"]["Cidr"], one["Cidr"])
    refused("twice", "InvalidSubnetCidrReservationID.NotFound", c.delete_subnet_cidr_reservation, SubnetCidrReservationId=prefixes["SubnetCidrReservationId"])
    refused("malformed", "InvalidSubnetCidrReservationID.Malformed", c.delete_subnet_cidr_reservation, SubnetCidrReservationId="x")
    held, = c.describe_network_interfaces(NetworkInterfaceIds=[eni["NetworkInterfaceId"]])["NetworkInterfaces"]
    same("what is in use stays", held["Ipv6Prefixes"][0]["Ipv6Prefix"], half)
    c.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])


def reservation_refusals(w):
    c = w.client
    make = lambda **kwargs: c.create_subnet_cidr_reservation(**({"SubnetId": w.subnet, "ReservationType": "prefix"} | kwargs))
    refused("an overlap", "InvalidCidr.Conflict", make, Cidr="10.0.1.64/28")
    refused("outside of the subnet", "InvalidParameterValue", make, Cidr="10.0.2.0/28")
    refused("outside in IPv6", "InvalidParameterValue", make, Cidr="2001:db8:ffff::/80")
    refused("no CIDR", "MissingParameter", make, Cidr="")
    refused("no such subnet", "InvalidSubnetID.NotFound", make, Cidr="10.0.1.0/28", SubnetId="subnet-00000001")
    refused("a malformed subnet", "InvalidSubnetID.Malformed", make, Cidr="10.0.1.0/28", SubnetId="x")
    refused("fifty-one tags", "TagLimitExceeded", make, Cidr="10.0.1.0/28",
            TagSpecifications=[{"ResourceType": "subnet-cidr-reservation", "Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}])
    refused("no such subnet", "InvalidSubnetID.NotFound", c.get_subnet_cidr_reservations, SubnetId="subnet-00000001")
    refused("a malformed subnet", "InvalidSubnetID.Malformed", c.get_subnet_cidr_reservations, SubnetId="x")
    refused("a foreign page token", "InvalidPaginationToken", c.get_subnet_cidr_reservations, SubnetId=w.subnet, NextToken="x")
    refused("a small page", "InvalidMaxResults",
            with_parameter(w.connect(), "GetSubnetCidrReservations", MaxResults="4").get_subnet_cidr_reservations, SubnetId=w.subnet)


PARTS = [zones, reservations]
