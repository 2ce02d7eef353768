//! What the ledger makes of events: calls that begin, outcomes, observations, what the kernel serves.
//!
//! Intents are recorded before their call, and what is about to be given back stops being ours before its call: a
//! crash at any line leaves something that can be finished or read again. Long because every action meets every
//! outcome here and nowhere else.

use std::collections::BTreeSet;
use std::time::Duration;

use super::journal::Entry;
use super::{EniRecord, Intent, Ledger};
use crate::action::{Action, Effect, Fault, Subject};
use crate::address::{AddressCount, Block};
use crate::id::{EniAttachmentId, EniId};
use crate::moment::Moment;
use crate::net::EniMark;
use crate::net::eni::Wanted;
use crate::snapshot::{Node, Owner, SeenAttachment, SeenEni, Snapshot};

/// How long a describe may show an ENI as it was before a call, or not at all: EC2 is eventually consistent. Assumed.
const VISIBLE_AFTER: Duration = Duration::from_secs(60);

/// When and with which seed for jitter something happened.
#[derive(Clone, Copy, Debug)]
pub struct Happening {
    /// The moment.
    pub now: Moment,
    /// A seed, fresh for each happening.
    pub seed: u64,
}

impl Ledger {
    /// Notes the facts of the node. A subnet's CIDR never changes, so one that is missing this time is still known:
    /// without it an ENI would have no place in the kernel.
    pub fn handle_node(&mut self, mut node: Node) {
        for (subnet, cidr) in self.node.iter().flat_map(|known| &known.subnet_cidrs) {
            node.subnet_cidrs.entry(subnet.clone()).or_insert(*cidr);
        }
        if self.node.as_ref() != Some(&node) {
            self.unwritten.push(Entry::Node { node: node.clone() });
            self.node = Some(node);
        }
    }

    /// Notes that a call is about to begin. Its entries must be on disk before it does.
    pub fn handle_begin(&mut self, action: &Action) {
        match action {
            Action::CreateEni(new) if !self.intents.contains_key(&new.intent) => {
                let intent = Intent {
                    addresses: new.addresses,
                    subnet: new.subnet.clone(),
                    groups: new.groups.clone(),
                    tags: new.tags.clone(),
                    wall: new.wall,
                };
                self.last_intent = self.last_intent.max(new.intent.0);
                self.unwritten.push(Entry::Intended {
                    id: new.intent,
                    intent: intent.clone(),
                });
                self.intents.insert(new.intent, intent);
            }
            Action::UnassignAddresses { eni, addresses } => self.change(eni, |record| {
                for address in addresses {
                    record.seen.blocks.remove(&Block::Secondary(*address));
                    record.served.remove(&Block::Secondary(*address));
                }
            }),
            Action::DetachEni { eni, .. } | Action::DeleteEni { eni } => self.begin_removal(eni),
            Action::CreateEni(_)
            | Action::AttachEni { .. }
            | Action::DeleteOnTermination { .. }
            | Action::AssignAddresses { .. }
            | Action::ReadEni { .. }
            | Action::ReadAll { .. } => {}
        }
        self.in_flight.insert(action.subject(), action.clone());
    }

    /// Notes what came of a call.
    pub fn handle_outcome(&mut self, action: &Action, outcome: Result<Effect, Fault>, at: Happening) {
        let subject = action.subject();
        self.in_flight.remove(&subject);
        if let Action::UnassignAddresses { addresses, .. } = action {
            let given = addresses.iter().map(|address| (*address, at.now));
            self.given_back.extend(given);
        }
        if matches!(outcome, Err(Fault::Unknown { .. })) {
            self.look_again = Some(at.now.after(VISIBLE_AFTER));
        }
        match outcome {
            Ok(effect) => {
                // That an ENI can be read says nothing about the call that made us doubt it.
                if !matches!(action, Action::ReadEni { .. }) {
                    self.backoff.handle_success(&subject);
                    self.note_change(&subject, &effect, at.now);
                }
                self.handle_effect(action, effect, at.now);
            }
            Err(fault) => self.handle_fault(action, fault, at),
        }
    }

    /// Notes whether more is held than wanted, so that a surplus must last before anything is given back.
    pub fn handle_surplus(&mut self, surplus: bool, now: Moment) {
        self.surplus_since = surplus.then(|| self.surplus_since.unwrap_or(now));
    }

