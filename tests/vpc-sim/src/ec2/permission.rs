//! Rules of security groups: EC2's permissions, each of which bundles several, in both directions.

use std::collections::BTreeSet;

use ipnet::{Ipv4Net, Ipv6Net};

use super::action::Shape;
use super::filter;
use super::query::{Params, parse_value};
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::{Operation, Request, Revoked};
use crate::model::response::RuleDescription;
use crate::model::security_group::{Allowed, Direction, IcmpKind, Peer, Ports, Rule, Traffic};

/// How EC2 writes traffic: a protocol by name or number, and two numbers that are ports or an ICMP type and code.
pub(super) struct Wire {
    pub(super) protocol: String,
    pub(super) ports: Option<(i64, i64)>,
}

pub(super) fn wire(traffic: Traffic) -> Wire {
    let ports = |name: &str, ports: Ports| Wire {
        protocol: name.to_owned(),
        ports: Some((ports.first.into(), ports.last.into())),
    };
    let icmp = |name: &str, IcmpKind { kind, code }: IcmpKind| Wire {
        protocol: name.to_owned(),
        ports: Some((kind.map_or(-1, i64::from), code.map_or(-1, i64::from))),
    };
    match traffic {
        Traffic::All => Wire {
            protocol: "-1".to_owned(),
            ports: None,
        },
        Traffic::Tcp(range) => ports("tcp", range),
        Traffic::Udp(range) => ports("udp", range),
        Traffic::Icmp(kind) => icmp("icmp", kind),
        Traffic::Icmpv6(kind) => icmp("icmpv6", kind),
        Traffic::Protocol(number) => Wire {
            protocol: number.to_string(),
            ports: None,
        },
    }
}

/// What was meant; numbers stand for names too (AWS documentation, `IpPermission`).
fn traffic(protocol: &str, from: Option<i64>, to: Option<i64>) -> Result<Traffic, Ec2Error> {
    match protocol {
        "-1" | "all" => Ok(Traffic::All),
        "tcp" | "6" => Ok(Traffic::Tcp(ports(from, to)?)),
        "udp" | "17" => Ok(Traffic::Udp(ports(from, to)?)),
        "icmp" | "1" => Ok(Traffic::Icmp(icmp(from, to)?)),
        "icmpv6" | "58" => Ok(Traffic::Icmpv6(icmp(from, to)?)),
        other => Ok(Traffic::Protocol(parse_value(
            "ipProtocol",
            other.to_owned(),
            "Expecting tcp, udp, icmp, icmpv6, a protocol number or -1.",
        )?)),
    }
}

fn ports(from: Option<i64>, to: Option<i64>) -> Result<Ports, Ec2Error> {
    let invalid = |reason| Ec2Error::InvalidValue {
        parameter: "portRange".to_owned(),
        value: [from, to]
            .map(|end| end.map_or("none".to_owned(), |end| end.to_string()))
            .join("-"),
        reason,
    };
    let (Some(first), Some(last)) = (from, to) else {
        return Err(invalid("Must specify both from and to ports with TCP/UDP."));
    };
    match (u16::try_from(first), u16::try_from(last)) {
        (Ok(first), Ok(last)) if first <= last => Ok(Ports { first, last }),
        _ => Err(invalid(
            "Expecting ports between 0 and 65535, the lower one first.",
        )),
    }
}

fn icmp(from: Option<i64>, to: Option<i64>) -> Result<IcmpKind, Ec2Error> {
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u8::try_from(value).map(Some).map_err(|_| Ec2Error::InvalidValue {
            parameter: "icmpTypeCode".to_owned(),
            value: value.to_string(),
            reason: "Expecting a number between -1 and 255.",
        }),
    };
    Ok(IcmpKind {
        kind: number(from)?,
        code: number(to)?,
    })
}

pub(super) fn parse_authorize(params: &mut Params, direction: Direction) -> Result<Request, Ec2Error> {
    let group = params.id("GroupId")?;
    let Permissions { rules, accounts } = permissions(params, direction)?;
    if rules.is_empty() {
        return Err(Ec2Error::MissingParameter("ipPermissions"));
    }
    Ok(Request::Authorize {
        group,
        direction,
        rules,
        accounts,
    })
}

