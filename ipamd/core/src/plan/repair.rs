//! Looks again where nobody knows what is true.

use std::time::Duration;

use super::Planner;
use super::report::Line;
use crate::action::{Action, Subject};
use crate::snapshot::Owner;

/// A steady node reads everything once an hour, to notice what others did out of band.
const READ_ALL_EVERY: Duration = Duration::from_secs(3600);

pub(super) fn repair(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let Some(node) = situation.ledger.node() else {
        return;
    };
    let hourly = situation.ledger.read_all_at().map(|at| at.after(READ_ALL_EVERY));
    let again = situation.ledger.look_again_at();
    let due = hourly.map(|hourly| again.map_or(hourly, |again| again.min(hourly)));
    if situation.ledger.read_all_wanted() || due.is_none_or(|due| due <= situation.now) {
        planner.act(Action::ReadAll {
            instance: node.instance.clone(),
        });
    }
    planner.wake(due.filter(|due| *due > situation.now));
    for (id, record) in situation.ledger.enis() {
        if record.uncertain && record.seen.owner != Owner::Foreign && !planner.is_busy(&Subject::Instance) {
            planner.say(Line::Uncertain { eni: id.clone() });
            planner.act(Action::ReadEni { eni: id.clone() });
        }
    }
}
