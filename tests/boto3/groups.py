"""Security groups and their rules."""
from world import check, refused, same, with_parameter

SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}


def groups_of(w, **kwargs):
    return w.client.describe_security_groups(**kwargs)["SecurityGroups"]


def default_group(w):
    group, = groups_of(w, Filters=[{"Name": "group-name", "Values": ["default"]}])
    same("its VPC", group["VpcId"], w.vpc)
    inside, = group["IpPermissions"]
    same("members reach each other", [g["GroupId"] for g in inside["UserIdGroupPairs"]], [group["GroupId"]])
    same("in every protocol", (inside["IpProtocol"], "FromPort" in inside), ("-1", False))
    same("everything goes out", [r["CidrIp"] for p in group["IpPermissionsEgress"] for r in p["IpRanges"]], ["0.0.0.0/0"])
    refused("it stays", "CannotDelete", w.client.delete_security_group, GroupId=group["GroupId"])
    eni = w.client.describe_network_interfaces()["NetworkInterfaces"][0]
    same("interfaces are in it", eni["Groups"], [{"GroupId": group["GroupId"], "GroupName": "default"}])


def life_of_a_group(w):
    c = w.client
    made = c.create_security_group(
        GroupName="web", Description="for the web", VpcId=w.vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": [{"Key": "k", "Value": "v"}]}])
    group = made["GroupId"]
    check("its resource name", made["SecurityGroupArn"].endswith(f"security-group/{group}"), made)
    shown, = groups_of(w, GroupIds=[group])
    same("as made", (shown["GroupName"], shown["Description"], shown["Tags"], shown["IpPermissions"]), ("web", "for the web", made["Tags"], []))
    same("all may go out, in both families", sorted(
        r.get("CidrIp", r.get("CidrIpv6")) for p in shown["IpPermissionsEgress"] for r in p["IpRanges"] + p["Ipv6Ranges"]), ["0.0.0.0/0", "::/0"])
    c.get_waiter("security_group_exists").wait(GroupIds=[group])
    rules(w, group)
    members(w, group)
    refused("the name twice", "InvalidGroup.Duplicate", c.create_security_group, GroupName="web", Description="d", VpcId=w.vpc)
    refused("a reserved name", "InvalidParameterValue", c.create_security_group, GroupName="default", Description="d", VpcId=w.vpc)
    refused("no VPC", "VPCIdNotSpecified", c.create_security_group, GroupName="x", Description="d")
    refused("no name", "MissingParameter", c.create_security_group, GroupName="", Description="d", VpcId=w.vpc)
    refused("another VPC", "InvalidVpcID.NotFound", c.create_security_group, GroupName="x", Description="d", VpcId="vpc-00000001")
    refused("a malformed VPC", "InvalidVpcID.Malformed", c.create_security_group, GroupName="x", Description="d", VpcId="x")
    refused("fifty-one tags", "TagLimitExceeded", c.create_security_group, GroupName="x", Description="d", VpcId=w.vpc,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}])
    same("deleted", c.delete_security_group(GroupId=group)["GroupId"], group)
    for call in [c.delete_security_group]:
        refused("twice", "InvalidGroup.NotFound", call, GroupId=group)
        refused("malformed", "InvalidGroupId.Malformed", call, GroupId="x")
    refused("no group", "MissingParameter", c.delete_security_group)
    refused("not listed", "InvalidGroup.NotFound", c.describe_security_groups, GroupIds=[group])
    refused("not listed as malformed", "InvalidGroupId.Malformed", c.describe_security_groups, GroupIds=["x"])


