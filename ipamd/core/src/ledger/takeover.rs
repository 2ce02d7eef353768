//! Where somebody else decided last who holds what: the peer's daemon, or ours with a journal that is lost.
//!
//! The checkpoint file says who has which address, the kernel says whose device is there. What nobody explains and a
//! device has is held until that device goes. And as nobody knows what was released a moment before, nothing is given
//! until every such address has rested.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::journal::{Entry, Present};
use super::{Lease, Ledger};
use crate::address::PodAddresses;
use crate::checkpoint::{Claim, Digest};
use crate::id::{AttachmentKey, IfName, Malformed, Pod};
use crate::moment::{Moment, Stamp};
use crate::net::NetState;
use crate::net::pod::{PodWiring, device_suffix};
use crate::policy::Policy;

mod devices;

use devices::{Devices, adopted, unexplained};

/// The network of leases whose attachment nobody knows; no runtime has one of this name.
const UNEXPLAINED: &str = "berth-unexplained";

/// Since when and until when nothing is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quiet {
    since: Stamp,
    until: Moment,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Leases of ours that stay.
    pub kept: usize,
    /// Pods that another daemon gave their address.
    pub adopted: usize,
    /// Leases and claims that end, as no device belongs to them.
    pub ended: usize,
    /// Addresses that a device has and nobody explains.
    pub unexplained: BTreeSet<IpAddr>,
    /// Claims that cannot stand: why.
    pub faults: Vec<String>,
}

/// Why a claim cannot stand.
#[derive(Debug, thiserror::Error)]
enum NotAdopted {
    #[error("{address} is {holder}'s, too; restart both pods")]
    Held { address: IpAddr, holder: String },
    #[error(transparent)]
    Name(#[from] Malformed),
}

impl Ledger {
    /// Whether a file with this content is one that we wrote or took over already.
    #[must_use]
    pub fn knows_checkpoint(&self, digest: &Digest) -> bool {
        self.checkpoints.contains(digest)
    }

    /// Notes that a file is about to have this content, which must be in the journal before.
    pub fn handle_checkpoint(&mut self, digest: Digest) {
        if self.checkpoints.insert(digest.clone()) {
            self.unwritten.push(Entry::Checkpoint { digest });
        }
    }

    /// Notes that the files have these contents and no other; older ones need not be told any more.
    pub fn handle_checkpoints_written(&mut self, digests: &BTreeSet<Digest>) {
        self.checkpoints.retain(|digest| digests.contains(digest));
    }

    /// Until when nothing is given, because nobody knows what was released before.
    #[must_use]
    pub fn quiet_until(&self, now: Moment) -> Option<Moment> {
        self.quiet.map(|quiet| quiet.until).filter(|until| now < *until)
    }

    /// Believes what the files say: whoever is in them and has a device holds the address, and nobody else does. Of ours
    /// that stays what we know beside that.
    pub fn take_over(&mut self, claims: &[Claim], seen: &NetState, policy: &Policy, at: Stamp) -> TakenOver {
        let devices = Devices { seen };
        let mut taken = TakenOver::default();
        let is_alive =
            |claim: &&Claim| device_suffix(&claim.pod).is_none() || devices.of_pod(&claim.pod).is_some();
        let alive: BTreeMap<&AttachmentKey, &Claim> = claims
            .iter()
            .filter(is_alive)
            .map(|claim| (&claim.key, claim))
            .collect();
        taken.ended = claims.len() - alive.len() + self.end_unclaimed(&alive, policy, at);
        taken.kept = self.leases.len();
        for claim in alive.into_values() {
            match self.adopt_claim(claim, &devices, policy) {
                Ok(adopted) => taken.adopted += usize::from(adopted),
                Err(fault) => taken.faults.push(format!("{}: {fault}", claim.key)),
            }
        }
        self.hold_unexplained(&devices, policy, at, &mut taken);
        self.lose_sight(policy, at);
        taken
    }

    /// Releases what the files do not say; how much that was.
    fn end_unclaimed(
        &mut self,
        alive: &BTreeMap<&AttachmentKey, &Claim>,
        policy: &Policy,
        at: Stamp,
    ) -> usize {
        let is_claimed = |key: &AttachmentKey, lease: &Lease| {
            alive
                .get(key)
                .is_some_and(|claim| claim.addresses == lease.wiring.addresses())
        };
        let unclaimed = self.leases.iter().filter(|(key, lease)| !is_claimed(key, lease));
        let unclaimed: Vec<AttachmentKey> = unclaimed.map(|(key, _)| key.clone()).collect();
        for key in &unclaimed {
            self.release(key, policy, at);
        }
        unclaimed.len()
    }

