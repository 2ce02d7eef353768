//! Security groups: what they let in and out, as data. Whoever carries packets applies it; nothing is filtered here.
//!
//! A rule is one protocol, one range and one peer; EC2's calls bundle several into a permission, and so do its answers.
//! Two rules of a group that allow the same are one. It leaves out prefix lists, peered groups and tags of rules.

mod calls;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Model;
use super::id::{SecurityGroupId, SecurityGroupRuleId};
use super::request::Tags;
use super::timeline::{Facet, Viewer};

/// A security group.
#[derive(Clone, Debug)]
pub(crate) struct SecurityGroup {
    pub(crate) id: SecurityGroupId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) exists: Facet<bool>,
    pub(crate) rules: Facet<Rules>,
    pub(crate) tags: Facet<Tags>,
}

/// The rules of a group.
pub(crate) type Rules = BTreeMap<SecurityGroupRuleId, Rule>;

/// Which way a rule lets packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To the ENI.
    Ingress,
    /// From the ENI.
    Egress,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which way.
    pub direction: Direction,
    /// What passes.
    pub allowed: Allowed,
    /// Free text.
    pub description: Option<String>,
}

/// What a rule lets pass: this traffic with this peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowed {
    /// Which packets.
    pub traffic: Traffic,
    /// From whom, or to whom.
    pub peer: Peer,
}

/// Which packets a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// All of them.
    All,
    /// TCP to these destination ports.
    Tcp(Ports),
    /// UDP to these destination ports.
    Udp(Ports),
    /// ICMP for IPv4.
    Icmp(IcmpKind),
    /// ICMP for IPv6.
    Icmpv6(IcmpKind),
    /// Another IP protocol, by number.
    Protocol(u8),
}

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// Types and codes of ICMP; what is absent means all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IcmpKind {
    /// The type.
    pub kind: Option<u8>,
    /// The code.
    pub code: Option<u8>,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// These addresses.
    Ipv4(Ipv4Net),
    /// These addresses.
    Ipv6(Ipv6Net),
    /// The private addresses of every ENI in this group.
    Group(SecurityGroupId),
}

impl SecurityGroup {
    fn new(id: SecurityGroupId, name: &str, description: &str, rules: Rules) -> Self {
        Self {
            id,
            name: name.to_owned(),
            description: description.to_owned(),
            exists: Facet::new(true),
            rules: Facet::new(rules),
            tags: Facet::new(Tags::new()),
        }
    }

