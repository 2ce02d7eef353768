//! Takes ENIs that are half-way to where they are going: attached, then tied to the instance; detached, then deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::report::Line;
use super::{Planner, grow};
use crate::action::Action;
use crate::address::AddressCount;
use crate::ledger::{EniRecord, Ledger};
use crate::snapshot::{Node, Owner};

/// How long a device may take to show before its ENI is given up: they come within seconds, bug reports know minutes, and
/// pods may be waiting. Assumed.
const DEVICE_PATIENCE: Duration = Duration::from_secs(60);

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
        if !matches!(record.seen.owner, Owner::Ours(_)) || record.uncertain {
            continue;
        }
        if let Some(action) = next_step(record, node, &indexes) {
            if let Action::AttachEni { device_index, .. } = action {
                indexes.insert(device_index);
            }
            planner.act(action);
        } else if !record.removing && record.served.is_empty() && !record.seen.blocks.is_empty() {
            await_device(planner, record);
        }
    }
}

/// An ENI without a device serves nobody and counts as held: one without pods is replaced.
fn await_device(planner: &mut Planner<'_>, record: &EniRecord) {
    let (ledger, eni) = (planner.situation.ledger, record.seen.id.clone());
    planner.say(Line::AwaitsDevice { eni: eni.clone() });
    let due = ledger
        .awaited_since(&eni)
        .map(|since| since.after(DEVICE_PATIENCE));
    let has_pods = ledger.leases_on(&eni) > AddressCount::ZERO;
    if let (Some(due), Some(attachment), false) = (due, &record.seen.attachment, has_pods) {
        if due <= planner.situation.now {
            let attachment = attachment.id.clone();
            planner.act(Action::DetachEni { eni, attachment });
        } else {
            planner.wake(Some(due));
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
