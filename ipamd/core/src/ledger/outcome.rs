//! What the ledger makes of events: calls that begin, outcomes, observations, what the kernel serves.
//!
//! Intents are recorded before their call, and what is about to be given back stops being ours before its call: a
//! crash at any line leaves something that can be finished or read again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::journal::Entry;
use super::{EniRecord, Intent, Ledger};
use crate::action::{Action, Effect, Fault, Subject};
use crate::address::AddressCount;
use crate::address::Block;
use crate::id::EniId;
use crate::moment::Moment;
use crate::net::eni::Wanted;
use crate::retry;
use crate::snapshot::{Node, Owner, Scope, SeenAttachment, SeenEni, Snapshot};

/// How long a describe may show an ENI as it was before a call, or not at all: EC2 is eventually consistent. Assumed.
pub(super) const VISIBLE_AFTER: Duration = Duration::from_secs(60);

/// Within how long after [`VISIBLE_AFTER`] a daemon without a journal looks at whatever carries our tag. Some minutes: what it
/// may find was left by an earlier life, and five hundred nodes that boot together make three such calls a second.
const SECOND_LOOK_SPREAD: Duration = Duration::from_secs(180);

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
        // Nor does a subnet lose its IPv6 while an instance is in it.
        let same = self.node.as_ref().filter(|known| known.subnet == node.subnet);
        node.subnet_cidr6 = node.subnet_cidr6.or(same.and_then(|known| known.subnet_cidr6));
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
                    ask: new.ask,
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
            Action::Unassign { eni, blocks } => {
                self.change(eni, |record| {
                    record.seen.blocks.retain(|block| !blocks.contains(block));
                    record.served.retain(|block| !blocks.contains(block));
                });
                let blocks = blocks.clone();
                self.unwritten.push(Entry::GivenBack { blocks });
            }
            Action::DetachEni { eni, .. } | Action::DeleteEni { eni } => self.begin_removal(eni),
            Action::CreateEni(_)
            | Action::AttachEni { .. }
            | Action::DeleteOnTermination { .. }
            | Action::Assign { .. }
            | Action::AssignPrefix6 { .. }
            | Action::ReadEni { .. }
            | Action::ReadSubnets { .. }
            | Action::ReadUnattached { .. }
            | Action::DeleteLeak { .. }
            | Action::ReadAll { .. } => {}
        }
        self.pace.handle_begin(action.operation());
        self.in_flight.insert(action.subject(), action.clone());
    }

    /// Notes that this daemon is about to call EC2 for the first time. One whose journal knows nothing of the node waits a
    /// moment within `spread`, so that nodes that boot together do not call together; any other is in nobody's way.
    pub fn handle_start(&mut self, spread: Duration, at: Happening) {
        if self.is_blank() {
            self.pace.handle_fresh_start(spread, at.now, at.seed);
        }
    }

    fn note_pace(&mut self, action: &Action, outcome: &Result<Effect, Fault>, at: Happening) {
        let (operation, effect) = (action.operation(), action.effect());
        match outcome {
            Err(Fault::Throttled { .. }) => self.pace.handle_throttled(operation, effect, at.now, at.seed),
            // Nobody knows whether EC2 took these up.
            Err(Fault::Unknown { .. } | Fault::Wait { .. }) => {}
            Ok(_) | Err(_) => self.pace.handle_taken(operation, effect, at.now),
        }
    }

    /// Notes what came of a call.
    pub fn handle_outcome(&mut self, action: &Action, outcome: Result<Effect, Fault>, at: Happening) {
        let subject = action.subject();
        self.in_flight.remove(&subject);
        self.note_pace(action, &outcome, at);
        if let Action::Unassign { blocks, .. } = action {
            self.note_given_back(blocks, at.now);
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
        let mut changed = Vec::new();
        for (id, record) in &mut self.enis {
            let eni = served.enis.iter().find(|eni| eni.id == *id);
            let blocks = eni.map(|eni| eni.blocks.intersection(&record.seen.blocks).copied());
            let blocks: BTreeSet<Block> = blocks.map(Iterator::collect).unwrap_or_default();
            record.served6 = eni
                .and_then(|eni| eni.prefix6)
                .filter(|prefix| record.seen.prefixes6.contains(prefix));
            if record.served != blocks {
                // What pods had and the kernel has no more may be gone from EC2, too.
                let gone = blocks.is_empty() && !record.removing && !record.seen.blocks.is_empty();
                changed.push((id.clone(), gone));
                record.served = blocks;
            }
        }
        for (id, gone) in changed {
            self.reindex(&id);
            if gone {
                self.change(&id, |record| record.uncertain = true);
            }
        }
    }

    /// Notes that time passed.
    pub fn handle_time(&mut self, now: Moment) {
        self.pace.handle_time(now);
        self.handle_rested(now);
        self.given_back.retain(|_, at| now.since(*at) < VISIBLE_AFTER);
        // A read that is under way may answer from before any of them, however long it takes.
        if !self.in_flight.contains_key(&Subject::Instance) {
            self.changed.retain(|_, at| now.since(*at) < VISIBLE_AFTER);
        }
    }

    fn note_change(&mut self, subject: &Subject, effect: &Effect, now: Moment) {
        match (subject, effect) {
            (_, Effect::Created(seen)) => drop(self.changed.insert(seen.id.clone(), now)),
            (Subject::Eni(id) | Subject::Prefix6(id), _) => drop(self.changed.insert(id.clone(), now)),
            (
                Subject::Intent(_)
                | Subject::Instance
                | Subject::Growth
                | Subject::Subnets
                | Subject::Unattached
                | Subject::Subnet(..),
                _,
            ) => {}
        }
    }

    /// Whether what a read begun at this moment tells of an ENI may be older than what we know ourselves.
    pub(super) fn knows_better(&self, id: &EniId, read_at: Moment) -> bool {
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
                self.handle_plenty(&new.subnet, new.ask);
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
                self.change(eni, |record| {
                    record.seen.attachment = Some(attachment);
                    record.attached = Some(now);
                });
            }
            (Action::DeleteOnTermination { eni, .. }, Effect::Done) => self.change(eni, |record| {
                if let Some(attachment) = &mut record.seen.attachment {
                    attachment.delete_on_termination = true;
                }
            }),
            (Action::Assign { eni, ask }, Effect::Assigned(blocks)) => {
                self.note_obtained(&blocks);
                self.disown(&blocks, eni);
                self.change(eni, |record| {
                    record.lost.retain(|block| !blocks.contains(block));
                    record.seen.blocks.extend(blocks);
                });
                if let Some(subnet) = self.enis.get(eni).map(|record| record.seen.subnet.clone()) {
                    self.handle_plenty(&subnet, *ask);
                }
            }
            (Action::AssignPrefix6 { eni }, Effect::Assigned6(prefixes)) => {
                self.change(eni, |record| record.seen.prefixes6.extend(prefixes));
            }
            // Off the record since the call began; a read right after it may still show them.
            (Action::Unassign { .. }, Effect::Done) => {}
            (Action::DetachEni { eni, attachment }, Effect::Done) => self.note_detached(eni, attachment),
            (Action::DeleteEni { eni }, Effect::Done) => self.forget_eni(eni),
            (Action::ReadEni { eni }, Effect::Read(Some(seen))) if seen.id == *eni => {
                self.doubted.remove(eni);
                self.insert_eni(seen, None, now);
            }
            (_, Effect::Read(Some(seen))) => self.insert_eni(seen, None, now),
            (Action::ReadEni { eni }, Effect::Read(None)) => self.handle_missing(eni, now),
            (_, Effect::Unattached(seen, read_at)) => self.handle_unattached(action, seen, read_at),
            (Action::DeleteLeak { eni }, Effect::Done) => self.handle_leak(eni, None),
            (_, Effect::Subnets(seen, read_at)) => self.handle_subnets(seen, read_at, now),
            (_, Effect::ReadAll(snapshot)) => self.handle_snapshot(snapshot, now),
            // An outcome that does not belong to its action: read before anything is believed.
            (action, _) => self.doubt(action),
        }
    }

    fn handle_fault(&mut self, action: &Action, fault: Fault, at: Happening) {
        let certain = matches!(
            fault,
            Fault::Throttled { .. }
                | Fault::Wait { .. }
                | Fault::Forbidden { .. }
                | Fault::Credentials { .. }
        );
        let is_scarce = matches!(fault, Fault::SubnetFull { .. } | Fault::Fragmented { .. });
        // What a subnet has of IPv6 tells nothing of its IPv4.
        if is_scarce && !matches!(action, Action::AssignPrefix6 { .. }) {
            self.handle_scarcity(action, fault, at);
            return;
        }
        match action {
            Action::CreateEni(new) => {
                // After a lost answer or a pause the same intent is repeated and gives the same ENI.
                if !matches!(
                    fault,
                    Fault::Unknown { .. }
                        | Fault::Wait { .. }
                        | Fault::Throttled { .. }
                        | Fault::Credentials { .. }
                ) {
                    self.end_intent(new.intent);
                    // The token may stand for an ENI that nobody has on record.
                    self.read_all_wanted |= matches!(fault, Fault::Stale { .. });
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
            Action::DeleteEni { eni }
                if matches!(fault, Fault::Gone { .. }) && !self.is_fresh(eni, at.now) =>
            {
                self.forget_eni(eni);
                return;
            }
            // The blocks are off the record already: only a read tells whether they are still ours.
            Action::Unassign { .. } => self.doubt(action),
            Action::DeleteEni { .. } if fault == Fault::Busy => {}
            Action::DeleteLeak { eni } => self.handle_leak(eni, Some(&fault)),
            Action::ReadEni { .. }
            | Action::ReadAll { .. }
            | Action::ReadSubnets { .. }
            | Action::ReadUnattached { .. } => {}
            // Known to exist and not yet visible to every part of EC2: the same call works a moment later.
            Action::AttachEni { eni, .. }
            | Action::DeleteOnTermination { eni, .. }
            | Action::DeleteEni { eni }
                if matches!(fault, Fault::Gone { .. }) && self.is_fresh(eni, at.now) => {}
            _ if certain => {}
            _ => self.doubt(action),
        }
        self.backoff
            .handle_failure(action.subject(), fault, at.now, at.seed);
    }

    fn handle_snapshot(&mut self, snapshot: Snapshot, now: Moment) {
        self.note_look(&snapshot);
        self.read_all_wanted &= snapshot.scope == Scope::Attached;
        let covered =
            |record: &EniRecord| snapshot.scope == Scope::Everything || record.seen.attachment.is_some();
        let missing = self.enis.iter().filter(|(id, record)| {
            let shown = snapshot.enis.contains_key(id);
            !shown && covered(record) && !self.knows_better(id, snapshot.at)
        });
        let missing: Vec<EniId> = missing.map(|(id, _)| id.clone()).collect();
        for (id, seen) in snapshot.enis {
            let busy = [Subject::Eni(id.clone()), Subject::Prefix6(id.clone())];
            let is_busy = busy.iter().any(|subject| self.in_flight.contains_key(subject));
            if self.knows_better(&id, snapshot.at) || is_busy {
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
            let busy = self.in_flight.contains_key(&Subject::Eni(id.clone()));
            match snapshot.scope {
                Scope::Everything if !busy => self.handle_missing(&id, now),
                // It may only be detached.
                Scope::Attached => self.change(&id, |record| record.uncertain = true),
                Scope::Everything => {}
            }
        }
    }

    /// The first look of a daemon may show what was before the last one's calls. One that left an ENI out, because we knew
    /// better, settles nothing either. A daemon that found no journal has looked only at what is attached. Where that
    /// shows that the node had a life before, whatever carries our tag is looked for at once; otherwise at a moment of the
    /// node's own, as nothing waits for that and nodes that boot together would look together.
    fn note_look(&mut self, snapshot: &Snapshot) {
        let settles = self.look_again.is_some_and(|due| due <= snapshot.at);
        let known = self.enis.keys().any(|id| self.knows_better(id, snapshot.at));
        if self.read_all_at.is_none() && self.is_blank() {
            let share = self
                .node
                .as_ref()
                .map_or(0.0, |node| retry::share(&node.instance));
            let spread = SECOND_LOOK_SPREAD.mul_f64(share);
            let lived = |eni: &SeenEni| !eni.blocks.is_empty() || matches!(eni.owner, Owner::Ours(_));
            self.read_all_wanted |= snapshot.enis.values().any(lived);
            self.look_again = Some(snapshot.at.after(VISIBLE_AFTER).after(spread));
        } else if self.read_all_at.is_none() || (settles && known) {
            self.look_again = Some(snapshot.at.after(VISIBLE_AFTER));
        } else if settles {
            self.look_again = None;
        }
        self.read_all_at = Some(snapshot.at);
    }

    pub(super) fn end_intent(&mut self, intent: crate::id::IntentId) {
        if self.intents.remove(&intent).is_some() {
            self.unwritten.push(Entry::IntentEnded { id: intent });
        }
        self.backoff.handle_success(&Subject::Intent(intent));
    }

    /// Nobody knows what the call did: the subject is read before anything else happens to it.
    pub(super) fn doubt(&mut self, action: &Action) {
        match action.subject() {
            Subject::Eni(eni) | Subject::Prefix6(eni) => {
                self.change(&eni, |record| record.uncertain = true);
            }
            Subject::Intent(_)
            | Subject::Instance
            | Subject::Growth
            | Subject::Subnets
            | Subject::Unattached
            | Subject::Subnet(..) => {
                self.read_all_wanted = true;
            }
        }
        // Another attachment may sit where we wanted ours.
        self.read_all_wanted |= matches!(action, Action::AttachEni { .. });
    }
}
