//! The content of our table. Nothing in it is per pod: an ADD or DEL changes no rule, no set and no map.
//!
//! `early` and `steer` mark packets with the ENI that they must leave by; `at_door` remembers by which ENI a
//! connection to the node came; `egress` translates what leaves the VPC.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipamd_core::net::{EniMark, Firewall, MARK_MASK, MARK_PRIMARY, NatRules, SourcePorts};
use ipnet::IpNet;
use netlink::nft::{
    Batch, Datatype, Element, Expression as E, MapsTo, NatFlags, Rule, Set, Value, Verdict, ifname,
};

use super::phrase::{
    connection_mark, connection_mark_map, connection_marked, count_and_drop, destination_outside,
    first_packet, forged, from_link_local6, from_nowhere6, goto, incoming_device_map, leave, new_connection,
    not_from_devices, not_to_the_node, out_of, reply, source_inside, source_map, stamp_connection,
    stamp_packet, to_the_node, translate_source,
};

/// Marks a connection for the primary ENI at its first packet.
const OUT_FIRST: &str = "out_first";

/// The chain that marks a packet for an ENI.
fn via(eni: &str) -> String {
    format!("via_{eni}")
}

/// The chain that marks a connection with the ENI by which it came.
fn arrive(eni: &str) -> String {
    format!("arrive_{eni}")
}

/// Every set and map.
pub(super) fn sets() -> [Set<'static>; 7] {
    let set = |name, key, ranges, maps_to| Set {
        name,
        key,
        ranges,
        maps_to,
    };
    [
        // Reached untranslated: the VPC and excluded CIDRs.
        set("local4", &[Datatype::Ipv4], true, MapsTo::Nothing),
        // Every block that the node owns.
        set("pods4", &[Datatype::Ipv4], true, MapsTo::Nothing),
        // Secondary addresses of secondary ENIs.
        set("single4", &[Datatype::Ipv4], false, MapsTo::Verdicts),
        // Delegated prefixes of secondary ENIs.
        set("prefix4", &[Datatype::Ipv4], true, MapsTo::Verdicts),
        set("arrive", &[Datatype::IfName], false, MapsTo::Verdicts),
        set("inward", &[Datatype::IfName], false, MapsTo::Verdicts),
        set("back", &[Datatype::Mark], false, MapsTo::Verdicts),
    ]
}

/// What the sets and maps hold.
pub(super) fn elements(firewall: &Firewall) -> BTreeMap<&'static str, BTreeSet<Element>> {
    let net = |net: &ipnet::Ipv4Net| Element::net(IpNet::V4(*net));
    let to_via = |mark: &EniMark| Value::Verdict(Verdict::Goto(via(&mark.number().to_string())));
    let to_arrive = |eni: &str| Value::Verdict(Verdict::Goto(arrive(eni)));
    let mut all = BTreeMap::new();
    let mut add = |set, elements: BTreeSet<Element>| drop(all.insert(set, elements));
    add("local4", firewall.nat.untranslated.iter().map(net).collect());
    add(
        "pods4",
        ipnet::Ipv4Net::aggregate(&firewall.pods.iter().copied().collect::<Vec<_>>())
            .iter()
            .map(net)
            .collect(),
    );
    let singles = firewall.singles.iter();
    add(
        "single4",
        singles
            .map(|(address, mark)| Element::ip(IpAddr::V4(*address)).to(to_via(mark)))
            .collect(),
    );
    add(
        "prefix4",
        firewall
            .prefixes
            .iter()
            .map(|(prefix, mark)| net(prefix).to(to_via(mark)))
            .collect(),
    );
    let secondary = &firewall.secondary_devices;
    let primary = Element::new(ifname(firewall.primary_device.as_str())).to(to_arrive("primary"));
    let mut doors = BTreeSet::from([primary]);
    doors.extend(secondary.iter().map(|(mark, device)| {
        Element::new(ifname(device.as_str())).to(to_arrive(&mark.number().to_string()))
    }));
    add("arrive", doors);
    let inward = secondary
        .iter()
        .map(|(mark, device)| Element::new(ifname(device.as_str())).to(to_via(mark)));
    add("inward", inward.collect());
    let mut back: BTreeSet<Element> = secondary
        .keys()
        .map(|mark| Element::new(u32::from(mark.number()).to_ne_bytes()).to(to_via(mark)))
        .collect();
    let primary = Value::Verdict(Verdict::Goto(via("primary")));
    back.insert(Element::new(MARK_PRIMARY.to_ne_bytes()).to(primary));
    add("back", back);
    all
}

