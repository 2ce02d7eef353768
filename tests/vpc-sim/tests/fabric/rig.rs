//! Two nodes in two subnets of one VPC, each with a secondary ENI, and pods wired onto them by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{Address, Family, Link, Mac, Neighbour, Route, Routing, Rule, Scope, VethEnd, VethSpec};
use vpc_sim::fabric::{Fabric, Reason, until_running};
use vpc_sim::holder::World;
use vpc_sim::model::id::{EniId, InstanceId, SubnetId};
use vpc_sim::model::mac::Mac as EniMac;
use vpc_sim::model::security_group::{Allowed, Peer, Traffic};
use vpc_sim::model::view::{EniView, KernelView, SubnetView};
use vpc_sim::node::{Node, NodeSpec};
use vpc_sim::probe::{Answer, Error, Place, Protocol, Question, Responder, ask};

pub(crate) const PORT: u16 = 7000;
/// Long enough for what works, a handshake whose first packet was lost on a busy machine among it; short enough for what
/// does not.
pub(crate) const LIMIT: Duration = Duration::from_millis(1200);

pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) fabric: Fabric,
    pub(crate) view: KernelView,
    pub(crate) n1: Machine,
    pub(crate) n2: Machine,
}

pub(crate) struct Machine {
    pub(crate) node: Node,
    pub(crate) instance: InstanceId,
    pub(crate) primary: Ipv4Addr,
    pub(crate) eni1: EniId,
    pub(crate) eni2: EniId,
}

pub(crate) struct Pod {
    pub(crate) place: Place,
    pub(crate) ip: Ipv4Addr,
    _responder: Responder,
}

impl Rig {
    pub(crate) async fn new(world: &World) -> Self {
        let view = view();
        let mut fabric = Fabric::new().await.unwrap();
        let mut machines = Vec::new();
        for number in [1, 2] {
            let node = Node::start(world, NodeSpec::new(&format!("n{number}")))
                .await
                .unwrap();
            let instance = InstanceId::numbered(number);
            believe_addresses(&node);
            fabric.power_on(instance.clone(), node.network().try_clone_to_owned().unwrap());
            machines.push((node, instance, number));
        }
        fabric.apply(&view).await.unwrap();
        let mut nodes = Vec::new();
        for (node, instance, number) in machines {
            let eni1 = EniId::numbered(number * 16 + 1);
            let primary = &view.enis[&eni1];
            fabric.configure_primary(&eni1).await.unwrap();
            let machine = Machine {
                primary: primary.primary,
                eni2: EniId::numbered(number * 16 + 2),
                node,
                instance,
                eni1,
            };
            machine.configure_secondary(&view).await;
            fabric.until_running(&machine.eni2).await.unwrap();
            nodes.push(machine);
        }
        let n2 = nodes.pop().unwrap();
        let n1 = nodes.pop().unwrap();
        Self {
            world: world.clone(),
            fabric,
            view,
            n1,
            n2,
        }
    }

    pub(crate) async fn apply(&mut self) {
        self.fabric.apply(&self.view).await.unwrap();
    }

    pub(crate) fn eni(&mut self, eni: &EniId) -> &mut EniView {
        self.view.enis.get_mut(eni).unwrap()
    }

    /// Packets dropped for this reason, over all ENIs.
    pub(crate) fn dropped(&mut self, reason: Reason) -> u64 {
        let drops = self.fabric.drops().unwrap();
        drops
            .iter()
            .filter(|drop| drop.reason == reason)
            .map(|drop| drop.packets)
            .sum()
    }

    pub(crate) fn nothing_dropped(&mut self) {
        assert_eq!(self.fabric.drops().unwrap(), []);
    }

    /// Only this reason counted, and only on this ENI.
    pub(crate) fn only_dropped(&mut self, eni: &EniId, reason: Reason) {
        let drops = self.fabric.drops().unwrap();
        assert!(!drops.is_empty());
        assert!(
            drops.iter().all(|drop| drop.eni == *eni && drop.reason == reason),
            "{drops:?}"
        );
    }
}

