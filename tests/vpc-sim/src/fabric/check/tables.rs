//! The chains of the checks, from top to bottom.

mod ipv6;

use ipnet::Ipv4Net;
use netlink::nft::{
    Base, Batch, Chain, ChainKind, Comparison, Datatype, Element, Expression as E, Family, Fib, FibFlags,
    FibResult, Hook, MapsTo, MetaKey, Register, Rule, Set, TableFlags, Value, Verdict,
};

use super::TABLE;
use crate::fabric::drops::Reason;
use crate::fabric::{groups, igw};

/// Counted in the table that sees packets.
pub(super) const INET_REASONS: [Reason; 7] = [
    Reason::ForeignMac,
    Reason::SourceCheck,
    Reason::NoHost,
    Reason::NoRoute,
    Reason::NoPublicAddress,
    Reason::GroupIn,
    Reason::GroupOut,
];

/// Counted in the table that sees ARP.
pub(super) const ARP_REASONS: [Reason; 2] = [Reason::ForeignMac, Reason::Unanswered];

pub(in crate::fabric) const R: Register = Register::FIRST;

/// How netfilter numbers the families (kernel, include/uapi/linux/netfilter.h, `NFPROTO_*`).
pub(in crate::fabric) const IPV4: u8 = 2;
pub(in crate::fabric) const IPV6: u8 = 10;

/// Where an interface name in [`R`] ends.
const BEHIND_NAME: Register = Register(4);

/// Devices of ENIs are called so (see `super::super::eni`).
const ENI: &str = "eni-";

/// The table of family inet.
pub(super) fn routed() -> Batch {
    let mut batch = Batch::new(Family::Inet, TABLE);
    batch.add_table(TableFlags::NONE);
    batch.add_set(&set(
        "enimac",
        &[Datatype::IfName, Datatype::Ether],
        MapsTo::Nothing,
    ));
    batch.add_set(&set("nosrcdst", &[Datatype::IfName], MapsTo::Nothing));
    batch.add_set(&set("rtb", &[Datatype::IfName], MapsTo::Data(Datatype::Mark)));
    batch.add_set(&set("ttl", &[Datatype::Byte], MapsTo::Data(Datatype::Byte)));
    let mut cidrs = set("cidrs", &[Datatype::Ipv4], MapsTo::Nothing);
    cidrs.ranges = true;
    batch.add_set(&cidrs);
    let mut cidrs6 = set("cidrs6", &[Datatype::Ipv6], MapsTo::Nothing);
    cidrs6.ranges = true;
    batch.add_set(&cidrs6);
    batch.add_elements("ttl", &one_more());
    groups::sets(&mut batch);
    drop_chains(&mut batch, &INET_REASONS);
    batch.add_chain(&Chain::base("pre", ChainKind::Filter, Hook::Prerouting, -300));
    batch.add_chain(&Chain::base("routed", ChainKind::Filter, Hook::Prerouting, 0));
    batch
        .add_chain(&Chain::plain("pre4"))
        .add_chain(&Chain::plain("pre6"));
    for (chain, rules) in [
        ("pre", pre()),
        ("pre4", pre4()),
        ("pre6", ipv6::pre6()),
        ("routed", by_destination()),
    ] {
        for rule in rules {
            batch.add_rule(chain, &Rule::new(rule));
        }
    }
    batch
}

/// What a packet from an ENI may be.
fn pre() -> Vec<Vec<E>> {
    let name = E::Meta(MetaKey::IifName, R);
    let go_on = |chain: &str| E::Verdict(Verdict::Goto(chain.to_owned()));
    vec![
        vec![
            name.clone(),
            E::name_begins(R, Comparison::IsNot, ENI),
            E::Verdict(Verdict::Accept),
        ],
        vec![
            name,
            E::Payload(Base::Link, 6, 6, BEHIND_NAME),
            E::NotInSet(R, "enimac".to_owned()),
            goto(Reason::ForeignMac),
        ],
        [family(IPV6).as_slice(), &[go_on("pre6")]].concat(),
        vec![go_on("pre4")],
    ]
}

