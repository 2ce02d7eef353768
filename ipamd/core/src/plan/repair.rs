//! Looks again where nobody knows what is true.

use std::time::Duration;

use super::report::Line;
use super::{Planner, Situation};
use crate::action::{Action, Subject};
use crate::moment::Moment;
use crate::retry;
use crate::snapshot::{Owner, Scope};

/// A steady node reads what is attached once an hour, to notice what others did out of band.
const READ_ALL_EVERY: Duration = Duration::from_secs(3600);

/// The look at what carries our tag without being attached, which only a daemon before this one can have left, comes this
/// long after the first look, and within as long again as a hash of the instance says: nothing of a node's start waits
/// for it, and nodes that start together do not look together.
const WHOLE_AFTER: Duration = Duration::from_secs(30);
const WHOLE_SPREAD: Duration = Duration::from_secs(90);

/// When everything that carries our tag is to be looked for, for the first time in this daemon's life.
fn whole_due(situation: &Situation<'_>) -> Option<Moment> {
    let (ledger, node) = (situation.ledger, situation.ledger.node()?);
    let first = ledger.read_all_at().filter(|_| !ledger.has_read_everything())?;
    let share = retry::share(&node.instance);
    Some(first.after(WHOLE_AFTER).after(WHOLE_SPREAD.mul_f64(share)))
}

fn is_whole_due(situation: &Situation<'_>) -> bool {
    whole_due(situation).is_some_and(|due| due <= situation.now)
}

pub(super) fn repair(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let Some(node) = situation.ledger.node() else {
        return;
    };
    let due = situation.ledger.read_all_at().map(|at| at.after(READ_ALL_EVERY));
    let first_or_lost = situation.ledger.read_all_wanted() || due.is_none() || is_whole_due(situation);
    let unfinished = !situation.ledger.intents().is_empty();
    if first_or_lost || due.is_some_and(|due| due <= situation.now) {
        planner.act(Action::ReadAll {
            instance: node.instance.clone(),
            scope: if situation.ledger.read_all_wanted() || unfinished || is_whole_due(situation) {
                Scope::Everything
            } else {
                Scope::Attached
            },
        });
    }
    let whole_due = whole_due(situation);
    let next = [due, whole_due].into_iter().flatten();
    planner.wake(next.filter(|due| *due > situation.now).min());
    read_subnets(planner);
    for (id, record) in situation.ledger.enis() {
        if record.vanished {
            planner.say(Line::Vanished { eni: id.clone() });
        }
        if !record.lost.is_empty() {
            let blocks = record.lost.clone();
            planner.say(Line::Lost {
                eni: id.clone(),
                blocks,
            });
        }
        if record.uncertain && record.seen.owner != Owner::Foreign && !planner.is_busy(&Subject::Instance) {
            planner.say(Line::Uncertain { eni: id.clone() });
            planner.act(Action::ReadEni { eni: id.clone() });
        }
    }
}

/// How old the list of subnets may be when an ENI is to be made: tags and space change slowly, and whoever chose a full
/// one hears so.
const SUBNETS_GOOD_FOR: Duration = Duration::from_secs(300);

/// Looks at the zone's subnets when that decides something: once at start where they are discovered, when an ENI is
/// wanted and the list is old, and when an empty one has rested.
fn read_subnets(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let (ledger, now) = (situation.ledger, situation.now);
    let Some(node) = ledger.node() else { return };
    let read_at = ledger.subnets().read_at();
    let never = situation.policy.discovers_subnets && read_at.is_none();
    let rested = ledger.subnets().empties().any(|(subnet, kind)| {
        let subject = Subject::Subnet(subnet.clone(), *kind);
        ledger.backoff().allows(&subject, now)
    });
    let old = read_at.is_some_and(|at| now.since(at) >= SUBNETS_GOOD_FOR);
    let grows = situation.policy.discovers_subnets && !ledger.intents().is_empty();
    if never || rested || (old && grows) {
        planner.act(Action::ReadSubnets {
            vpc: node.vpc.clone(),
            zone: node.zone.clone(),
        });
    }
}