impl Machine {
    pub(crate) fn network(&self) -> BorrowedFd<'_> {
        self.node.network()
    }

    pub(crate) fn routing(&self) -> Routing {
        Routing::open_in(self.network()).unwrap()
    }

    pub(crate) fn responder(&self, address: impl Into<IpAddr>) -> Responder {
        Responder::start(self.node.name(), self.network(), at(address)).unwrap()
    }

    pub(crate) async fn ask(&self, protocol: Protocol, target: impl Into<IpAddr>) -> Result<Answer, Error> {
        ask(self.network(), &Question::new(protocol, at(target), LIMIT)).await
    }

    pub(crate) async fn device(&self, routing: &Routing, view: &KernelView, eni: &EniId) -> Link {
        let mac = Mac(view.enis[eni].mac.0);
        routing.link_by_mac(mac).await.unwrap().unwrap()
    }

    /// What a CNI does to a secondary ENI: address, up, a table with the way out.
    pub(crate) async fn configure_secondary(&self, view: &KernelView) {
        let routing = self.routing();
        let eni = &view.enis[&self.eni2];
        let link = self.device(&routing, view, &self.eni2).await;
        assert!(!link.up && routing.addresses(Some(link.index)).await.unwrap().is_empty());
        assert_eq!((link.name.as_str(), link.mtu_bytes), ("ens6", 9001));
        routing.set_up(link.index).await.unwrap();
        let cidr = view.subnets[&eni.subnet].cidr;
        let own = Ipv4Net::new(eni.primary, cidr.prefix_len()).unwrap();
        let mut address = Address::new(link.index, own.into());
        address.no_prefix_route = true;
        routing.add_address(&address).await.unwrap();
        let gateway = Ipv4Addr::from(u32::from(cidr.network()) + 1);
        let mut link_route = Route::new(host(gateway), TABLE);
        link_route.out = Some(link.index);
        link_route.scope = Scope::Link;
        let mut default = Route::new("0.0.0.0/0".parse().unwrap(), TABLE);
        default.out = Some(link.index);
        default.gateway = Some(gateway.into());
        routing.add_route(&link_route).await.unwrap();
        routing.add_route(&default).await.unwrap();
        self.send_by_secondary(eni.primary).await;
    }

    /// Sends what comes from this address out through the secondary ENI.
    pub(crate) async fn send_by_secondary(&self, source: Ipv4Addr) {
        let mut rule = Rule::new(Family::V4, 1536, TABLE);
        rule.from = Some(host(source));
        self.routing().add_rule(&rule).await.unwrap();
    }

    /// A pod with this address, without a from-rule.
    pub(crate) async fn pod(&self, name: &str, ip: Ipv4Addr) -> Pod {
        let namespace = self.node.add_pod(name).await.unwrap();
        self.wire(name, ip, &namespace).await;
        let responder = Responder::start(name, namespace.as_fd(), at(ip)).unwrap();
        Pod {
            place: Place {
                name: name.to_owned(),
                namespace: Arc::new(namespace),
                address: at(ip),
            },
            ip,
            _responder: responder,
        }
    }

    async fn wire(&self, name: &str, ip: Ipv4Addr, namespace: &OwnedFd) {
        let node = self.routing();
        let [.., last] = ip.octets();
        let mac = Mac([2, 0xaa, 0, 0, 0, last]);
        let spec = VethSpec {
            host: VethEnd {
                name,
                mac: Some(mac),
                mtu_bytes: Some(9001),
                ..VethEnd::default()
            },
            peer: VethEnd {
                name: "eth0",
                mtu_bytes: Some(9001),
                ..VethEnd::default()
            },
            peer_namespace: Some(namespace.as_fd()),
            host_up: true,
            ..VethSpec::default()
        };
        node.create_veth(&spec).await.unwrap();
        let veth = node.link_by_name(name).await.unwrap().unwrap().index;
        let pod = Routing::open_in(namespace.as_fd()).unwrap();
        let eth0 = pod.link_by_name("eth0").await.unwrap().unwrap().index;
        pod.set_up(eth0).await.unwrap();
        until_running(self.network(), &node, veth).await.unwrap();
        pod.add_address(&Address::new(eth0, host(ip))).await.unwrap();
        let gateway = Ipv4Addr::new(169, 254, 1, 1);
        let on_link = Route {
            out: Some(eth0),
            scope: Scope::Link,
            ..Route::new(host(gateway), 254)
        };
        let default = Route {
            out: Some(eth0),
            gateway: Some(gateway.into()),
            ..Route::new("0.0.0.0/0".parse().unwrap(), 254)
        };
        pod.add_route(&on_link).await.unwrap();
        pod.add_route(&default).await.unwrap();
        let neighbour = Neighbour {
            index: eth0,
            ip: gateway.into(),
            mac: Some(mac),
            permanent: true,
        };
        pod.add_neighbour(&neighbour).await.unwrap();
        let to_pod = Route {
            out: Some(veth),
            scope: Scope::Link,
            ..Route::new(host(ip), 254)
        };
        node.add_route(&to_pod).await.unwrap();
        let mut rule = Rule::new(Family::V4, 512, 254);
        rule.to = Some(host(ip));
        node.add_rule(&rule).await.unwrap();
    }
}

