//! Takes ENIs that are half-way to where they are going: attached, then tied to the instance; detached, then deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::report::Line;
use super::{Planner, demand, grow};
use crate::action::Action;
use crate::address::AddressCount;
use crate::ledger::{EniRecord, Ledger};
use crate::moment::Moment;
use crate::snapshot::{Node, Owner};

pub(super) fn finish(planner: &mut Planner<'_>) {
    let ledger = planner.situation.ledger;
    let Some(node) = ledger.node() else { return };
    let mut indexes = taken_indexes(ledger);
    for intent in ledger.intents().keys() {
        if let Some(action) = grow::repeat(planner.situation, node, *intent) {
            planner.act(action);
        }
    }
    for record in ledger.enis().values() {
        if !matches!(record.seen.owner, Owner::Ours(_)) || record.uncertain || record.vanished {
            continue;
        }
        if let Some(at) = visible_at(record).filter(|at| *at > planner.situation.now) {
            planner.wake(Some(at));
        } else if let Some(action) = next_step(record, node, &indexes) {
            if let Action::AttachEni { device_index, .. } = action {
                indexes.insert(device_index);
            }
            planner.act(action);
        } else if !record.removing && record.served.is_empty() && !record.seen.blocks.is_empty() {
            await_device(planner, record);
        }
    }
}

/// How long a fresh ENI is left alone: EC2's parts learn of it one after the other, and an attach that finds none has
/// taken a call from everybody in the account all the same. Length assumed, as in `VISIBLE_AFTER`.
const SETTLES: Duration = Duration::from_millis(500);

/// When an ENI that this daemon created may be attached.
fn visible_at(record: &EniRecord) -> Option<Moment> {
    let unattached = record.seen.attachment.is_none() && !record.removing;
    record.created.filter(|_| unattached).map(|at| at.after(SETTLES))
}

/// Minutes have been seen, and agents that wait 150 s and more; what has no device by then is given up.
const DEVICE_LOST: Duration = Duration::from_secs(180);

/// Waits for an ENI's device, and gives the ENI up when it does not come; one with pods is kept, they may come back.
fn await_device(planner: &mut Planner<'_>, record: &EniRecord) {
    let situation = planner.situation;
    let eni = record.seen.id.clone();
    let lost_at = record.attached.map(|at| at.after(DEVICE_LOST));
    let is_lost = lost_at.is_some_and(|at| at <= situation.now);
    let unused = situation.ledger.leases_on(&eni) == AddressCount::ZERO;
    match &record.seen.attachment {
        Some(attachment) if is_lost && unused => {
            planner.say(Line::DeviceLost { eni: eni.clone() });
            let attachment = attachment.id.clone();
            planner.act(Action::DetachEni { eni, attachment });
        }
        Some(_) | None => {
            planner.say(Line::AwaitsDevice { eni });
            let late_at = record.attached.map(|at| at.after(demand::DEVICE_LATE));
            let next = [late_at, lost_at]
                .into_iter()
                .flatten()
                .filter(|at| *at > situation.now);
            planner.wake(next.min());
        }
    }
}

fn next_step(record: &EniRecord, node: &Node, taken: &BTreeSet<u32>) -> Option<Action> {
    let eni = record.seen.id.clone();
    match (&record.seen.attachment, record.removing) {
        (None, true) => Some(Action::DeleteEni { eni }),
        (Some(attachment), true) => Some(Action::DetachEni {
            eni,
            attachment: attachment.id.clone(),
        }),
        (None, false) => {
            let device_index = (1..).find(|index| !taken.contains(index))?;
            Some(Action::AttachEni {
                eni,
                instance: node.instance.clone(),
                device_index,
            })
        }
        (Some(attachment), false) if !attachment.delete_on_termination => Some(Action::DeleteOnTermination {
            eni,
            attachment: attachment.id.clone(),
        }),
        (Some(_), false) => None,
    }
}

/// Device indexes of card 0 that are taken or about to be.
fn taken_indexes(ledger: &Ledger) -> BTreeSet<u32> {
    let attached = ledger
        .enis()
        .values()
        .filter_map(|record| record.seen.attachment.as_ref());
    let on_card_0 = attached
        .filter(|attachment| attachment.network_card == 0)
        .map(|a| a.device_index);
    let under_way = ledger.in_flight().values().filter_map(|action| match action {
        Action::AttachEni { device_index, .. } => Some(*device_index),
        _ => None,
    });
    on_card_0.chain(under_way).collect()
}
