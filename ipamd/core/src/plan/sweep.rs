//! Looks for what other nodes left behind, rarely and in turn, and deletes it.

use std::time::Duration;

use super::Planner;
use crate::action::Action;
use crate::id::InstanceId;
use crate::ledger::leak::Step;
use crate::retry;
use crate::snapshot::Node;

/// A sweep takes the place of the hourly read of the node's own ENIs, so that no node reads more for it, in one of these
/// hours: what others did to the node's own ENIs and metadata does not show is seen after two hours then. Which one follows
/// from the instance's id, so the nodes of a cluster take turns. A leak must be sighted twice by one node, so it lives for
/// three to six hours.
const ROUND_HOURS: u32 = 3;

const HOUR: Duration = Duration::from_secs(3600);

/// Whether the node's next read is a sweep.
pub(super) fn is_due(planner: &Planner<'_>, instance: &InstanceId) -> bool {
    let situation = planner.situation;
    let policy = situation.policy;
    policy.sweeps && policy.provisions && is_turn(instance, situation.wall)
}

fn is_turn(instance: &InstanceId, wall: Duration) -> bool {
    let round = HOUR * ROUND_HOURS;
    let shifted = wall + round.mul_f64(retry::share(instance));
    let into_round = Duration::from_secs(shifted.as_secs() % round.as_secs());
    into_round < HOUR
}

/// The look at what is attached nowhere, in the whole VPC.
pub(super) fn read(planner: &Planner<'_>, node: &Node) -> Action {
    Action::ReadUnattached {
        vpc: node.vpc.clone(),
        cluster: planner.situation.policy.cluster.clone(),
        only: None,
    }
}

/// Looks once more at each leak, and deletes it.
pub(super) fn sweep(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let Some(node) = situation.ledger.node() else {
        return;
    };
    for (eni, step) in situation.ledger.leaks().steps(situation.now) {
        planner.act(match step {
            Step::Look => Action::ReadUnattached {
                vpc: node.vpc.clone(),
                cluster: situation.policy.cluster.clone(),
                only: Some(eni.clone()),
            },
            Step::Delete => Action::DeleteLeak { eni: eni.clone() },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_one_hour_of_each_three() {
        for number in 0..100 {
            let instance: InstanceId = format!("i-{number:08x}").parse().unwrap();
            let minutes = (0..24 * 60).map(|minute| is_turn(&instance, Duration::from_secs(minute * 60)));
            let minutes: Vec<bool> = minutes.collect();
            assert_eq!(minutes.iter().filter(|turn| **turn).count(), 8 * 60, "{instance}");
            let begins = minutes.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            assert!(
                begins == 8 || begins == 7,
                "{instance} begins {begins} times a day"
            );
        }
    }

    #[test]
    fn at_any_time_a_third_of_the_nodes_sweeps() {
        let instances = (0..600).map(|number| format!("i-{number:08x}").parse().unwrap());
        let turns =
            instances.filter(|instance: &InstanceId| is_turn(instance, Duration::from_secs(1_800_000_000)));
        assert!((150..250).contains(&turns.count()));
    }
}
