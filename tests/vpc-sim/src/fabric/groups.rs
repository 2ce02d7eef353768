//! Security groups: what an ENI's groups do not let in or out is dropped, and answers pass.
//!
//! A connection remembers the two ENIs that it was opened between: the zone of its first direction is the number of
//! the one, its mark that of the other. Each of them lets its packets pass; any other ENI does not know it, so a reply
//! that leaves by another ENI needs a rule there, as on EC2 (AWS documentation, "Security group connection tracking").
//!
//! Invariants: as long as every ENI lets everything pass both ways nothing of this is loaded, and no connection is
//! tracked; a changed rule leaves connections that are established alone. Services of the fabric itself (metadata, the
//! EC2 API) are not filtered, as EC2's link-local ones are not.
//!
//! Left out: EC2's untracked connections, which end when their rule goes, and its limits of connections and idle time.

mod rules;

pub(super) use rules::sets;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::nft::{Batch, Chain, Error, Family, Nftables};

use super::check::TABLE;
use super::eni::{assigned, device_name};
use super::igw;
use crate::model::id::SecurityGroupId;
use crate::model::security_group::{Allowed, Direction, Peer, Traffic};
use crate::model::view::{EniView, KernelView};

/// What is loaded of security groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    loaded: Filters,
    /// Whether connections are tracked.
    tracking: bool,
    /// The last number that was given to a device. Numbers return late, so that no connection outlives its ENI in them.
    last_number: u16,
}

/// What is to be filtered.
#[derive(Debug, Default)]
struct Filters {
    /// Every device, with its number, where anything is filtered at all.
    devices: BTreeMap<String, u16>,
    /// What may pass, for each device and direction in which not everything does.
    chains: BTreeMap<(Direction, String), BTreeSet<Allowed>>,
    /// The addresses behind groups that rules name.
    peers: BTreeMap<SecurityGroupId, BTreeSet<IpNet>>,
}

impl Groups {
    /// Loads what the view's ENIs are to let pass. Their devices may come later.
    pub(super) fn apply(&mut self, nft: &mut Nftables, view: &KernelView) -> Result<(), Error> {
        let chains = chains(view);
        let named = chains
            .values()
            .flatten()
            .filter_map(|allowed| match &allowed.peer {
                Peer::Group(id) => Some((id.clone(), members(view, id))),
                Peer::Ipv4(_) | Peer::Ipv6(_) => None,
            });
        let mut wanted = Filters {
            peers: named.collect(),
            devices: BTreeMap::new(),
            chains,
        };
        if !wanted.chains.is_empty() {
            wanted.devices = self.number(view);
        }
        self.load_sets(nft, &wanted)?;
        self.load_chains(nft, &wanted)?;
        self.unload(nft, &wanted)
    }

    /// Every device with its number: the old ones keep theirs.
    fn number(&mut self, view: &KernelView) -> BTreeMap<String, u16> {
        let names = view.enis.keys().map(device_name);
        let names: Vec<String> = names.chain([igw::DEVICE.to_owned()]).collect();
        let mut numbers = BTreeMap::new();
        let mut taken: BTreeSet<u16> = self.loaded.devices.values().copied().collect();
        for name in names {
            let number = self.loaded.devices.get(&name).copied().unwrap_or_else(|| {
                self.last_number = next_free(self.last_number, &taken);
                self.last_number
            });
            taken.insert(number);
            numbers.insert(name, number);
        }
        numbers
    }

    /// Addresses of groups and numbers of devices come before the rules that read them.
    fn load_sets(&mut self, nft: &mut Nftables, wanted: &Filters) -> Result<(), Error> {
        let mut batch = Batch::new(Family::Inet, TABLE);
        for (group, addresses) in &wanted.peers {
            let known = self.loaded.peers.get(group);
            if known.is_none() {
                rules::add_peers(&mut batch, group);
            }
            if known != Some(addresses) {
                rules::fill_peers(&mut batch, group, addresses);
            }
        }
        for (device, number) in &wanted.devices {
            if !self.loaded.devices.contains_key(device) {
                rules::add_device(&mut batch, device, *number);
            }
        }
        commit(nft, &batch)?;
        let loaded = &mut self.loaded;
        loaded.peers.extend(wanted.peers.clone());
        loaded.devices.extend(wanted.devices.clone());
        Ok(())
    }

