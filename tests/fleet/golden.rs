//! What `ipamd explain` says in scenes of a node's life, word for word: golden texts in `tests/fleet/golden`.

use std::time::Duration;

use ipamd_core::address::BlockKind;
use ipamd_core::policy::Policy;
use vpc_sim::model::settings::Settings;

use crate::fill::{COME, PODS, slow, spec};
use crate::fleet::Fleet;
use crate::kept::settle;
use crate::node::Spec;

/// A node of 110 pods that is idle for five minutes; what follows is the scene's own.
fn idle(settings: Settings) -> Fleet {
    let mut fleet = Fleet::new(&spec(BlockKind::Secondary), settings);
    fleet.run(COME, |_| false);
    fleet
}

fn told(fleet: &mut Fleet, scene: &str, now: Duration) {
    fleet.run(now, |_| false);
    settle(
        &format!("tests/fleet/golden/{scene}.txt"),
        &fleet.nodes[0].explain(now),
    );
}

#[test]
fn an_idle_node_says_what_it_holds() {
    told(&mut idle(slow(1)), "idle", COME);
}

#[test]
fn a_node_that_grows_says_what_is_under_way() {
    let mut fleet = idle(slow(1));
    fleet.come(COME, 0, 0..PODS);
    told(&mut fleet, "growing", COME + Duration::from_secs(5));
}

#[test]
fn a_full_node_says_who_waits_and_why() {
    let mut fleet = idle(slow(1));
    fleet.come(COME, 0, 0..PODS + 3);
    told(&mut fleet, "full", COME + Duration::from_secs(60));
}

#[test]
fn a_node_that_may_change_nothing_says_who_forbids_it() {
    let usual = spec(BlockKind::Secondary);
    let policy = Policy {
        provisions: false,
        ..usual.policy
    };
    let mut fleet = Fleet::new(&Spec { policy, ..usual }, slow(1));
    fleet.come(COME, 0, 0..1);
    told(&mut fleet, "forbidden", COME + Duration::from_secs(1));
}

#[test]
fn a_node_among_many_says_what_ec2_throttles() {
    let mut fleet = Fleet::new(&crate::spec(500), Settings::seeded(37));
    let throttled = Duration::from_secs(60);
    fleet.run(throttled, |_| false);
    let says = |node: &crate::node::FleetNode| node.explain(throttled);
    let told = fleet
        .nodes
        .iter()
        .map(says)
        .find(|told| told.contains("EC2 throttled"));
    settle("tests/fleet/golden/throttled.txt", &told.unwrap());
}
