//! Kernel vocabulary: what we want of links, routes, rules and translation, and what was seen of them.
//!
//! The layout (tables, priorities, marks) is described in `docs/concepts/kernel-layout.md`. Nothing in rules or
//! nftables is per pod, so forwarding cost does not grow with pods. Only what is ours is ever changed: rules of our
//! shapes at our priorities, routes in our tables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::address::Mac;
use crate::id::IfName;

pub mod diff;
pub mod eni;
pub mod notice;
pub mod pod;

/// A routing table's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId(pub u32);

impl TableId {
    /// The kernel's main table (`RT_TABLE_MAIN`, uapi/linux/rtnetlink.h).
    pub const MAIN: Self = Self(254);
    /// Routes to pods, and a blackhole for every block that the node owns.
    pub const PODS: Self = Self(5120);
}

/// Priorities of our rules. 513 and not 512: the peer's per-pod rules at 512 must be asked first.
pub mod priority {
    /// From all, look up the pods' table.
    pub const PODS: u32 = 513;
    /// Marked for the primary ENI, look up main. The peer's number.
    pub const PRIMARY: u32 = 1024;
    /// To an external service CIDR, look up main. The peer's number.
    pub const EXTERNAL_SERVICE: u32 = 1535;
    /// Marked for a secondary ENI, look up its table. Where the peer has its per-pod rules.
    pub const SECONDARY: u32 = 1536;
    /// From an ENI's own address, look up its table. The peer's number.
    pub const ENI_ADDRESS: u32 = 32765;
}

/// The number of a secondary ENI in the packet and connection mark, 1 to 127; allocated and journalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct EniMark(u8);

/// A number that is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no ENI's number in the mark; 1 to {MARK_SECONDARY_MASK} are")]
pub struct NoMark(u8);

impl TryFrom<u8> for EniMark {
    type Error = NoMark;

    fn try_from(number: u8) -> Result<Self, NoMark> {
        Self::new(number).ok_or(NoMark(number))
    }
}

impl From<EniMark> for u8 {
    fn from(mark: EniMark) -> Self {
        mark.0
    }
}

impl EniMark {
    /// The largest: seven bits.
    pub const LAST: Self = Self(MARK_SECONDARY_MASK as u8);

    /// The mark with this number, if there is one.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (1..=Self::LAST.0).contains(&number).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The mark after this one; after the last comes the first.
    #[must_use]
    pub fn next(self) -> Self {
        if self == Self::LAST {
            Self(1)
        } else {
            Self(self.0 + 1)
        }
    }
}

/// The bit that says "through the primary ENI": the peer's default, so its flows carry over.
pub const MARK_PRIMARY: u32 = 0x80;
/// The bits that number secondary ENIs.
pub const MARK_SECONDARY_MASK: u32 = 0x7f;
/// Every bit of the mark that is ours; no other is ever written.
pub const MARK_MASK: u32 = MARK_PRIMARY | MARK_SECONDARY_MASK;

/// Which packets a rule is asked for at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A policy rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// Which packets it is asked for.
    #[serde(default)]
    pub family: Family,
    /// Lower is asked first.
    pub priority: u32,
    /// The source that it is about.
    pub from: Option<IpNet>,
    /// The destination that it is about.
    pub to: Option<IpNet>,
    /// The mark that it is about: value and mask.
    pub mark: Option<(u32, u32)>,
    /// The table that it sends to.
    pub table: TableId,
}

impl Rule {
    /// About everything, before all others, to the main table: to be made more of.
    #[must_use]
    pub fn bare(family: Family) -> Self {
        Self {
            family,
            priority: 0,
            from: None,
            to: None,
            mark: None,
            table: TableId::MAIN,
        }
    }

    /// Whether a rule has the shape and place of one that we write, so that a stale one may be removed. In IPv6 that is
    /// only the one to pods: all of them are on the primary ENI.
    #[must_use]
    pub fn is_of_our_kind(&self) -> bool {
        let bare = self.from.is_none() && self.to.is_none();
        match self.priority {
            priority::PODS => bare && self.mark.is_none() && self.table == TableId::PODS,
            _ if self.family == Family::V6 => false,
            priority::PRIMARY => bare && self.mark == Some((MARK_PRIMARY, MARK_PRIMARY)),
            priority::EXTERNAL_SERVICE => {
                self.to.is_some() && self.mark.is_none() && self.table == TableId::MAIN
            }
            priority::SECONDARY => bare && self.mark.is_some_and(|(_, mask)| mask == MARK_SECONDARY_MASK),
            priority::ENI_ADDRESS => self.from.is_some() && self.mark.is_none(),
            _ => false,
        }
    }
}