    fn load_chains(&mut self, nft: &mut Nftables, wanted: &Filters) -> Result<(), Error> {
        let mut batch = Batch::new(Family::Inet, TABLE);
        for (key, allowed) in &wanted.chains {
            let known = self.loaded.chains.get(key);
            if known == Some(allowed) {
                continue;
            }
            let (direction, device) = key;
            let chain = rules::chain(*direction, device);
            batch.add_chain(&Chain::plain(&chain)).flush_chain(&chain);
            for rule in rules::of(*direction, allowed) {
                batch.add_rule(&chain, &rule);
            }
            if known.is_none() {
                rules::add_filter(&mut batch, *direction, device);
            }
        }
        let start = !self.tracking && !wanted.chains.is_empty();
        if start {
            rules::start_tracking(&mut batch);
        }
        commit(nft, &batch)?;
        self.tracking |= start;
        self.loaded.chains.extend(wanted.chains.clone());
        Ok(())
    }

    /// Takes away what nobody needs any more, from the readers down to what they read.
    fn unload(&mut self, nft: &mut Nftables, wanted: &Filters) -> Result<(), Error> {
        let mut batch = Batch::new(Family::Inet, TABLE);
        let stop = self.tracking && wanted.chains.is_empty();
        if stop {
            rules::stop_tracking(&mut batch);
        }
        for (direction, device) in self.loaded.chains.keys() {
            if !wanted.chains.contains_key(&(*direction, device.clone())) {
                rules::delete_filter(&mut batch, *direction, device);
            }
        }
        for (device, number) in &self.loaded.devices {
            if !wanted.devices.contains_key(device) {
                rules::delete_device(&mut batch, device, *number);
            }
        }
        for group in self.loaded.peers.keys() {
            if !wanted.peers.contains_key(group) {
                rules::delete_peers(&mut batch, group);
            }
        }
        commit(nft, &batch)?;
        self.tracking &= !stop;
        let loaded = &mut self.loaded;
        loaded.chains.retain(|key, _| wanted.chains.contains_key(key));
        loaded
            .devices
            .retain(|device, _| wanted.devices.contains_key(device));
        loaded.peers.retain(|group, _| wanted.peers.contains_key(group));
        Ok(())
    }
}

fn commit(nft: &mut Nftables, batch: &Batch) -> Result<(), Error> {
    if batch.is_empty() {
        Ok(())
    } else {
        nft.commit(batch)
    }
}

/// The next number after the last one that nobody has; 0 is the default zone.
fn next_free(last: u16, taken: &BTreeSet<u16>) -> u16 {
    let after = (last..=u16::MAX).skip(1);
    let mut candidates = after.chain(1..=last);
    candidates.find(|number| !taken.contains(number)).unwrap_or(1)
}

/// What may pass where not everything does.
fn chains(view: &KernelView) -> BTreeMap<(Direction, String), BTreeSet<Allowed>> {
    let mut chains = BTreeMap::new();
    for (id, eni) in &view.enis {
        for (direction, allowed) in [
            (Direction::Ingress, &eni.ingress),
            (Direction::Egress, &eni.egress),
        ] {
            if !everything(eni, allowed) {
                chains.insert((direction, device_name(id)), allowed.clone());
            }
        }
    }
    chains
}

/// Whether rules let everything pass that can come to or from an ENI.
fn everything(eni: &EniView, allowed: &BTreeSet<Allowed>) -> bool {
    let all = |peer| {
        let traffic = Traffic::All;
        allowed.contains(&Allowed { traffic, peer })
    };
    let ipv6 = !eni.ipv6_addresses.is_empty() || !eni.ipv6_prefixes.is_empty();
    all(Peer::Ipv4(Ipv4Net::default())) && (!ipv6 || all(Peer::Ipv6(Ipv6Net::default())))
}

/// The private addresses of every ENI in a group.
fn members(view: &KernelView, group: &SecurityGroupId) -> BTreeSet<IpNet> {
    let enis = view.enis.values().filter(|eni| eni.groups.contains(group));
    enis.flat_map(assigned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round_and_skip_those_in_use() {
        let rows = [(0, vec![], 1), (7, vec![8, 9], 10), (u16::MAX, vec![1], 2)];
        for (last, taken, expected) in rows {
            assert_eq!(next_free(last, &taken.into_iter().collect()), expected, "{last}");
        }
    }
}
