//! Gets more: free slots of ENIs that are there first, then of those that are busy or on their way, then new ENIs, asked
//! for with exactly what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::demand::{Demand, Supply, foreign_enis, holds, is_late, usable_enis};
use super::report::Line;
use super::{Planner, Situation};
use crate::action::{Action, NewEni, Subject};
use crate::address::{AddressCount, Ask, BlockKind, PrefixCount};
use crate::id::{EniId, IntentId, SubnetId};
use crate::ledger::EniRecord;
use crate::snapshot::{Node, Owner};
use crate::tag;

pub(super) fn grow(planner: &mut Planner<'_>, demand: &Demand) {
    if demand.supply == Supply::InsteadOfPrefixes {
        planner.say(Line::Fragmented);
        try_a_prefix(planner);
    }
    let missing = demand.missing();
    if missing == AddressCount::ZERO {
        return;
    }
    let missing = fill(planner, demand, missing);
    let missing = wait_for_room(planner, demand, missing);
    create(planner, demand, missing);
}

/// Asks for one prefix where the last refusal is long enough ago: the way back from single addresses.
fn try_a_prefix(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let mut records = situation.ledger.enis().values().filter(|record| {
        let busy = planner.is_busy(&Subject::Eni(record.seen.id.clone()));
        let usable = record.gives() && !record.uncertain && !busy && planner.free_slots(record) > 0;
        usable && situation.may_ask(&record.seen.subnet, BlockKind::Prefix)
    });
    if let Some(eni) = records.next().map(|record| record.seen.id.clone()) {
        let ask = Ask::Prefixes(PrefixCount(1));
        planner.act(Action::Assign { eni, ask });
    }
}

/// Fills ENIs that have room; gives back what is still missing.
fn fill(planner: &mut Planner<'_>, demand: &Demand, mut missing: AddressCount) -> AddressCount {
    let enis = planner.situation.ledger.enis().values();
    let is_asked = |record: &&EniRecord| record.gives() && planner.spare.as_ref() != Some(&record.seen.id);
    let mut records: Vec<&EniRecord> = enis.filter(is_asked).collect();
    records.sort_by_key(|record| record.place());
    let mut room_kept = rooms_for_prefixes(demand);
    let mut resting = BTreeSet::new();
    for record in records {
        let id = &record.seen.id;
        let late = is_late(record, planner.situation.now);
        let usable = !record.uncertain && !late && !planner.is_busy(&Subject::Eni(id.clone()));
        let slots = planner.free_slots(record);
        if !usable || !planner.may_ask(record, demand) {
            planner.room += slots;
            resting.extend((slots > 0 && usable).then(|| record.seen.subnet.clone()));
            continue;
        }
        let kept = room_kept.min(slots);
        room_kept -= kept;
        let ask = demand.supply.kind().covering(missing).within(slots - kept);
        let ask = planner
            .situation
            .ledger
            .subnets()
            .within(&record.seen.subnet, ask);
        if ask.slots() > 0 && planner.act(Action::Assign { eni: id.clone(), ask }) {
            missing = missing.less(ask.size());
        }
    }
    for subnet in resting {
        planner.say_why_it_rests(&format!("ask {subnet} for more"), &subnet, demand.supply.kind());
    }
    missing
}

/// While single addresses stand in for prefixes, a slot stays free so that a prefix finds room again; not when a pod
/// waits for it.
fn rooms_for_prefixes(demand: &Demand) -> u32 {
    let stand_in = demand.supply == Supply::InsteadOfPrefixes && demand.waiting == AddressCount::ZERO;
    u32::from(stand_in)
}

/// Leaves what fits into ENIs that have a call under way, or are being created, until they can be asked: a few seconds
/// more for some, instead of an ENI for each pod that comes meanwhile. Gives back what is still missing.
fn wait_for_room(planner: &mut Planner<'_>, demand: &Demand, missing: AddressCount) -> AddressCount {
    let ledger = planner.situation.ledger;
    let busy = ledger.enis().values().filter(|record| {
        let busy = planner.is_busy(&Subject::Eni(record.seen.id.clone()));
        // One that is not attached yet can be asked once it is.
        let late = is_late(record, planner.situation.now);
        holds(record) && !late && (busy || !record.serves()) && planner.may_ask(record, demand)
    });
    let room = busy.map(|record| {
        planner
            .free_slots(record)
            .saturating_sub(planner.asked_of(&record.seen.id))
    });
    let slots = planner.situation.limits.pod_slots_per_eni();
    let promised = ledger
        .intents()
        .values()
        .map(|intent| slots.saturating_sub(intent.ask.slots()));
    let each = demand.supply.kind().addresses_each().0;
    let coming = room.chain(promised).fold(0_u32, u32::saturating_add);
    let coming = AddressCount(coming.saturating_mul(each)).min(missing);
    if coming > AddressCount::ZERO {
        planner.say(Line::AwaitsRoom { addresses: coming });
    }
    missing.less(coming)
}

