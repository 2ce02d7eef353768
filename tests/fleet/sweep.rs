//! What nodes left behind is found and deleted by others, and nothing else is.

use std::collections::BTreeMap;
use std::time::Duration;

use ipamd_core::tag;
use vpc_sim::model::Handled;
use vpc_sim::model::id::EniId;
use vpc_sim::model::request::{AttachEni, Call, Caller, CreateEni, Operation, Request};
use vpc_sim::model::response::Response;
use vpc_sim::model::settings::Settings;

use crate::fleet::Fleet;
use crate::spec;

const HOUR: Duration = Duration::from_secs(3600);

/// Makes a call as the operator.
fn operate(fleet: &mut Fleet, now: Duration, request: impl Into<Request>) -> Response {
    let call = Call {
        caller: Caller::AccessKey("operator".to_owned()),
        dry_run: false,
        request: request.into(),
    };
    match fleet.model.handle(now, &call) {
        Handled::Answered { result, .. } => result.unwrap(),
        other => panic!("there are no faults here: {other:?}"),
    }
}

/// Makes an ENI as a CNI does, for an instance that is no more.
fn leave_behind(fleet: &mut Fleet, description: &str, tags: &[(&str, &str)]) -> EniId {
    let all = [(tag::INSTANCE, "i-00000000000000bad")];
    let tags = all.iter().chain(tags);
    let tags: BTreeMap<String, String> = tags
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let create = CreateEni {
        description: description.to_owned(),
        tags,
        ..CreateEni::plain(fleet.subnet.clone())
    };
    match operate(fleet, HOUR, create) {
        Response::Created { eni, .. } => eni.id.clone(),
        other => panic!("expected an ENI, not {other:?}"),
    }
}

fn exists(fleet: &mut Fleet, now: Duration, eni: &EniId) -> bool {
    fleet.model.audit(now).iter().any(|audited| audited.id == *eni)
}

#[test]
fn what_nodes_left_behind_goes_and_nothing_else() {
    let mut fleet = Fleet::new(&spec(3), Settings::seeded(1));
    fleet.run(HOUR, |_| false);
    let ours = "aws-K8S-i-00000000000000bad";
    let leaked = leave_behind(&mut fleet, ours, &[]);
    let kept = [
        leave_behind(&mut fleet, ours, &[(tag::NO_MANAGE, "true")]),
        leave_behind(&mut fleet, ours, &[(tag::CLUSTER, "another")]),
        leave_behind(&mut fleet, "somebody's own", &[]),
    ];
    let late = leave_behind(&mut fleet, ours, &[]);

    // Twice seen takes more than an hour: until then every one of them is there.
    fleet.run(2 * HOUR, |_| false);
    assert!(exists(&mut fleet, 2 * HOUR, &leaked), "sighted once at most");
    // A node that was slow attaches its own after all.
    let attach = AttachEni {
        eni: late.clone(),
        instance: fleet.nodes[0].node.instance.as_str().parse().unwrap(),
        device_index: 2,
        network_card: 0,
    };
    operate(&mut fleet, 2 * HOUR, Request::AttachNetworkInterface(attach));

    let end = 10 * HOUR;
    fleet.run(end, |_| false);
    assert!(!exists(&mut fleet, end, &leaked));
    for eni in kept.iter().chain([&late]) {
        assert!(exists(&mut fleet, end, eni), "{eni} is nobody's to delete");
    }
    let deletions = fleet.tally.calls(Operation::DeleteNetworkInterface);
    assert_eq!(deletions, 1, "nodes do not race for it");
}

#[test]
fn a_steady_node_reads_once_an_hour_also_when_it_sweeps() {
    let mut fleet = Fleet::new(&spec(1), Settings::seeded(2));
    fleet.run(HOUR, |_| false);
    let before = fleet.tally.totals().0;
    fleet.run(25 * HOUR, |_| false);
    let calls = fleet.tally.totals().0 - before;
    assert!((20..=24).contains(&calls), "{calls} calls in 24 hours");
}
