//! The facts about IPv6: packets between nodes, pods in delegated prefixes, sources that nobody assigned.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use netlink::events::Events;
use netlink::{Address, Family, Neighbour, Route, Routing, Rule, VethEnd, VethSpec};
use vpc_sim::fabric::{METADATA_IPV6, Reason, until_running};
use vpc_sim::model::view::KernelView;
use vpc_sim::probe::{Answer, Error, Protocol, Question, Responder, ask};

use crate::facts::{BOTH, facts};
use crate::rig::{LIMIT, Machine, Rig, at, host};

facts! {
    /// P2: an IPv6 address is delivered to the ENI that owns it; nothing of it is translated.
    async fn ipv6_node_to_node(mut rig) {
        usable(&rig.n1).await;
        usable(&rig.n2).await;
        let target = ip("2001:db8:0:2::10");
        let _responder = rig.n2.responder(target);
        for protocol in BOTH {
            let answer = rig.n1.ask(protocol, target).await.unwrap();
            assert_eq!((answer.name.as_str(), answer.seen.ip()), ("n2", ip("2001:db8:0:1::10").into()));
        }
        rig.nothing_dropped();
    }

    /// P13: the default route comes by router advertisement, asked for by the instance's kernel, from a link-local router.
    async fn ipv6_default_route_by_advertisement(rig) {
        let advertising = tokio::spawn(rig.fabric.advertiser().unwrap().advertise());
        let device = rig.n1.device(&rig.n1.routing(), &rig.view, &rig.n1.eni2).await.name;
        // Believed although the node forwards, as on nodes that run containers.
        for (setting, value) in [("accept_ra", "2"), ("addr_gen_mode", "0")] {
            let path = format!("/proc/sys/net/ipv6/conf/{device}/{setting}");
            rig.n1.node.run("sh", &["-c", &format!("echo {value} > {path}")]).await.unwrap();
        }
        rig.n1.node.run("ip", &["link", "set", &device, "down"]).await.unwrap();
        rig.n1.node.run("ip", &["link", "set", &device, "up"]).await.unwrap();
        let mut events = Events::open_in(rig.n1.network()).unwrap();
        let wait = async {
            loop {
                let routes = rig.n1.node.run("ip", &["-6", "route", "show", "default", "dev", &device]).await.unwrap();
                let routes = String::from_utf8(routes.stdout).unwrap();
                if routes.contains("via fe80::1 ") && routes.contains("proto ra") {
                    return;
                }
                events.next().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
        advertising.abort();
    }

    /// A4, P1: what is inside a delegated /80 counts as assigned, both ways, through the gateway fe80:ec2::1.
    async fn ipv6_pods_in_prefixes(mut rig) {
        let near = pod(&rig.n1, &rig.view, "near", ip("2001:db8:0:1:aaaa::7")).await;
        let far = pod(&rig.n2, &rig.view, "far", ip("2001:db8:0:2:aaaa::9")).await;
        for protocol in BOTH {
            assert_eq!(near.ask(protocol, far.ip).await.unwrap().seen.ip(), near.ip);
            assert_eq!(far.ask(protocol, near.ip).await.unwrap().seen.ip(), far.ip);
        }
        rig.nothing_dropped();
    }

    /// P1: a source that the ENI does not own is dropped and counted, until it is assigned and after it is given back.
    async fn ipv6_unassigned_source(mut rig) {
        let near = pod(&rig.n1, &rig.view, "near", ip("2001:db8:0:1::99")).await;
        let target = ip("2001:db8:0:2::10");
        let _responder = rig.n2.responder(target);
        near.ask(Protocol::Udp, target).await.unwrap_err();
        let eni = rig.n1.eni2.clone();
        rig.only_dropped(&eni, Reason::SourceCheck);
        rig.eni(&eni).ipv6_addresses.insert(near.ip);
        rig.apply().await;
        let before = rig.dropped(Reason::SourceCheck);
        usable(&rig.n2).await;
        near.ask(Protocol::Udp, target).await.unwrap();
        assert_eq!(rig.dropped(Reason::SourceCheck), before);
        rig.eni(&eni).ipv6_addresses.remove(&near.ip);
        rig.apply().await;
        near.ask(Protocol::Udp, target).await.unwrap_err();
        assert_eq!(rig.dropped(Reason::SourceCheck), before + 1);
    }

    /// What is in the VPC and nobody's vanishes there; what is elsewhere has no route.
    async fn ipv6_to_nobody(mut rig) {
        usable(&rig.n1).await;
        rig.n1.ask(Protocol::Udp, ip("2001:db8:0:2::dead")).await.unwrap_err();
        let eni = rig.n1.eni1.clone();
        rig.only_dropped(&eni, Reason::NoHost);
        rig.n1.ask(Protocol::Udp, ip("2001:db8:ffff::1")).await.unwrap_err();
        assert_eq!((rig.dropped(Reason::NoHost), rig.dropped(Reason::NoRoute)), (1, 1));
    }

    /// P10: the router takes nothing off the hop limit.
    async fn ipv6_a_hop_limit_of_one_arrives(rig) {
        let target = at(ip("2001:db8:0:2::10"));
        usable(&rig.n1).await;
        let receive = netlink::netns::inside(rig.n2.network(), || std::net::UdpSocket::bind(target).unwrap()).unwrap();
        receive.set_read_timeout(Some(LIMIT)).unwrap();
        netlink::netns::inside(rig.n1.network(), || {
            let send = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            nix::sys::socket::setsockopt(&send, nix::sys::socket::sockopt::Ipv6Ttl, &1).unwrap();
            send.send_to(b"last hop", target).unwrap();
        })
        .unwrap();
        let mut data = [0; 16];
        let (length, from) = receive.recv_from(&mut data).unwrap();
        assert_eq!((&data[..length], from.ip()), (b"last hop".as_slice(), IpAddr::V6(ip("2001:db8:0:1::10"))));
    }

    /// P11: a service can listen at once at a fresh IPv6 address, and sees who asks.
    async fn ipv6_services_see_who_asks(mut rig) {
        for last in 0..100 {
            let address = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 1, last);
            rig.fabric.listen((address, 80).into()).await.unwrap();
        }
        usable(&rig.n1).await;
        let listener = rig.fabric.listen((METADATA_IPV6, 80).into()).await.unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let question = Question::new(Protocol::Tcp, (METADATA_IPV6, 80).into(), LIMIT);
        let accept = tokio::time::timeout(LIMIT, listener.accept());
        let (_, accepted) = tokio::join!(ask(rig.n1.network(), &question), accept);
        assert_eq!(accepted.unwrap().unwrap().1.ip(), ip("2001:db8:0:1::10"));
        rig.nothing_dropped();
    }

    /// P6: 9001 bytes pass whole; the IPv6 and UDP headers take 48 of them.
    async fn ipv6_packets_of_9001_bytes(mut rig) {
        usable(&rig.n1).await;
        usable(&rig.n2).await;
        let target = ip("2001:db8:0:2::10");
        let _responder = rig.n2.responder(target);
        for (bytes, fragments) in [(8953, 0), (8954, 2)] {
            let mut question = Question::new(Protocol::Udp, at(target), LIMIT);
            question.bytes = bytes;
            ask(rig.n1.network(), &question).await.unwrap();
            assert_eq!(made_fragments(&rig).await, fragments, "{bytes}");
        }
        rig.nothing_dropped();
    }
}

struct Pod {
    namespace: OwnedFd,
    ip: Ipv6Addr,
    _responder: Responder,
}

impl Pod {
    async fn ask(&self, protocol: Protocol, target: Ipv6Addr) -> Result<Answer, Error> {
        ask(
            self.namespace.as_fd(),
            &Question::new(protocol, at(target), LIMIT),
        )
        .await
    }
}

/// The routing table of IPv6 through a secondary ENI.
const TABLE: u32 = 10_006;

/// A pod whose packets leave by the secondary ENI, wired as a CNI does.
async fn pod(machine: &Machine, view: &KernelView, name: &str, ip: Ipv6Addr) -> Pod {
    let namespace = machine.node.add_pod(name).await.unwrap();
    let node = machine.routing();
    let forward = || std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    netlink::netns::inside(machine.network(), forward)
        .unwrap()
        .unwrap();
    wire(machine, &node, name, ip, &namespace).await;
    let eni = machine.device(&node, view, &machine.eni2).await.index;
    let way_out = Route {
        out: Some(eni),
        gateway: Some(IpAddr::V6("fe80:ec2::1".parse().unwrap())),
        on_link: true,
        ..Route::new("::/0".parse().unwrap(), TABLE)
    };
    node.replace_route(&way_out).await.unwrap();
    let mut rule = Rule::new(Family::V6, 1536, TABLE);
    rule.from = Some(host(ip));
    node.add_rule(&rule).await.unwrap();
    let mut rule = Rule::new(Family::V6, 512, 254);
    rule.to = Some(host(ip));
    node.add_rule(&rule).await.unwrap();
    usable(machine).await;
    Pod {
        ip,
        _responder: Responder::start(name, namespace.as_fd(), at(ip)).unwrap(),
        namespace,
    }
}

async fn wire(machine: &Machine, node: &Routing, name: &str, ip: Ipv6Addr, namespace: &OwnedFd) {
    let spec = VethSpec {
        host: VethEnd {
            name,
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
    let veth = node.link_by_name(name).await.unwrap().unwrap();
    let pod = Routing::open_in(namespace.as_fd()).unwrap();
    let eth0 = pod.link_by_name("eth0").await.unwrap().unwrap();
    pod.set_up(eth0.index).await.unwrap();
    until_running(machine.network(), node, veth.index).await.unwrap();
    let mut own = Address::new(eth0.index, host(ip));
    own.no_dad = true;
    pod.add_address(&own).await.unwrap();
    let gateway = IpAddr::V6("fe80::1".parse().unwrap());
    let at_gateway = Neighbour {
        index: eth0.index,
        ip: gateway,
        mac: veth.mac,
        permanent: true,
    };
    pod.add_neighbour(&at_gateway).await.unwrap();
    let default = Route {
        out: Some(eth0.index),
        gateway: Some(gateway),
        on_link: true,
        ..Route::new("::/0".parse().unwrap(), 254)
    };
    pod.add_route(&default).await.unwrap();
    let at_pod = Neighbour {
        index: veth.index,
        ip: ip.into(),
        mac: eth0.mac,
        permanent: true,
    };
    node.add_neighbour(&at_pod).await.unwrap();
    let to_pod = Route {
        out: Some(veth.index),
        ..Route::new(host(ip), 254)
    };
    node.add_route(&to_pod).await.unwrap();
}

/// Returns when the kernel has made sure that the node's link-local addresses are nobody else's: before that it asks
/// no neighbour.
async fn usable(machine: &Machine) {
    let routing = machine.routing();
    let mut events = Events::open_in(machine.network()).unwrap();
    let wait = async {
        loop {
            let addresses = routing.addresses(None).await.unwrap();
            let links = addresses
                .iter()
                .filter(|address| address.address.to_string().starts_with("fe80"));
            let ready: Vec<bool> = links.map(|address| !address.unusable).collect();
            if ready.len() >= 2 && ready.iter().all(|ready| *ready) {
                return;
            }
            events.next().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
}

/// How many fragments of IPv6 the first node has made.
async fn made_fragments(rig: &Rig) -> u64 {
    let read = rig.n1.node.run("cat", &["/proc/net/snmp6"]).await.unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix("Ip6FragCreates"));
    value.unwrap().trim().parse().unwrap()
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}
