//! Gets more: free slots of ENIs that are there first, then of those that are busy or on their way, then new ENIs, asked
//! for with exactly what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::demand::{Demand, usable_enis};
use super::report::Line;
use super::{Planner, Situation};
use crate::action::{Action, NewEni, Subject};
use crate::address::AddressCount;
use crate::id::{EniId, IntentId};
use crate::ledger::EniRecord;
use crate::snapshot::{Node, Owner};
use crate::tag;

pub(super) fn grow(planner: &mut Planner<'_>, demand: &Demand) {
    let missing = demand.missing();
    if missing == AddressCount::ZERO {
        return;
    }
    let missing = fill(planner, missing);
    let missing = wait_for_room(planner, missing);
    create(planner, missing);
}

/// Fills ENIs that have room; gives back what is still missing.
fn fill(planner: &mut Planner<'_>, mut missing: AddressCount) -> AddressCount {
    let slots = AddressCount(planner.situation.limits.pod_slots_per_eni());
    let mut records: Vec<&EniRecord> = planner.situation.ledger.enis().values().collect();
    records.sort_by_key(|record| record.place());
    for record in records {
        let used = AddressCount(u32::try_from(record.seen.blocks.len()).unwrap_or(u32::MAX));
        let room = slots.less(used).min(missing);
        let subject = Subject::Eni(record.seen.id.clone());
        let usable = record.gives() && !record.uncertain && !planner.is_busy(&subject);
        if usable && room > AddressCount::ZERO {
            let eni = record.seen.id.clone();
            let count = planner.situation.ledger.backoff().modest(&subject, room);
            if planner.act(Action::AssignAddresses { eni, count }) {
                missing = missing.less(room);
            }
        }
    }
    missing
}

/// Leaves what fits into ENIs that have a call under way, or are being created, until they can be asked: a few seconds
/// more for some, instead of an ENI for each pod that comes meanwhile. Gives back what is still missing.
fn wait_for_room(planner: &mut Planner<'_>, missing: AddressCount) -> AddressCount {
    let ledger = planner.situation.ledger;
    let slots = AddressCount(planner.situation.limits.pod_slots_per_eni());
    let busy = ledger.enis().values().filter(|record| {
        let usable = !record.removing && record.seen.owner != Owner::Foreign;
        usable && planner.is_busy(&Subject::Eni(record.seen.id.clone()))
    });
    let room = busy.map(|record| {
        let there = AddressCount(u32::try_from(record.seen.blocks.len()).unwrap_or(u32::MAX));
        slots.less(there).less(planner.asked_of(&record.seen.id))
    });
    let promised = ledger
        .intents()
        .values()
        .map(|intent| slots.less(intent.addresses));
    let coming = room.chain(promised).sum::<AddressCount>().min(missing);
    if coming > AddressCount::ZERO {
        planner.say(Line::AwaitsRoom { addresses: coming });
    }
    missing.less(coming)
}

impl Planner<'_> {
    /// Addresses that an ENI is being asked for.
    fn asked_of(&self, id: &EniId) -> AddressCount {
        let under_way = self.situation.ledger.in_flight().values();
        let asked = under_way.chain(&self.plan.actions).map(|action| match action {
            Action::AssignAddresses { eni, count } if eni == id => *count,
            _ => AddressCount::ZERO,
        });
        asked.sum()
    }
}

/// Asks for new ENIs as far as the type has room for them.
fn create(planner: &mut Planner<'_>, mut missing: AddressCount) {
    let situation = planner.situation;
    let Some(node) = situation.ledger.node() else {
        return;
    };
    let ours = situation
        .ledger
        .enis()
        .values()
        .filter(|record| record.seen.owner != Owner::Foreign)
        .count();
    let foreign = situation.ledger.enis().len() - ours;
    let most = usable_enis(
        situation.policy,
        situation.limits,
        u32::try_from(foreign).unwrap_or(u32::MAX),
    );
    let mut there = u32::try_from(ours + situation.ledger.intents().len()).unwrap_or(u32::MAX);
    let slots = AddressCount(situation.limits.pod_slots_per_eni());
    let mut intent = situation.ledger.next_intent(situation.wall);
    while missing > AddressCount::ZERO && there < most {
        let backoff = situation.ledger.backoff();
        let resting = backoff
            .reason(&Subject::Growth)
            .filter(|_| !backoff.allows(&Subject::Growth, situation.now));
        if let Some((fault, until)) = resting {
            let action = "create an ENI".to_owned();
            planner.say(Line::Rests {
                action,
                fault: fault.clone(),
                until,
            });
            return;
        }
        let addresses = backoff.modest(&Subject::Growth, missing.min(slots));
        let new = new_eni(situation, node, intent, addresses);
        if !planner.act(Action::CreateEni(new)) {
            return;
        }
        missing = missing.less(addresses);
        there += 1;
        intent = IntentId(intent.0.saturating_add(1));
    }
    if missing > AddressCount::ZERO && there >= most {
        planner.say(Line::NoRoom { missing, enis: there });
    }
}

/// The call that an intent on record stands for, said again word for word.
pub(super) fn repeat(situation: &Situation<'_>, node: &Node, id: IntentId) -> Option<Action> {
    let intent = situation.ledger.intents().get(&id)?;
    Some(Action::CreateEni(NewEni {
        intent: id,
        instance: node.instance.clone(),
        subnet: intent.subnet.clone(),
        groups: intent.groups.clone(),
        addresses: intent.addresses,
        wall: intent.wall,
        tags: intent.tags.clone(),
    }))
}

fn new_eni(situation: &Situation<'_>, node: &Node, intent: IntentId, addresses: AddressCount) -> NewEni {
    NewEni {
        intent,
        instance: node.instance.clone(),
        subnet: node.subnet.clone(),
        groups: node.groups.clone(),
        addresses,
        wall: situation.wall,
        tags: tags(situation, node, intent, situation.wall),
    }
}

fn tags(
    situation: &Situation<'_>,
    node: &Node,
    intent: IntentId,
    wall: Duration,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        (tag::INSTANCE.to_owned(), node.instance.to_string()),
        (tag::CREATED_AT.to_owned(), rfc3339(wall)),
        (tag::INTENT.to_owned(), intent.to_string()),
    ]);
    if let Some(cluster) = &situation.policy.cluster {
        tags.insert(tag::CLUSTER.to_owned(), cluster.clone());
        tags.insert(tag::OWNER.to_owned(), tag::OWNER_VALUE.to_owned());
    }
    tags.extend(situation.policy.tags.clone());
    tags
}

/// A moment since 1970 as RFC 3339 in UTC, to the second. Days to date: H. Hinnant, "chrono-compatible low-level date
/// algorithms".
fn rfc3339(wall: Duration) -> String {
    let seconds = wall.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_305_599, "2026-11-21T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
    }
}
