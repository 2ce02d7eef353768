//! The rules of security groups, as nftables has them.

use std::collections::BTreeSet;

use ipnet::IpNet;
use netlink::nft::{
    Base, Batch, Chain, ChainKind, Comparison, CtKey, Datatype, Element, Expression as E, Hook, MapsTo,
    MetaKey, Register, Rule, Value, Verdict, ifname,
};

use crate::fabric::check::tables::{IPV4, IPV6, R, family, goto, set};
use crate::fabric::drops::Reason;
use crate::model::id::SecurityGroupId;
use crate::model::security_group::{Allowed, Direction, IcmpKind, Peer, Ports, Traffic};

/// From device to number, for zones and marks.
const NUMBERS: &str = "sgnum";
/// Numbers with their devices, for comparing what a connection remembers with where a packet travels.
const OWN: &str = "sgown";
const TRACK: &str = "track";
const LEAVING: &str = "leaving";
const ARRIVING: &str = "arriving";

/// Behind a number in [`R`].
const NAME: Register = Register(1);

/// Bits of the state of a connection (see [`CtKey::State`]): established and related.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

/// `IP_CT_DIR_ORIGINAL` and `IP_CT_DIR_REPLY` (kernel, nf_conntrack_tuple_common.h).
const FIRST_DIRECTION: u8 = 0;
const REPLY: u8 = 1;

/// Sets that are always there, since a set born together with its reader looks empty for a moment.
pub(in crate::fabric) fn sets(batch: &mut Batch) {
    batch.add_set(&set(NUMBERS, &[Datatype::IfName], MapsTo::Data(Datatype::Mark)));
    batch.add_set(&set(OWN, &[Datatype::Mark, Datatype::IfName], MapsTo::Nothing));
    for direction in [Direction::Ingress, Direction::Egress] {
        batch.add_set(&set(filters(direction), &[Datatype::IfName], MapsTo::Verdicts));
    }
}

/// Tracks every connection from now on, and filters.
pub(super) fn start_tracking(batch: &mut Batch) {
    // Behind the checks of sources, before the kernel's tracking at -200.
    batch.add_chain(&Chain::base(TRACK, ChainKind::Filter, Hook::Prerouting, -290));
    batch.add_rule(
        TRACK,
        &Rule::new(vec![
            E::Meta(MetaKey::IifName, R),
            E::FromMap(R, NUMBERS.to_owned(), R),
            E::SetOriginalZone(R),
        ]),
    );
    // Behind the gateway's own filter; each end of a connection is asked for itself.
    batch.add_chain(&Chain::base(LEAVING, ChainKind::Filter, Hook::Forward, 10));
    batch.add_chain(&Chain::base(ARRIVING, ChainKind::Filter, Hook::Forward, 11));
    for (chain, rules) in [(LEAVING, leaving()), (ARRIVING, arriving())] {
        for rule in rules {
            batch.add_rule(chain, &Rule::new(rule));
        }
    }
}

/// What the ENI that a packet comes from has to say: the opener of its connection, the answerer, or a stranger to it.
fn leaving() -> Vec<Vec<E>> {
    vec![
        known(FIRST_DIRECTION, CtKey::Zone, MetaKey::IifName),
        known(REPLY, CtKey::Mark, MetaKey::IifName),
        ask(MetaKey::IifName, Direction::Egress),
    ]
}

/// What the ENI that a packet goes to has to say, which becomes the answerer when it lets a first one in.
fn arriving() -> Vec<Vec<E>> {
    vec![
        known(FIRST_DIRECTION, CtKey::Mark, MetaKey::OifName),
        known(REPLY, CtKey::Zone, MetaKey::OifName),
        ask(MetaKey::OifName, Direction::Ingress),
        vec![
            E::Ct(CtKey::Direction, R),
            E::Compare(R, Comparison::Is, vec![FIRST_DIRECTION]),
            E::Meta(MetaKey::OifName, R),
            E::FromMap(R, NUMBERS.to_owned(), R),
            E::SetCt(CtKey::Mark, R),
        ],
    ]
}

/// Filters and tracks no more.
pub(super) fn stop_tracking(batch: &mut Batch) {
    for chain in [LEAVING, ARRIVING, TRACK] {
        batch.flush_chain(chain).delete_chain(chain);
    }
}