def rules(w, group):
    c = w.client
    answer = c.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        SSH | {"IpRanges": [{"CidrIp": "192.0.2.0/24", "Description": "office"}, {"CidrIp": "198.51.100.7/32"}],
               "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]},
        {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group, "UserId": "123456789012", "Description": "own"}]},
    ])
    made = answer["SecurityGroupRules"]
    same("a rule for each peer", len(made), 5)
    same("none goes out", {r["IsEgress"] for r in made}, {False})
    own, = [r for r in made if "ReferencedGroupInfo" in r]
    same("its own members", own["ReferencedGroupInfo"]["GroupId"], group)
    shown, = groups_of(w, GroupIds=[group])
    ssh, = [p for p in shown["IpPermissions"] if p["IpProtocol"] == "tcp"]
    same("one permission for one port", sorted(r["CidrIp"] for r in ssh["IpRanges"]), ["192.0.2.0/24", "198.51.100.7/32"])
    check("descriptions stay", {"CidrIp": "192.0.2.0/24", "Description": "office"} in ssh["IpRanges"], ssh)
    listed = [r for page in c.get_paginator("describe_security_group_rules").paginate(
        Filters=[{"Name": "group-id", "Values": [group]}], PaginationConfig={"PageSize": 5}) for r in page["SecurityGroupRules"]]
    same("rules in pages, with those that go out", len({r["SecurityGroupRuleId"] for r in listed}), 7)
    one, = c.describe_security_group_rules(SecurityGroupRuleIds=[own["SecurityGroupRuleId"]])["SecurityGroupRules"]
    same("one rule", one, own)
    same("in the short form", c.authorize_security_group_ingress(
        GroupId=group, IpProtocol="udp", FromPort=53, ToPort=54, CidrIp="203.0.113.9/24")["SecurityGroupRules"][0]["CidrIpv4"], "203.0.113.0/24")
    rule_refusals(w, group)
    gone = c.revoke_security_group_ingress(GroupId=group, IpPermissions=[SSH | {"IpRanges": [{"CidrIp": "192.0.2.0/24"}]}])
    same("revoked", [r["CidrIpv4"] for r in gone["RevokedSecurityGroupRules"]], ["192.0.2.0/24"])
    by_id = c.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[own["SecurityGroupRuleId"]])
    same("revoked by id", by_id["RevokedSecurityGroupRules"][0]["ReferencedGroupId"], group)
    c.revoke_security_group_ingress(GroupId=group, IpProtocol="udp", FromPort=53, ToPort=54, CidrIp="203.0.113.0/24")
    out = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    same("outwards", c.authorize_security_group_egress(GroupId=group, IpPermissions=[out])["SecurityGroupRules"][0]["IsEgress"], True)
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    c.revoke_security_group_egress(GroupId=group, IpPermissions=[everything])
    shown, = groups_of(w, GroupIds=[group])
    same("only that is left", [(p["IpProtocol"], p["FromPort"]) for p in shown["IpPermissionsEgress"]], [("tcp", 443)])