    /// Notes that the kernel now serves these ENIs with these blocks and no others; only then are their addresses handed
    /// out (2).
    pub fn handle_served(&mut self, served: &Wanted) {
        for (id, record) in &mut self.enis {
            let eni = served.enis.iter().find(|eni| eni.id == *id);
            record.served = eni
                .map(|eni| eni.blocks.intersection(&record.seen.blocks).copied().collect())
                .unwrap_or_default();
        }
    }

    /// Notes that time passed.
    pub fn handle_time(&mut self, now: Moment) {
        self.cooldown.handle_time(now);
        self.given_back.retain(|_, at| now.since(*at) < VISIBLE_AFTER);
        let awaits = |record: &&EniRecord| {
            record.serves() && record.served.is_empty() && !record.seen.blocks.is_empty()
        };
        let awaited = self.enis.values().filter(awaits).map(|record| {
            let id = record.seen.id.clone();
            let since = self.awaited.get(&id).copied().unwrap_or(now);
            (id, since)
        });
        self.awaited = awaited.collect();
        // A read that is under way may answer from before any of them, however long it takes.
        if !self.in_flight.contains_key(&Subject::Instance) {
            self.changed.retain(|_, at| now.since(*at) < VISIBLE_AFTER);
        }
    }

    fn note_change(&mut self, subject: &Subject, effect: &Effect, now: Moment) {
        match (subject, effect) {
            (_, Effect::Created(seen)) => drop(self.changed.insert(seen.id.clone(), now)),
            (Subject::Eni(id), _) => drop(self.changed.insert(id.clone(), now)),
            (Subject::Intent(_) | Subject::Instance | Subject::Growth, _) => {}
        }
    }

    /// Whether what a read begun at this moment tells of an ENI may be older than what we know ourselves.
    fn knows_better(&self, id: &EniId, read_at: Moment) -> bool {
        let changed = self.changed.get(id);
        changed.is_some_and(|changed| read_at < changed.after(VISIBLE_AFTER))
    }

    fn handle_effect(&mut self, action: &Action, effect: Effect, now: Moment) {
        match (action, effect) {
            (Action::CreateEni(new), Effect::Created(seen)) => {
                // A read may have found it first, and it may be attached by now: that is the younger truth.
                if !self.enis.contains_key(&seen.id) {
                    self.note_obtained(&seen.blocks);
                    self.insert_eni(seen, Some(now), now);
                }
                self.end_intent(new.intent);
                self.backoff.handle_success(&Subject::Growth);
            }
            (
                Action::AttachEni {
                    eni,
                    instance,
                    device_index,
                },
                Effect::Attached(id),
            ) => {
                let attachment = SeenAttachment {
                    id,
                    instance: instance.clone(),
                    device_index: *device_index,
                    network_card: 0,
                    delete_on_termination: false,
                    detaching: false,
                };
                self.change(eni, |record| record.seen.attachment = Some(attachment));
            }
            (Action::DeleteOnTermination { eni, .. }, Effect::Done) => self.change(eni, |record| {
                if let Some(attachment) = &mut record.seen.attachment {
                    attachment.delete_on_termination = true;
                }
            }),
            (Action::AssignAddresses { eni, .. }, Effect::Assigned(addresses)) => {
                let blocks = addresses.into_iter().map(Block::Secondary).collect();
                self.note_obtained(&blocks);
                self.change(eni, |record| record.seen.blocks.extend(blocks));
            }
            // Off the record since the call began; a read right after it may still show them.
            (Action::UnassignAddresses { .. }, Effect::Done) => {}
            (Action::DetachEni { eni, attachment }, Effect::Done) => self.note_detached(eni, attachment),
            (Action::DeleteEni { eni }, Effect::Done) => self.forget_eni(eni),
            (_, Effect::Read(Some(seen))) => self.insert_eni(seen, None, now),
            (Action::ReadEni { eni }, Effect::Read(None)) => self.handle_missing(eni, now),
            (_, Effect::ReadAll(snapshot)) => self.handle_snapshot(snapshot, now),
            // An outcome that does not belong to its action: read before anything is believed.
            (action, _) => self.doubt(action),
        }
    }

