//! Takes ENIs that are half-way to where they are going: attached, then tied to the instance; detached, then deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::report::Line;
use super::{Planner, demand, grow};
use crate::action::{Action, Subject};
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
        // One that is being attached has its index already.
        if planner.is_busy(&Subject::Eni(record.seen.id.clone())) {
            continue;
        }
        let full = u32::try_from(indexes.len()).unwrap_or(u32::MAX) >= planner.situation.limits.enis();
        if let Some(at) = ready_at(planner, record) {
            planner.wake(Some(at));
        } else if let Some(action) = next_step(record, node, &indexes) {
            if full && matches!(action, Action::AttachEni { .. }) {
                let eni = record.seen.id.clone();
                planner.say(Line::NoPlace { eni: eni.clone() });
                // Pods may have addresses of it; otherwise it only keeps some from others.
                if ledger.leases_on(&eni) == AddressCount::ZERO {
                    planner.act(Action::DeleteEni { eni });
                }
                continue;
            }
            if let Action::AttachEni { device_index, .. } = action {
                indexes.insert(device_index);
            }
            planner.act(action);
        } else if !record.removing && record.served.is_empty() && !record.seen.blocks.is_empty() {
            await_device(planner, record);
        }
    }
}

/// How long a young daemon leaves a fresh ENI alone: EC2's parts learn of it one after the other, and an attach that finds
/// none has taken a call from everybody in the account, of whom many may be starting. Assumed, as `VISIBLE_AFTER` is.
const SETTLES: Duration = Duration::from_millis(500);

/// How long an ENI is left alone after its detach: EC2 calls it "currently in use" for about two seconds (observed).
const LINGERS: Duration = Duration::from_millis(2500);

/// When an ENI is ready for its next call, where that is later than now.
fn ready_at(planner: &Planner<'_>, record: &EniRecord) -> Option<Moment> {
    let situation = planner.situation;
    let ledger = situation.ledger;
    let at = match (&record.seen.attachment, record.removing) {
        (None, false) if ledger.pace().is_young(situation.now) => record.created?.after(SETTLES),
        (None, true) => ledger.changed_at(&record.seen.id)?.after(LINGERS),
        (None, false) | (Some(_), _) => return None,
    };
    Some(at).filter(|at| *at > situation.now)
}

/// What has no device by then is given up: it takes the place of one that would, and a pod may wait for it. Devices come
/// within seconds, though bug reports know minutes.
const DEVICE_LOST: Duration = Duration::from_secs(60);

/// Waits for an ENI's device, and gives the ENI up when it does not come. One with pods is only attached again: its
/// addresses are theirs, and no packet of theirs passes as it is.
fn await_device(planner: &mut Planner<'_>, record: &EniRecord) {
    let situation = planner.situation;
    let eni = record.seen.id.clone();
    let lost_at = record.attached.map(|at| at.after(DEVICE_LOST));
    let is_lost = lost_at.is_some_and(|at| at <= situation.now);
    // Where nothing is served at all it is the kernel that does not work.
    let mut others = situation.ledger.enis().values();
    let kernel_works = others.any(|record| !record.served.is_empty());
    match &record.seen.attachment {
        Some(attachment) if is_lost && kernel_works => {
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
