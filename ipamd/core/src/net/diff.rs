//! Wanted minus seen, as operations in the order in which they are safe.
//!
//! Rules and routes are added before others are removed. Within an ENI the device is set up and its address stands
//! before its routes, and the route to its gateway before the one through it. In steady state the diff is empty. What is not of our kind is never named here.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::eni::{REVERSE_PATH, Wanted, WantedEni};
use super::{NetState, Route, Rule, SeenLink, TableId, Via, priority};

mod words;

/// One change of the kernel. Already there and already gone are success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetOp {
    /// Sets a device's MTU, in bytes.
    SetMtu {
        /// The device.
        index: u32,
        /// In bytes.
        mtu_bytes: u32,
    },
    /// Sets a device's reverse path settings to [`REVERSE_PATH`].
    SetReversePath {
        /// The device.
        index: u32,
    },
    /// Sets a device up.
    SetUp {
        /// The device.
        index: u32,
    },
    /// Adds an address without a connected route.
    AddAddress {
        /// The device.
        index: u32,
        /// The address with its subnet's prefix length.
        address: Ipv4Net,
    },
    /// Removes an address.
    RemoveAddress {
        /// The device.
        index: u32,
        /// The address with its prefix length.
        address: Ipv4Net,
    },
    /// Adds a route, or replaces the one to the same destination.
    SetRoute(Route),
    /// Removes a route.
    RemoveRoute(Route),
    /// Adds a rule.
    AddRule(Rule),
    /// Removes a rule.
    RemoveRule(Rule),
}

impl NetOp {
    /// Whether every pod needs it: not what only waits to be removed, nor the route to one of them.
    #[must_use]
    pub fn is_everybodys(&self) -> bool {
        match self {
            Self::SetRoute(route) => route.table != TableId::PODS || !matches!(route.via, Via::Link { .. }),
            Self::RemoveAddress { .. } | Self::RemoveRoute(_) | Self::RemoveRule(_) => false,
            Self::SetMtu { .. }
            | Self::SetReversePath { .. }
            | Self::SetUp { .. }
            | Self::AddAddress { .. }
            | Self::AddRule(_) => true,
        }
    }
}

/// What must be done to the kernel.
#[must_use]
pub fn diff(wanted: &Wanted, seen: &NetState) -> Vec<NetOp> {
    let mut ops = Vec::new();
    for eni in &wanted.enis {
        if let Some(link) = seen.link_by_mac(eni.mac) {
            device(eni, link, wanted.eni_mtu_bytes, seen, &mut ops);
        }
    }
    let routes = wanted.routes(seen);
    let shaken = devices_that_lose_an_address(&ops);
    let is_missing = |route: &&Route| {
        !seen.routes.contains(*route) || device_of(route).is_some_and(|index| shaken.contains(&index))
    };
    let mut missing: Vec<Route> = routes.iter().filter(is_missing).copied().collect();
    // The kernel takes a gateway only where a route leads to it already.
    missing.sort_by_key(|route| matches!(route.via, Via::Gateway { .. }));
    ops.extend(missing.into_iter().map(NetOp::SetRoute));
    let rules = wanted.rules();
    ops.extend(rules.difference(&seen.rules).copied().map(NetOp::AddRule));
    let stale_rules = seen
        .rules
        .difference(&rules)
        .filter(|rule| may_go(rule, wanted, seen));
    ops.extend(stale_rules.copied().map(NetOp::RemoveRule));
    let stale_routes = seen
        .routes
        .difference(&routes)
        .filter(|route| is_stale(route, wanted, &routes));
    ops.extend(stale_routes.copied().map(NetOp::RemoveRoute));
    ops
}

fn device(eni: &WantedEni, link: &SeenLink, mtu_bytes: u32, seen: &NetState, ops: &mut Vec<NetOp>) {
    let index = link.index;
    if link.mtu_bytes != mtu_bytes {
        ops.push(NetOp::SetMtu { index, mtu_bytes });
    }
    if link.reverse_path != Some(REVERSE_PATH) {
        ops.push(NetOp::SetReversePath { index });
    }
    if eni.mark.is_none() {
        // The primary's address and state are the operating system's affair.
        return;
    }
    if !link.up {
        ops.push(NetOp::SetUp { index });
    }
    addresses(index, eni, seen, ops);
}

