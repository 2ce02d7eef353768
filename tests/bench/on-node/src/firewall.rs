//! Changes of our nftables table, on a node of fifteen ENIs with fifty addresses each, in a namespace of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result};
use hostnet::nat::Nat;
use ipamd_core::id::IfName;
use ipamd_core::net::{EniMark, Firewall, NatRules, SourcePorts};
use ipnet::Ipv4Net;

use crate::namespace::Namespace;
use crate::order::{FirewallTimes, Times};

const SECONDARY_ENIS: u8 = 14;
const ADDRESSES: u8 = 49;

/// Each change to and fro; one transaction each.
pub(crate) fn run(rounds: u32) -> Result<FirewallTimes> {
    let namespace = Namespace::make("firewall")?;
    let mut nat = netlink::netns::inside(namespace.as_fd(), Nat::open)?.context("claim the table")?;
    let usual = firewall()?;
    let mut measure = |changed: Firewall| to_and_fro(&mut nat, &usual, &changed, rounds);
    let mut fewer = usual.clone();
    fewer.secondary_devices.pop_last();
    fewer
        .singles
        .retain(|_, mark| usual.secondary_devices.keys().last() != Some(mark));
    fewer.pods = fewer.singles.keys().copied().map(Ipv4Net::from).collect();
    let mut without_one = usual.clone();
    without_one.singles.pop_last();
    without_one.pods.pop_last();
    let mut wider = usual.clone();
    wider
        .nat
        .untranslated
        .insert("172.16.0.0/12".parse().context("a CIDR")?);
    let mut external = usual.clone();
    external.nat.translate = false;
    Ok(FirewallTimes {
        eni: measure(fewer)?,
        address: measure(without_one)?,
        cidr: measure(wider)?,
        whole: measure(external)?,
    })
}

fn to_and_fro(nat: &mut Nat, usual: &Firewall, changed: &Firewall, rounds: u32) -> Result<Times> {
    nat.load(usual).context("load the table")?;
    let mut times = Vec::new();
    for round in 0..rounds {
        let wanted = if round % 2 == 0 { changed } else { usual };
        let began = Instant::now();
        nat.load(wanted).context("change the table")?;
        times.push(began.elapsed());
    }
    Ok(Times::of(times))
}

fn firewall() -> Result<Firewall> {
    let mut secondary_devices = BTreeMap::new();
    let mut singles = BTreeMap::new();
    for number in 1..=SECONDARY_ENIS {
        let mark = EniMark::new(number).context("a mark")?;
        secondary_devices.insert(mark, device(5 + number)?);
        singles.extend((1..=ADDRESSES).map(|last| (Ipv4Addr::new(10, 0, number, last), mark)));
    }
    Ok(Firewall {
        primary_device: device(5)?,
        secondary_devices,
        pods: singles.keys().copied().map(Ipv4Net::from).collect(),
        singles,
        prefixes: BTreeMap::new(),
        nat: NatRules {
            translate: true,
            untranslated: BTreeSet::from(["10.0.0.0/16".parse().context("a CIDR")?]),
            primary: Ipv4Addr::new(10, 0, 0, 10),
            source_ports: SourcePorts::Prng,
            keep_way_back: true,
        },
        veth_prefix: "eni".to_owned(),
    })
}

fn device(number: u8) -> Result<IfName> {
    format!("ens{number}").parse().context("a device's name")
}
