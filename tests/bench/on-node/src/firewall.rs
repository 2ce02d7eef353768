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
use crate::order::Times;

const SECONDARY_ENIS: u8 = 14;
const ADDRESSES: u8 = 49;

/// Changes the policy to and fro; each change is one transaction.
pub(crate) fn run(rounds: u32) -> Result<Times> {
    let namespace = Namespace::make("firewall")?;
    let mut nat = netlink::netns::inside(namespace.as_fd(), Nat::open)?.context("claim the table")?;
    let (near, far) = (
        firewall(&["10.0.0.0/16"])?,
        firewall(&["10.0.0.0/16", "172.16.0.0/12"])?,
    );
    nat.load(&near).context("load the table")?;
    let mut times = Vec::new();
    for round in 0..rounds {
        let wanted = if round % 2 == 0 { &far } else { &near };
        let began = Instant::now();
        nat.load(wanted).context("change the table")?;
        times.push(began.elapsed());
    }
    Ok(Times::of(times))
}

fn firewall(untranslated: &[&str]) -> Result<Firewall> {
    let mut secondary_devices = BTreeMap::new();
    let mut singles = BTreeMap::new();
    for number in 1..=SECONDARY_ENIS {
        let mark = EniMark::new(number).context("a mark")?;
        secondary_devices.insert(mark, device(5 + number)?);
        singles.extend((1..=ADDRESSES).map(|last| (Ipv4Addr::new(10, 0, number, last), mark)));
    }
    let untranslated: Result<BTreeSet<Ipv4Net>, _> = untranslated.iter().map(|net| net.parse()).collect();
    Ok(Firewall {
        primary_device: device(5)?,
        secondary_devices,
        pods: singles.keys().copied().map(Ipv4Net::from).collect(),
        singles,
        prefixes: BTreeMap::new(),
        nat: NatRules {
            translate: true,
            untranslated: untranslated.context("a CIDR")?,
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