    /// Says whether it was not on record yet.
    fn adopt_claim(
        &mut self,
        claim: &Claim,
        devices: &Devices<'_>,
        policy: &Policy,
    ) -> Result<bool, NotAdopted> {
        if self.leases.contains_key(&claim.key) {
            return Ok(false);
        }
        for address in claim.addresses.iter() {
            if let Some(holder) = self.holders.get(&address) {
                let holder = holder.to_string();
                return Err(NotAdopted::Held { address, holder });
            }
        }
        let wiring = adopted(claim, devices, policy)?;
        self.adopt(claim.key.clone(), claim.pod.clone(), wiring, claim.since);
        Ok(true)
    }

    /// The journal is lost, certainly or perhaps, and no file tells more: what devices have is held.
    pub fn handle_lost_journal(
        &mut self,
        is_certain: bool,
        seen: &NetState,
        policy: &Policy,
        at: Stamp,
    ) -> TakenOver {
        let mut taken = TakenOver {
            kept: self.leases.len(),
            ..TakenOver::default()
        };
        self.hold_unexplained(&Devices { seen }, policy, at, &mut taken);
        if is_certain || !taken.unexplained.is_empty() {
            self.lose_sight(policy, at);
        }
        taken
    }

    fn hold_unexplained(&mut self, devices: &Devices<'_>, policy: &Policy, at: Stamp, taken: &mut TakenOver) {
        for (behind, link) in devices.routed(&policy.devices.veth_prefix) {
            let is_held = |address| self.holders.contains_key(&address);
            let addresses = PodAddresses {
                v4: behind.v4.filter(|address| !is_held((*address).into())),
                v6: behind.v6.filter(|address| !is_held((*address).into())),
            };
            if addresses == PodAddresses::default() {
                continue;
            }
            match unexplained(addresses, link, devices, policy) {
                Ok((key, mut wiring)) => {
                    // Of this device one address may have been held already, without an explanation.
                    if let Some(known) = self.leases.get(&key) {
                        wiring.v4 = wiring.v4.or(known.wiring.v4);
                        wiring.v6 = wiring.v6.or(known.wiring.v6);
                        wiring.rules.extend(&known.wiring.rules);
                    }
                    self.adopt(key, Pod::unknown(), wiring, at.wall);
                    taken.unexplained.extend(addresses.iter());
                }
                Err(fault) => taken
                    .faults
                    .push(format!("{addresses} behind {}: {fault}", link.name)),
            }
        }
    }

    fn lose_sight(&mut self, policy: &Policy, at: Stamp) {
        self.begin_quiet(at, policy.cooldown);
        self.unwritten.push(Entry::LostSight { at });
    }

    /// Notes the pods' devices that are not there: with its device goes an address that nobody explained.
    pub fn handle_deviceless(&mut self, missing: &BTreeSet<IpAddr>, policy: &Policy, at: Stamp) {
        let keys = missing.iter().filter_map(|address| self.holders.get(address));
        let keys: Vec<AttachmentKey> = keys.filter(|key| Self::is_unexplained(key)).cloned().collect();
        for key in keys {
            self.release(&key, policy, at);
        }
    }

    /// Whether this stands for an attachment that nobody knows.
    #[must_use]
    pub fn is_unexplained(key: &AttachmentKey) -> bool {
        key.network.as_str() == UNEXPLAINED
    }

    /// Addresses that a device has and no record explains.
    pub fn unexplained(&self) -> impl Iterator<Item = (PodAddresses, &IfName)> {
        let leases = self.leases.iter().filter(|(key, _)| Self::is_unexplained(key));
        leases.map(|(_, lease)| (lease.wiring.addresses(), &lease.wiring.host_name))
    }

    /// Addresses that pods hold and no ENI of the node has: never had, or in IPv6 has no more.
    pub fn homeless(&self) -> impl Iterator<Item = (PodAddresses, &Pod)> {
        let leases = self.leases.iter().filter(|(key, _)| !Self::is_unexplained(key));
        leases.filter_map(|(_, lease)| {
            let addresses = lease.wiring.addresses();
            let homeless = PodAddresses {
                v4: addresses.v4.filter(|_| lease.eni.is_none()),
                v6: addresses.v6.filter(|address| !self.is_delegated(*address)),
            };
            (homeless != PodAddresses::default()).then_some((homeless, &lease.pod))
        })
    }

    fn adopt(&mut self, key: AttachmentKey, pod: Pod, wiring: PodWiring, since: Duration) {
        let addresses = wiring.addresses();
        let eni = self.enis.values().find(|record| record.is_home_of(addresses));
        let eni = eni.map(|record| record.seen.id.clone());
        let lease = Lease {
            pod,
            netns: String::new(),
            eni,
            since,
            wiring,
        };
        self.unwritten.push(Entry::Leased {
            key: key.clone(),
            lease: lease.clone(),
        });
        self.insert_lease(key, lease);
    }