    fn handle_fault(&mut self, action: &Action, fault: Fault, at: Happening) {
        let certain = matches!(
            fault,
            Fault::Wait { .. } | Fault::Forbidden { .. } | Fault::SubnetFull { .. }
        );
        match action {
            Action::CreateEni(new) => {
                // After a lost answer or a pause the same intent is repeated and gives the same ENI.
                if !matches!(fault, Fault::Unknown { .. } | Fault::Wait { .. }) {
                    self.end_intent(new.intent);
                    self.backoff
                        .handle_failure(Subject::Growth, fault.clone(), at.now, at.seed);
                }
            }
            Action::AttachEni { eni, .. } if matches!(fault, Fault::Limit { .. }) => {
                self.begin_removal(eni);
                let subjects = [Subject::Growth, action.subject()];
                // One with pods stays and is tried again, as rarely as everything that fails.
                let pods = usize::from(self.leases_on(eni) > AddressCount::ZERO);
                for subject in subjects.into_iter().take(1 + pods) {
                    self.backoff
                        .handle_failure(subject, fault.clone(), at.now, at.seed);
                }
                return;
            }
            Action::DetachEni { eni, attachment } if matches!(fault, Fault::Gone { .. }) => {
                self.note_detached(eni, attachment);
                return;
            }
            Action::DeleteEni { eni } if matches!(fault, Fault::Gone { .. }) => {
                self.forget_eni(eni);
                return;
            }
            // The blocks are off the record already: only a read tells whether they are still ours.
            Action::UnassignAddresses { .. } => self.doubt(action),
            Action::DeleteEni { .. } if fault == Fault::Busy => {}
            Action::ReadEni { .. } | Action::ReadAll { .. } => {}
            // Known to exist and not yet visible to every part of EC2: the same call works a moment later.
            Action::AttachEni { eni, .. } | Action::DeleteOnTermination { eni, .. }
                if matches!(fault, Fault::Gone { .. }) && self.is_fresh(eni, at.now) => {}
            _ if certain => {}
            _ => self.doubt(action),
        }
        self.backoff
            .handle_failure(action.subject(), fault, at.now, at.seed);
    }

    fn handle_snapshot(&mut self, snapshot: Snapshot, now: Moment) {
        self.note_look(&snapshot);
        self.read_all_wanted = false;
        let missing: Vec<EniId> = self
            .enis
            .keys()
            .filter(|id| !snapshot.enis.contains_key(id) && !self.knows_better(id, snapshot.at))
            .cloned()
            .collect();
        for (id, seen) in snapshot.enis {
            if self.knows_better(&id, snapshot.at) || self.in_flight.contains_key(&Subject::Eni(id)) {
                continue;
            }
            if let Owner::Ours(Some(intent)) = seen.owner {
                self.insert_eni(seen, None, now);
                self.end_intent(intent);
            } else {
                self.insert_eni(seen, None, now);
            }
        }
        for id in missing {
            if !self.in_flight.contains_key(&Subject::Eni(id.clone())) {
                self.handle_missing(&id, now);
            }
        }
    }

    /// The first look of a daemon may show what was before the last one's calls. One that left an ENI out, because we knew
    /// better, settles nothing either.
    fn note_look(&mut self, snapshot: &Snapshot) {
        let settles = self.look_again.is_some_and(|due| due <= snapshot.at);
        let known = self.enis.keys().any(|id| self.knows_better(id, snapshot.at));
        if self.read_all_at.is_none() || (settles && known) {
            self.look_again = Some(snapshot.at.after(VISIBLE_AFTER));
        } else if settles {
            self.look_again = None;
        }
        self.read_all_at = Some(snapshot.at);
    }

    /// EC2 did not show an ENI. A fresh one may not be visible yet, and nothing with a pod on it is ever dropped
    /// because a read missed it.
    fn handle_missing(&mut self, id: &EniId, now: Moment) {
        let has_pods = self.leases_on(id).0 > 0;
        match self.enis.get(id) {
            Some(record) if self.is_fresh(id, now) && !record.removing => {
                let subject = Subject::Eni(id.clone());
                let fault = Fault::Gone { what: id.to_string() };
                self.backoff
                    .handle_failure(subject, fault, now, now.0.subsec_nanos().into());
            }
            Some(_) if has_pods => self.change(id, |record| record.uncertain = false),
            Some(_) => self.forget_eni(id),
            None => {}
        }
    }

    /// Whether this daemon created the ENI a moment ago.
    fn is_fresh(&self, id: &EniId, now: Moment) -> bool {
        let created = self.enis.get(id).and_then(|record| record.created);
        created.is_some_and(|at| now.since(at) < VISIBLE_AFTER)
    }