    /// The next moment after `now` at which some viewer sees something new.
    pub(crate) fn next_after(&self, now: Duration) -> Option<Duration> {
        [
            self.exists.next_after(now),
            self.rules.next_after(now),
            self.tags.next_after(now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Forget history before `horizon`; false when nobody can see the group any more.
    pub(crate) fn keep_after(&mut self, horizon: Duration) -> bool {
        self.exists.forget_before(horizon);
        self.rules.forget_before(horizon);
        self.tags.forget_before(horizon);
        *self.exists.truth.last() || *self.exists.seen_by(Viewer::Api, horizon)
    }
}

impl Model {
    /// Add a security group with the rules of every new one: nothing may come in, everything may go out.
    pub fn add_group(&mut self, name: &str) -> SecurityGroupId {
        let id = self.fresh_group_id(name);
        let rules = self.numbered(&id, self.outgoing());
        let group = SecurityGroup::new(id.clone(), name, name, rules);
        self.groups.insert(id.clone(), group);
        id
    }

    /// The group of ENIs that name none: its members may reach each other, and everything else may be reached from them
    /// (AWS documentation, "Default security groups").
    pub(crate) fn make_default_group(&mut self) {
        let id = self.default_group.clone();
        let members = Rule {
            direction: Direction::Ingress,
            allowed: Allowed {
                traffic: Traffic::All,
                peer: Peer::Group(id.clone()),
            },
            description: None,
        };
        let mut rules = self.outgoing();
        rules.push(members);
        let rules = self.numbered(&id, rules);
        let group = SecurityGroup::new(id.clone(), "default", "default VPC security group", rules);
        self.groups.insert(id, group);
    }

    /// Add rules to a group, as an operator; seen by everybody at once. Those that are there already stay as they are.
    pub fn add_rules(&mut self, now: Duration, id: &SecurityGroupId, rules: Vec<Rule>) {
        let Some(group) = self.groups.get(id) else { return };
        let mut all = group.rules.truth.last().clone();
        let fresh = rules
            .into_iter()
            .filter(|rule| !all.values().any(|known| known.same(rule)))
            .collect();
        all.extend(self.numbered(id, fresh));
        if let Some(group) = self.groups.get_mut(id) {
            group.rules.set(all, super::timeline::Seen::at_once(now));
        }
    }

    /// Make these the rules of a group, as an operator; seen by everybody at once.
    pub fn replace_rules(&mut self, now: Duration, id: &SecurityGroupId, rules: Vec<Rule>) {
        let rules = self.numbered(id, rules);
        if let Some(group) = self.groups.get_mut(id) {
            group.rules.set(rules, super::timeline::Seen::at_once(now));
        }
    }

    /// The group of ENIs that name none.
    #[must_use]
    pub fn default_group(&self) -> &SecurityGroupId {
        &self.default_group
    }

    /// The rules of a new group: everything may go out, in each family that the VPC has.
    fn outgoing(&self) -> Vec<Rule> {
        let ipv6 = !self.vpc.ipv6_cidrs.is_empty();
        let everybody = [
            Some(Peer::Ipv4(Ipv4Net::default())),
            ipv6.then(|| Peer::Ipv6(Ipv6Net::default())),
        ];
        everybody
            .into_iter()
            .flatten()
            .map(|peer| Rule {
                direction: Direction::Egress,
                allowed: Allowed {
                    traffic: Traffic::All,
                    peer,
                },
                description: None,
            })
            .collect()
    }

    fn numbered(&mut self, group: &SecurityGroupId, rules: Vec<Rule>) -> Rules {
        let mut fresh = || SecurityGroupRuleId::numbered(self.chance.draw("rule", group.as_str()).bits());
        rules.into_iter().map(|rule| (fresh(), rule)).collect()
    }

    fn fresh_group_id(&mut self, name: &str) -> SecurityGroupId {
        SecurityGroupId::numbered(self.chance.draw("group", name).bits())
    }

    /// What the groups of an ENI let pass as packets meet it.
    pub(crate) fn allowed(
        &self,
        now: Duration,
        groups: &[SecurityGroupId],
        direction: Direction,
    ) -> BTreeSet<Allowed> {
        let rules = groups
            .iter()
            .filter_map(|id| self.groups.get(id))
            .flat_map(|group| group.rules.seen_by(Viewer::Kernel, now).values());
        rules
            .filter(|rule| rule.direction == direction)
            .map(|rule| rule.allowed.clone())
            .collect()
    }
}

impl Rule {
    /// Whether both allow the same; descriptions do not matter.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.direction == other.direction && self.allowed == other.allowed
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer: {}, {}, ALLOW", self.peer, self.traffic)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(cidr) => cidr.fmt(f),
            Self::Ipv6(cidr) => cidr.fmt(f),
            Self::Group(id) => id.fmt(f),
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |f: &mut fmt::Formatter<'_>, name: &str, ports: &Ports| {
            write!(f, "{name}, from port: {}, to port: {}", ports.first, ports.last)
        };
        match self {
            Self::All => f.write_str("ALL"),
            Self::Tcp(range) => ports(f, "TCP", range),
            Self::Udp(range) => ports(f, "UDP", range),
            Self::Icmp(_) => f.write_str("ICMP"),
            Self::Icmpv6(_) => f.write_str("ICMPv6"),
            Self::Protocol(number) => write!(f, "protocol {number}"),
        }
    }
}
