//! The flows of an address are forgotten, whichever side it is on, and no other's.

use std::net::{Ipv4Addr, UdpSocket};

use netlink::Routing;
use netlink::conntrack::Conntrack;
use netlink::nft::{
    Batch, Chain, ChainKind, CtKey, Expression, Family, Hook, Nftables, Register, Rule, TableFlags,
};

use crate::sandbox::in_namespace;

/// Connection tracking begins in a namespace once a rule asks for it.
async fn track() {
    let routing = Routing::open().unwrap();
    routing.set_up(1).await.unwrap();
    let mut batch = Batch::new(Family::Ip, "t");
    batch.add_table(TableFlags::NONE);
    batch.add_chain(&Chain::base("out", ChainKind::Filter, Hook::Output, 0));
    batch.add_rule(
        "out",
        &Rule::new(vec![Expression::Ct(CtKey::State, Register::FIRST)]),
    );
    Nftables::open().unwrap().commit(&batch).unwrap();
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// A datagram from one address to another, and one back.
fn exchange(from: u8, to: u8) {
    let server = UdpSocket::bind((address(to), 0)).unwrap();
    let client = UdpSocket::bind((address(from), 0)).unwrap();
    client.send_to(b"x", server.local_addr().unwrap()).unwrap();
    let (_, peer) = server.recv_from(&mut [0; 8]).unwrap();
    server.send_to(b"y", peer).unwrap();
}

in_namespace! {
    async fn the_flows_of_an_address_are_forgotten_whichever_side_it_is_on() {
        track().await;
        let mut conntrack = Conntrack::open().unwrap();
        exchange(2, 3);
        exchange(3, 4);
        exchange(5, 6);
        assert_eq!(conntrack.count(&[address(3)].into()).unwrap(), 2);
        assert_eq!(conntrack.forget(&[address(3)].into()).unwrap(), 2);
        assert_eq!(conntrack.forget(&[address(3)].into()).unwrap(), 0);
        assert_eq!(conntrack.forget(&[address(6), address(2)].into()).unwrap(), 1);
    }

    async fn many_addresses_are_one_list() {
        track().await;
        let mut conntrack = Conntrack::open().unwrap();
        for last in 10..90 {
            exchange(2, last);
        }
        let some = (10..80).map(address).collect();
        assert_eq!(conntrack.forget(&some).unwrap(), 70);
        assert_eq!(conntrack.forget(&[address(2)].into()).unwrap(), 10);
    }
}
