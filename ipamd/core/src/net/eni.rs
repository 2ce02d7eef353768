//! The wanted state of the host's network: from the ENIs, blocks and leases of the ledger to routes, rules and the
//! content of our nftables table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

use super::{
    EniMark, Family, Firewall, MARK_PRIMARY, MARK_SECONDARY_MASK, NetState, ReversePath, Route, Rule,
    SeenLink, TableId, Via, priority,
};
use crate::address::{Block, Mac};
use crate::id::{EniId, IfName};
use crate::policy::Policy;
use crate::snapshot::Node;
use crate::snat;

/// An ENI whose device should serve pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedEni {
    /// Its id.
    pub id: EniId,
    /// By which the device is found.
    pub mac: Mac,
    /// Its own address.
    pub primary_ip: Ipv4Addr,
    /// Its subnet's CIDR.
    pub subnet: Ipv4Net,
    /// Where it is: device index and network card.
    pub place: Place,
    /// Its number in the mark; the primary has none.
    pub mark: Option<EniMark>,
    /// What it brings.
    pub blocks: BTreeSet<Block>,
    /// The prefix that pods' IPv6 addresses come from.
    pub prefix6: Option<Ipv6Net>,
}

/// Device index and network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Unique per card.
    pub device_index: u32,
    /// The card.
    pub network_card: u32,
}

impl Place {
    /// The routing table of an ENI at this place: the peer's numbers, so what stands can be adopted.
    #[must_use]
    pub fn table(self) -> TableId {
        match (self.network_card, self.device_index) {
            (0, 0) => TableId::MAIN,
            (0, index) => TableId(index + 1),
            (card, index) => TableId(10_000 + 100 * card + index),
        }
    }
}

/// What the host's network should be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// ENIs whose devices serve pods, the primary among them.
    pub enis: Vec<WantedEni>,
    /// Which device each of the pods' addresses is behind.
    pub pods: BTreeMap<IpAddr, IfName>,
    /// Of ENIs, in bytes.
    pub eni_mtu_bytes: u32,
    /// The node's address.
    pub node_address: Ipv4Addr,
    /// Destinations for the main table.
    pub external_services: BTreeSet<Ipv4Net>,
}

/// What every ENI's device is told: loose, and mindful of the mark. Either would do; both survive a node whose `all`
/// setting is strict.
pub const REVERSE_PATH: ReversePath = ReversePath {
    rp_filter: 2,
    src_valid_mark: true,
};

/// The gateway of a subnet: its first address after the network's own (VPC user guide, "Subnet CIDR blocks").
#[must_use]
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()).saturating_add(1))
}

impl Wanted {
    /// What pods on this ENI need. One that is on its way concerns no pod but its own; the primary concerns all.
    #[must_use]
    pub fn of_pods_on(mut self, eni: Option<&EniId>) -> Self {
        self.enis
            .retain(|wanted| Some(&wanted.id) == eni || wanted.place.table() == TableId::MAIN);
        self
    }