/// With an address that came first the kernel takes those of the same subnet that came later, so ours is added, again
/// if need be, once the others are gone.
fn addresses(index: u32, eni: &WantedEni, seen: &NetState, ops: &mut Vec<NetOp>) {
    let own = Ipv4Net::new_assert(eni.primary_ip, eni.subnet.prefix_len());
    let others = seen
        .addresses
        .iter()
        .filter(|(at, address)| *at == index && *address != own);
    let removals: Vec<NetOp> = others
        .map(|(index, address)| NetOp::RemoveAddress {
            index: *index,
            address: *address,
        })
        .collect();
    if !removals.is_empty() || !seen.addresses.contains(&(index, own)) {
        ops.extend(removals);
        ops.push(NetOp::AddAddress { index, address: own });
    }
}

/// With a device's last address the kernel takes every route out of it.
fn devices_that_lose_an_address(ops: &[NetOp]) -> BTreeSet<u32> {
    let losing = ops.iter().filter_map(|op| match op {
        NetOp::RemoveAddress { index, .. } => Some(*index),
        _ => None,
    });
    losing.collect()
}

fn device_of(route: &Route) -> Option<u32> {
    match route.via {
        Via::Link { index, .. } | Via::Gateway { index, .. } => Some(index),
        Via::Blackhole => None,
    }
}

/// A rule of our kind that is not wanted goes. Other agents write from-rules too, so one of those goes only when it
/// leads to a table of ours, or its source is no longer an address of this node: then the ENI is gone.
fn may_go(rule: &Rule, wanted: &Wanted, seen: &NetState) -> bool {
    let leads_to_ours = || wanted.enis.iter().any(|eni| eni.place.table() == rule.table);
    let source_is_here = || {
        seen.addresses
            .iter()
            .any(|(_, here)| rule.from == Some(IpNet::from(IpAddr::V4(here.addr()))))
    };
    rule.is_of_our_kind() && (rule.priority != priority::ENI_ADDRESS || leads_to_ours() || !source_is_here())
}