/// What a packet of IPv4 may be.
fn pre4() -> Vec<Vec<E>> {
    let drop = E::Verdict(Verdict::Drop);
    vec![
        // There is no broadcast and no multicast in a VPC (AWS documentation), and an address that is not yet
        // configured asks in vain: the simulator plays DHCP by other means.
        vec![source(R), E::Compare(R, Comparison::Is, vec![0; 4]), drop.clone()],
        vec![
            destination(R),
            E::Compare(R, Comparison::AtLeast, vec![224, 0, 0, 0]),
            drop,
        ],
        not_its_own(),
        route_table(),
        // Forwarding takes one off the TTL, and a VPC does not (assumed): put it on beforehand.
        vec![
            E::Payload(Base::Network, 8, 1, R),
            E::FromMap(R, "ttl".to_owned(), R),
            E::SetNetworkPayload {
                offset: 8,
                bytes: 1,
                from: R,
                checksum_offset: 10,
                pseudo_header: false,
            },
        ],
    ]
}

/// The source is not routed to where the packet came from.
fn not_its_own() -> Vec<E> {
    let [lookup, none] = E::no_route(FibFlags::SOURCE | FibFlags::IIF, R);
    vec![
        E::Meta(MetaKey::IifName, R),
        E::NotInSet(R, "nosrcdst".to_owned()),
        lookup,
        none,
        goto(Reason::SourceCheck),
    ]
}

/// The ENI's subnet chooses the route table, by a mark.
fn route_table() -> Vec<E> {
    vec![
        E::Meta(MetaKey::IifName, R),
        E::FromMap(R, "rtb".to_owned(), R),
        E::SetMeta(MetaKey::Mark, R),
    ]
}

/// Where a packet from an ENI may go.
fn by_destination() -> Vec<Vec<E>> {
    let local = Fib {
        flags: FibFlags::DESTINATION,
        result: FibResult::AddressType,
    };
    let from_eni = [
        E::Meta(MetaKey::IifName, R),
        E::name_begins(R, Comparison::Is, ENI),
    ];
    let nowhere = E::no_route(FibFlags::DESTINATION | FibFlags::MARK, R);
    let inside = [
        family(IPV4).as_slice(),
        &[destination(R), E::InSet(R, "cidrs".to_owned())],
    ]
    .concat();
    let lost = [from_eni.as_slice(), &nowhere].concat();
    vec![
        // RTN_LOCAL: services of the fabric; such a destination never has an outgoing device.
        vec![
            E::Fib(local, R),
            E::Compare(R, Comparison::Is, 2_u32.to_ne_bytes().to_vec()),
            E::Verdict(Verdict::Accept),
        ],
        ipv6::to_the_link(ipv6::MULTICAST),
        ipv6::to_the_link(ipv6::LINK_LOCAL),
        [lost.as_slice(), &inside, &[goto(Reason::NoHost)]].concat(),
        [lost.as_slice(), &ipv6::inside(), &[goto(Reason::NoHost)]].concat(),
        [lost.as_slice(), &[goto(Reason::NoRoute)]].concat(),
    ]
}

/// The table of family arp: questions are answered by the kernel, for the router and for routed peers; here fall those
/// that a VPC leaves unanswered.
pub(super) fn arp() -> Batch {
    let mut batch = Batch::new(Family::Arp, TABLE);
    batch.add_table(TableFlags::NONE);
    batch.add_set(&set(
        "enimac",
        &[Datatype::IfName, Datatype::Ether],
        MapsTo::Nothing,
    ));
    batch.add_set(&set("sub", &[Datatype::IfName], MapsTo::Verdicts));
    drop_chains(&mut batch, &ARP_REASONS);
    batch.add_chain(&Chain::base("in", ChainKind::Filter, Hook::Input, 0));
    let name = E::Meta(MetaKey::IifName, R);
    let rules = [
        vec![
            name.clone(),
            E::name_begins(R, Comparison::IsNot, ENI),
            E::Verdict(Verdict::Accept),
        ],
        vec![
            name.clone(),
            E::Payload(Base::Link, 6, 6, BEHIND_NAME),
            E::NotInSet(R, "enimac".to_owned()),
            goto(Reason::ForeignMac),
        ],
        vec![
            arp_target(),
            E::Compare(
                R,
                Comparison::Is,
                super::super::services::METADATA.octets().to_vec(),
            ),
            E::Verdict(Verdict::Accept),
        ],
        vec![name, E::VerdictMap(R, "sub".to_owned())],
    ];
    for rule in rules {
        batch.add_rule("in", &Rule::new(rule));
    }
    batch
}