    /// Whether anything of it is IPv6; a node without that may have no IPv6 at all.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.enis.iter().any(|eni| eni.prefix6.is_some()) || self.pods.keys().any(IpAddr::is_ipv6)
    }

    /// Every rule that is ours.
    #[must_use]
    pub fn rules(&self) -> BTreeSet<Rule> {
        let bare = Rule::bare(Family::V4);
        let to_pods = |family| Rule {
            priority: priority::PODS,
            table: TableId::PODS,
            ..Rule::bare(family)
        };
        let mut rules = BTreeSet::from([
            to_pods(Family::V4),
            Rule {
                priority: priority::PRIMARY,
                mark: Some((MARK_PRIMARY, MARK_PRIMARY)),
                ..bare
            },
        ]);
        rules.extend(self.has_ipv6().then(|| to_pods(Family::V6)));
        rules.extend(self.external_services.iter().map(|cidr| Rule {
            priority: priority::EXTERNAL_SERVICE,
            to: Some(IpNet::V4(*cidr)),
            ..bare
        }));
        for eni in &self.enis {
            let Some(mark) = eni.mark else { continue };
            let table = eni.place.table();
            let mark = Some((u32::from(mark.number()), MARK_SECONDARY_MASK));
            rules.insert(Rule {
                priority: priority::SECONDARY,
                mark,
                table,
                ..bare
            });
            let from = Some(IpNet::from(IpAddr::V4(eni.primary_ip)));
            rules.insert(Rule {
                priority: priority::ENI_ADDRESS,
                from,
                table,
                ..bare
            });
        }
        rules
    }

    /// Every route that is ours, as far as its device exists.
    #[must_use]
    pub fn routes(&self, seen: &NetState) -> BTreeSet<Route> {
        let mut routes = BTreeSet::new();
        for eni in &self.enis {
            let blocks = eni.blocks.iter().map(|block| IpNet::V4(block.net()));
            routes.extend(blocks.chain(eni.prefix6.map(IpNet::V6)).map(|to| Route {
                table: TableId::PODS,
                to,
                via: Via::Blackhole,
            }));
            let (Some(_), Some(link)) = (eni.mark, seen.link_by_mac(eni.mac)) else {
                continue;
            };
            let (table, gateway, index) = (eni.place.table(), gateway(eni.subnet), link.index);
            let to_gateway = Via::Link { index, source: None };
            let gateway = IpAddr::V4(gateway);
            routes.insert(Route {
                table,
                to: gateway.into(),
                via: to_gateway,
            });
            routes.insert(Route {
                table,
                to: Ipv4Net::default().into(),
                via: Via::Gateway { index, gateway },
            });
        }
        // One by one each pod would walk all links.
        let by_name: BTreeMap<&IfName, &SeenLink> =
            seen.links.values().map(|link| (&link.name, link)).collect();
        for (address, device) in &self.pods {
            let Some(link) = by_name.get(device).filter(|link| link.up) else {
                continue;
            };
            // In IPv6 the kernel chooses among what the node has.
            let source = address.is_ipv4().then_some(IpAddr::V4(self.node_address));
            let via = Via::Link {
                index: link.index,
                source,
            };
            routes.insert(Route {
                table: TableId::PODS,
                to: (*address).into(),
                via,
            });
        }
        routes
    }

    /// The content of our nftables table; `None` until the primary's device is seen.
    #[must_use]
    pub fn firewall(&self, seen: &NetState, policy: &Policy, node: &Node) -> Option<Firewall> {
        let primary_device = seen.link_by_mac(node.primary_mac)?.name.clone();
        let mut firewall = Firewall {
            primary_device,
            secondary_devices: BTreeMap::new(),
            singles: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            pods: BTreeSet::new(),
            nat: snat::nat_rules(&policy.snat, node),
            veth_prefix: policy.devices.veth_prefix.clone(),
        };
        for eni in &self.enis {
            firewall.pods.extend(eni.blocks.iter().map(|block| block.net()));
            let (Some(mark), Some(link)) = (eni.mark, seen.link_by_mac(eni.mac)) else {
                continue;
            };
            firewall.secondary_devices.insert(mark, link.name.clone());
            for block in &eni.blocks {
                match block {
                    Block::Secondary(address) => firewall.singles.insert(*address, mark),
                    Block::Prefix(net) => firewall.prefixes.insert(*net, mark),
                };
            }
        }
        Some(firewall)
    }

    /// The addresses of pods whose device does not exist.
    #[must_use]
    pub fn deviceless(&self, seen: &NetState) -> BTreeSet<IpAddr> {
        let names: BTreeSet<&IfName> = seen.links.values().map(|link| &link.name).collect();
        let missing = self.pods.iter().filter(|(_, device)| !names.contains(device));
        missing.map(|(address, _)| *address).collect()
    }

    /// The ENIs whose device does not exist yet.
    pub fn without_device<'a>(&'a self, seen: &'a NetState) -> impl Iterator<Item = &'a WantedEni> {
        self.enis.iter().filter(|eni| seen.link_by_mac(eni.mac).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_peers_numbers() {
        for (device_index, network_card, table) in
            [(0, 0, 254), (1, 0, 2), (2, 0, 3), (1, 1, 10_101), (3, 2, 10_203)]
        {
            assert_eq!(
                Place {
                    device_index,
                    network_card
                }
                .table(),
                TableId(table)
            );
        }
    }

    #[test]
    fn the_gateway_is_the_first_address() {
        assert_eq!(
            gateway("10.0.1.0/24".parse().unwrap()),
            Ipv4Addr::new(10, 0, 1, 1)
        );
    }
}
