//! Looks again where nobody knows what is true.

use std::time::Duration;

use super::report::Line;
use super::{Planner, sweep};
use crate::action::{Action, Subject};
use crate::snapshot::{Node, Owner, Scope};

/// A steady node reads what is attached once an hour, to notice what others did out of band.
const READ_ALL_EVERY: Duration = Duration::from_secs(3600);

pub(super) fn repair(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let Some(node) = situation.ledger.node() else {
        return;
    };
    look(planner, node);
    read_subnets(planner);
    for eni in situation.ledger.doubted(situation.now) {
        if situation.ledger.enis().contains_key(eni) && !planner.is_busy(&Subject::Instance) {
            planner.act(Action::ReadEni { eni: eni.clone() });
        }
    }
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

/// Looks at the node's ENIs: at start, when something is lost or unfinished, and else once an hour, unless it is the node's
/// turn to sweep.
fn look(planner: &mut Planner<'_>, node: &Node) {
    let situation = planner.situation;
    let (ledger, now) = (situation.ledger, situation.now);
    let read_at = ledger.read_all_at();
    let looked_at = read_at.map(|at| ledger.leaks().swept_at().map_or(at, |swept| swept.max(at)));
    let hourly = looked_at.map(|at| at.after(READ_ALL_EVERY));
    let again = ledger.look_again_at();
    let due = hourly.map(|hourly| again.map_or(hourly, |again| again.min(hourly)));
    planner.wake(due.filter(|due| *due > now));
    let (first, lost) = (due.is_none(), ledger.read_all_wanted());
    if !first && !lost && due.is_some_and(|due| due > now) {
        return;
    }
    let unfinished = !ledger.intents().is_empty() || again.is_some();
    let wants_all = lost || unfinished || (first && !ledger.is_blank());
    let looks = [Subject::Instance, Subject::Unattached];
    if !wants_all && looks.iter().any(|subject| planner.is_busy(subject)) {
        return;
    }
    if !first && !wants_all && sweep::is_due(planner, &node.instance) {
        planner.act(sweep::read(planner, node));
        return;
    }
    planner.act(Action::ReadAll {
        instance: node.instance.clone(),
        scope: if wants_all {
            Scope::Everything
        } else {
            Scope::Attached
        },
    });
}

/// How old the list of subnets may be when an ENI is to be made: tags and space change slowly, and whoever chose a full
/// one hears so.
const SUBNETS_GOOD_FOR: Duration = Duration::from_secs(300);

/// Looks at the zone's subnets when that decides something: once at start where they are discovered, after the ENIs (of
/// nodes that boot together, those whose first call is throttled need not have their second one throttled, too); when an
/// ENI is wanted and the list is old; and when an empty one has rested.
fn read_subnets(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let (ledger, now) = (situation.ledger, situation.now);
    let Some(node) = ledger.node() else { return };
    let read_at = ledger.subnets().read_at();
    let oriented = ledger.read_all_at().is_some();
    let never = situation.policy.discovers_subnets && oriented && read_at.is_none();
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
