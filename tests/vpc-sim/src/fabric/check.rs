//! What a VPC drops, in nftables: foreign MACs, sources that are not the ENI's, destinations nobody owns, ARP beyond
//! the subnet; in both families. Chains never change; attaching, detaching and modifying an ENI changes elements.
//!
//! "Is this source routed to the device it came from" is exactly the source check, for single addresses and prefixes
//! alike, without a second copy of the assignments.

pub(super) mod tables;

pub(super) use tables::gateway_only_for_public;

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use ipnet::{IpNet, Ipv4Net};
use netlink::nft::{Batch, Chain, Count, Element, Error, Family, Nftables, Value, Verdict, ifname};

use super::drops::Reason;
use crate::model::mac::Mac;

/// The name of our tables, in families inet and arp.
pub(super) const TABLE: &str = "vpc";

/// The checks of one fabric.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) nft: Nftables,
}

/// What the checks know of one ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// The fabric's end of the ENI.
    pub(super) device: String,
    pub(super) mac: Mac,
    /// The number of the ENI's subnet, which is its mark.
    pub(super) subnet: u32,
    pub(super) source_check: bool,
}

impl Checks {
    /// Loads the tables into the fabric's namespace.
    pub(super) fn install(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let mut nft = Nftables::open_in(namespace)?;
        nft.commit(&tables::routed())?;
        nft.commit(&tables::arp())?;
        Ok(Self { nft })
    }

    /// Starts to check an ENI.
    pub(super) fn add(&mut self, eni: &Checked) -> Result<(), Error> {
        let mut inet = Batch::new(Family::Inet, TABLE);
        inet.add_elements("enimac", &[mac_element(eni)]);
        let mark = Value::Data(eni.subnet.to_ne_bytes().to_vec());
        inet.add_elements("rtb", &[device_element(&eni.device).to(mark)]);
        if !eni.source_check {
            inet.add_elements("nosrcdst", &[device_element(&eni.device)]);
        }
        count(&mut inet, &eni.device, &tables::INET_REASONS);
        self.nft.commit(&inet)?;
        let mut arp = Batch::new(Family::Arp, TABLE);
        arp.add_elements("enimac", &[mac_element(eni)]);
        let chain = Value::Verdict(Verdict::Goto(subnet_chain(eni.subnet)));
        arp.add_elements("sub", &[device_element(&eni.device).to(chain)]);
        count(&mut arp, &eni.device, &tables::ARP_REASONS);
        self.nft.commit(&arp)
    }

    /// Forgets an ENI and its counters.
    pub(super) fn remove(&mut self, eni: &Checked) -> Result<(), Error> {
        let device = [device_element(&eni.device)];
        let mut inet = Batch::new(Family::Inet, TABLE);
        inet.delete_elements("enimac", &[mac_element(eni)]);
        inet.delete_elements("rtb", &device);
        if !eni.source_check {
            inet.delete_elements("nosrcdst", &device);
        }
        forget(&mut inet, &eni.device, &tables::INET_REASONS);
        self.nft.commit(&inet)?;
        let mut arp = Batch::new(Family::Arp, TABLE);
        arp.delete_elements("enimac", &[mac_element(eni)]);
        arp.delete_elements("sub", &device);
        forget(&mut arp, &eni.device, &tables::ARP_REASONS);
        self.nft.commit(&arp)
    }

    /// Switches an ENI's source check.
    pub(super) fn set_source_check(&mut self, device: &str, on: bool) -> Result<(), Error> {
        let mut batch = Batch::new(Family::Inet, TABLE);
        let device = [device_element(device)];
        if on {
            batch.delete_elements("nosrcdst", &device);
        } else {
            batch.add_elements("nosrcdst", &device);
        }
        self.nft.commit(&batch)
    }

    /// Says which addresses are the VPC's.
    pub(super) fn set_cidrs(&mut self, cidrs: &BTreeSet<IpNet>) -> Result<(), Error> {
        let mut batch = Batch::new(Family::Inet, TABLE);
        for (set, ipv4) in [("cidrs", true), ("cidrs6", false)] {
            let nets = cidrs.iter().filter(|cidr| matches!(cidr, IpNet::V4(_)) == ipv4);
            let elements: Vec<Element> = nets.map(|cidr| Element::net(*cidr)).collect();
            batch.flush_set(set).add_elements(set, &elements);
        }
        self.nft.commit(&batch)
    }

    /// Makes the ARP rules of a subnet.
    pub(super) fn add_subnet(&mut self, number: u32, cidr: Ipv4Net) -> Result<(), Error> {
        let chain = subnet_chain(number);
        let mut batch = Batch::new(Family::Arp, TABLE);
        batch.add_chain(&Chain::plain(&chain)).flush_chain(&chain);
        batch.add_rule(&chain, &tables::outside_subnet(cidr));
        self.nft.commit(&batch)
    }

    /// Removes the ARP rules of a subnet without ENIs.
    pub(super) fn remove_subnet(&mut self, number: u32) -> Result<(), Error> {
        let chain = subnet_chain(number);
        let mut batch = Batch::new(Family::Arp, TABLE);
        batch.flush_chain(&chain).delete_chain(&chain);
        self.nft.commit(&batch)
    }

    /// What was dropped so far, by device and reason.
    pub(super) fn counts(&mut self) -> Result<Vec<(String, Reason, Count)>, Error> {
        let mut counts = Vec::new();
        for family in [Family::Inet, Family::Arp] {
            for counter in self.nft.counters(family, TABLE)? {
                let Some((word, device)) = counter.name.split_once(' ') else {
                    continue;
                };
                let reason = Reason::ALL.into_iter().find(|reason| reason.word() == word);
                counts.extend(reason.map(|reason| (device.to_owned(), reason, counter.count)));
            }
        }
        Ok(counts)
    }
}

fn count(batch: &mut Batch, device: &str, reasons: &[Reason]) {
    for reason in reasons {
        let name = counter(*reason, device);
        batch.add_counter(&name);
        batch.add_elements(reason.word(), &[device_element(device).to(Value::Counter(name))]);
    }
}

fn forget(batch: &mut Batch, device: &str, reasons: &[Reason]) {
    for reason in reasons {
        let name = counter(*reason, device);
        let element = device_element(device).to(Value::Counter(name.clone()));
        batch.delete_elements(reason.word(), &[element]);
        batch.delete_counter(&name);
    }
}

fn counter(reason: Reason, device: &str) -> String {
    format!("{} {device}", reason.word())
}

fn subnet_chain(number: u32) -> String {
    format!("subnet-{number}")
}

fn device_element(device: &str) -> Element {
    Element::new(ifname(device))
}

fn mac_element(eni: &Checked) -> Element {
    Element::concat(&[&ifname(&eni.device), &eni.mac.0])
}
