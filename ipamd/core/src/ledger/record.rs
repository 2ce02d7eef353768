//! The ENIs on record: what EC2 last said of each, joined with what we did since and with what pods hold.
//!
//! Nothing with a pod on it is dropped because a read missed it; what EC2 really took away goes with the last pod.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::Ledger;
use super::journal::Entry;
use super::outcome::VISIBLE_AFTER;
use crate::action::{Fault, Subject};
use crate::address::{AddressCount, Block};
use crate::id::{EniAttachmentId, EniId};
use crate::moment::Moment;
use crate::net::EniMark;
use crate::net::eni::Place;
use crate::snapshot::{Owner, SeenAttachment, SeenEni};

/// An ENI of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EniRecord {
    /// As EC2 last described it, with what we did since.
    pub seen: SeenEni,
    /// Its number in the mark; none for the primary.
    pub mark: Option<EniMark>,
    /// It is being given back: nothing of it is handed out, and it goes as soon as EC2 lets it.
    pub removing: bool,
    /// Its subnet's tags keep pods away, or it is on another network card than those that this version uses: nothing more
    /// of it is given out, and it goes after its last pod.
    #[serde(default)]
    pub excluded: bool,
    /// EC2 does not show it any more, but pods have addresses of it: it goes with the last of them.
    #[serde(default)]
    pub vanished: bool,
    /// Blocks with pods that EC2 does not show on it any more: they go with their pods.
    #[serde(default)]
    pub lost: BTreeSet<Block>,
    /// Blocks that the kernel serves.
    #[serde(skip)]
    pub served: BTreeSet<Block>,
    /// The IPv6 prefix that the kernel serves.
    #[serde(skip)]
    pub served6: Option<Ipv6Net>,
    /// Nobody knows what the last call did: read it before anything else.
    pub uncertain: bool,
    /// When we created it, if this daemon did: EC2 may not show it to every reader yet.
    #[serde(skip)]
    pub created: Option<Moment>,
    /// Since when this daemon knows it as attached.
    #[serde(skip)]
    pub attached: Option<Moment>,
}

impl EniRecord {
    /// Whether pods may have addresses of it at all.
    #[must_use]
    pub fn serves(&self) -> bool {
        !self.removing && self.seen.owner != Owner::Foreign && self.seen.attachment.is_some()
    }

    /// Whether pods may get addresses of it from now on: not while EC2 takes it away, not of a subnet that is excluded.
    #[must_use]
    pub fn gives(&self) -> bool {
        let leaves = |attachment: &SeenAttachment| attachment.detaching;
        self.serves()
            && !self.excluded
            && !self.vanished
            && !self.seen.attachment.as_ref().is_some_and(leaves)
    }

    /// Where it is attached.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let attachment = self.seen.attachment.as_ref()?;
        Some(Place {
            device_index: attachment.device_index,
            network_card: attachment.network_card,
        })
    }

    /// Whether it is on a network card that this version does not use: the peer may have left it there. Every type's
    /// default card is the first (DescribeInstanceTypes, DefaultNetworkCardIndex).
    pub(super) fn is_on_another_card(&self) -> bool {
        self.place().is_some_and(|place| place.network_card != 0)
    }

    /// The addresses that it brings, served or not.
    #[must_use]
    pub fn size(&self) -> AddressCount {
        self.seen.blocks.iter().map(|block| block.size()).sum()
    }
}

impl Ledger {
    /// Adds to a record what is not saved of it, for a dump that was read.
    pub(crate) fn revive(&mut self, id: &EniId, change: impl FnOnce(&mut EniRecord)) {
        if let Some(record) = self.enis.get_mut(id) {
            change(record);
            let pods = self
                .leases
                .values()
                .filter(|lease| lease.eni.as_ref() == Some(id));
            let pods: Vec<_> = pods.map(|lease| lease.wiring.addresses().v4).collect();
            for pod in pods {
                match pod {
                    Some(address) => self.pool.take(id, address),
                    None => self.pool.count(id),
                }
            }
            self.reindex(id);
        }
    }

    /// EC2 did not show an ENI. A fresh one may not be visible yet, and nothing with a pod on it is ever dropped
    /// because a read missed it.
    pub(super) fn handle_missing(&mut self, id: &EniId, now: Moment) {
        let has_pods = self.leases_on(id).0 > 0;
        match self.enis.get(id) {
            Some(record) if self.is_fresh(id, now) && !record.removing => {
                let subject = Subject::Eni(id.clone());
                let fault = Fault::Gone { what: id.to_string() };
                self.backoff
                    .handle_failure(subject, fault, now, now.0.subsec_nanos().into());
            }
            Some(_) if has_pods => self.change(id, |record| {
                record.uncertain = false;
                record.vanished = true;
            }),
            Some(_) => self.forget_eni(id),
            None => {}
        }
    }