impl Pod {
    pub(crate) async fn ask(&self, protocol: Protocol, target: impl Into<IpAddr>) -> Result<Answer, Error> {
        ask(
            self.place.namespace.as_fd(),
            &Question::new(protocol, at(target), LIMIT),
        )
        .await
    }
}

/// The node's kernel uses IPv6 addresses at once, instead of asking for a second or two who else has them.
fn believe_addresses(node: &Node) {
    let write = |of| std::fs::write(format!("/proc/sys/net/ipv6/conf/{of}/accept_dad"), "0");
    netlink::netns::inside(node.network(), || ["all", "default"].map(|of| write(of).unwrap())).unwrap();
}

/// The routing table of a secondary ENI.
const TABLE: u32 = 10_002;

pub(crate) fn at(ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), PORT)
}

pub(crate) fn host(ip: impl Into<IpAddr>) -> IpNet {
    IpNet::from(ip.into())
}

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Rules that let everything pass.
pub(crate) fn everything() -> BTreeSet<Allowed> {
    let peers = [Peer::Ipv4(Ipv4Net::default()), Peer::Ipv6(Ipv6Net::default())];
    BTreeSet::from(peers.map(|peer| Allowed {
        traffic: Traffic::All,
        peer,
    }))
}

/// n1: primary 10.0.1.10 and 2001:db8:0:1::10, secondary 10.0.1.20 in the same subnet; n2: primary 10.0.2.10, secondary 10.0.2.20.
fn view() -> KernelView {
    let subnet = |third: u8| SubnetView {
        cidr: format!("10.0.{third}.0/24").parse().unwrap(),
        ipv6_cidr: Some(format!("2001:db8:0:{third}::/64").parse().unwrap()),
        router_mac: EniMac([0x0a, 0, 0, 0, 0xff, third]),
        internet: true,
    };
    let mut view = KernelView {
        vpc_cidrs: BTreeSet::from(["10.0.0.0/16".parse().unwrap()]),
        vpc_ipv6_cidrs: BTreeSet::from(["2001:db8::/56".parse().unwrap()]),
        subnets: BTreeMap::from([
            (SubnetId::numbered(1), subnet(1)),
            (SubnetId::numbered(2), subnet(2)),
        ]),
        enis: BTreeMap::new(),
    };
    for number in [1_u8, 2] {
        for index in [0_u8, 1] {
            let address = |last: u8| Ipv4Addr::new(10, 0, number, last);
            let primary = address(10 * (index + 1));
            let eni = EniView {
                instance: InstanceId::numbered(number.into()),
                device_index: index.into(),
                network_card: 0,
                mac: EniMac([0x0a, 0, 0, 0, number, index]),
                subnet: SubnetId::numbered(number.into()),
                primary,
                addresses: match index {
                    0 => BTreeSet::from([primary, address(11)]),
                    _ => BTreeSet::from([primary, address(21), address(22)]),
                },
                prefixes: match index {
                    0 => BTreeSet::new(),
                    _ => BTreeSet::from([format!("10.0.{number}.64/28").parse().unwrap()]),
                },
                public: match index {
                    0 => BTreeMap::from([(primary, Ipv4Addr::new(203, 0, 113, number))]),
                    _ => BTreeMap::new(),
                },
                source_dest_check: true,
                ipv6_addresses: BTreeSet::from([Ipv6Addr::new(
                    0x2001,
                    0xdb8,
                    0,
                    number.into(),
                    0,
                    0,
                    0,
                    0x10 * (u16::from(index) + 1),
                )]),
                ipv6_prefixes: match index {
                    0 => BTreeSet::new(),
                    _ => BTreeSet::from([format!("2001:db8:0:{number}:aaaa::/80").parse().unwrap()]),
                },
                groups: BTreeSet::new(),
                ingress: everything(),
                egress: everything(),
            };
            view.enis.insert(
                EniId::numbered(u64::from(number) * 16 + u64::from(index) + 1),
                eni,
            );
        }
    }
    view
}