/// The chains that maps and rules point to, each with its rule.
pub(super) fn plain_chains(firewall: &Firewall) -> BTreeMap<String, Rule> {
    let numbered = firewall
        .secondary_devices
        .keys()
        .map(|mark| (mark.number().to_string(), mark.number().into()));
    let primary = std::iter::once(("primary".to_owned(), MARK_PRIMARY));
    let first = [stamp_connection(MARK_MASK, MARK_PRIMARY), goto(&via("primary"))].concat();
    let mut chains = BTreeMap::from([(OUT_FIRST.to_owned(), Rule::new(first))]);
    for (eni, bits) in numbered.chain(primary) {
        chains.insert(via(&eni), Rule::new(stamp_packet(MARK_MASK, bits)));
        chains.insert(arrive(&eni), Rule::new(stamp_connection(MARK_MASK, bits)));
    }
    chains
}

/// Whether the base chains hold the same rules for both.
pub(super) fn have_same_base_chains(one: &Firewall, other: &Firewall) -> bool {
    // Written out, so that a new field must be thought of.
    let decisive = |firewall: &Firewall| {
        let Firewall {
            primary_device,
            secondary_devices: _,
            singles: _,
            prefixes: _,
            pods: _,
            nat:
                NatRules {
                    translate,
                    untranslated: _,
                    primary,
                    source_ports,
                    keep_way_back,
                },
            veth_prefix,
        } = firewall.clone();
        (
            primary_device,
            veth_prefix,
            translate,
            primary,
            source_ports,
            keep_way_back,
        )
    };
    decisive(one) == decisive(other)
}

/// The rules of the base chains.
pub(super) fn base_chains(batch: &mut Batch, firewall: &Firewall) {
    let mut add = |chain: &str, phrases: &[Vec<E>], comment: &str| {
        batch.add_rule(chain, &Rule::new(phrases.concat()).comment(comment));
    };
    add(
        "early",
        &[incoming_device_map("inward")],
        "before other people's reverse path filters",
    );
    if firewall.nat.keep_way_back {
        let phrases = [new_connection(), to_the_node(), incoming_device_map("arrive")];
        add(
            "at_door",
            &phrases,
            "answers leave by the ENI that the connection came by",
        );
    }
    add(
        "steer",
        &[incoming_device_map("inward")],
        "again: others may have overwritten the mark",
    );
    add(
        "steer",
        &[not_from_devices(&firewall.veth_prefix), leave()],
        "the rest is for pods",
    );
    add("steer", &[from_nowhere6(), leave()], "never forwarded");
    add("steer", &[from_link_local6(), leave()], "never forwarded");
    add(
        "steer",
        &[forged(), count_and_drop()],
        "a pod sends only from its own addresses",
    );
    let back = [
        reply(),
        connection_marked(MARK_MASK),
        connection_mark_map(MARK_MASK, "back"),
    ];
    add("steer", &back, "answers go back as the question came");
    add(
        "steer",
        &[connection_mark(MARK_PRIMARY, MARK_PRIMARY), goto(&via("primary"))],
        "translated connections",
    );
    if firewall.nat.translate {
        let phrases = [
            new_connection(),
            first_packet(),
            destination_outside("local4"),
            not_to_the_node(),
            goto(OUT_FIRST),
        ];
        add("steer", &phrases, "only the first packet decides");
        let phrases = [
            out_of(firewall.primary_device.as_str()),
            connection_mark(MARK_PRIMARY, MARK_PRIMARY),
            source_inside("pods4"),
            destination_outside("local4"),
            translate_source(firewall.nat.primary, random(firewall.nat.source_ports)),
        ];
        add("egress", &phrases, "to the internet with the node's address");
    }
    add("steer", &[source_map("single4")], "pods on secondary ENIs");
    add("steer", &[source_map("prefix4")], "pods on secondary ENIs");
}

fn random(ports: SourcePorts) -> NatFlags {
    match ports {
        SourcePorts::Prng => NatFlags::FULLY_RANDOM,
        SourcePorts::HashRandom => NatFlags::RANDOM,
        SourcePorts::Keep => NatFlags::NONE,
    }
}
