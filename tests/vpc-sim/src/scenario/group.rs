//! Security groups of a scenario: what is written, what is wrong with it, and the rules it means.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;

use super::Faults;
use crate::model::id::SecurityGroupId;
use crate::model::security_group::{Allowed, Direction, IcmpKind, Peer, Ports, Rule, Traffic};

/// A security group to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// How nodes and rules refer to it.
    pub name: String,
    /// What may come in; nothing else does.
    #[serde(default)]
    pub ingress: Vec<GroupRule>,
    /// What may go out: everything when absent, as a new group of EC2 has it; nothing else when given.
    #[serde(default)]
    pub egress: Option<Vec<GroupRule>>,
}

/// A rule of a group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRule {
    /// `all`, `tcp`, `udp`, `icmp`, `icmpv6` or a number.
    #[serde(default = "all")]
    pub protocol: String,
    /// One port, or the lowest and highest with a dash between; every port when absent. Only for tcp and udp.
    #[serde(default)]
    pub ports: Option<PortRange>,
    /// A CIDR, or the name of a group whose members are meant.
    pub peer: String,
}

/// Ports as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PortRange {
    /// One.
    One(u16),
    /// Two with a dash between.
    Text(String),
}

/// The names of protocols that are no numbers.
const PROTOCOLS: &str = "all, tcp, udp, icmp, icmpv6 or a number up to 255";

/// The name that the group of a VPC has from the start.
const TAKEN: &str = "default";

fn all() -> String {
    "all".to_owned()
}

/// Everything from and to everybody.
#[must_use]
pub fn everything(direction: Direction) -> Vec<Rule> {
    let everybody = [Peer::Ipv4(Ipv4Net::default()), Peer::Ipv6(Ipv6Net::default())];
    everybody
        .into_iter()
        .map(|peer| rule(direction, Traffic::All, peer))
        .collect()
}

impl Group {
    /// The rules that it means. `ids` has every group.
    #[must_use]
    pub fn rules(&self, ids: &BTreeMap<&str, SecurityGroupId>) -> Vec<Rule> {
        let ingress = self.ingress.iter().map(|rule| (Direction::Ingress, rule));
        let egress = self.egress.iter().flatten().map(|rule| (Direction::Egress, rule));
        let rules = ingress.chain(egress).filter_map(|(direction, written)| {
            let peer = match written.peer.parse::<IpNet>() {
                Ok(IpNet::V4(net)) => Peer::Ipv4(net.trunc()),
                Ok(IpNet::V6(net)) => Peer::Ipv6(net.trunc()),
                Err(_) => Peer::Group(ids.get(written.peer.as_str())?.clone()),
            };
            Some(rule(direction, written.traffic().ok()?, peer))
        });
        let mut rules: Vec<Rule> = rules.collect();
        if self.egress.is_none() {
            rules.extend(everything(Direction::Egress));
        }
        rules
    }

    fn written(&self) -> impl Iterator<Item = &GroupRule> {
        self.ingress.iter().chain(self.egress.iter().flatten())
    }
}

impl GroupRule {
    /// Which packets it means, or what is wrong with it and how it could be right.
    fn traffic(&self) -> Result<Traffic, (String, &'static str)> {
        let kind = IcmpKind {
            kind: None,
            code: None,
        };
        let with_ports = matches!(self.protocol.as_str(), "tcp" | "udp");
        if self.ports.is_some() && !with_ports {
            return Err((
                self.protocol.clone(),
                "has no ports; leave them out, or choose tcp or udp",
            ));
        }
        match self.protocol.as_str() {
            "all" => Ok(Traffic::All),
            "tcp" => Ok(Traffic::Tcp(self.range()?)),
            "udp" => Ok(Traffic::Udp(self.range()?)),
            "icmp" => Ok(Traffic::Icmp(kind)),
            "icmpv6" => Ok(Traffic::Icmpv6(kind)),
            number => number
                .parse()
                .map(Traffic::Protocol)
                .map_err(|_| (self.protocol.clone(), PROTOCOLS)),
        }
    }

    fn range(&self) -> Result<Ports, (String, &'static str)> {
        let (first, last) = match &self.ports {
            None => (Some(0), Some(u16::MAX)),
            Some(PortRange::One(port)) => (Some(*port), Some(*port)),
            Some(PortRange::Text(text)) => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                (first.trim().parse().ok(), last.trim().parse().ok())
            }
        };
        match (first, last, &self.ports) {
            (Some(first), Some(last), _) if first <= last => Ok(Ports { first, last }),
            (_, _, Some(PortRange::Text(text))) => Err((
                text.clone(),
                "is no range of ports; write the lowest, a dash and the highest",
            )),
            (_, _, ports) => Err((format!("{ports:?}"), "is no range of ports")),
        }
    }
}

/// What is wrong with the groups.
pub(super) fn faults(groups: &[Group], faults: &mut Faults<'_>) {
    for (index, group) in groups.iter().enumerate() {
        let mut complain = |what: &str, remedy: &str| faults.in_item("security_groups", index, what, remedy);
        let earlier = groups.get(..index).unwrap_or_default();
        if earlier.iter().any(|other| other.name == group.name) {
            complain(&group.name, "two security groups have this name; rename one");
        }
        if group.name == TAKEN || group.name.parse::<IpNet>().is_ok() {
            complain(&group.name, "is the name of something else; choose another");
        }
        for rule in group.written() {
            if let Err((what, remedy)) = rule.traffic() {
                complain(&what, remedy);
            }
            let is_group = groups.iter().any(|other| other.name == rule.peer);
            if !is_group && rule.peer.parse::<IpNet>().is_err() {
                complain(
                    &rule.peer,
                    "is neither a CIDR nor the name of a security group of this scenario",
                );
            }
        }
    }
}

fn rule(direction: Direction, traffic: Traffic, peer: Peer) -> Rule {
    Rule {
        direction,
        allowed: Allowed { traffic, peer },
        description: None,
    }
}
