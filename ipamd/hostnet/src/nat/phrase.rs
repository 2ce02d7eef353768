//! Turns of phrase of nftables rules: a few expressions each, of which our rules are made.

use std::net::Ipv4Addr;

use netlink::nft::{
    Base, Comparison, CtKey, Expression as E, Fib, FibFlags, FibResult, MetaKey, Register, Verdict,
};

/// Rules here need one register at a time.
pub(super) const R: Register = Register::FIRST;

/// `enum ip_conntrack_dir`: the answering direction.
const REPLY: u8 = 1;
/// The bit of "new" in a connection's state (nft's `ct state new`; uapi/linux/netfilter/nf_conntrack_common.h).
const STATE_NEW: u32 = 8;
/// `IPS_CONFIRMED`, uapi/linux/netfilter/nf_conntrack_common.h: the first packet has left.
const STATUS_CONFIRMED: u32 = 8;
/// `RTN_LOCAL`, uapi/linux/rtnetlink.h.
const LOCAL: u32 = 2;
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`, uapi/linux/netfilter.h.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// Native bytes of a register of four.
pub(super) fn word(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn masked(load: E, mask: u32, comparison: Comparison, value: u32) -> Vec<E> {
    vec![
        load,
        E::Bitwise(R, word(mask), word(0)),
        E::Compare(R, comparison, word(value)),
    ]
}

/// `ct state new`
pub(super) fn new_connection() -> Vec<E> {
    masked(E::Ct(CtKey::State, R), STATE_NEW, Comparison::IsNot, 0)
}

/// `ct status ! confirmed`: the first packet of a connection, also where it stays "new" for ever.
pub(super) fn first_packet() -> Vec<E> {
    masked(E::Ct(CtKey::Status, R), STATUS_CONFIRMED, Comparison::Is, 0)
}

/// `ct direction reply`
pub(super) fn reply() -> Vec<E> {
    vec![
        E::Ct(CtKey::Direction, R),
        E::Compare(R, Comparison::Is, vec![REPLY]),
    ]
}

/// `ct mark & mask == value`
pub(super) fn connection_mark(mask: u32, value: u32) -> Vec<E> {
    masked(E::Ct(CtKey::Mark, R), mask, Comparison::Is, value)
}

/// `ct mark & mask != 0`
pub(super) fn connection_marked(mask: u32) -> Vec<E> {
    masked(E::Ct(CtKey::Mark, R), mask, Comparison::IsNot, 0)
}

/// `ct mark & mask vmap @map`
pub(super) fn connection_mark_map(mask: u32, map: &str) -> Vec<E> {
    vec![
        E::Ct(CtKey::Mark, R),
        E::Bitwise(R, word(mask), word(0)),
        E::VerdictMap(R, map.to_owned()),
    ]
}

/// `fib daddr type local`
pub(super) fn to_the_node() -> Vec<E> {
    destination_type(Comparison::Is)
}

/// `fib daddr type != local`
pub(super) fn not_to_the_node() -> Vec<E> {
    destination_type(Comparison::IsNot)
}

fn destination_type(comparison: Comparison) -> Vec<E> {
    let fib = Fib {
        flags: FibFlags::DESTINATION,
        result: FibResult::AddressType,
    };
    vec![E::Fib(fib, R), E::Compare(R, comparison, word(LOCAL))]
}

/// `fib saddr . iif oif missing`: the source is not routed to where the packet came from.
pub(super) fn forged() -> Vec<E> {
    E::no_route(FibFlags::SOURCE | FibFlags::IIF, R).to_vec()
}

/// `iifname vmap @map`
pub(super) fn incoming_device_map(map: &str) -> Vec<E> {
    vec![E::Meta(MetaKey::IifName, R), E::VerdictMap(R, map.to_owned())]
}

/// `iifname != "prefix*"`
pub(super) fn not_from_devices(prefix: &str) -> Vec<E> {
    vec![
        E::Meta(MetaKey::IifName, R),
        E::name_begins(R, Comparison::IsNot, prefix),
    ]
}

/// `oifname name`
pub(super) fn out_of(name: &str) -> Vec<E> {
    vec![
        E::Meta(MetaKey::OifName, R),
        E::name_begins(R, Comparison::Is, &format!("{name}\0")),
    ]
}

/// Only IPv4.
pub(super) fn ipv4() -> Vec<E> {
    vec![
        E::Meta(MetaKey::NfProto, R),
        E::Compare(R, Comparison::Is, vec![IPV4]),
    ]
}

/// `ip6 saddr { ::, fe80::/10 }`, the part that is a prefix.
pub(super) fn from_link_local6() -> Vec<E> {
    vec![
        E::Meta(MetaKey::NfProto, R),
        E::Compare(R, Comparison::Is, vec![IPV6]),
        source6(2),
        E::Bitwise(R, vec![0xff, 0xc0], vec![0; 2]),
        E::Compare(R, Comparison::Is, vec![0xfe, 0x80]),
    ]
}

/// `ip6 saddr ::`
pub(super) fn from_nowhere6() -> Vec<E> {
    vec![
        E::Meta(MetaKey::NfProto, R),
        E::Compare(R, Comparison::Is, vec![IPV6]),
        source6(16),
        E::Compare(R, Comparison::Is, vec![0; 16]),
    ]
}

fn source6(bytes: u32) -> E {
    E::Payload(Base::Network, 8, bytes, R)
}

/// `ip saddr`, into the register; after [`ipv4`].
pub(super) fn source4() -> E {
    E::Payload(Base::Network, 12, 4, R)
}

/// `ip daddr != @set`, with its family.
pub(super) fn destination_outside(set: &str) -> Vec<E> {
    [
        ipv4(),
        vec![
            E::Payload(Base::Network, 16, 4, R),
            E::NotInSet(R, set.to_owned()),
        ],
    ]
    .concat()
}

/// `ip saddr @set`, with its family.
pub(super) fn source_inside(set: &str) -> Vec<E> {
    [ipv4(), vec![source4(), E::InSet(R, set.to_owned())]].concat()
}

/// `ip saddr vmap @map`, with its family.
pub(super) fn source_map(map: &str) -> Vec<E> {
    [ipv4(), vec![source4(), E::VerdictMap(R, map.to_owned())]].concat()
}

/// Sets the byte of `mask` in the packet's mark to `bits` and leaves the others.
pub(super) fn stamp_packet(mask: u32, bits: u32) -> Vec<E> {
    vec![
        E::Meta(MetaKey::Mark, R),
        E::Bitwise(R, word(!mask), word(bits)),
        E::SetMeta(MetaKey::Mark, R),
    ]
}

/// Sets the byte of `mask` in the connection's mark to `bits` and leaves the others.
pub(super) fn stamp_connection(mask: u32, bits: u32) -> Vec<E> {
    vec![
        E::Ct(CtKey::Mark, R),
        E::Bitwise(R, word(!mask), word(bits)),
        E::SetCt(CtKey::Mark, R),
    ]
}

/// `snat ip to address`
pub(super) fn translate_source(address: Ipv4Addr, flags: netlink::nft::NatFlags) -> Vec<E> {
    vec![E::Load(R, address.octets().to_vec()), E::Snat4(R, flags)]
}

/// `goto chain`
pub(super) fn goto(chain: &str) -> Vec<E> {
    vec![E::Verdict(Verdict::Goto(chain.to_owned()))]
}

/// `return`
pub(super) fn leave() -> Vec<E> {
    vec![E::Verdict(Verdict::Return)]
}

/// `counter drop`
pub(super) fn count_and_drop() -> Vec<E> {
    vec![E::Counter, E::Verdict(Verdict::Drop)]
}
