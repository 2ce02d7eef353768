//! What the kernel tells of changes, and which of it may have broken something that we want: nearly all of it is pods
//! that come and go, whose plugins did just what we told them, and a look at everything costs milliseconds of a CPU.
//!
//! Left out: what is to be done. Whoever hears that something matters looks at the kernel as a whole.

use std::collections::BTreeSet;

use super::pod::{DOOMED_GROUP, PodWiring};
use super::{Route, TableId, Via};

/// The kernel's own tables (`RT_TABLE_DEFAULT`, `_MAIN`, `_LOCAL`, uapi/linux/rtnetlink.h).
const KERNELS_TABLES: std::ops::RangeInclusive<u32> = 253..=255;

/// Where the tables of ENIs on further network cards begin (`Place::table`).
const FURTHER_CARDS: u32 = 10_000;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A link did.
    Link(LinkNotice),
    /// A route came, or took another's place.
    RouteCame(Route),
    /// A route went.
    RouteWent(Route),
    /// Something in nftables did.
    Firewall,
    /// An address or a rule did.
    Other,
    /// Notices were lost.
    Everything,
}

/// What happened to which link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkNotice {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: u32,
    /// What happened.
    pub step: LinkStep,
}

/// What happened to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStep {
    /// It is new.
    Created,
    /// It was set up.
    WentUp,
    /// It was set down.
    WentDown,
    /// It is gone.
    Deleted,
    /// Something else.
    Other,
}

/// Tells what matters by itself from what does not, before the ledger is asked.
#[derive(Clone, Debug)]
pub struct Sieve {
    veth_prefix: String,
    /// Pods' devices that are new and were never up: what is set up for the first time has no routes to lose.
    fresh: BTreeSet<u32>,
}

impl Sieve {
    /// For pods' devices with these first letters.
    #[must_use]
    pub fn new(veth_prefix: &str) -> Self {
        Self {
            veth_prefix: veth_prefix.to_owned(),
            fresh: BTreeSet::new(),
        }
    }

    /// Whether it may concern us.
    pub fn lets_through(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::Link(link) => self.lets_link_through(link),
            Notice::RouteCame(route) | Notice::RouteWent(route) => is_our_table(route.table),
            Notice::Firewall | Notice::Other => true,
            Notice::Everything => {
                self.fresh.clear();
                true
            }
        }
    }

    /// A pod's device matters when it is set up again: when it was set down, its routes went without a notice.
    fn lets_link_through(&mut self, link: &LinkNotice) -> bool {
        let is_pods = link.name.starts_with(&self.veth_prefix);
        match link.step {
            LinkStep::Deleted => {
                self.fresh.remove(&link.index);
                !is_pods && link.group != DOOMED_GROUP
            }
            _ if link.group == DOOMED_GROUP => false,
            _ if !is_pods => true,
            LinkStep::Created => {
                self.fresh.insert(link.index);
                false
            }
            LinkStep::WentUp => !self.fresh.remove(&link.index),
            LinkStep::WentDown | LinkStep::Other => false,
        }
    }
}

fn is_our_table(table: TableId) -> bool {
    table == TableId::PODS || table.0 < *KERNELS_TABLES.start() || table.0 >= FURTHER_CARDS
}

/// Whether a route in one of our tables that came, or went, is another than the plugin of this address' pod would have
/// added, or removed.
#[must_use]
pub fn is_strange(route: &Route, came: bool, holder: Option<&PodWiring>) -> bool {
    let Via::Link { index, .. } = route.via else {
        return true;
    };
    match (route.table, holder) {
        (TableId::PODS, Some(pod)) => !came || index != pod.chosen_index(),
        // A plugin removes the route after the ledger forgot the pod.
        (TableId::PODS, None) => came,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::address::Mac;
    use crate::net::pod::{GATEWAY, Leg};

    const NAME: &str = "eni0123456789a";
    const POD: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 30);

    fn link(name: &str, group: u32, step: LinkStep) -> Notice {
        Notice::Link(LinkNotice {
            index: 7,
            name: name.to_owned(),
            group,
            step,
        })
    }

    #[test]
    fn a_pod_that_comes_and_goes_does_not_matter_but_one_that_is_set_up_again_does() {
        let mut sieve = Sieve::new("eni");
        for (name, group, step, matters) in [
            (NAME, 0, LinkStep::Created, false),
            (NAME, 0, LinkStep::Other, false),
            (NAME, 0, LinkStep::WentUp, false),
            (NAME, 0, LinkStep::WentDown, false),
            (NAME, 0, LinkStep::WentUp, true),
            (NAME, 0, LinkStep::WentDown, false),
            ("gone7", DOOMED_GROUP, LinkStep::Other, false),
            ("gone7", DOOMED_GROUP, LinkStep::Deleted, false),
            (NAME, 0, LinkStep::Created, false),
            (NAME, 0, LinkStep::Deleted, false),
            (NAME, 0, LinkStep::WentUp, true),
            ("eth1", 0, LinkStep::Created, true),
            ("eth1", 0, LinkStep::Deleted, true),
        ] {
            assert_eq!(
                sieve.lets_through(&link(name, group, step)),
                matters,
                "{name} {step:?}"
            );
        }
    }

    #[test]
    fn what_was_lost_may_have_been_anything() {
        let mut sieve = Sieve::new("eni");
        assert!(!sieve.lets_through(&link(NAME, 0, LinkStep::Created)));
        assert!(sieve.lets_through(&Notice::Everything));
        assert!(sieve.lets_through(&link(NAME, 0, LinkStep::WentUp)));
    }

    #[test]
    fn only_the_plugins_own_routes_are_no_strangers() {
        let pod = PodWiring {
            host_name: NAME.parse().unwrap(),
            host_mac: Mac([2, 0, 0, 0, 0, 1]),
            pod_name: "eth0".parse().unwrap(),
            pod_mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu_bytes: 9001,
            v4: Some(Leg {
                address: POD,
                gateway: GATEWAY,
                node_address: None,
            }),
            v6: None,
            table: TableId::PODS,
            rules: Vec::new(),
        };
        let route = |table, index| Route {
            table,
            to: IpAddr::V4(POD).into(),
            via: Via::Link { index, source: None },
        };
        let (own, other) = (pod.chosen_index(), 9);
        let pods = TableId::PODS;
        for (route, came, holder, strange) in [
            (route(pods, own), true, Some(&pod), false),
            (route(pods, other), true, Some(&pod), true),
            (route(pods, own), false, Some(&pod), true),
            (route(pods, own), false, None, false),
            (route(pods, own), true, None, true),
            (route(TableId(2), other), false, None, true),
        ] {
            assert_eq!(is_strange(&route, came, holder), strange, "{route:?} {came}");
        }
        let blackhole = Route {
            via: Via::Blackhole,
            ..route(pods, own)
        };
        assert!(is_strange(&blackhole, false, Some(&pod)));
    }

    #[test]
    fn routes_of_other_tables_are_nobodys_business() {
        let mut sieve = Sieve::new("eni");
        for (table, ours) in [
            (2, true),
            (254, false),
            (255, false),
            (5120, true),
            (7777, false),
            (10_101, true),
        ] {
            let route = Route {
                table: TableId(table),
                to: ipnet::Ipv4Net::default().into(),
                via: Via::Blackhole,
            };
            assert_eq!(sieve.lets_through(&Notice::RouteWent(route)), ours, "{table}");
        }
    }
}
