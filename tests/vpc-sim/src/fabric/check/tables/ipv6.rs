//! What is different for packets of IPv6: neighbour discovery stays on the link, and the hop limit has no checksum.

use netlink::nft::{Base, Comparison, Expression as E, Verdict};

use super::{IPV6, R, family, goto, not_its_own, route_table};
use crate::fabric::drops::Reason;

/// A range of addresses by its first bits.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    mask: [u8; 2],
    bits: [u8; 2],
}

/// ff00::/8 (RFC 4291).
pub(super) const MULTICAST: Scope = Scope {
    mask: [0xff, 0],
    bits: [0xff, 0],
};

/// fe80::/10 (RFC 4291).
pub(super) const LINK_LOCAL: Scope = Scope {
    mask: [0xff, 0xc0],
    bits: [0xfe, 0x80],
};

const SOURCE: u32 = 8;
const DESTINATION: u32 = 24;
const HOP_LIMIT: u32 = 7;

/// What a packet of IPv6 from an ENI may be. What stays on the link reaches the router and nobody else: the kernel
/// forwards neither multicast nor link-local packets here.
pub(super) fn pre6() -> Vec<Vec<E>> {
    vec![
        to_the_link(MULTICAST),
        to_the_link(LINK_LOCAL),
        [
            within(SOURCE, LINK_LOCAL).as_slice(),
            &[goto(Reason::SourceCheck)],
        ]
        .concat(),
        not_its_own(),
        route_table(),
        vec![
            E::Payload(Base::Network, HOP_LIMIT, 1, R),
            E::FromMap(R, "ttl".to_owned(), R),
            E::SetPlainNetworkPayload {
                offset: HOP_LIMIT,
                bytes: 1,
                from: R,
            },
        ],
    ]
}

/// Lets packets to a range on the link pass.
pub(super) fn to_the_link(scope: Scope) -> Vec<E> {
    [
        family(IPV6).as_slice(),
        &within(DESTINATION, scope),
        &[E::Verdict(Verdict::Accept)],
    ]
    .concat()
}

/// Only packets to addresses of the VPC.
pub(super) fn inside() -> Vec<E> {
    let members = [
        E::Payload(Base::Network, DESTINATION, 16, R),
        E::InSet(R, "cidrs6".to_owned()),
    ];
    [family(IPV6).as_slice(), &members].concat()
}

fn within(offset: u32, scope: Scope) -> [E; 3] {
    [
        E::Payload(Base::Network, offset, 2, R),
        E::Bitwise(R, scope.mask.to_vec(), vec![0; 2]),
        E::Compare(R, Comparison::Is, scope.bits.to_vec()),
    ]
}