/// In the pods' table everything not wanted goes, except what is about to be replaced, and except a route to a pod
/// that holds its address: its device may be younger than the look at the devices.
fn is_stale(route: &Route, wanted: &Wanted, routes: &BTreeSet<Route>) -> bool {
    let blackhole = route.via == Via::Blackhole;
    let replaced = || {
        let same_place = |other: &&Route| other.table == route.table && other.to == route.to;
        routes
            .iter()
            .filter(same_place)
            .any(|other| (other.via == Via::Blackhole) == blackhole)
    };
    let of_a_pod = || !blackhole && wanted.pods.contains_key(&route.to.addr());
    route.table == TableId::PODS && !of_a_pod() && !replaced()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::Ipv4Addr;

    use super::*;
    use crate::address::{Block, Mac};
    use crate::net::eni::Place;
    use crate::net::{EniMark, Family, ReversePath};

    const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 30));

    fn eni(index: u32) -> WantedEni {
        WantedEni {
            id: "eni-01234567".parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, index as u8]),
            primary_ip: Ipv4Addr::new(10, 0, 1, 10 + index as u8),
            subnet: "10.0.1.0/24".parse().unwrap(),
            place: Place {
                device_index: index,
                network_card: 0,
            },
            mark: EniMark::new(index as u8),
            blocks: BTreeSet::from([Block::Secondary(Ipv4Addr::new(10, 0, 1, 30 + index as u8))]),
            prefix6: None,
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            enis: vec![eni(0), eni(1)],
            pods: BTreeMap::from([(POD, "eniabc".parse().unwrap())]),
            eni_mtu_bytes: 9001,
            node_address: Ipv4Addr::new(10, 0, 1, 10),
            external_services: BTreeSet::new(),
        }
    }

    fn link(index: u32, name: &str, mac: Mac, up: bool) -> (u32, SeenLink) {
        let reverse_path = Some(ReversePath {
            rp_filter: 0,
            src_valid_mark: false,
        });
        (
            index,
            SeenLink {
                index,
                name: name.parse().unwrap(),
                mac: Some(mac),
                mtu_bytes: 1500,
                up,
                reverse_path,
            },
        )
    }

    fn fresh() -> NetState {
        let veth = link(9, "eniabc", Mac([6, 0, 0, 0, 0, 9]), true);
        let links = [
            link(2, "ens5", eni(0).mac, true),
            link(3, "ens6", eni(1).mac, false),
            veth,
        ];
        let primary = (2, "10.0.1.10/24".parse().unwrap());
        NetState {
            links: links.into(),
            addresses: [primary].into(),
            ..NetState::default()
        }
    }

    /// What the kernel would show after the operations.
    fn apply(state: &mut NetState, ops: &[NetOp]) {
        for op in ops {
            match *op {
                NetOp::SetMtu { index, mtu_bytes } => {
                    state.links.get_mut(&index).unwrap().mtu_bytes = mtu_bytes
                }
                NetOp::SetUp { index } => state.links.get_mut(&index).unwrap().up = true,
                NetOp::SetReversePath { index } => {
                    state.links.get_mut(&index).unwrap().reverse_path = Some(REVERSE_PATH);
                }
                NetOp::AddAddress { index, address } => drop(state.addresses.insert((index, address))),
                NetOp::RemoveAddress { index, address } => drop(state.addresses.remove(&(index, address))),
                NetOp::SetRoute(route) => {
                    if let Via::Gateway { gateway, .. } = route.via {
                        let reachable =
                            |other: &Route| other.table == route.table && other.to == gateway.into();
                        assert!(
                            state.routes.iter().any(reachable),
                            "the kernel would refuse {route:?}"
                        );
                    }
                    let blackhole = route.via == Via::Blackhole;
                    state.routes.retain(|other| {
                        other.table != route.table
                            || other.to != route.to
                            || (other.via == Via::Blackhole) != blackhole
                    });
                    state.routes.insert(route);
                }
                NetOp::RemoveRoute(route) => drop(state.routes.remove(&route)),
                NetOp::AddRule(rule) => drop(state.rules.insert(rule)),
                NetOp::RemoveRule(rule) => drop(state.rules.remove(&rule)),
            }
        }
    }

    #[test]
    fn invariant_8_the_diff_of_what_was_applied_is_empty() {
        let mut state = fresh();
        let ops = diff(&wanted(), &state);
        assert!(!ops.is_empty());
        apply(&mut state, &ops);
        assert_eq!(diff(&wanted(), &state), []);
    }

    #[test]
    fn ipv6_adds_its_rule_its_blackhole_and_routes_and_takes_them_away_again() {
        let pod: IpAddr = "2001:db8::a:1".parse().unwrap();
        let mut six = wanted();
        six.enis[0].prefix6 = Some("2001:db8::/80".parse().unwrap());
        six.pods.insert(pod, "eniabc".parse().unwrap());
        let mut state = fresh();
        apply(&mut state, &diff(&wanted(), &fresh()));
        let four = state.clone();
        let ops = diff(&six, &state);
        apply(&mut state, &ops);
        assert_eq!((ops.len(), diff(&six, &state)), (3, Vec::new()), "{ops:?}");
        let ops = diff(&wanted(), &state);
        apply(&mut state, &ops);
        assert_eq!(state, four);
    }

    #[test]
    fn a_gateway_is_reachable_before_a_route_leads_through_it() {
        let ops = diff(&wanted(), &fresh());
        let place = |through: bool| {
            ops.iter().position(|op| match op {
                NetOp::SetRoute(route) => {
                    route.table == TableId(2) && through == (route.to.prefix_len() == 0)
                }
                _ => false,
            })
        };
        assert!(place(false).unwrap() < place(true).unwrap(), "{ops:?}");
    }

    #[test]
    fn what_falls_with_a_strangers_address_is_written_again() {
        let mut state = fresh();
        apply(&mut state, &diff(&wanted(), &fresh()));
        state.addresses.insert((3, "10.0.1.99/24".parse().unwrap()));
        let ops = diff(&wanted(), &state);
        let index = 3;
        let addresses = [
            NetOp::RemoveAddress {
                index,
                address: "10.0.1.99/24".parse().unwrap(),
            },
            NetOp::AddAddress {
                index,
                address: "10.0.1.11/24".parse().unwrap(),
            },
        ];
        assert_eq!(ops[..2], addresses);
        let routes = |op: &NetOp| matches!(op, NetOp::SetRoute(route) if device_of(route) == Some(index));
        assert_eq!((ops.len(), ops[2..].iter().all(routes)), (4, true), "{ops:?}");
    }

    #[test]
    fn the_primary_keeps_what_the_operating_system_gave_it() {
        let ops = diff(&wanted(), &fresh());
        assert!(
            !ops.iter()
                .any(|op| matches!(op, NetOp::SetUp { index: 2 } | NetOp::AddAddress { index: 2, .. }))
        );
        assert!(
            !ops.iter()
                .any(|op| matches!(op, NetOp::RemoveAddress { index: 2, .. }))
        );
    }

    #[test]
    fn strangers_are_left_alone_and_our_own_leftovers_go() {
        let bare = Rule::bare(Family::V4);
        let pod = Some(POD.into());
        let here = Some("10.0.1.10/32".parse().unwrap());
        let gone = Some("10.0.1.99/32".parse().unwrap());
        let theirs = [
            Rule {
                priority: 512,
                to: pod,
                ..bare
            },
            Rule {
                priority: priority::SECONDARY,
                from: pod,
                table: TableId(2),
                ..bare
            },
            Rule {
                priority: priority::ENI_ADDRESS,
                from: here,
                table: TableId(700),
                ..bare
            },
            Rule {
                priority: 100,
                mark: Some((1, 1)),
                table: TableId(9),
                ..bare
            },
        ];
        let ours = [
            Rule {
                priority: priority::SECONDARY,
                mark: Some((9, MARK)),
                table: TableId(9),
                ..bare
            },
            Rule {
                priority: priority::ENI_ADDRESS,
                from: gone,
                table: TableId(9),
                ..bare
            },
        ];
        const MARK: u32 = crate::net::MARK_SECONDARY_MASK;
        let mut state = fresh();
        apply(&mut state, &diff(&wanted(), &fresh()));
        state.rules.extend(theirs.into_iter().chain(ours));
        let ops = diff(&wanted(), &state);
        assert_eq!(ops, ours.map(NetOp::RemoveRule));
    }

    #[test]
    fn routes_of_pods_that_are_gone_go_and_those_of_pods_that_hold_their_address_stay() {
        let mut state = fresh();
        apply(&mut state, &diff(&wanted(), &fresh()));
        let stray = Route {
            table: TableId::PODS,
            to: "10.0.1.77/32".parse().unwrap(),
            via: Via::Link {
                index: 44,
                source: None,
            },
        };
        state.routes.insert(stray);
        assert_eq!(diff(&wanted(), &state), [NetOp::RemoveRoute(stray)]);
        state.routes.remove(&stray);
        state.links.remove(&9);
        assert_eq!(
            diff(&wanted(), &state),
            [],
            "the look at the devices may be older than the route"
        );
    }

    #[test]
    fn a_pods_own_route_and_what_waits_to_be_removed_concern_nobody_else() {
        let route = |table, via| Route {
            table,
            to: IpNet::from(POD),
            via,
        };
        let link = Via::Link {
            index: 4,
            source: None,
        };
        for (op, expected) in [
            (NetOp::SetRoute(route(TableId::PODS, link)), false),
            (NetOp::RemoveRoute(route(TableId::PODS, link)), false),
            (NetOp::SetRoute(route(TableId::PODS, Via::Blackhole)), true),
            (NetOp::SetRoute(route(TableId(2), link)), true),
            (NetOp::SetUp { index: 2 }, true),
        ] {
            assert_eq!(op.is_everybodys(), expected, "{op}");
        }
    }
}
