//! Finds an ENI more than is needed: one without pods whose addresses fit elsewhere.
//!
//! It stops counting as held, so that the others first get what it has, and then it is surplus as a whole: made before
//! it is broken, and only after the dwell.

use super::Planner;
use super::demand::{Demand, holds};
use super::report::Line;
use super::shrink::emptiest_first;
use crate::action::Action;
use crate::address::AddressCount;
use crate::ledger::EniRecord;
use crate::snapshot::Owner;

/// The demand as it is without such an ENI, if there is one.
pub(super) fn without(planner: &mut Planner<'_>, mut demand: Demand) -> Demand {
    if demand.waiting > AddressCount::ZERO || !has_too_many(planner, &demand) {
        return demand;
    }
    let candidates = emptiest_first(planner).into_iter();
    let mut spare = candidates.filter(|record| is_spare(planner, record, &demand));
    let Some(record) = spare.next() else { return demand };
    planner.plan.surplus = true;
    let due = planner.situation.surplus_due();
    if planner.situation.now < due {
        planner.wake(Some(due));
        return demand;
    }
    let eni = record.seen.id.clone();
    planner.say(Line::Spare { eni: eni.clone() });
    if let (AddressCount::ZERO, Some(attachment)) = (record.size(), &record.seen.attachment) {
        let attachment = attachment.id.clone();
        planner.act(Action::DetachEni { eni, attachment });
    } else if demand.surplus() == AddressCount::ZERO {
        demand.held = demand.held.less(counted(record, &demand));
        planner.spare = Some(eni);
    }
    demand
}

fn has_too_many(planner: &Planner<'_>, demand: &Demand) -> bool {
    let ledger = planner.situation.ledger;
    let there = ledger.enis().values().filter(|record| holds(record)).count() + ledger.intents().len();
    there > usize::try_from(demand.wanted_enis).unwrap_or(usize::MAX)
}

/// Whether nobody uses anything of the ENI and the others have room for what it has.
fn is_spare(planner: &Planner<'_>, record: &EniRecord, demand: &Demand) -> bool {
    let situation = planner.situation;
    let ledger = situation.ledger;
    let kind = demand.supply.kind();
    let others = ledger
        .enis()
        .values()
        .filter(|other| other.seen.id != record.seen.id && other.gives() && !other.uncertain);
    let room = others
        .filter(|other| situation.may_ask(&other.seen.subnet, kind))
        .map(|other| planner.free_slots(other))
        .fold(0, u32::saturating_add);
    let needed = kind.covering(counted(record, demand)).slots();
    matches!(record.seen.owner, Owner::Ours(_)) && planner.is_unused(record) && needed <= room
}

fn counted(record: &EniRecord, demand: &Demand) -> AddressCount {
    let blocks = record.seen.blocks.iter();
    blocks
        .filter(|block| demand.supply.counts(**block))
        .map(|block| block.size())
        .sum()
}
