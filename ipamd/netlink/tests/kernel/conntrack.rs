//! The flows of an address are forgotten, whichever side it is on, and no other's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use netlink::conntrack::Conntrack;
use netlink::nft::{
    Batch, Chain, ChainKind, CtKey, Expression, Family, Hook, Nftables, Register, Rule, TableFlags,
};
use netlink::{Address, LOCAL_TABLE, Routing};

use tokio::time::timeout;

use crate::sandbox::in_namespace;

/// Far longer than the kernel takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the kernel takes packets for an IPv6 address: a little later than it has it.
async fn is_routed(routing: &Routing, address: IpAddr) -> bool {
    let routes = routing.routes(netlink::Family::V6, LOCAL_TABLE).await.unwrap();
    routes.iter().any(|route| route.destination == address.into())
}

/// Connection tracking begins in a namespace once a rule asks for it.
async fn track() {
    let routing = Routing::open().unwrap();
    routing.set_up(1).await.unwrap();
    for last in 2..7 {
        let mut own = Address::new(1, ipnet::IpNet::from(address6(last)));
        own.no_dad = true;
        routing.add_address(&own).await.unwrap();
        let routed = async { while !is_routed(&routing, address6(last)).await {} };
        timeout(PATIENCE, routed).await.unwrap();
    }
    let mut batch = Batch::new(Family::Inet, "t");
    batch.add_table(TableFlags::NONE);
    batch.add_chain(&Chain::base("out", ChainKind::Filter, Hook::Output, 0));
    batch.add_rule(
        "out",
        &Rule::new(vec![Expression::Ct(CtKey::State, Register::FIRST)]),
    );
    Nftables::open().unwrap().commit(&batch).unwrap();
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn address6(last: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into()
}

/// A datagram from one address to another, and one back.
fn exchange(from: IpAddr, to: IpAddr) {
    let server = UdpSocket::bind((to, 0)).unwrap();
    let client = UdpSocket::bind((from, 0)).unwrap();
    client.send_to(b"x", server.local_addr().unwrap()).unwrap();
    let (_, peer) = server.recv_from(&mut [0; 8]).unwrap();
    server.send_to(b"y", peer).unwrap();
}

in_namespace! {
    async fn the_flows_of_an_address_are_forgotten_whichever_side_it_is_on() {
        track().await;
        let mut conntrack = Conntrack::open().unwrap();
        for address in [address, address6] {
            for (from, to) in [(2, 3), (3, 4), (5, 6)] {
                exchange(address(from), address(to));
            }
        }
        assert_eq!(conntrack.count(&[address(3), address6(3)].into()).unwrap(), 4);
        for address in [address, address6] {
            assert_eq!(conntrack.forget(&[address(3)].into()).unwrap(), 2);
            assert_eq!(conntrack.forget(&[address(3)].into()).unwrap(), 0);
            assert_eq!(conntrack.forget(&[address(6), address(2)].into()).unwrap(), 1);
        }
    }

    async fn many_addresses_are_one_list() {
        track().await;
        let mut conntrack = Conntrack::open().unwrap();
        for last in 10..90 {
            exchange(address(2), address(last));
        }
        let some = (10..80).map(address).collect();
        assert_eq!(conntrack.forget(&some).unwrap(), 70);
        assert_eq!(conntrack.forget(&[address(2)].into()).unwrap(), 10);
    }

    async fn among_thousands_of_flows_those_of_an_address_are_found() {
        track().await;
        let mut conntrack = Conntrack::open().unwrap();
        let server = UdpSocket::bind((address(9), 0)).unwrap();
        for _ in 0..5000 {
            let client = UdpSocket::bind((address(8), 0)).unwrap();
            client.send_to(b"x", server.local_addr().unwrap()).unwrap();
        }
        for address in [address, address6] {
            exchange(address(2), address(3));
            exchange(address(3), address(4));
            assert_eq!(conntrack.forget(&[address(3)].into()).unwrap(), 2);
        }
        let left = conntrack.count(&[address(9)].into()).unwrap();
        assert!(left > 4500, "{left}");
    }
}