def rule_refusals(w, group):
    c = w.client
    there = SSH | {"IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    fresh = SSH | {"IpRanges": [{"CidrIp": "192.0.2.9/32"}]}
    egress = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    many = [{"IpProtocol": "tcp", "FromPort": n, "ToPort": n, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]} for n in range(1, 62)]
    for way, there_already in [("ingress", there), ("egress", egress)]:
        add = getattr(c, f"authorize_security_group_{way}")
        take = getattr(c, f"revoke_security_group_{way}")
        refused(f"{way}: a rule twice", "InvalidPermission.Duplicate", add, GroupId=group, IpPermissions=[there_already])
        refused(f"{way}: too many", "RulesPerSecurityGroupLimitExceeded", add, GroupId=group, IpPermissions=many)
        refused(f"{way}: no such rule", "InvalidPermission.NotFound", take, GroupId=group, IpPermissions=[fresh])
        refused(f"{way}: no such rule id", "InvalidSecurityGroupRuleId.NotFound", take, GroupId=group, SecurityGroupRuleIds=["sgr-00000001"])
        refused(f"{way}: a malformed rule id", "InvalidSecurityGroupRuleId.Malformed", take, GroupId=group, SecurityGroupRuleIds=["x"])
        refused(f"{way}: rules by both", "InvalidParameterCombination", take, GroupId=group, IpPermissions=[fresh], SecurityGroupRuleIds=["sgr-00000001"])
        for call in [add, take]:
            refused(f"{way}: no such group", "InvalidGroup.NotFound", call, GroupId="sg-00000001", IpPermissions=[fresh])
            refused(f"{way}: a malformed group", "InvalidGroupId.Malformed", call, GroupId="x", IpPermissions=[fresh])
            refused(f"{way}: ports of TCP", "InvalidParameterValue", call, GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
            refused(f"{way}: nothing", "MissingParameter", call, GroupId=group)
            refused(f"{way}: another account", "InvalidParameterValue", call, GroupId=group,
                    IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group, "UserId": "210987654321"}]}])
    refused("a list and one", "InvalidParameterCombination", c.authorize_security_group_ingress,
            GroupId=group, IpPermissions=[fresh], IpProtocol="tcp", FromPort=1, ToPort=1, CidrIp="0.0.0.0/0")
    refused("a list and one", "InvalidParameterCombination", c.revoke_security_group_ingress,
            GroupId=group, IpPermissions=[fresh], IpProtocol="tcp", FromPort=1, ToPort=1, CidrIp="0.0.0.0/0")
    refused("an unknown rule", "InvalidSecurityGroupRuleId.NotFound", c.describe_security_group_rules, SecurityGroupRuleIds=["sgr-00000001"])
    refused("a malformed rule", "InvalidSecurityGroupRuleId.Malformed", c.describe_security_group_rules, SecurityGroupRuleIds=["x"])
    same("refused calls change nothing", len(groups_of(w, GroupIds=[group])[0]["IpPermissions"]), 4)


def members(w, group):
    c = w.client
    other = c.create_security_group(GroupName="other", Description="d", VpcId=w.vpc)["GroupId"]
    eni = c.create_network_interface(SubnetId=w.subnet, Groups=[group])["NetworkInterface"]["NetworkInterfaceId"]
    refused("a group with members", "DependencyViolation", c.delete_security_group, GroupId=group)
    c.modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[other])
    same("moved", [g["GroupId"] for g in c.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]["Groups"]], [other])
    refused("too many groups", "SecurityGroupsPerInterfaceLimitExceeded", c.modify_network_interface_attribute,
            NetworkInterfaceId=eni, Groups=[f"sg-0000000{n}" for n in range(6)])
    refused("an unknown group", "InvalidGroup.NotFound", c.modify_network_interface_attribute, NetworkInterfaceId=eni, Groups=["sg-00000001"])
    c.authorize_security_group_ingress(GroupId=other, IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}])
    by_peer = groups_of(w, GroupIds=[other], Filters=[{"Name": "ip-permission.group-name", "Values": ["web"]}])
    same("found by the name of a group that is not asked for", [g["GroupId"] for g in by_peer], [other])
    refused("a group in another's rule", "DependencyViolation", c.delete_security_group, GroupId=group)
    c.delete_network_interface(NetworkInterfaceId=eni)
    c.delete_security_group(GroupId=other)


def in_pages(w):
    made = [w.client.create_security_group(GroupName=f"page-{n}", Description="d", VpcId=w.vpc)["GroupId"] for n in range(7)]
    pages = list(w.client.get_paginator("describe_security_groups").paginate(
        Filters=[{"Name": "group-name", "Values": ["page-*"]}], PaginationConfig={"PageSize": 5}))
    same("pages of five", [len(p["SecurityGroups"]) for p in pages], [5, 2])
    for group in made:
        w.client.delete_security_group(GroupId=group)
    refused("a foreign page token", "InvalidPaginationToken", w.client.describe_security_groups, NextToken="x")
    refused("a foreign page token", "InvalidPaginationToken", w.client.describe_security_group_rules, NextToken="x")
    for operation in ["describe_security_groups", "describe_security_group_rules"]:
        name = w.client.meta.method_to_api_mapping[operation]
        refused("a small page", "InvalidMaxResults", getattr(with_parameter(w.connect(), name, MaxResults="4"), operation))


PARTS = [default_group, life_of_a_group, in_pages]