    /// Whether this daemon created the ENI a moment ago.
    pub(super) fn is_fresh(&self, id: &EniId, now: Moment) -> bool {
        let created = self.enis.get(id).and_then(|record| record.created);
        created.is_some_and(|at| now.since(at) < VISIBLE_AFTER)
    }

    /// Takes an ENI on record as EC2 described it. Blocks with a pod on them stay, whatever a read missed.
    /// One that is attached to another instance is no longer ours.
    pub(super) fn insert_eni(&mut self, mut seen: SeenEni, created: Option<Moment>, now: Moment) {
        let node = self.node.as_ref();
        if let (Some(node), Some(attachment)) = (node, &seen.attachment)
            && attachment.instance != node.instance
        {
            self.forget_eni(&seen.id);
            return;
        }
        // Somebody else's takes no place here unless it is attached here.
        let elsewhere = seen.owner == Owner::Foreign && seen.attachment.is_none();
        if elsewhere && self.leases_on(&seen.id) == AddressCount::ZERO {
            self.forget_eni(&seen.id);
            return;
        }
        self.keep_prefixes6(&mut seen, now);
        let known = self.enis.get(&seen.id).cloned();
        let uncertain = self.drop_given_back(&mut seen, now) | self.drop_moved(&mut seen);
        let uncertain = uncertain | self.is_leaving(&seen, now);
        self.disown(&seen.blocks, &seen.id);
        let before = known
            .as_ref()
            .map(|known| known.seen.blocks.clone())
            .unwrap_or_default();
        let is_held = |block: &Block| block.addresses().any(|address| self.is_held(address));
        let lost: BTreeSet<Block> = before
            .difference(&seen.blocks)
            .filter(|block| is_held(block))
            .copied()
            .collect();
        seen.blocks.extend(&lost);
        let mark = match (&known, seen.owner) {
            (Some(EniRecord { mark: Some(mark), .. }), _) => Some(*mark),
            (_, Owner::Ours(_)) => self.next_mark(),
            (_, Owner::Primary | Owner::Foreign) => None,
        };
        let mut record = EniRecord {
            mark,
            removing: known.as_ref().is_some_and(|known| known.removing),
            excluded: known.as_ref().is_some_and(|known| known.excluded),
            served: known
                .as_ref()
                .map(|known| known.served.intersection(&seen.blocks).copied().collect())
                .unwrap_or_default(),
            served6: known
                .as_ref()
                .and_then(|known| known.served6)
                .filter(|prefix| seen.prefixes6.contains(prefix)),
            uncertain,
            vanished: false,
            lost,
            attached: seen
                .attachment
                .as_ref()
                .and(known.as_ref().and_then(|known| known.attached).or(Some(now))),
            created: created.or(known.as_ref().and_then(|known| known.created)),
            seen,
        };
        record.excluded |= record.is_on_another_card();
        if known.as_ref() != Some(&record) {
            self.unwritten.push(Entry::Eni {
                record: record.clone(),
            });
        }
        let id = record.seen.id.clone();
        self.enis.insert(id.clone(), record);
        self.settle_homeless(&id);
        self.reindex(&id);
    }

    /// Whether somebody else detaches it just now: it is read again until it is gone, and then it comes back.
    fn is_leaving(&mut self, seen: &SeenEni, now: Moment) -> bool {
        let removing = self.enis.get(&seen.id).is_some_and(|record| record.removing);
        let detaching = seen
            .attachment
            .as_ref()
            .is_some_and(|attachment| attachment.detaching);
        let leaves = detaching && !removing && matches!(seen.owner, Owner::Ours(_));
        if leaves {
            let fault = Fault::Stale {
                code: "it is being detached".to_owned(),
            };
            let subject = Subject::Eni(seen.id.clone());
            self.backoff
                .handle_failure(subject, fault, now, now.0.subsec_nanos().into());
        }
        leaves
    }

    /// Whether a read shows addresses that were just given back. They are not handed out again, and the ENI is read once
    /// more when the call has certainly had its effect or none.
    fn drop_given_back(&mut self, seen: &mut SeenEni, now: Moment) -> bool {
        let before = seen.blocks.len();
        seen.blocks.retain(|block| !self.given_back.contains_key(block));
        let lingers = seen.blocks.len() < before;
        if lingers {
            let fault = Fault::Stale {
                code: "an address that was given back shows still".to_owned(),
            };
            let seed = now.0.subsec_nanos().into();
            let subject = Subject::Eni(seen.id.clone());
            self.backoff.handle_failure(subject, fault, now, seed);
        }
        lingers
    }