/// A route in one of our tables, with the device by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The table.
    pub table: TableId,
    /// The destination.
    pub to: IpNet,
    /// Where it leads.
    pub via: Via,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// Out of a device, to the destination itself.
    Link {
        /// The device's index.
        index: u32,
        /// The source that the node itself uses.
        source: Option<IpAddr>,
    },
    /// Out of a device, by way of a gateway.
    Gateway {
        /// The device's index.
        index: u32,
        /// The gateway.
        gateway: IpAddr,
    },
    /// Nowhere: with the largest metric, so any other route wins.
    Blackhole,
}

/// A device as the kernel showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLink {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// Its address on the wire, where it has one of six bytes.
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu_bytes: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// `rp_filter` and `src_valid_mark`, where the kernel told.
    pub reverse_path: Option<ReversePath>,
}

/// The two IPv4 settings of a device that decide whether a marked packet passes the reverse path check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReversePath {
    /// 0 off, 1 strict, 2 loose (Documentation/networking/ip-sysctl.rst).
    pub rp_filter: u32,
    /// Whether the check takes the mark into account.
    pub src_valid_mark: bool,
}

/// What was seen of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetState {
    /// Every device of the host's namespace, by index.
    pub links: BTreeMap<u32, SeenLink>,
    /// Every IPv4 address with its prefix length, and the index of its device.
    pub addresses: BTreeSet<(u32, Ipv4Net)>,
    /// Every rule that can be said in our words.
    pub rules: BTreeSet<Rule>,
    /// Every route of the asked tables that can be said in our words.
    pub routes: BTreeSet<Route>,
}

impl NetState {
    /// The device with this MAC: how an ENI's device is found, whatever its name. An ENI's MAC may also stand on
    /// devices made on top of it; the lowest index is the ENI's own.
    #[must_use]
    pub fn link_by_mac(&self, mac: Mac) -> Option<&SeenLink> {
        self.links.values().find(|link| link.mac == Some(mac))
    }

    /// The device with this name.
    #[must_use]
    pub fn link_by_name(&self, name: &IfName) -> Option<&SeenLink> {
        self.links.values().find(|link| link.name == *name)
    }
}

/// How the source port of a translated connection is chosen (`AWS_VPC_K8S_CNI_RANDOMIZESNAT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourcePorts {
    /// `prng`: at random (the kernel's fully-random).
    #[default]
    Prng,
    /// `hashrandom`: by a hash.
    HashRandom,
    /// `none`: kept where possible.
    Keep,
}

/// Which traffic of pods is translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRules {
    /// Whether we translate at all.
    pub translate: bool,
    /// Destinations that are reached with the pod's own address.
    pub untranslated: BTreeSet<Ipv4Net>,
    /// The address that everything else gets.
    pub primary: Ipv4Addr,
    /// How its source port is chosen.
    pub source_ports: SourcePorts,
    /// Whether connections that arrived through an ENI go back through it.
    pub keep_way_back: bool,
}

/// The whole content of our nftables table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// The device of the primary ENI.
    pub primary_device: IfName,
    /// The devices of secondary ENIs, by mark.
    pub secondary_devices: BTreeMap<EniMark, IfName>,
    /// Secondary addresses of secondary ENIs.
    pub singles: BTreeMap<Ipv4Addr, EniMark>,
    /// Delegated prefixes of secondary ENIs.
    pub prefixes: BTreeMap<Ipv4Net, EniMark>,
    /// Every block that the node owns.
    pub pods: BTreeSet<Ipv4Net>,
    /// What is translated.
    pub nat: NatRules,
    /// First letters of our veths' names.
    pub veth_prefix: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_are_read_back() {
        for (text, good) in [
            ("0", false),
            ("1", true),
            ("127", true),
            ("128", false),
            ("255", false),
        ] {
            assert_eq!(serde_json::from_str::<EniMark>(text).is_ok(), good, "{text}");
        }
        assert_eq!(EniMark::LAST.next(), EniMark(1));
    }
}