/// Lets packets of a connection pass an ENI that the connection remembers.
fn known(direction: u8, number: CtKey, device: MetaKey) -> Vec<E> {
    vec![
        E::Ct(CtKey::State, R),
        E::Bitwise(R, ESTABLISHED_OR_RELATED.to_ne_bytes().to_vec(), vec![0; 4]),
        E::Compare(R, Comparison::IsNot, vec![0; 4]),
        E::Ct(CtKey::Direction, R),
        E::Compare(R, Comparison::Is, vec![direction]),
        E::Ct(number, R),
        E::Meta(device, NAME),
        E::InSet(R, OWN.to_owned()),
        E::Verdict(Verdict::Accept),
    ]
}

fn ask(device: MetaKey, direction: Direction) -> Vec<E> {
    vec![
        E::Meta(device, R),
        E::VerdictMap(R, filters(direction).to_owned()),
    ]
}

/// Makes a device known by its number.
pub(super) fn add_device(batch: &mut Batch, device: &str, number: u16) {
    batch.add_elements(
        NUMBERS,
        &[Element::new(ifname(device)).to(Value::Data(word(number)))],
    );
    batch.add_elements(OWN, &[Element::concat(&[&word(number), &ifname(device)])]);
}

/// Forgets a device.
pub(super) fn delete_device(batch: &mut Batch, device: &str, number: u16) {
    batch.delete_elements(NUMBERS, &[Element::new(ifname(device))]);
    batch.delete_elements(OWN, &[Element::concat(&[&word(number), &ifname(device)])]);
}

/// Sends a device's packets through its chain, which must be there.
pub(super) fn add_filter(batch: &mut Batch, direction: Direction, device: &str) {
    let jump = Verdict::Jump(chain(direction, device));
    let element = Element::new(ifname(device)).to(Value::Verdict(jump));
    batch.add_elements(filters(direction), &[element]);
}

/// Lets a device's packets pass.
pub(super) fn delete_filter(batch: &mut Batch, direction: Direction, device: &str) {
    let chain = chain(direction, device);
    batch.delete_elements(filters(direction), &[Element::new(ifname(device))]);
    batch.flush_chain(&chain).delete_chain(&chain);
}

/// Makes the sets of a group's addresses.
pub(super) fn add_peers(batch: &mut Batch, group: &SecurityGroupId) {
    for (name, datatype) in [
        (peers(IPV4, group), Datatype::Ipv4),
        (peers(IPV6, group), Datatype::Ipv6),
    ] {
        let mut addresses = set(&name, std::slice::from_ref(&datatype), MapsTo::Nothing);
        addresses.ranges = true;
        batch.add_set(&addresses);
    }
}

/// Says which addresses a group has.
pub(super) fn fill_peers(batch: &mut Batch, group: &SecurityGroupId, addresses: &BTreeSet<IpNet>) {
    for number in [IPV4, IPV6] {
        let name = peers(number, group);
        let nets = addresses.iter().filter(|net| family_of(**net) == number);
        let elements: Vec<Element> = nets.map(|net| Element::net(*net)).collect();
        batch.flush_set(&name).add_elements(&name, &elements);
    }
}

/// Forgets a group that no rule names.
pub(super) fn delete_peers(batch: &mut Batch, group: &SecurityGroupId) {
    for number in [IPV4, IPV6] {
        batch.delete_set(&peers(number, group));
    }
}

/// What may pass, and that nothing else does.
pub(super) fn of(direction: Direction, allowed: &BTreeSet<Allowed>) -> Vec<Rule> {
    let pass = [E::Verdict(Verdict::Return)];
    let mut rules: Vec<Rule> = allowed
        .iter()
        .flat_map(|allowed| {
            peer(direction, &allowed.peer)
                .into_iter()
                .map(move |peer| (allowed, peer))
        })
        .map(|(allowed, peer)| {
            let expressions = [peer.as_slice(), &traffic(allowed.traffic), &pass].concat();
            Rule::new(expressions).comment(allowed.to_string())
        })
        .collect();
    let reason = match direction {
        Direction::Ingress => Reason::GroupIn,
        Direction::Egress => Reason::GroupOut,
    };
    rules.push(Rule::new(vec![goto(reason)]));
    rules
}