    /// Leases without an ENI whose address this one has, as it is now known.
    pub(super) fn settle_homeless(&mut self, id: &crate::id::EniId) {
        let Some(record) = self.enis.get(id) else { return };
        let has = |lease: &Lease| lease.eni.is_none() && record.is_home_of(lease.wiring.addresses());
        let homeless = self.leases.iter().filter(|(_, lease)| has(lease));
        let settled: Vec<(AttachmentKey, Lease)> = homeless
            .map(|(key, lease)| {
                let eni = Some(id.clone());
                (key.clone(), Lease { eni, ..lease.clone() })
            })
            .collect();
        for (key, lease) in settled {
            self.unwritten.push(Entry::Leased {
                key: key.clone(),
                lease: lease.clone(),
            });
            self.insert_lease(key, lease);
        }
    }

    pub(super) fn replay_lost_sight(&mut self, at: Stamp, present: &Present) {
        self.begin_quiet(at, present.cooldown);
    }

    fn begin_quiet(&mut self, since: Stamp, cooldown: Duration) {
        let until = since.moment.after(cooldown);
        self.quiet = Some(Quiet { since, until });
    }

    pub(super) fn quiet_entry(&self, now: Moment) -> Option<Entry> {
        let quiet = self.quiet.filter(|quiet| now < quiet.until)?;
        Some(Entry::LostSight { at: quiet.since })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::address::Mac;
    use crate::net::pod::{host_mac, peer};
    use crate::net::{Route, SeenLink, TableId, Via};

    const NOW: Stamp = Stamp {
        moment: Moment(Duration::from_secs(1000)),
        wall: Duration::from_secs(2_000_000_000),
    };

    fn claim(name: &str, container: &str, last: u8) -> Claim {
        let (namespace, name) = if name.is_empty() {
            ("", "")
        } else {
            ("default", name)
        };
        Claim {
            key: AttachmentKey {
                container: container.parse().unwrap(),
                interface: "eth0".parse().unwrap(),
                network: "aws-cni".parse().unwrap(),
            },
            pod: Pod {
                namespace: namespace.parse().unwrap(),
                name: name.parse().unwrap(),
            },
            addresses: Ipv4Addr::new(10, 0, 1, last).into(),
            since: Duration::from_secs(1_900_000_000),
        }
    }

    fn address(claim: &Claim) -> Ipv4Addr {
        claim.addresses.v4.unwrap()
    }

    /// A device and a route for each claim, in the peer's layout or in ours.
    fn network(claims: &[Claim], table: TableId) -> NetState {
        let mut seen = NetState::default();
        for (claim, index) in claims.iter().zip(10..) {
            let ours = table == TableId::PODS;
            let other = Mac([6, 0, 0, 0, 0, address(claim).octets()[3]]);
            let link = SeenLink {
                index,
                name: format!("eni{}", device_suffix(&claim.pod).unwrap())
                    .parse()
                    .unwrap(),
                mac: Some(if ours { host_mac(&claim.key) } else { other }),
                mtu_bytes: 9001,
                up: true,
                reverse_path: None,
            };
            seen.links.insert(index, link);
            seen.routes.insert(Route {
                table,
                to: IpAddr::V4(address(claim)).into(),
                via: Via::Link { index, source: None },
            });
            let rules = peer::rules(address(claim).into(), TableId(2));
            seen.rules.extend(rules.into_iter().filter(|_| !ours));
        }
        seen
    }

    fn told(taken: &TakenOver) -> (usize, usize, usize, usize, usize) {
        let TakenOver {
            kept,
            adopted,
            ended,
            unexplained,
            faults,
        } = taken;
        (*kept, *adopted, *ended, unexplained.len(), faults.len())
    }

    #[test]
    fn whoever_has_a_device_holds_its_address() {
        let policy = Policy::default();
        let (web, db, gone) = (
            claim("web", "c1", 5),
            claim("db", "c2", 6),
            claim("gone", "c3", 7),
        );
        let (nameless, twice) = (claim("", "c4", 8), claim("", "c5", 8));
        let seen = network(&[web.clone(), db.clone()], TableId::MAIN);
        let mut ledger = Ledger::default();
        let claims = [web.clone(), db, gone, nameless, twice];
        let taken = ledger.take_over(&claims, &seen, &policy, NOW);
        assert_eq!(told(&taken), (0, 3, 1, 0, 1), "{taken:?}");
        let lease = &ledger.leases()[&web.key];
        assert_eq!(lease.wiring.table, TableId::MAIN);
        assert_eq!(
            lease.wiring.rules.len(),
            2,
            "to the pod, and from it to its ENI's table"
        );
        assert_eq!(lease.wiring.host_mac, Mac([6, 0, 0, 0, 0, 5]));
        assert_eq!(lease.since, web.since);
        // The next file leaves one of them out.
        let taken = ledger.take_over(std::slice::from_ref(&web), &seen, &policy, NOW);
        assert_eq!(
            told(&taken),
            (1, 0, 2, 1, 0),
            "a device of an ended lease is still there: {taken:?}"
        );
    }

    #[test]
    fn pods_that_we_wired_stay_ours() {
        let policy = Policy::default();
        let web = claim("web", "c1", 5);
        let seen = network(std::slice::from_ref(&web), TableId::PODS);
        let mut ledger = Ledger::default();
        ledger.take_over(std::slice::from_ref(&web), &seen, &policy, NOW);
        let lease = &ledger.leases()[&web.key];
        assert_eq!((lease.wiring.table, lease.wiring.rules.len()), (TableId::PODS, 0));
    }

    #[test]
    fn what_nobody_explains_is_held_until_its_device_goes() {
        let policy = Policy::default();
        let web = claim("web", "c1", 5);
        let seen = network(std::slice::from_ref(&web), TableId::PODS);
        let mut ledger = Ledger::default();
        let taken = ledger.handle_lost_journal(false, &seen, &policy, NOW);
        assert_eq!(told(&taken), (0, 0, 0, 1, 0), "{taken:?}");
        assert!(!ledger.is_free(address(&web), NOW.moment));
        assert_eq!(
            ledger.quiet_until(NOW.moment),
            Some(NOW.moment.after(policy.cooldown))
        );
        let wanted = BTreeSet::from([IpAddr::V4(address(&web))]);
        ledger.handle_deviceless(&wanted, &policy, NOW);
        let rested = NOW.moment.after(policy.cooldown);
        let settled = ledger.take_settled(rested);
        ledger.handle_forgotten(&settled);
        assert!(ledger.leases().is_empty() && ledger.is_free(address(&web), rested));
    }

    #[test]
    fn a_device_of_both_families_is_one_lease_whichever_address_was_found_first() {
        let policy = Policy::default();
        let web = claim("web", "c1", 5);
        let four = network(std::slice::from_ref(&web), TableId::MAIN);
        let mut both = four.clone();
        let six: std::net::Ipv6Addr = "2001:db8::5".parse().unwrap();
        both.routes.insert(Route {
            table: TableId::MAIN,
            to: IpAddr::V6(six).into(),
            via: Via::Link {
                index: 10,
                source: None,
            },
        });
        let mut ledger = Ledger::default();
        ledger.handle_lost_journal(false, &four, &policy, NOW);
        ledger.handle_lost_journal(false, &both, &policy, NOW);
        let lease = ledger.leases().values().next().unwrap();
        let (held, rules) = (lease.wiring.addresses(), lease.wiring.rules.len());
        assert_eq!(
            (ledger.leases().len(), held.v4, held.v6),
            (1, web.addresses.v4, Some(six))
        );
        assert_eq!(rules, 3, "two of IPv4 on a secondary ENI, one of IPv6");
    }

    #[test]
    fn a_fresh_node_loses_no_time() {
        let mut ledger = Ledger::default();
        let taken = ledger.handle_lost_journal(false, &NetState::default(), &Policy::default(), NOW);
        assert_eq!(
            (taken, ledger.quiet_until(NOW.moment)),
            (TakenOver::default(), None)
        );
    }

    #[test]
    fn all_of_it_is_in_the_journal() {
        let policy = Policy::default();
        let web = claim("web", "c1", 5);
        let seen = network(std::slice::from_ref(&web), TableId::MAIN);
        let mut ledger = Ledger::default();
        ledger.take_over(std::slice::from_ref(&web), &seen, &policy, NOW);
        let digest = Digest::of(b"theirs");
        ledger.handle_checkpoint(digest.clone());
        let boot = Entry::Boot { id: "one".to_owned() };
        let present = Present {
            boot_id: "one".to_owned(),
            at: NOW,
            cooldown: policy.cooldown,
        };
        let compact = ledger.entries("one", NOW.moment);
        let logged = [vec![boot], ledger.take_entries()].concat();
        for entries in [compact, logged] {
            let restored = Ledger::restore(entries, &present);
            assert_eq!(restored.leases(), ledger.leases());
            assert!(restored.knows_checkpoint(&digest));
            assert_eq!(restored.quiet_until(NOW.moment), ledger.quiet_until(NOW.moment));
        }
    }
}
