//! A node of two ENIs, whose devices are veths with the ENIs' MACs, and the pods on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipamd_core::address::{Block, Mac};
use ipamd_core::net::diff::{NetOp, diff};
use ipamd_core::net::eni::{Place, Wanted, WantedEni};
use ipamd_core::net::pod::{GATEWAY, Leg, PodWiring};
use ipamd_core::net::{EniMark, Firewall, NatRules, NetState, SourcePorts, TableId};
use netlink::{LinkChange, Routing, VethEnd, VethSpec};

use crate::sandbox::Namespace;

/// The node's address.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
/// The table of the secondary ENI at device index 1.
pub(crate) const SECOND_TABLE: TableId = TableId(2);
const MTU: u32 = 9001;

/// The node's namespace is the test's own; the other ends of the ENIs' devices are in `fabric`.
pub(crate) struct Node {
    pub(crate) routing: Routing,
    _fabric: Namespace,
}

impl Node {
    /// A node with its primary device configured, as the operating system does, and its secondary one as it is born.
    pub(crate) async fn boot() -> Self {
        let routing = Routing::open().unwrap();
        let fabric = Namespace::new();
        routing.set_up(index_of(&routing, "lo").await).await.unwrap();
        for (number, name) in [(0, "ens5"), (1, "ens6")] {
            let spec = VethSpec {
                host: VethEnd {
                    name,
                    mac: Some(netlink::Mac(eni_mac(number).0)),
                    ..VethEnd::default()
                },
                peer: VethEnd {
                    name,
                    ..VethEnd::default()
                },
                peer_namespace: Some(fabric.fd()),
                ..VethSpec::default()
            };
            routing.create_veth(&spec).await.unwrap();
            let outside = fabric.routing();
            outside.set_up(index_of(&outside, name).await).await.unwrap();
        }
        let primary = index_of(&routing, "ens5").await;
        routing.set_up(primary).await.unwrap();
        let own = netlink::Address::new(primary, "10.0.1.10/24".parse().unwrap());
        routing.add_address(&own).await.unwrap();
        Self {
            routing,
            _fabric: fabric,
        }
    }

    pub(crate) async fn seen(&self) -> NetState {
        let tables = BTreeSet::from([TableId::PODS, SECOND_TABLE]);
        hostnet::observe::observe(&self.routing, &tables).await.unwrap()
    }

    /// One pass of the daemon; gives what it did.
    pub(crate) async fn pass(&self, wanted: &Wanted) -> Vec<NetOp> {
        let ops = diff(wanted, &self.seen().await);
        for op in &ops {
            hostnet::apply::apply(&self.routing, *op).await.unwrap();
        }
        ops
    }

    /// Passes until there is nothing to do; gives how many did something.
    pub(crate) async fn settle(&self, wanted: &Wanted) -> usize {
        const ENOUGH: usize = 5;
        for passes in 0..ENOUGH {
            if self.pass(wanted).await.is_empty() {
                return passes;
            }
        }
        panic!("never settles: {:?}", diff(wanted, &self.seen().await));
    }

    pub(crate) async fn index(&self, name: &str) -> u32 {
        index_of(&self.routing, name).await
    }

    pub(crate) async fn set_up(&self, name: &str, up: bool) {
        let change = LinkChange {
            up: Some(up),
            ..LinkChange::default()
        };
        let index = self.index(name).await;
        self.routing.change_link(index, &change).await.unwrap();
    }
}

pub(crate) async fn index_of(routing: &Routing, name: &str) -> u32 {
    routing.link_by_name(name).await.unwrap().unwrap().index
}

pub(crate) fn eni_mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, number])
}

/// What should be: two ENIs, a secondary address on the first and a prefix on the second, and these pods.
pub(crate) fn wanted(pods: &[&PodWiring]) -> Wanted {
    let eni = |number: u8, block| WantedEni {
        id: format!("eni-0000000{number}").parse().unwrap(),
        mac: eni_mac(number),
        primary_ip: Ipv4Addr::new(10, 0, 1, 10 + number),
        subnet: "10.0.1.0/24".parse().unwrap(),
        place: Place {
            device_index: number.into(),
            network_card: 0,
        },
        mark: EniMark::new(number),
        blocks: BTreeSet::from([block]),
        prefix6: None,
    };
    Wanted {
        enis: vec![
            eni(0, Block::Secondary(Ipv4Addr::new(10, 0, 1, 30))),
            eni(1, Block::Prefix("10.0.1.48/28".parse().unwrap())),
        ],
        pods: pods
            .iter()
            .flat_map(|pod| {
                pod.addresses()
                    .iter()
                    .map(|address| (address, pod.host_name.clone()))
            })
            .collect(),
        eni_mtu_bytes: MTU,
        node_address: NODE,
        external_services: BTreeSet::new(),
    }
}

/// The IPv4 address of a wiring.
pub(crate) fn v4(wiring: &PodWiring) -> Ipv4Addr {
    wiring.addresses().v4.unwrap()
}

/// A pod's wiring; MACs follow from the container, the host's name from the pod.
pub(crate) fn wiring(pod: &str, container: u8, address: [u8; 4]) -> PodWiring {
    PodWiring {
        host_name: format!("eni{pod}").parse().unwrap(),
        host_mac: Mac([2, 0, 0, 0, 2, container]),
        pod_name: "eth0".parse().unwrap(),
        pod_mac: Mac([2, 0, 0, 0, 3, container]),
        mtu_bytes: MTU,
        v4: Some(Leg {
            address: address.into(),
            gateway: GATEWAY,
            node_address: Some(NODE),
        }),
        v6: None,
        table: TableId::PODS,
        rules: Vec::new(),
    }
}

/// The table's content for ENIs of these numbers beside the primary.
pub(crate) fn firewall(secondary: &[u8]) -> Firewall {
    let marks = secondary.iter().map(|number| {
        let device = format!("ens{}", 5 + number).parse().unwrap();
        (EniMark::new(*number).unwrap(), device)
    });
    let single = |mark: &EniMark| (Ipv4Addr::new(10, 0, 2, mark.number()), *mark);
    let prefix = |mark: &EniMark| {
        let net = Ipv4Addr::new(10, 0, 1, 32 + 16 * mark.number());
        (ipnet::Ipv4Net::new_assert(net, 28), *mark)
    };
    let secondary_devices: BTreeMap<_, _> = marks.collect();
    let prefixes: BTreeMap<_, _> = secondary_devices.keys().map(prefix).collect();
    let singles: BTreeMap<_, _> = secondary_devices.keys().map(single).collect();
    let mut pods: BTreeSet<ipnet::Ipv4Net> = prefixes.keys().copied().collect();
    pods.extend(singles.keys().copied().map(ipnet::Ipv4Net::from));
    pods.insert("10.0.1.30/32".parse().unwrap());
    Firewall {
        primary_device: "ens5".parse().unwrap(),
        secondary_devices,
        singles,
        prefixes,
        pods,
        nat: NatRules {
            translate: true,
            untranslated: BTreeSet::from(["10.0.0.0/16".parse().unwrap()]),
            primary: NODE,
            source_ports: SourcePorts::Prng,
            keep_way_back: true,
        },
        veth_prefix: "eni".to_owned(),
    }
}