    /// Takes an ENI on record as EC2 described it. Blocks with a pod on them stay, whatever a read missed.
    /// One that is attached to another instance is no longer ours.
    fn insert_eni(&mut self, mut seen: SeenEni, created: Option<Moment>, now: Moment) {
        let node = self.node.as_ref();
        if let (Some(node), Some(attachment)) = (node, &seen.attachment)
            && attachment.instance != node.instance
        {
            self.forget_eni(&seen.id);
            return;
        }
        let known = self.enis.get(&seen.id).cloned();
        let uncertain = self.drop_given_back(&mut seen, now);
        if let Some(known) = &known {
            let held = |block: &&Block| {
                block
                    .addresses()
                    .any(|address| self.holders.contains_key(&address))
            };
            seen.blocks.extend(known.seen.blocks.iter().filter(held).copied());
        }
        let mark = match (&known, seen.owner) {
            (Some(EniRecord { mark: Some(mark), .. }), _) => Some(*mark),
            (_, Owner::Ours(_)) => self.next_mark(),
            (_, Owner::Primary | Owner::Foreign) => None,
        };
        let record = EniRecord {
            mark,
            removing: known.as_ref().is_some_and(|known| known.removing),
            served: known
                .as_ref()
                .map(|known| known.served.intersection(&seen.blocks).copied().collect())
                .unwrap_or_default(),
            uncertain,
            created: created.or(known.as_ref().and_then(|known| known.created)),
            seen,
        };
        if known.as_ref() != Some(&record) {
            self.unwritten.push(Entry::Eni {
                record: record.clone(),
            });
        }
        self.enis.insert(record.seen.id.clone(), record);
    }

    /// Whether a read shows addresses that were just given back. They are not handed out again, and the ENI is read once
    /// more when the call has certainly had its effect or none.
    fn drop_given_back(&mut self, seen: &mut SeenEni, now: Moment) -> bool {
        let before = seen.blocks.len();
        let is_given = |block: &Block| {
            block
                .addresses()
                .any(|address| self.given_back.contains_key(&address))
        };
        seen.blocks.retain(|block| !is_given(block));
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

    /// EC2 gave these, whatever was given back before.
    fn note_obtained(&mut self, blocks: &BTreeSet<Block>) {
        for address in blocks.iter().flat_map(|block| block.addresses()) {
            self.given_back.remove(&address);
        }
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

    fn note_detached(&mut self, eni: &EniId, attachment: &EniAttachmentId) {
        self.change(eni, |record| {
            if record
                .seen
                .attachment
                .as_ref()
                .is_some_and(|seen| seen.id == *attachment)
            {
                record.seen.attachment = None;
            }
        });
    }

    /// From now on nothing of the ENI is handed out, and it goes. One with pods stays, whatever was believed (4).
    fn begin_removal(&mut self, eni: &EniId) {
        if self.leases_on(eni) == AddressCount::ZERO {
            self.change(eni, |record| record.removing = true);
        }
    }

    fn forget_eni(&mut self, id: &EniId) {
        if self.enis.remove(id).is_some() {
            self.unwritten.push(Entry::EniGone { id: id.clone() });
        }
        self.backoff.handle_success(&Subject::Eni(id.clone()));
    }

    fn end_intent(&mut self, intent: crate::id::IntentId) {
        if self.intents.remove(&intent).is_some() {
            self.unwritten.push(Entry::IntentEnded { id: intent });
        }
        self.backoff.handle_success(&Subject::Intent(intent));
    }

    /// Nobody knows what the call did: the subject is read before anything else happens to it.
    fn doubt(&mut self, action: &Action) {
        match action.subject() {
            Subject::Eni(eni) => self.change(&eni, |record| record.uncertain = true),
            Subject::Intent(_) | Subject::Instance | Subject::Growth => self.read_all_wanted = true,
        }
        // Another attachment may sit where we wanted ours.
        self.read_all_wanted |= matches!(action, Action::AttachEni { .. });
    }

    fn change(&mut self, eni: &EniId, change: impl FnOnce(&mut EniRecord)) {
        if let Some(record) = self.enis.get_mut(eni) {
            let before = record.clone();
            change(record);
            if *record != before {
                self.unwritten.push(Entry::Eni {
                    record: record.clone(),
                });
            }
        }
    }
}
