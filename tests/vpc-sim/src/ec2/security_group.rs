//! Security groups: their requests, and how they are written. Their rules: `permission.rs`.

use std::collections::BTreeMap;

use super::action::Shape;
use super::filter;
use super::permission::{Wire, wire};
use super::query::Params;
use super::tag;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::id::SecurityGroupId;
use crate::model::request::{NewGroup, Operation, Request, Tags};
use crate::model::response::GroupDescription;
use crate::model::security_group::{Direction, Peer, Rule};

/// Characters of a name and of a description (AWS documentation of the action).
const NAME_CHARACTERS: usize = 255;

pub(super) fn parse_create(params: &mut Params) -> Result<Request, Ec2Error> {
    let name = text(params, "GroupName")?;
    if name == "default" || name.starts_with("sg-") {
        return Err(Ec2Error::InvalidValue {
            parameter: "groupName".to_owned(),
            value: name,
            reason: "The name may be neither default nor begin with sg-.",
        });
    }
    let description = text(params, "GroupDescription")?;
    if !params.has("VpcId") {
        return Err(Ec2Error::NoDefaultVpc);
    }
    Ok(Request::CreateSecurityGroup(NewGroup {
        name,
        description,
        vpc: params.id("VpcId")?,
        tags: tag::read_specifications(params, "security-group")?,
    }))
}

fn text(params: &mut Params, name: &'static str) -> Result<String, Ec2Error> {
    let text = params.required(name)?;
    if text.chars().count() > NAME_CHARACTERS {
        return Err(Ec2Error::InvalidValue {
            parameter: name.to_owned(),
            value: text,
            reason: "The text is longer than 255 characters.",
        });
    }
    Ok(text)
}

pub(super) fn parse_delete(params: &mut Params) -> Result<Request, Ec2Error> {
    Ok(Request::DeleteSecurityGroup {
        group: params.id("GroupId")?,
    })
}

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("GroupId")?;
    let shape = Shape::parse(params, Operation::DescribeSecurityGroups)?;
    Ok(shape.describe(ids, Request::DescribeSecurityGroups))
}

pub(super) fn write_created(xml: &mut Xml, id: &SecurityGroupId, arn: &str, tags: &Tags) {
    xml.leaf("groupId", id);
    xml.tags(tags);
    xml.leaf("securityGroupArn", arn);
}

pub(super) fn write_deleted(xml: &mut Xml, id: &SecurityGroupId) {
    xml.leaf("return", true);
    xml.leaf("groupId", id);
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<GroupDescription>) {
    let kept = filter::keep(&shape.filters, list, |group| Some(&group.tags), field);
    let (page, next) = shape.page.cut(kept, |group| group.id.to_string());
    xml.list("securityGroupInfo", &page, |xml, group| {
        xml.leaf("ownerId", &group.owner);
        xml.leaf("groupId", &group.id);
        xml.leaf("groupName", &group.name);
        xml.leaf("groupDescription", &group.description);
        xml.leaf("vpcId", &group.vpc);
        xml.leaf("securityGroupArn", &group.arn);
        write_permissions(xml, "ipPermissions", group, Direction::Ingress);
        write_permissions(xml, "ipPermissionsEgress", group, Direction::Egress);
        xml.tags(&group.tags);
    });
    xml.maybe("nextToken", next);
}

fn field(group: &GroupDescription, name: &str) -> Vec<String> {
    let direction = |direction| group.rules.iter().filter(move |rule| rule.direction == direction);
    if let Some(rest) = name.strip_prefix("egress.ip-permission.") {
        return direction(Direction::Egress)
            .flat_map(|rule| rule_field(group, rule, rest))
            .collect();
    }
    if let Some(rest) = name.strip_prefix("ip-permission.") {
        return direction(Direction::Ingress)
            .flat_map(|rule| rule_field(group, rule, rest))
            .collect();
    }
    let value = match name {
        "description" => group.description.clone(),
        "group-id" => group.id.to_string(),
        "group-name" => group.name.clone(),
        "owner-id" => group.owner.clone(),
        "vpc-id" => group.vpc.to_string(),
        _ => return Vec::new(),
    };
    vec![value]
}

fn rule_field(group: &GroupDescription, rule: &Rule, name: &str) -> Option<String> {
    let Wire { protocol, ports } = wire(rule.allowed.traffic);
    match (name, &rule.allowed.peer) {
        ("protocol", _) => Some(protocol),
        ("from-port", _) => ports.map(|(from, _)| from.to_string()),
        ("to-port", _) => ports.map(|(_, to)| to.to_string()),
        ("cidr", Peer::Ipv4(cidr)) => Some(cidr.to_string()),
        ("ipv6-cidr", Peer::Ipv6(cidr)) => Some(cidr.to_string()),
        ("group-id", Peer::Group(id)) => Some(id.to_string()),
        ("group-name", Peer::Group(id)) => group.peers.get(id).cloned(),
        ("user-id", Peer::Group(_)) => Some(group.owner.clone()),
        _ => None,
    }
}

/// Rules of the same traffic are one permission.
fn write_permissions(xml: &mut Xml, name: &str, group: &GroupDescription, direction: Direction) {
    let mut permissions: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
    for rule in group.rules.iter().filter(|rule| rule.direction == direction) {
        permissions.entry(rule.allowed.traffic).or_default().push(rule);
    }
    xml.list(name, permissions, |xml, (traffic, rules)| {
        let Wire { protocol, ports } = wire(traffic);
        xml.leaf("ipProtocol", protocol);
        xml.maybe("fromPort", ports.map(|(from, _)| from));
        xml.maybe("toPort", ports.map(|(_, to)| to));
        write_peers(xml, &group.owner, &rules);
    });
}

fn write_peers(xml: &mut Xml, owner: &str, rules: &[&Rule]) {
    let described = |xml: &mut Xml, rule: &Rule| xml.maybe("description", rule.description.as_ref());
    let groups = rules.iter().filter_map(|rule| match &rule.allowed.peer {
        Peer::Group(id) => Some((id, *rule)),
        Peer::Ipv4(_) | Peer::Ipv6(_) => None,
    });
    xml.list("groups", groups, |xml, (id, rule)| {
        xml.leaf("userId", owner);
        xml.leaf("groupId", id);
        described(xml, rule);
    });
    let ranges = rules.iter().filter_map(|rule| match &rule.allowed.peer {
        Peer::Ipv4(cidr) => Some((cidr, *rule)),
        Peer::Ipv6(_) | Peer::Group(_) => None,
    });
    xml.list("ipRanges", ranges, |xml, (cidr, rule)| {
        xml.leaf("cidrIp", cidr);
        described(xml, rule);
    });
    let ranges = rules.iter().filter_map(|rule| match &rule.allowed.peer {
        Peer::Ipv6(cidr) => Some((cidr, *rule)),
        Peer::Ipv4(_) | Peer::Group(_) => None,
    });
    xml.list("ipv6Ranges", ranges, |xml, (cidr, rule)| {
        xml.leaf("cidrIpv6", cidr);
        described(xml, rule);
    });
    xml.node("prefixListIds", |_| {});
}
