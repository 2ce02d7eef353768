//! Gives back what has been surplus for the dwell: a whole ENI where one is empty, blocks otherwise; and blocks of the
//! kind that is not got any more.
//!
//! Never an address with a pod, never one that rests, never the primary ENI, never anything while a pod waits.

use std::collections::BTreeSet;

use super::Planner;
use super::demand::Demand;
use super::report::Line;
use crate::action::{Action, Subject};
use crate::address::{AddressCount, Block};
use crate::ledger::EniRecord;
use crate::policy::WarmTarget;
use crate::snapshot::Owner;

pub(super) fn shrink(planner: &mut Planner<'_>, demand: &Demand) {
    let situation = planner.situation;
    let surplus = demand.surplus();
    let none = surplus == AddressCount::ZERO && demand.strays == AddressCount::ZERO && !has_drained(planner);
    planner.plan.surplus |= !none;
    if none || demand.waiting > AddressCount::ZERO {
        return;
    }
    let due = situation.surplus_due();
    if situation.now < due {
        if surplus > AddressCount::ZERO {
            planner.say(Line::Dwells { surplus, until: due });
        }
        if demand.strays > AddressCount::ZERO {
            let addresses = demand.strays;
            planner.say(Line::Strays {
                addresses,
                until: due,
            });
        }
        planner.wake(Some(due));
        return;
    }
    let mut left = surplus;
    for record in emptiest_first(planner) {
        left = give_back(planner, demand, record, left);
    }
}

/// Whether an ENI of ours in an excluded subnet has lost its last pod.
fn has_drained(planner: &Planner<'_>) -> bool {
    let ledger = planner.situation.ledger;
    let mut excluded = ledger
        .enis()
        .values()
        .filter(|record| record.excluded && record.serves());
    excluded.any(|record| matches!(record.seen.owner, Owner::Ours(_)) && planner.is_unused(record))
}

/// ENIs in the order in which they should empty: fewest pods first, youngest place first among equals.
pub(super) fn emptiest_first<'a>(planner: &Planner<'a>) -> Vec<&'a EniRecord> {
    let ledger = planner.situation.ledger;
    let mut records: Vec<&EniRecord> = ledger.enis().values().filter(|record| record.serves()).collect();
    records.retain(|record| !record.uncertain && !planner.is_busy(&Subject::Eni(record.seen.id.clone())));
    records.sort_by_key(|record| {
        (
            ledger.leases_on(&record.seen.id),
            std::cmp::Reverse(record.place()),
        )
    });
    records
}

/// Gives back as much of an ENI as is surplus; returns what is surplus still.
fn give_back(
    planner: &mut Planner<'_>,
    demand: &Demand,
    record: &EniRecord,
    left: AddressCount,
) -> AddressCount {
    let counted = |block: &Block| !record.excluded && demand.supply.counts(*block);
    let free = free_blocks(planner, record);
    let size: AddressCount = record
        .seen
        .blocks
        .iter()
        .filter(|block| counted(block))
        .map(|block| block.size())
        .sum();
    let whole = matches!(record.seen.owner, Owner::Ours(_)) && planner.is_unused(record) && size <= left;
    if let Some(attachment) = record.seen.attachment.as_ref().filter(|_| whole) {
        let (eni, attachment) = (record.seen.id.clone(), attachment.id.clone());
        let acts = planner.act(Action::DetachEni { eni, attachment });
        return if acts { left.less(size) } else { left };
    }
    let (counting, strays): (BTreeSet<Block>, BTreeSet<Block>) = free.into_iter().partition(counted);
    // Strays serve until what replaces them is there, unless they are what keeps it from coming.
    if !strays.is_empty() && (demand.missing() == AddressCount::ZERO || !planner.grows()) {
        unassign(planner, record, strays);
        return left;
    }
    if planner.keeps_whole_enis(demand) {
        return left;
    }
    let given = last_within(counting, left);
    let size = given.iter().map(|block| block.size()).sum();
    if unassign(planner, record, given) {
        left.less(size)
    } else {
        left
    }
}

/// Blocks of an ENI of which no address is held or rests.
fn free_blocks(planner: &Planner<'_>, record: &EniRecord) -> BTreeSet<Block> {
    let (ledger, now) = (planner.situation.ledger, planner.situation.now);
    let blocks = record.seen.blocks.iter().copied();
    blocks
        .filter(|block| ledger.used_in(*block, now) == AddressCount::ZERO)
        .collect()
}

/// As many blocks as make up no more than so many addresses, the highest first: the lowest were there first and are
/// likelier to be known elsewhere.
fn last_within(blocks: BTreeSet<Block>, most: AddressCount) -> BTreeSet<Block> {
    let mut left = most;
    let mut taken = BTreeSet::new();
    for block in blocks.into_iter().rev() {
        if block.size() <= left {
            left = left.less(block.size());
            taken.insert(block);
        }
    }
    taken
}

/// Gives blocks back, one kind a call; says whether it begins.
fn unassign(planner: &mut Planner<'_>, record: &EniRecord, mut blocks: BTreeSet<Block>) -> bool {
    let Some(kind) = blocks.first().map(|block| block.kind()) else {
        return false;
    };
    blocks.retain(|block| block.kind() == kind);
    let eni = record.seen.id.clone();
    planner.act(Action::Unassign { eni, blocks })
}

impl super::Situation<'_> {
    /// When what is surplus may be given back.
    pub(super) fn surplus_due(&self) -> crate::moment::Moment {
        let since = self.ledger.surplus_since().unwrap_or(self.now);
        since.after(self.policy.dwell)
    }
}

impl Planner<'_> {
    /// Whether no pod has an address of the ENI, of either family, and none of its blocks rests.
    pub(super) fn is_unused(&self, record: &EniRecord) -> bool {
        let (ledger, now) = (self.situation.ledger, self.situation.now);
        let mut blocks = record.seen.blocks.iter();
        ledger.leases_on(&record.seen.id) == AddressCount::ZERO
            && blocks.all(|block| ledger.used_in(*block, now) == AddressCount::ZERO)
    }

    /// Whether more is being asked for, or will be once a pause ends.
    fn grows(&self) -> bool {
        let asks = |action: &Action| matches!(action, Action::Assign { .. } | Action::CreateEni(_));
        let under_way = self.situation.ledger.in_flight().values();
        under_way.chain(&self.plan.actions).any(asks) || self.room > 0
    }

    /// With a target in ENIs only whole ENIs are given back.
    fn keeps_whole_enis(&self, demand: &Demand) -> bool {
        let policy = self.situation.policy;
        let warm = policy.warm.of(demand.supply.kind());
        policy.families.has_v4() && matches!(warm, WarmTarget::Enis(_))
    }
}