    /// Whether a read shows addresses that EC2 has since given to another ENI of ours: the other has them.
    fn drop_moved(&mut self, seen: &mut SeenEni) -> bool {
        let before = seen.blocks.len();
        let younger = self
            .enis
            .iter()
            .filter(|(id, _)| **id != seen.id && self.changed.contains_key(*id));
        let theirs: BTreeSet<Block> = younger
            .flat_map(|(_, record)| &record.seen.blocks)
            .copied()
            .collect();
        seen.blocks.retain(|block| !overlaps(*block, &theirs));
        seen.blocks.len() < before
    }

    /// What one ENI has another has no more: an address is on one ENI. The other is read again.
    pub(super) fn disown(&mut self, blocks: &BTreeSet<Block>, owner: &EniId) {
        let others = self.enis.iter().filter(|(id, record)| {
            *id != owner && record.seen.blocks.iter().any(|block| overlaps(*block, blocks))
        });
        let others: Vec<EniId> = others.map(|(id, _)| id.clone()).collect();
        for id in others {
            self.change(&id, |record| {
                record.seen.blocks.retain(|block| !overlaps(*block, blocks));
                record.served.retain(|block| !overlaps(*block, blocks));
                record.lost.retain(|block| !overlaps(*block, blocks));
                record.uncertain = true;
            });
        }
    }

    /// Blocks were given back: for a while a read may show them still, and a call that nobody heard of may yet arrive.
    pub(super) fn note_given_back(&mut self, blocks: &BTreeSet<Block>, at: Moment) {
        self.given_back.extend(blocks.iter().map(|block| (*block, at)));
    }

    /// EC2 gave these, whatever was given back before.
    pub(super) fn note_obtained(&mut self, blocks: &BTreeSet<Block>) {
        self.given_back.retain(|block, _| !blocks.contains(block));
    }

    /// The mark after the last one given that no ENI has, so that connections of an ENI that went have time to end.
    fn next_mark(&mut self) -> Option<EniMark> {
        let taken: BTreeSet<EniMark> = self.enis.values().filter_map(|record| record.mark).collect();
        let first = self.last_mark.map_or(EniMark::new(1), |last| Some(last.next()))?;
        let candidates = std::iter::successors(Some(first), |mark| Some(mark.next()));
        let free = candidates
            .take(usize::from(EniMark::LAST.number()))
            .find(|mark| !taken.contains(mark))?;
        self.last_mark = Some(free);
        self.unwritten.push(Entry::Mark { last: free });
        Some(free)
    }

    pub(super) fn note_detached(&mut self, eni: &EniId, attachment: &EniAttachmentId) {
        self.change(eni, |record| {
            if record
                .seen
                .attachment
                .as_ref()
                .is_some_and(|seen| seen.id == *attachment)
            {
                record.seen.attachment = None;
                record.attached = None;
            }
        });
    }

    /// From now on nothing of the ENI is handed out, and it goes. One with pods stays, whatever was believed (4).
    pub(super) fn begin_removal(&mut self, eni: &EniId) {
        if self.leases_on(eni) == AddressCount::ZERO {
            self.change(eni, |record| record.removing = true);
        }
    }

    pub(super) fn forget_eni(&mut self, id: &EniId) {
        self.doubted.remove(id);
        if self.enis.remove(id).is_some() {
            self.reindex(id);
            self.unwritten.push(Entry::EniGone { id: id.clone() });
        }
        self.backoff.handle_success(&Subject::Eni(id.clone()));
    }

    pub(super) fn change(&mut self, eni: &EniId, change: impl FnOnce(&mut EniRecord)) {
        if let Some(record) = self.enis.get_mut(eni) {
            let before = record.clone();
            change(record);
            if *record != before {
                self.unwritten.push(Entry::Eni {
                    record: record.clone(),
                });
                self.reindex(eni);
            }
        }
    }

    fn is_held(&self, address: Ipv4Addr) -> bool {
        self.holders.contains_key(&IpAddr::V4(address))
    }

    /// What was kept only for the pods on it goes with the last of them.
    pub(super) fn bury(&mut self, eni: &EniId) {
        let Some(record) = self.enis.get(eni) else { return };
        if record.vanished && self.leases_on(eni) == AddressCount::ZERO {
            self.forget_eni(eni);
        } else if !record.lost.is_empty() {
            let is_held = |block: &Block| block.addresses().any(|address| self.is_held(address));
            let over: BTreeSet<Block> = record
                .lost
                .iter()
                .filter(|block| !is_held(block))
                .copied()
                .collect();
            self.change(eni, |record| {
                record.lost.retain(|block| !over.contains(block));
                record.seen.blocks.retain(|block| !over.contains(block));
                record.served.retain(|block| !over.contains(block));
            });
        }
    }
}

/// Whether a block has an address in common with any of these.
fn overlaps(block: Block, with: &BTreeSet<Block>) -> bool {
    let net = block.net();
    let meets = |other: &Block| net.contains(&other.net()) || other.net().contains(&net);
    with.contains(&block) || with.iter().any(meets)
}
