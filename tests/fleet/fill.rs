//! One node that is filled, and one whose pods come and go: how long the pool takes, and with how many calls.

use std::time::Duration;

use ipamd_core::address::{AddressCount, BlockKind};
use ipamd_core::pace::Effect;
use ipamd_core::policy::Policy;
use vpc_sim::model::request::Operation;
use vpc_sim::model::settings::{Delays, Settings, Span};

use crate::fleet::{Done, Fleet};
use crate::kept::settle;
use crate::node::Spec;
use crate::picture::draw;
use crate::tell;

pub(crate) const PODS: u32 = 110;

/// When the pods come: the node is idle by then, and no longer young.
pub(crate) const COME: Duration = Duration::from_secs(300);

/// A slow EC2: every call takes 1.5 s, and an ENI's device comes with the answer to its attach, after 8 s.
pub(crate) fn slow(seed: u64) -> Settings {
    let call = Span::millis(1500, 1500);
    let attach = Span::millis(8000, 8000);
    Settings {
        delays: Delays {
            call,
            call_of: [(Operation::AttachNetworkInterface, attach)].into(),
            attach,
            ..Delays::default()
        },
        ..Settings::seeded(seed)
    }
}

/// 8 ENIs of 30 addresses, one each for the ENI itself; default variables, and room for 110 pods.
pub(crate) fn spec(kind: BlockKind) -> Spec {
    Spec {
        nodes: 1,
        instance_type: "m5.4xlarge",
        policy: Policy {
            kind,
            max_pods: Some(AddressCount(PODS)),
            ..Policy::default()
        },
        pods: 0,
    }
}

fn changes(log: &[Done]) -> impl Iterator<Item = &Done> {
    let late = log.iter().filter(|done| done.begun >= COME);
    late.filter(|done| done.action.effect() == Effect::Changes)
}

/// Fills an idle node; says how long that took, with the fleet.
fn fill(kind: BlockKind) -> (Duration, Fleet) {
    let mut fleet = Fleet::new(&spec(kind), slow(1));
    fleet.come(COME, 0, 0..PODS);
    fleet.run(COME + Duration::from_secs(120), |fleet| {
        fleet.nodes[0].done.is_some_and(|done| done >= COME)
    });
    let took = fleet.nodes[0].done.unwrap() - COME;
    (took, fleet)
}

#[test]
fn an_idle_node_is_filled_soon_and_with_few_calls() {
    for (kind, name, within, most) in [
        (BlockKind::Secondary, "single-addresses", 25, 12),
        (BlockKind::Prefix, "prefixes", 5, 2),
    ] {
        let (took, fleet) = fill(kind);
        let calls = changes(&fleet.log).count();
        tell(&format!(
            "{name}: {PODS} pods served {took:.1?} after they came, with {calls} mutating calls"
        ));
        assert!(took <= Duration::from_secs(within), "{name}: {took:?}");
        assert!(calls <= most, "{name}: {calls} calls");
        let title = format!("0 to {PODS} pods on an m5.4xlarge, {name}; seconds since the pods came");
        let late = fleet.log.iter().filter(|done| done.begun >= COME);
        let picture = draw(&title, late, COME, took);
        settle(&format!("docs/reference/pool-{name}.svg"), &picture);
    }
}

#[test]
fn a_node_that_boots_with_all_its_pods_waiting_is_filled_as_soon() {
    for (kind, within) in [(BlockKind::Secondary, 25), (BlockKind::Prefix, 10)] {
        let spec = Spec {
            pods: PODS,
            ..spec(kind)
        };
        let mut fleet = Fleet::new(&spec, slow(1));
        fleet.run(COME, |fleet| fleet.nodes[0].done.is_some());
        let took = fleet.nodes[0].done.unwrap();
        let calls = fleet
            .log
            .iter()
            .filter(|done| done.action.effect() == Effect::Changes);
        tell(&format!(
            "{kind:?}: {PODS} pods served {took:.1?} after the daemon's start, with {} mutating calls",
            calls.count()
        ));
        assert!(took <= Duration::from_secs(within), "{kind:?}: {took:?}");
    }
}

/// Both of its further ENIs are attached at the same time, and so take every index that there is.
#[test]
fn a_node_that_needs_all_its_enis_deletes_none_while_they_come() {
    let spec = Spec {
        instance_type: "t3.medium",
        ..spec(BlockKind::Secondary)
    };
    let mut fleet = Fleet::new(&spec, slow(1));
    fleet.come(COME, 0, 0..15);
    fleet.run(COME + Duration::from_secs(60), |_| false);
    assert!(fleet.nodes[0].done.is_some(), "every pod has its address");
    let operations: Vec<&str> = changes(&fleet.log).map(|done| done.action.operation()).collect();
    assert_eq!(operations.len(), 6, "{operations:?}");
}

/// What EC2 still calls "in use" after a detach is not asked to go before it can.
#[test]
fn an_eni_that_is_given_back_takes_two_calls() {
    let mut fleet = Fleet::new(&spec(BlockKind::Secondary), Settings::seeded(1));
    fleet.come(COME, 0, 0..40);
    (0..40).for_each(|pod| fleet.go(COME * 2, 0, pod));
    fleet.run(COME * 2, |_| false);
    let before = fleet.log.len();
    fleet.run(COME * 4, |_| false);
    let operations: Vec<&str> = fleet.log[before..]
        .iter()
        .map(|done| done.action.operation())
        .collect();
    let deletions = operations
        .iter()
        .filter(|operation| **operation == "DeleteNetworkInterface");
    let detaches = operations
        .iter()
        .filter(|operation| **operation == "DetachNetworkInterface");
    let enis = detaches.count();
    assert!(enis > 0 && deletions.count() == enis, "{operations:?}");
}

#[test]
fn pods_that_come_and_go_on_a_warm_node_cost_hardly_any_call() {
    let mut fleet = Fleet::new(&spec(BlockKind::Secondary), Settings::seeded(1));
    fleet.come(COME, 0, 0..40);
    let begin = COME * 2;
    // One a second, and for each that comes the oldest goes: thirty addresses rest at a time, and the pool counts on it
    // after a minute.
    let warm = 60;
    for pod in 0..warm + 1000 {
        let at = begin + Duration::from_secs(pod.into());
        fleet.go(at, 0, pod);
        fleet.come(at, 0, pod + 40..pod + 41);
    }
    fleet.run(begin + Duration::from_secs(warm.into()), |_| false);
    let before = fleet.tally.totals().0;
    fleet.run(begin + Duration::from_secs(1060), |_| false);
    let calls = fleet.tally.totals().0 - before;
    tell(&format!(
        "1000 pods came and went in 1000 s, with {calls} calls to EC2"
    ));
    assert!(fleet.nodes[0].done.is_some(), "every pod has its address");
    assert!(calls <= 4, "{calls} calls");
}
