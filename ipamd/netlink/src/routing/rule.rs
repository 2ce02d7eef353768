//! Policy rules.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, route::RouteProtocol};

use super::Routing;
use crate::error::Error;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Bits of a packet's mark that a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// What they must be.
    pub value: u32,
    /// Which they are.
    pub mask: u32,
}

/// A rule that sends packets to a routing table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Lower is asked first.
    pub priority: u32,
    /// Which packets at all.
    pub family: Family,
    /// Only packets from here.
    pub from: Option<IpNet>,
    /// Only packets to here.
    pub to: Option<IpNet>,
    /// Only packets with this mark.
    pub mark: Option<Mark>,
    /// Only packets that came in by the link of this name.
    pub iif: Option<String>,
    /// The table to look in; 0 when the rule does something else (see `foreign`).
    pub table: u32,
    /// Who says so (kernel, include/uapi/linux/rtnetlink.h, `RTPROT_*`); 0 unless somebody chose one.
    pub protocol: u8,
    /// Read only: the rule has an action or a selector that this type cannot say, so it is not what it looks like
    /// and must be left alone.
    pub foreign: bool,
}

impl Rule {
    /// A rule that sends every packet of a family to a table.
    #[must_use]
    pub fn new(family: Family, priority: u32, table: u32) -> Self {
        Self {
            priority,
            family,
            from: None,
            to: None,
            mark: None,
            iif: None,
            table,
            protocol: 0,
            foreign: false,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl Family {
    pub(crate) fn number(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }

    /// The family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl Routing {
    /// Every rule of a family, in the order they are asked.
    ///
    /// # Errors
    /// When the kernel refuses, or the list changed under every attempt.
    pub async fn rules(&self, family: Family) -> Result<Vec<Rule>, Error> {
        let mut message = RuleMessage::default();
        message.header.family = family.number();
        let messages = self
            .dump(RouteNetlinkMessage::GetRule(message), || {
                format!("list {family} rules")
            })
            .await?;
        Ok(messages.into_iter().filter_map(|it| decode(it, family)).collect())
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_exists`] when an equal one is there.
    pub async fn add_rule(&self, rule: &Rule) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewRule(message(rule));
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, || format!("add {rule}"))
            .await
    }

    /// Deletes one rule that has all that the value says.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when there is none.
    pub async fn delete_rule(&self, rule: &Rule) -> Result<(), Error> {
        let message = RouteNetlinkMessage::DelRule(message(rule));
        self.change(message, 0, || format!("delete {rule}")).await
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {}:", self.family, self.priority)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " mark {:#x}/{:#x}", mark.value, mark.mask)?;
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = rule.family.number();
    message.header.action = RuleAction::ToTable;
    message.header.src_len = rule.from.map_or(0, |net| net.prefix_len());
    message.header.dst_len = rule.to.map_or(0, |net| net.prefix_len());
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Table(rule.table),
    ];
    message.attributes.extend(
        [
            rule.from.map(|net| RuleAttribute::Source(net.network())),
            rule.to.map(|net| RuleAttribute::Destination(net.network())),
            rule.mark.map(|mark| RuleAttribute::FwMark(mark.value)),
            rule.mark.map(|mark| RuleAttribute::FwMask(mark.mask)),
            rule.iif.clone().map(RuleAttribute::Iifname),
            (rule.protocol != 0).then(|| RuleAttribute::Protocol(RouteProtocol::from(rule.protocol))),
        ]
        .into_iter()
        .flatten(),
    );
    message
}

fn decode(message: RouteNetlinkMessage, family: Family) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(message) = message else {
        return None;
    };
    let header = message.header;
    let mut rule = Rule::new(family, 0, u32::from(header.table));
    rule.foreign =
        header.action != RuleAction::ToTable || header.tos != 0 || header.flags.contains(RuleFlags::Invert);
    let (mut value, mut mask) = (None, None);
    for attribute in message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Source(ip) => rule.from = IpNet::new(ip, header.src_len).ok(),
            RuleAttribute::Destination(ip) => rule.to = IpNet::new(ip, header.dst_len).ok(),
            RuleAttribute::FwMark(bits) => value = Some(bits),
            RuleAttribute::FwMask(bits) => mask = Some(bits),
            RuleAttribute::Iifname(name) => rule.iif = Some(name),
            RuleAttribute::Protocol(protocol) => rule.protocol = protocol.into(),
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::SuppressIfGroup(u32::MAX) => {}
            _ => rule.foreign = true,
        }
    }
    rule.mark = value.filter(|_| mask != Some(0)).map(|value| Mark {
        value,
        mask: mask.unwrap_or(u32::MAX),
    });
    Some(rule)
}