pub(super) fn parse_revoke(params: &mut Params, direction: Direction) -> Result<Request, Ec2Error> {
    let group = params.id("GroupId")?;
    let ids = params.ids("SecurityGroupRuleId")?;
    let Permissions { rules, accounts } = permissions(params, direction)?;
    let revoked = match (ids.is_empty(), rules.is_empty()) {
        (true, true) => return Err(Ec2Error::MissingParameter("ipPermissions")),
        (true, false) => Revoked::Rules(rules),
        (false, true) => Revoked::Ids(ids),
        (false, false) => {
            return Err(Ec2Error::InvalidCombination(
                "You may specify either security group rule IDs or permissions",
            ));
        }
    };
    Ok(Request::Revoke {
        group,
        direction,
        revoked,
        accounts,
    })
}

/// What a call allows or takes away.
#[derive(Default)]
struct Permissions {
    rules: Vec<Rule>,
    /// The accounts that its groups are said to be of.
    accounts: BTreeSet<String>,
}

/// The permissions of the list, or the one that is written without a list.
fn permissions(params: &mut Params, direction: Direction) -> Result<Permissions, Ec2Error> {
    let mut all = Permissions::default();
    for index in params.indexes("IpPermissions") {
        permission(params, &format!("IpPermissions.{index}."), direction, &mut all)?;
    }
    let alone = ["IpProtocol", "FromPort", "ToPort", "CidrIp"];
    if !alone.iter().any(|name| params.has(name)) {
        return Ok(all);
    }
    if !all.rules.is_empty() {
        return Err(Ec2Error::InvalidCombination(
            "You may specify either a list of permissions or the parameters of one",
        ));
    }
    let traffic = read_traffic(params, "")?;
    let text = params
        .text("CidrIp")
        .ok_or(Ec2Error::MissingParameter("cidrIp"))?;
    all.rules.push(Rule {
        direction,
        allowed: Allowed {
            traffic,
            peer: Peer::Ipv4(cidr(text)?),
        },
        description: None,
    });
    Ok(all)
}

/// One permission of the list: a rule for each of its peers.
fn permission(
    params: &mut Params,
    prefix: &str,
    direction: Direction,
    all: &mut Permissions,
) -> Result<(), Ec2Error> {
    let traffic = read_traffic(params, prefix)?;
    let mut peers = Vec::new();
    for at in members(params, &format!("{prefix}IpRanges")) {
        let text = required(params, &at, "CidrIp", "cidrIp")?;
        peers.push((Peer::Ipv4(cidr(text)?), params.text(&format!("{at}.Description"))));
    }
    for at in members(params, &format!("{prefix}Ipv6Ranges")) {
        let text = required(params, &at, "CidrIpv6", "cidrIpv6")?;
        let net = parse_value::<Ipv6Net>("cidrIpv6", text, "Invalid IPv6 CIDR.")?;
        let description = params.text(&format!("{at}.Description"));
        peers.push((Peer::Ipv6(net.trunc()), description));
    }
    for at in members(params, &format!("{prefix}Groups")) {
        let id = required(params, &at, "GroupId", "groupId")?.parse()?;
        all.accounts.extend(params.text(&format!("{at}.UserId")));
        peers.push((Peer::Group(id), params.text(&format!("{at}.Description"))));
    }
    if peers.is_empty() {
        return Err(Ec2Error::MissingParameter("ipRanges"));
    }
    all.rules
        .extend(peers.into_iter().map(|(peer, description)| Rule {
            direction,
            allowed: Allowed { traffic, peer },
            description,
        }));
    Ok(())
}

fn members(params: &Params, list: &str) -> Vec<String> {
    let indexes = params.indexes(list).into_iter();
    indexes.map(|index| format!("{list}.{index}")).collect()
}

fn required(params: &mut Params, at: &str, name: &str, missing: &'static str) -> Result<String, Ec2Error> {
    params
        .text(&format!("{at}.{name}"))
        .ok_or(Ec2Error::MissingParameter(missing))
}

fn read_traffic(params: &mut Params, prefix: &str) -> Result<Traffic, Ec2Error> {
    let protocol = params
        .text(&format!("{prefix}IpProtocol"))
        .ok_or(Ec2Error::MissingParameter("ipProtocol"))?;
    let mut number = |name: &str| params.parsed(&format!("{prefix}{name}"), "Expecting an integer.");
    let (from, to) = (number("FromPort")?, number("ToPort")?);
    traffic(&protocol, from, to)
}