impl Planner<'_> {
    /// Address slots of an ENI that nothing takes.
    pub(super) fn free_slots(&self, record: &EniRecord) -> u32 {
        let used = record.seen.blocks.difference(&record.lost).count();
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        self.situation.limits.pod_slots_per_eni().saturating_sub(used)
    }

    /// Slots that an ENI is being asked to fill.
    fn asked_of(&self, id: &EniId) -> u32 {
        let under_way = self.situation.ledger.in_flight().values();
        let asked = under_way.chain(&self.plan.actions).map(|action| match action {
            Action::Assign { eni, ask } if eni == id => ask.slots(),
            _ => 0,
        });
        asked.fold(0, u32::saturating_add)
    }

    /// Whether the ENI's subnet has not just said that it has nothing.
    fn may_ask(&self, record: &EniRecord, demand: &Demand) -> bool {
        self.situation.may_ask(&record.seen.subnet, demand.supply.kind())
    }
}

/// Asks for new ENIs as far as the type has room for them.
fn create(planner: &mut Planner<'_>, demand: &Demand, mut missing: AddressCount) {
    let situation = planner.situation;
    let Some(node) = situation.ledger.node() else {
        return;
    };
    let most = usable_enis(
        situation.policy,
        situation.limits,
        foreign_enis(situation.ledger, situation.limits),
    );
    let mut there = enis_of_ours(situation);
    let kind = demand.supply.kind();
    let mut intent = situation.ledger.next_intent(situation.wall);
    while missing > AddressCount::ZERO && there < most && planner.spare.is_none() {
        let Some(subnet) = planner.subnet_for_an_eni(kind) else {
            return;
        };
        let ask = kind
            .covering(missing)
            .within(situation.limits.pod_slots_per_eni());
        let ask = situation.ledger.subnets().within(&subnet, ask);
        let new = new_eni(situation, node, subnet, intent, ask);
        if !planner.act(Action::CreateEni(new)) {
            return;
        }
        missing = missing.less(ask.size());
        there += 1;
        intent = IntentId(intent.0.saturating_add(1));
    }
    if missing > AddressCount::ZERO && there >= most {
        planner.say(Line::NoRoom { missing, enis: there });
    }
}

/// ENIs on the default card that are or will be this node's and serve pods, the primary included.
fn enis_of_ours(situation: &Situation<'_>) -> u32 {
    let ours = situation
        .ledger
        .enis()
        .values()
        .filter(|record| record.seen.owner != Owner::Foreign && !record.vanished && !record.excluded);
    u32::try_from(ours.count() + situation.ledger.intents().len()).unwrap_or(u32::MAX)
}

impl Planner<'_> {
    fn say_why_it_rests(&mut self, action: &str, subnet: &SubnetId, kind: BlockKind) {
        let backoff = self.situation.ledger.backoff();
        let subjects = [BlockKind::Secondary, kind].map(|kind| Subject::Subnet(subnet.clone(), kind));
        if let Some((fault, until)) = subjects.iter().find_map(|subject| backoff.reason(subject)) {
            self.say(Line::Rests {
                action: action.to_owned(),
                fault: fault.clone(),
                until,
            });
        }
    }

    /// Where the next ENI goes; says why there is no place.
    fn subnet_for_an_eni(&mut self, kind: BlockKind) -> Option<SubnetId> {
        let situation = self.situation;
        let backoff = situation.ledger.backoff();
        let mut subjects = vec![Subject::Growth];
        if backoff.allows(&Subject::Growth, situation.now) {
            if situation.awaits_subnets() {
                self.say(Line::AwaitsSubnets);
                return None;
            }
            let subnets = situation.subnets();
            if let Some(subnet) = subnets.iter().find(|subnet| situation.may_ask(subnet, kind)) {
                return Some(subnet.clone());
            }
            if subnets.is_empty() {
                self.say(Line::NoSubnet);
            }
            let kinds = [BlockKind::Secondary, kind];
            let subnets = subnets.into_iter();
            subjects = subnets
                .flat_map(|subnet| kinds.map(|kind| Subject::Subnet(subnet.clone(), kind)))
                .collect();
        }
        for (fault, until) in subjects.iter().filter_map(|subject| backoff.reason(subject)) {
            self.say(Line::Rests {
                action: "create an ENI".to_owned(),
                fault: fault.clone(),
                until,
            });
        }
        None
    }
}

impl Situation<'_> {
    /// Whether subnets are to be discovered and have not been looked for yet.
    fn awaits_subnets(&self) -> bool {
        let subnets = self.ledger.subnets();
        let tried = self.ledger.backoff().reason(&Subject::Subnets).is_some();
        self.policy.discovers_subnets && subnets.read_at().is_none() && !tried
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
        ask: intent.ask,
        wall: intent.wall,
        tags: intent.tags.clone(),
    }))
}

fn new_eni(situation: &Situation<'_>, node: &Node, subnet: SubnetId, intent: IntentId, ask: Ask) -> NewEni {
    NewEni {
        intent,
        instance: node.instance.clone(),
        subnet,
        groups: node.groups.clone(),
        ask,
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