/// Only packets from or to a peer: a rule for each family that it can have.
fn peer(direction: Direction, peer: &Peer) -> Vec<Vec<E>> {
    match peer {
        Peer::Ipv4(net) => vec![in_net(direction, IpNet::V4(*net))],
        Peer::Ipv6(net) => vec![in_net(direction, IpNet::V6(*net))],
        Peer::Group(group) => [IPV4, IPV6]
            .into_iter()
            .map(|number| {
                let member = E::InSet(R, peers(number, group));
                [family(number).as_slice(), &[address(direction, number), member]].concat()
            })
            .collect(),
    }
}

fn in_net(direction: Direction, net: IpNet) -> Vec<E> {
    let (mask, network) = match net {
        IpNet::V4(net) => (net.netmask().octets().to_vec(), net.network().octets().to_vec()),
        IpNet::V6(net) => (net.netmask().octets().to_vec(), net.network().octets().to_vec()),
    };
    let number = family_of(net);
    let inside = [
        address(direction, number),
        E::Bitwise(R, mask, vec![0; network.len()]),
        E::Compare(R, Comparison::Is, network),
    ];
    [family(number).as_slice(), &inside].concat()
}

/// The peer's address: the source of what comes in, the destination of what goes out.
fn address(direction: Direction, number: u8) -> E {
    let (offset, bytes) = match (direction, number == IPV4) {
        (Direction::Ingress, true) => (12, 4),
        (Direction::Egress, true) => (16, 4),
        (Direction::Ingress, false) => (8, 16),
        (Direction::Egress, false) => (24, 16),
    };
    E::Payload(Base::Network, offset, bytes, R)
}

fn traffic(traffic: Traffic) -> Vec<E> {
    match traffic {
        Traffic::All => Vec::new(),
        Traffic::Tcp(range) => [protocol(6).as_slice(), &ports(range)].concat(),
        Traffic::Udp(range) => [protocol(17).as_slice(), &ports(range)].concat(),
        Traffic::Icmp(kind) => [protocol(1).as_slice(), &icmp(kind)].concat(),
        Traffic::Icmpv6(kind) => [protocol(58).as_slice(), &icmp(kind)].concat(),
        Traffic::Protocol(number) => protocol(number).to_vec(),
    }
}

fn protocol(number: u8) -> [E; 2] {
    [
        E::Meta(MetaKey::L4Proto, R),
        E::Compare(R, Comparison::Is, vec![number]),
    ]
}

/// The destination port of TCP and UDP is at the same place.
fn ports(range: Ports) -> [E; 3] {
    [
        E::Payload(Base::Transport, 2, 2, R),
        E::Compare(R, Comparison::AtLeast, range.first.to_be_bytes().to_vec()),
        E::Compare(R, Comparison::AtMost, range.last.to_be_bytes().to_vec()),
    ]
}

fn icmp(kind: IcmpKind) -> Vec<E> {
    let fields = [(0, kind.kind), (1, kind.code)];
    let fields = fields
        .into_iter()
        .filter_map(|(offset, value)| Some((offset, value?)));
    fields
        .flat_map(|(offset, value)| {
            [
                E::Payload(Base::Transport, offset, 1, R),
                E::Compare(R, Comparison::Is, vec![value]),
            ]
        })
        .collect()
}

/// The chain of a device in a direction.
pub(super) fn chain(direction: Direction, device: &str) -> String {
    format!("{}-{device}", filters(direction))
}

fn filters(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "sgin",
        Direction::Egress => "sgout",
    }
}

fn peers(number: u8, group: &SecurityGroupId) -> String {
    format!("{}-{number}", group.as_str())
}

fn family_of(net: IpNet) -> u8 {
    match net {
        IpNet::V4(_) => IPV4,
        IpNet::V6(_) => IPV6,
    }
}

/// A number as zones (two bytes, native) and marks hold it.
fn word(number: u16) -> Vec<u8> {
    let [first, second] = number.to_ne_bytes();
    vec![first, second, 0, 0]
}