/// EC2 drops host bits.
fn cidr(text: String) -> Result<Ipv4Net, Ec2Error> {
    let net: Ipv4Net = parse_value("cidrIp", text, "Invalid CIDR.")?;
    Ok(net.trunc())
}

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("SecurityGroupRuleId")?;
    let shape = Shape::parse(params, Operation::DescribeSecurityGroupRules)?;
    Ok(shape.describe(ids, Request::DescribeSecurityGroupRules))
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<RuleDescription>) {
    let field = |rule: &RuleDescription, name: &str| match name {
        "group-id" => vec![rule.group.to_string()],
        "security-group-rule-id" => vec![rule.id.to_string()],
        _ => Vec::new(),
    };
    let kept = filter::keep(&shape.filters, list, |_| None, field);
    let (page, next) = shape.page.cut(kept, |rule| rule.id.to_string());
    xml.list("securityGroupRuleSet", &page, write);
    xml.maybe("nextToken", next);
}

pub(super) fn write_authorized(xml: &mut Xml, rules: &[RuleDescription]) {
    xml.leaf("return", true);
    xml.list("securityGroupRuleSet", rules, write);
}

fn write(xml: &mut Xml, rule: &RuleDescription) {
    write_shared(xml, rule);
    xml.leaf("groupOwnerId", &rule.owner);
    if let Peer::Group(id) = &rule.rule.allowed.peer {
        xml.node("referencedGroupInfo", |xml| {
            xml.leaf("groupId", id);
            xml.leaf("userId", &rule.owner);
            xml.leaf("vpcId", &rule.vpc);
        });
    }
    xml.node("tagSet", |_| {});
    xml.leaf("securityGroupRuleArn", &rule.arn);
}

pub(super) fn write_revoked(xml: &mut Xml, rules: &[RuleDescription]) {
    xml.leaf("return", true);
    xml.node("unknownIpPermissionSet", |_| {});
    xml.list("revokedSecurityGroupRuleSet", rules, |xml, rule| {
        write_shared(xml, rule);
        if let Peer::Group(id) = &rule.rule.allowed.peer {
            xml.leaf("referencedGroupId", id);
        }
    });
}

fn write_shared(xml: &mut Xml, rule: &RuleDescription) {
    let Wire { protocol, ports } = wire(rule.rule.allowed.traffic);
    xml.leaf("securityGroupRuleId", &rule.id);
    xml.leaf("groupId", &rule.group);
    xml.leaf("isEgress", rule.rule.direction == Direction::Egress);
    xml.leaf("ipProtocol", protocol);
    xml.leaf("fromPort", ports.map_or(-1, |(from, _)| from));
    xml.leaf("toPort", ports.map_or(-1, |(_, to)| to));
    match &rule.rule.allowed.peer {
        Peer::Ipv4(cidr) => xml.leaf("cidrIpv4", cidr),
        Peer::Ipv6(cidr) => xml.leaf("cidrIpv6", cidr),
        Peer::Group(_) => {}
    }
    xml.maybe("description", rule.rule.description.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_written_as_it_was_read_with_the_protocol_by_its_name() {
        let rows = [
            (("-1", None, None), "-1", None),
            (("-1", Some(5), Some(7)), "-1", None),
            (("tcp", Some(80), Some(90)), "tcp", Some((80, 90))),
            (("6", Some(80), Some(80)), "tcp", Some((80, 80))),
            (("udp", Some(0), Some(65535)), "udp", Some((0, 65535))),
            (("icmp", Some(8), Some(-1)), "icmp", Some((8, -1))),
            (("icmp", Some(-1), Some(-1)), "icmp", Some((-1, -1))),
            (("58", Some(128), Some(0)), "icmpv6", Some((128, 0))),
            (("47", None, None), "47", None),
        ];
        for ((protocol, from, to), name, ports) in rows {
            let read = traffic(protocol, from, to).expect("good traffic");
            let written = wire(read);
            assert_eq!((written.protocol.as_str(), written.ports), (name, ports));
        }
    }

    #[test]
    fn impossible_traffic_is_refused() {
        let rows = [
            ("tcp", None, None),
            ("tcp", Some(80), None),
            ("udp", Some(90), Some(80)),
            ("udp", Some(0), Some(65536)),
            ("udp", Some(-1), Some(-1)),
            ("icmp", Some(256), Some(0)),
            ("256", None, None),
            ("sctp?", None, None),
        ];
        for (protocol, from, to) in rows {
            let refused = traffic(protocol, from, to);
            assert!(
                matches!(refused, Err(Ec2Error::InvalidValue { .. })),
                "{protocol} {from:?} {to:?}"
            );
        }
    }
}