/// Leaves an ARP question for an address outside the subnet unanswered.
pub(super) fn outside_subnet(cidr: Ipv4Net) -> Rule {
    Rule::new(vec![
        arp_target(),
        E::Bitwise(R, cidr.netmask().octets().to_vec(), vec![0; 4]),
        E::Compare(R, Comparison::IsNot, cidr.network().octets().to_vec()),
        goto(Reason::Unanswered),
    ])
}

/// For each reason a map from device to counter, and a chain that counts and drops.
fn drop_chains(batch: &mut Batch, reasons: &[Reason]) {
    for reason in reasons {
        let word = reason.word();
        batch.add_set(&set(word, &[Datatype::IfName], MapsTo::Counters));
        batch.add_chain(&Chain::plain(&chain(*reason)));
        let device = match reason {
            // The ENI that refuses is the one it would have gone to.
            Reason::GroupIn => MetaKey::OifName,
            Reason::ForeignMac
            | Reason::SourceCheck
            | Reason::NoHost
            | Reason::NoRoute
            | Reason::NoPublicAddress
            | Reason::GroupOut
            | Reason::Unanswered => MetaKey::IifName,
        };
        let count = vec![E::Meta(device, R), E::CounterMap(R, word.to_owned())];
        batch.add_rule(&chain(*reason), &Rule::new(count));
        batch.add_verdict(&chain(*reason), Verdict::Drop);
    }
}

/// The rules that keep the gateway for sources with a public address; they live here to count by ENI.
pub(in crate::fabric) fn gateway_only_for_public(batch: &mut Batch) {
    batch.add_chain(&Chain::base("gateway", ChainKind::Filter, Hook::Forward, 0));
    batch.add_rule(
        "gateway",
        &Rule::new(vec![
            E::Meta(MetaKey::OifName, R),
            E::name_begins(R, Comparison::Is, igw::DEVICE_EXACTLY),
            source(R),
            E::NotInSet(R, igw::HAS_PUBLIC.to_owned()),
            goto(Reason::NoPublicAddress),
        ]),
    );
}

fn chain(reason: Reason) -> String {
    format!("drop-{}", reason.word())
}

pub(in crate::fabric) fn goto(reason: Reason) -> E {
    E::Verdict(Verdict::Goto(chain(reason)))
}

/// Only packets of this family.
pub(in crate::fabric) fn family(number: u8) -> [E; 2] {
    [
        E::Meta(MetaKey::NfProto, R),
        E::Compare(R, Comparison::Is, vec![number]),
    ]
}

fn source(to: Register) -> E {
    E::Payload(Base::Network, 12, 4, to)
}

fn destination(to: Register) -> E {
    E::Payload(Base::Network, 16, 4, to)
}

/// The target address of an ARP message for Ethernet and IPv4 (RFC 826).
fn arp_target() -> E {
    E::Payload(Base::Network, 24, 4, R)
}

/// Every TTL and the next; the highest stays as it is.
fn one_more() -> Vec<Element> {
    (1..u8::MAX)
        .map(|ttl| Element::new([ttl]).to(Value::Data(vec![ttl + 1])))
        .collect()
}

pub(in crate::fabric) fn set<'a>(name: &'a str, key: &'a [Datatype], maps_to: MapsTo) -> Set<'a> {
    Set {
        name,
        key,
        ranges: false,
        maps_to,
    }
}
