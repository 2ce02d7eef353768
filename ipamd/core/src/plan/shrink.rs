//! Gives back what has been surplus for the dwell: a whole ENI where one is empty, single addresses otherwise.
//!
//! Never an address with a pod, never one that rests, never the primary ENI, never anything while a pod waits.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::Planner;
use super::demand::Demand;
use super::report::Line;
use crate::action::{Action, Subject};
use crate::address::{AddressCount, Block};
use crate::ledger::EniRecord;
use crate::snapshot::Owner;

pub(super) fn shrink(planner: &mut Planner<'_>, demand: &Demand) {
    let situation = planner.situation;
    let surplus = demand.surplus();
    planner.plan.surplus = surplus > AddressCount::ZERO;
    if !planner.plan.surplus || demand.waiting > AddressCount::ZERO {
        return;
    }
    let since = situation.ledger.surplus_since().unwrap_or(situation.now);
    let due = since.after(situation.policy.dwell);
    if situation.now < due {
        planner.say(Line::Dwells { surplus, until: due });
        planner.wake(Some(due));
        return;
    }
    let mut left = surplus;
    for record in emptiest_first(planner) {
        left = give_back(planner, record, left);
    }
}

/// ENIs in the order in which they should empty: fewest pods first, youngest place first among equals.
fn emptiest_first<'a>(planner: &Planner<'a>) -> Vec<&'a EniRecord> {
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
fn give_back(planner: &mut Planner<'_>, record: &EniRecord, left: AddressCount) -> AddressCount {
    let (ledger, now) = (planner.situation.ledger, planner.situation.now);
    let eni = record.seen.id.clone();
    let addresses = record.seen.blocks.iter().filter_map(|block| match block {
        Block::Secondary(address) => Some(*address),
        Block::Prefix(_) => None,
    });
    let free: BTreeSet<Ipv4Addr> = addresses
        .filter(|address| ledger.is_free(*address, now))
        .collect();
    let all_free = free.len() == record.seen.blocks.len();
    let whole = matches!(record.seen.owner, Owner::Ours(_)) && all_free && record.size() <= left;
    match &record.seen.attachment {
        Some(attachment) if whole => {
            let attachment = attachment.id.clone();
            if planner.act(Action::DetachEni { eni, attachment }) {
                left.less(record.size())
            } else {
                left
            }
        }
        Some(_) | None if planner.keeps_whole_enis() => left,
        Some(_) | None => {
            // The highest first: the lowest were there first and are likelier to be known elsewhere.
            let count = usize::try_from(left.0).unwrap_or(usize::MAX);
            let addresses: BTreeSet<Ipv4Addr> = free.into_iter().rev().take(count).collect();
            let given = AddressCount(u32::try_from(addresses.len()).unwrap_or(0));
            if given > AddressCount::ZERO && planner.act(Action::UnassignAddresses { eni, addresses }) {
                left.less(given)
            } else {
                left
            }
        }
    }
}

impl Planner<'_> {
    /// With a target in ENIs only whole ENIs are given back, unless the node can run fewer pods than one holds.
    fn keeps_whole_enis(&self) -> bool {
        matches!(self.situation.policy.warm, crate::policy::WarmTarget::Enis(_))
    }
}
