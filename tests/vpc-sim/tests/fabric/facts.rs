//! One test a fact. "P1" and so on are the facts' numbers in the documentation of the fabric.

use std::future::Future;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::{Duration, Instant};

use netlink::nft::{
    Batch, Chain, ChainKind, Comparison, Expression as E, Hook, MetaKey, NatFlags, Nftables, Register,
    TableFlags,
};
use netlink::{Family, LinkChange, Mac, Route, Scope};
use vpc_sim::fabric::{METADATA, Reason, TIME, tell_time};
use vpc_sim::probe::{Protocol, Question, Responder, ask, matrix};

use crate::rig::{LIMIT, Rig, at, host, ip};

pub(crate) type Test = fn(Rig) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Every test of this program.
pub(crate) fn all() -> Vec<(&'static str, Test)> {
    [ALL, crate::ipv6::ALL, crate::groups::ALL].concat()
}

macro_rules! facts {
    ($($(#[$meta:meta])* async fn $name:ident($($rig:tt)+) $body:block)*) => {
        pub(crate) const ALL: &[(&str, $crate::facts::Test)] =
            &[$((stringify!($name), |rig| Box::pin($name(rig)))),*];
        $($(#[$meta])* async fn $name($($rig)+: $crate::rig::Rig) $body)*
    };
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
const R: Register = Register::FIRST;

pub(crate) use facts;

facts! {
    /// P2, P9: the VPC's own route joins subnets.
    async fn p2_node_to_node_across_subnets(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        for protocol in BOTH {
            let answer = rig.n1.ask(protocol, rig.n2.primary).await.unwrap();
            assert_eq!((answer.name.as_str(), answer.seen.ip()), ("n2", rig.n1.primary.into()));
        }
        rig.nothing_dropped();
    }

    /// P2: an address is delivered to the ENI that owns it, whatever its subnet.
    async fn p2_pod_on_a_secondary_eni_to_another_nodes(mut rig) {
        let near = rig.n1.pod("near", ip("10.0.1.21")).await;
        let far = rig.n2.pod("far", ip("10.0.2.21")).await;
        rig.n1.send_by_secondary(near.ip).await;
        rig.n2.send_by_secondary(far.ip).await;
        for protocol in BOTH {
            assert_eq!(near.ask(protocol, far.ip).await.unwrap().seen.ip(), near.ip);
            assert_eq!(far.ask(protocol, near.ip).await.unwrap().seen.ip(), far.ip);
            assert_eq!(rig.n2.ask(protocol, near.ip).await.unwrap().seen.ip(), rig.n2.primary);
        }
        rig.nothing_dropped();
    }

    /// P1: what is inside a delegated prefix counts as assigned.
    async fn p1_pod_in_a_prefix(mut rig) {
        let near = rig.n1.pod("near", ip("10.0.1.70")).await;
        let far = rig.n2.pod("far", ip("10.0.2.79")).await;
        rig.n1.send_by_secondary(near.ip).await;
        rig.n2.send_by_secondary(far.ip).await;
        for protocol in BOTH {
            assert_eq!(near.ask(protocol, far.ip).await.unwrap().seen.ip(), near.ip);
        }
        rig.nothing_dropped();
    }

    /// P8: two ENIs of one node in one subnet, each with its own way out.
    async fn p8_both_enis_of_a_node_in_one_subnet(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        for source in ["10.0.1.10", "10.0.1.20"] {
            let question = Question::new(Protocol::Tcp, at(rig.n2.primary), LIMIT).from(ip(source).into());
            assert_eq!(ask(rig.n1.network(), &question).await.unwrap().seen.ip(), ip(source));
        }
        rig.nothing_dropped();
    }

    /// P1: without its from-rule a pod's packets leave by the primary ENI, which does not own its address.
    async fn p1_a_missing_from_rule_is_counted(mut rig) {
        let near = rig.n1.pod("near", ip("10.0.1.21")).await;
        let _responder = rig.n2.responder(rig.n2.primary);
        near.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        let eni = rig.n1.eni1.clone();
        rig.only_dropped(&eni, Reason::SourceCheck);
        rig.n1.send_by_secondary(near.ip).await;
        assert_eq!(near.ask(Protocol::Udp, rig.n2.primary).await.unwrap().seen.ip(), near.ip);
    }

    /// P1: an address works from its assignment on, and no longer than that.
    async fn p1_assign_and_unassign(mut rig) {
        let near = rig.n1.pod("near", ip("10.0.1.30")).await;
        let _responder = rig.n2.responder(rig.n2.primary);
        rig.n1.send_by_secondary(near.ip).await;
        near.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        let eni = rig.n1.eni2.clone();
        rig.only_dropped(&eni, Reason::SourceCheck);

        rig.eni(&eni).addresses.insert(near.ip);
        rig.apply().await;
        let before = rig.dropped(Reason::SourceCheck);
        near.ask(Protocol::Udp, rig.n2.primary).await.unwrap();
        assert_eq!(rig.dropped(Reason::SourceCheck), before);

        rig.eni(&eni).addresses.remove(&near.ip);
        rig.apply().await;
        near.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        assert!(rig.dropped(Reason::SourceCheck) > before);
        rig.n2.ask(Protocol::Udp, near.ip).await.unwrap_err();
        assert!(rig.dropped(Reason::NoHost) > 0);
    }

    /// An address may move from one ENI to another in one step.
    async fn an_address_moves_between_enis(mut rig) {
        let moving = ip("10.0.1.22");
        let (from, to) = (rig.n1.eni2.clone(), rig.n2.eni2.clone());
        rig.eni(&from).addresses.remove(&moving);
        rig.eni(&to).addresses.insert(moving);
        rig.apply().await;
        let pod = rig.n2.pod("moved", moving).await;
        rig.n2.send_by_secondary(moving).await;
        assert_eq!(rig.n1.ask(Protocol::Tcp, pod.ip).await.unwrap().name, "moved");
        rig.nothing_dropped();
    }

    /// P4: frames with a foreign MAC go nowhere, and neither do its ARP questions.
    async fn p4_a_foreign_mac_is_dropped(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        rig.n1.ask(Protocol::Udp, rig.n2.primary).await.unwrap();
        let routing = rig.n1.routing();
        let link = rig.n1.device(&routing, &rig.view, &rig.n1.eni1).await;
        let change = LinkChange { mac: Some(Mac([2, 9, 9, 9, 9, 9])), ..LinkChange::default() };
        routing.change_link(link.index, &change).await.unwrap();
        rig.n1.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        let eni = rig.n1.eni1.clone();
        rig.only_dropped(&eni, Reason::ForeignMac);
    }

    /// P3: ARP is answered for the router and for assigned addresses of the same subnet, and for nothing else.
    async fn p3_arp_ends_at_the_subnet(mut rig) {
        let neighbour = rig.n2.pod("neighbour", ip("10.0.1.40")).await;
        rig.n2.send_by_secondary(neighbour.ip).await;
        let eni = rig.n2.eni2.clone();
        rig.eni(&eni).addresses.insert(neighbour.ip);
        rig.apply().await;
        // The primary's subnet is on the link, so this asks by ARP and is answered for a peer on another node.
        rig.n1.ask(Protocol::Tcp, neighbour.ip).await.unwrap();
        rig.nothing_dropped();
        // Nobody has this one, so nobody answers: no packet ever leaves.
        rig.n1.ask(Protocol::Udp, ip("10.0.1.99")).await.unwrap_err();
        rig.nothing_dropped();
        let routing = rig.n1.routing();
        let link = rig.n1.device(&routing, &rig.view, &rig.n1.eni1).await;
        let wrong = Route { out: Some(link.index), scope: Scope::Link, ..Route::new(host(rig.n2.primary), 254) };
        routing.add_route(&wrong).await.unwrap();
        let _responder = rig.n2.responder(rig.n2.primary);
        rig.n1.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        let eni = rig.n1.eni1.clone();
        rig.only_dropped(&eni, Reason::Unanswered);
    }

    /// P6: 9001 bytes inside the VPC: 8973 of UDP fit, one more is sent in pieces.
    async fn p6_packets_of_9001_bytes_pass_whole(rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        let mut question = Question::new(Protocol::Udp, at(rig.n2.primary), LIMIT);
        question.bytes = 8973;
        ask(rig.n1.network(), &question).await.unwrap();
        assert_eq!(fragments(&rig).await, 0);
        question.bytes = 8974;
        ask(rig.n1.network(), &question).await.unwrap();
        assert_eq!(fragments(&rig).await, 2);
    }

    /// P6: at the gateway 1500 bytes: what may not be cut comes back as "fragmentation needed".
    async fn p6_the_internet_takes_1500_bytes(rig) {
        let host = ip("198.51.100.7");
        let _responder = Responder::start("internet", rig.fabric.internet(), at(host)).unwrap();
        let mut question = Question::new(Protocol::Udp, at(host), LIMIT);
        question.bytes = 3000;
        ask(rig.n1.network(), &question).await.unwrap_err();
        assert_eq!(fragments(&rig).await, 0);
        // Now the node knows, and cuts.
        ask(rig.n1.network(), &question).await.unwrap();
        assert_eq!(fragments(&rig).await, 3);
    }

    /// P7: only a source with a public address passes the gateway, and is seen as that.
    async fn p7_the_gateway_translates_or_drops(mut rig) {
        let host = ip("198.51.100.7");
        let _responder = Responder::start("internet", rig.fabric.internet(), at(host)).unwrap();
        for protocol in BOTH {
            assert_eq!(rig.n1.ask(protocol, host).await.unwrap().seen.ip(), ip("203.0.113.1"));
        }
        let pod = rig.n1.pod("near", ip("10.0.1.21")).await;
        rig.n1.send_by_secondary(pod.ip).await;
        pod.ask(Protocol::Udp, host).await.unwrap_err();
        let eni = rig.n1.eni2.clone();
        rig.only_dropped(&eni, Reason::NoPublicAddress);
    }

    /// P7: a pod that the node translates to its primary address arrives with the public one.
    async fn p7_snat_to_the_primary_arrives(mut rig) {
        let host = ip("198.51.100.7");
        let _responder = Responder::start("internet", rig.fabric.internet(), at(host)).unwrap();
        let pod = rig.n1.pod("near", ip("10.0.1.21")).await;
        let mut batch = Batch::new(netlink::nft::Family::Ip, "snat");
        batch.add_table(TableFlags::NONE);
        batch.add_chain(&Chain::base("post", ChainKind::Nat, Hook::Postrouting, 100));
        batch.add_rule("post", &netlink::nft::Rule::new(vec![
            E::Meta(MetaKey::OifName, R),
            E::name_begins(R, Comparison::Is, "ens5\0"),
            E::Load(R, rig.n1.primary.octets().to_vec()),
            E::Snat4(R, NatFlags::FULLY_RANDOM),
        ]));
        Nftables::open_in(rig.n1.network()).unwrap().commit(&batch).unwrap();
        for protocol in BOTH {
            assert_eq!(pod.ask(protocol, host).await.unwrap().seen.ip(), ip("203.0.113.1"));
        }
        rig.nothing_dropped();
    }

    /// P7: and the other way round, the internet reaches a public address.
    async fn p7_the_internet_reaches_a_public_address(mut rig) {
        let _responder = rig.n1.responder(rig.n1.primary);
        for protocol in BOTH {
            let question = Question::new(protocol, at(ip("203.0.113.1")), LIMIT).from(ip("198.51.100.9").into());
            let answer = ask(rig.fabric.internet(), &question).await.unwrap();
            assert_eq!((answer.name.as_str(), answer.seen.ip()), ("n1", ip("198.51.100.9").into()));
        }
        let question = Question::new(Protocol::Udp, at(ip("203.0.113.77")), LIMIT);
        ask(rig.fabric.internet(), &question).await.unwrap_err();
        rig.nothing_dropped();
    }

    /// P9: the subnet's route table decides about the internet.
    async fn p9_a_private_subnet_has_no_way_out(mut rig) {
        let subnet = rig.view.enis[&rig.n1.eni1].subnet.clone();
        rig.view.subnets.get_mut(&subnet).unwrap().internet = false;
        rig.apply().await;
        let host = ip("198.51.100.7");
        let _responder = Responder::start("internet", rig.fabric.internet(), at(host)).unwrap();
        rig.n1.ask(Protocol::Udp, host).await.unwrap_err();
        let eni = rig.n1.eni1.clone();
        rig.only_dropped(&eni, Reason::NoRoute);
        rig.n2.ask(Protocol::Udp, host).await.unwrap();
    }

    /// P1: with the check off, the wrong way out passes.
    async fn p1_the_check_can_be_switched_off(mut rig) {
        let near = rig.n1.pod("near", ip("10.0.1.21")).await;
        let _responder = rig.n2.responder(rig.n2.primary);
        let eni = rig.n1.eni1.clone();
        near.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        rig.eni(&eni).source_dest_check = false;
        rig.apply().await;
        near.ask(Protocol::Udp, rig.n2.primary).await.unwrap();
        rig.eni(&eni).source_dest_check = true;
        rig.apply().await;
        near.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        assert_eq!(rig.dropped(Reason::SourceCheck), 2);
    }

    /// P10: the router takes nothing off the TTL.
    async fn p10_a_ttl_of_one_arrives(rig) {
        let target = at(rig.n2.primary);
        let receive = netlink::netns::inside(rig.n2.network(), || std::net::UdpSocket::bind(target).unwrap()).unwrap();
        receive.set_read_timeout(Some(LIMIT)).unwrap();
        netlink::netns::inside(rig.n1.network(), || {
            let send = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            send.set_ttl(1).unwrap();
            send.send_to(b"last hop", target).unwrap();
        })
        .unwrap();
        let mut data = [0; 16];
        let (length, from) = receive.recv_from(&mut data).unwrap();
        assert_eq!((&data[..length], from.ip()), (b"last hop".as_slice(), rig.n1.primary.into()));
    }

    /// P11: services of the fabric see the ENI's address, from any ENI.
    async fn p11_services_see_who_asks(mut rig) {
        let listener = rig.fabric.listen((METADATA, 80).into()).await.unwrap();
        let pod = rig.n1.pod("near", ip("10.0.1.21")).await;
        rig.n1.send_by_secondary(pod.ip).await;
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        for (namespace, seen) in [(rig.n1.network(), rig.n1.primary), (pod.place.namespace.as_fd(), pod.ip)] {
            let question = Question::new(Protocol::Tcp, (METADATA, 80).into(), LIMIT);
            let (_, accepted) = tokio::join!(ask(namespace, &question), listener.accept());
            assert_eq!(accepted.unwrap().1.ip(), seen);
        }
        rig.nothing_dropped();
    }

    /// P11: the time is told to whoever asks, as SNTP has it.
    async fn p11_the_time_is_told(mut rig) {
        let service = tokio::net::UdpSocket::from_std(rig.fabric.bind(TIME).await.unwrap()).unwrap();
        let telling = tokio::spawn(tell_time(service));
        let asking = netlink::netns::inside(rig.n1.network(), || {
            let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            tokio::net::UdpSocket::from_std(socket).unwrap()
        })
        .unwrap();
        let mut question = [0; 48];
        question[0] = 0b0010_0011;
        asking.send_to(&question, TIME).await.unwrap();
        let mut answer = [0; 64];
        let (length, from) = tokio::time::timeout(LIMIT, asking.recv_from(&mut answer)).await.unwrap().unwrap();
        assert_eq!((length, from, answer[0]), (48, TIME, 0b0010_0100));
        let told = u64::from(u32::from_be_bytes(answer[40..44].try_into().unwrap())) - 2_208_988_800;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(told) <= 1, "{now} {told}");
        telling.abort();
        rig.nothing_dropped();
    }

    /// L3: a detach takes the device, its routes and addresses; rules stay. Attached again it is a new device.
    async fn l3_detach_and_attach_again(mut rig) {
        let eni = rig.n1.eni2.clone();
        let view = rig.view.enis.remove(&eni).unwrap();
        rig.apply().await;
        let routing = rig.n1.routing();
        assert!(routing.link_by_mac(Mac(view.mac.0)).await.unwrap().is_none());
        assert_eq!(routing.rules(Family::V4).await.unwrap().iter().filter(|rule| rule.priority == 1536).count(), 1);
        rig.n2.ask(Protocol::Udp, ip("10.0.1.21")).await.unwrap_err();
        assert!(rig.dropped(Reason::NoHost) > 0);
        rig.view.enis.insert(eni, view);
        let start = Instant::now();
        rig.apply().await;
        report("attach one ENI", start);
        let link = rig.n1.device(&routing, &rig.view, &rig.n1.eni2).await;
        assert!(!link.up);
    }

    /// A view that is applied already changes nothing; thousands of addresses are quick.
    async fn four_thousand_addresses(mut rig) {
        let eni = rig.n1.eni2.clone();
        for number in 0..4000_u32 {
            rig.eni(&eni).addresses.insert(Ipv4Addr::from(0x0a00_8000 + number));
        }
        let start = Instant::now();
        rig.apply().await;
        report("assign 4000 addresses", start);
        let start = Instant::now();
        rig.apply().await;
        report("the same again", start);
        let pod = rig.n1.pod("near", ip("10.0.140.7")).await;
        rig.n1.send_by_secondary(pod.ip).await;
        rig.n2.ask(Protocol::Tcp, pod.ip).await.unwrap();
        rig.nothing_dropped();
    }

    /// A reboot keeps the disk and nothing else; the ENIs arrive again.
    async fn a_node_reboots(mut rig) {
        let write = rig.n1.node.run("sh", &["-c", "echo kept > /etc/cni/it; echo lost > /run/it; hostname"]).await.unwrap();
        assert_eq!(String::from_utf8(write.stdout).unwrap().trim(), "n1");
        assert!(!std::path::Path::new("/etc/cni/it").exists());
        for place in ["/usr/it", "/.machine/it", "/.machine/etc/it"] {
            let write = rig.n1.node.run("touch", &[place]).await.unwrap();
            assert!(!write.status.success(), "{place}");
        }
        rig.fabric.power_off(&rig.n1.instance).await.unwrap();
        let start = Instant::now();
        let node = rig.n1.node.reboot(&rig.world).await.unwrap();
        report("reboot a node", start);
        rig.fabric.power_on(rig.n1.instance.clone(), node.network().try_clone_to_owned().unwrap());
        rig.fabric.apply(&rig.view).await.unwrap();
        let read = node.run("sh", &["-c", "cat /etc/cni/it; ls /run/it /run/netns; ls /sys/class/net"]).await.unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), "kept\n/run/netns:\nens5\nens6\nlo\n");
    }

    /// Fifteen pods on each node, everybody to everybody.
    async fn a_matrix_of_thirty_pods(mut rig) {
        let mut pods = Vec::new();
        for last in 65..80 {
            for (machine, third) in [(&rig.n1, 1), (&rig.n2, 2)] {
                let address = Ipv4Addr::new(10, 0, third, last);
                pods.push(machine.pod(&format!("pod-{third}-{last}"), address).await);
                machine.send_by_secondary(address).await;
            }
        }
        let places: Vec<_> = pods.iter().map(|pod| pod.place.clone()).collect();
        let start = Instant::now();
        let cells = matrix(&places, Duration::from_secs(5)).await;
        report("a matrix of 30 pods", start);
        assert_eq!(cells.len(), 30 * 29 * 2);
        for cell in cells {
            let answer = cell.result.unwrap();
            let from = places.iter().find(|place| place.name == cell.from).unwrap();
            assert_eq!((answer.name, answer.seen.ip()), (cell.to, from.address.ip()));
        }
        rig.nothing_dropped();
    }

    /// Every device of the run is one of the run's, and its peer too.
    async fn nothing_leads_out(mut rig) {
        let fabric = netlink::Routing::open_in(rig.fabric.namespace()).unwrap();
        let links = fabric.links().await.unwrap();
        assert_eq!(links.len(), 4 + 2);
        let routes = fabric.routes(Family::V4, 254).await.unwrap();
        assert!(routes.iter().all(|route| route.destination.prefix_len() > 0));
        let own = netlink::Routing::open().unwrap();
        let names: Vec<String> = own.links().await.unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo"]);
        rig.nothing_dropped();
    }
}

/// How many fragments the first node has made.
async fn fragments(rig: &Rig) -> u64 {
    let read = rig.n1.node.run("cat", &["/proc/net/snmp"]).await.unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    let mut lines = text
        .lines()
        .filter(|line| line.starts_with("Ip:"))
        .map(str::split_whitespace);
    let (mut names, mut values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.position(|name| name == "FragCreates").unwrap();
    values.nth(place).unwrap().parse().unwrap()
}

#[expect(clippy::print_stdout, reason = "measured on the way")]
fn report(what: &str, start: Instant) {
    println!("     {what}: {:.1?}", start.elapsed());
}
