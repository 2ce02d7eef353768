//! What packets do, and what a wiring costs the kernel.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use hostnet::nat::Nat;
use hostnet::pod::wire;
use ipamd_core::net::pod::PodWiring;
use netlink::nft::{Family, Nftables};
use netlink::{Address, Routing};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::example::{NODE, Node, firewall, index_of, v4, wanted, wiring};
use crate::sandbox::{Namespace, in_namespace, run_counted};

/// Far more than a packet needs, and what a packet that must not come costs.
const PATIENCE: Duration = Duration::from_millis(500);

in_namespace! {
    async fn a_pod_reaches_its_node_and_the_node_the_pod() {
        let (_node, pod, web) = serving().await;
        let (inside, outside) = (pod.inside(|| open(v4(&web))), open(Ipv4Addr::UNSPECIFIED));
        say(&inside, "hello node", address(NODE, &outside));
        assert_eq!(hear(&outside), Some(("hello node".to_owned(), address(v4(&web), &inside))));
        // The node chooses its own address itself: probes come from where network policies expect them.
        say(&outside, "hello pod", address(v4(&web), &inside));
        assert_eq!(hear(&inside), Some(("hello pod".to_owned(), address(NODE, &outside))));
    }

    async fn what_a_pod_sends_from_a_forged_source_is_dropped_and_counted() {
        let (_node, pod, web) = serving().await;
        let inside = pod.routing();
        let outside = open(NODE);
        let eth0 = index_of(&inside, "eth0").await;
        // A sibling on the same ENI, the node, an address of our own block that nobody has, and a stranger.
        for (number, forged) in [[10, 0, 1, 31], [10, 0, 1, 10], [10, 0, 1, 50], [192, 0, 2, 7]].into_iter().enumerate() {
            let forged = Ipv4Addr::from(forged);
            let theirs = Address::new(eth0, ipnet::Ipv4Net::from(forged).into());
            inside.add_address(&theirs).await.unwrap();
            let liar = pod.inside(|| open(forged));
            let target = if forged == NODE { Ipv4Addr::new(10, 0, 1, 11) } else { NODE };
            say(&liar, "believe me", address(target, &outside));
            assert_eq!(dropped(), number as u64 + 1, "{forged}");
            inside.delete_address(eth0, ipnet::Ipv4Net::from(forged).into()).await.unwrap();
        }
        let honest = pod.inside(|| open(v4(&web)));
        say(&honest, "it is me", address(NODE, &outside));
        assert_eq!(hear(&outside).unwrap().0, "it is me", "and nothing that was forged came before");
    }

    async fn the_peer_is_born_in_the_pod_and_never_moved() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let notices = listen_to_links();
        let web = wiring("web", 1, [10, 0, 1, 30]);
        wire(pod.path(), &web).await.unwrap();
        let (made, gone) = links_told_of(&notices);
        let host = node.index("eniweb").await;
        assert!(made.iter().all(|index| *index == host), "only the host's end was ever here: {made:?}");
        assert_eq!((made.is_empty(), gone), (false, Vec::new()), "what moves away is reported as gone");
    }
}

#[test]
fn a_wiring_starts_no_process_and_no_thread() {
    let name = concat!(module_path!(), "::a_wiring_starts_no_process_and_no_thread");
    run_counted(name, || async {
        let (_node, pod) = (Node::boot().await, Namespace::new());
        let last = || std::fs::read_to_string("/proc/sys/kernel/ns_last_pid").unwrap();
        let before = last();
        wire(pod.path(), &wiring("web", 1, [10, 0, 1, 30])).await.unwrap();
        assert_eq!(last(), before);
        std::thread::spawn(|| ()).join().unwrap();
        assert_ne!(last(), before, "one would have been counted");
    });
}

/// A node as the daemon makes it, with one pod.
async fn serving() -> (Node, Namespace, PodWiring) {
    let (node, pod) = (Node::boot().await, Namespace::new());
    let web = wiring("web", 1, [10, 0, 1, 30]);
    node.settle(&wanted(&[])).await;
    wire(pod.path(), &web).await.unwrap();
    node.settle(&wanted(&[&web])).await;
    let mut nat = Nat::open().unwrap();
    nat.load(&firewall(&[1])).unwrap();
    let inside = pod.routing();
    for (routing, name) in [(&node.routing, "eniweb"), (&inside, "eth0")] {
        until_running(routing, name).await;
    }
    (node, pod, web)
}

/// The kernel's link watcher lets packets through an end that is up, when it gets round to it.
async fn until_running(routing: &Routing, name: &str) {
    let running = async {
        while !routing.link_by_name(name).await.unwrap().unwrap().running {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, running).await.unwrap();
}

fn open(address: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn address(ip: Ipv4Addr, socket: &UdpSocket) -> SocketAddr {
    (ip, socket.local_addr().unwrap().port()).into()
}

fn say(socket: &UdpSocket, words: &str, to: SocketAddr) {
    socket.send_to(words.as_bytes(), to).unwrap();
}

fn hear(socket: &UdpSocket) -> Option<(String, SocketAddr)> {
    let mut words = [0; 64];
    let (length, from) = socket.recv_from(&mut words).ok()?;
    assert!(matches!(from.ip(), IpAddr::V4(_)));
    Some((String::from_utf8_lossy(&words[..length]).into_owned(), from))
}

/// How many packets were dropped because no such source belongs behind the device.
fn dropped() -> u64 {
    let rules = Nftables::open().unwrap().rules(Family::Inet, "berth").unwrap();
    let counters = rules.iter().filter_map(|rule| rule.counter);
    counters.map(|count| count.packets).sum()
}

/// A socket that is told of every link of this namespace: `RTMGRP_LINK`, uapi/linux/rtnetlink.h.
fn listen_to_links() -> std::os::fd::OwnedFd {
    let notices = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )
    .unwrap();
    bind(notices.as_raw_fd(), &NetlinkAddr::new(0, 1)).unwrap();
    notices
}

/// The indexes of links that were said to be new or changed, and gone: `RTM_NEWLINK` 16, `RTM_DELLINK` 17; the index
/// stands at byte 4 of the `struct ifinfomsg` behind the header of 16.
fn links_told_of(notices: &std::os::fd::OwnedFd) -> (Vec<u32>, Vec<u32>) {
    let (mut made, mut gone) = (Vec::new(), Vec::new());
    let mut datagram = [0; 65_536];
    while let Ok(length) = recv(notices.as_raw_fd(), &mut datagram, MsgFlags::empty()) {
        let mut rest = &datagram[..length];
        while rest.len() >= 24 {
            let size = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            let index = u32::from_ne_bytes(rest[20..24].try_into().unwrap());
            match u16::from_ne_bytes(rest[4..6].try_into().unwrap()) {
                16 => made.push(index),
                17 => gone.push(index),
                _ => {}
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    (made, gone)
}
