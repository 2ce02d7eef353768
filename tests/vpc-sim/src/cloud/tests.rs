//! Holds, losses and views through the task.

use std::time::Duration;

use super::*;
use crate::example::example;
use crate::model::fault::Effect;
use crate::model::request::{AttachEni, CreateEni, Describe, Request};
use crate::model::settings::{Settings, Span};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(settings: Settings) -> (Cloud, CreateEni, InstanceId) {
    let model = example(settings).expect("builds");
    let create = CreateEni::plain(model.subnet_ids().next().expect("a subnet").clone());
    let mut instances = model.instance_ids();
    let node = instances
        .find(|id| in_subnet(&model, id, &create))
        .expect("a node")
        .clone();
    drop(instances);
    (Cloud::start(model), create, node)
}

fn in_subnet(model: &Model, node: &InstanceId, create: &CreateEni) -> bool {
    let view = model.kernel_view(Duration::ZERO);
    view.enis
        .values()
        .any(|eni| eni.instance == *node && eni.subnet == create.subnet)
}

fn call(request: Request) -> Call {
    Call {
        caller: Caller::AccessKey("AKIAEXAMPLE".to_owned()),
        dry_run: false,
        request,
    }
}

async fn enis(cloud: &Cloud) -> usize {
    let ask = Request::DescribeNetworkInterfaces(Describe {
        ids: Vec::new(),
        narrowed: false,
    });
    match cloud.call(call(ask)).await {
        Ok(Heard::Answer(Ok(Response::Enis(list)))) => list.len(),
        other => panic!("expected ENIs: {other:?}"),
    }
}

async fn created(cloud: &Cloud, create: CreateEni) -> EniId {
    match cloud.call(call(create.into())).await {
        Ok(Heard::Answer(Ok(Response::Created { eni, .. }))) => eni.id,
        other => panic!("expected an ENI: {other:?}"),
    }
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn a_call_held_before_its_effect_blocks_nobody_and_has_it_when_released() {
    let (cloud, create, _) = start(Settings::instant(1));
    let hold = Fault::once(Operation::CreateNetworkInterface, Effect::HoldBefore);
    let fault = cloud.inject(hold).await.expect("runs");
    let held = tokio::spawn({
        let (cloud, create) = (cloud.clone(), create.clone());
        async move { created(&cloud, create).await }
    });
    patiently(cloud.until_held(fault)).await.expect("runs");
    assert_eq!(enis(&cloud).await, 2);
    assert!(!held.is_finished());
    cloud.release(fault).await.expect("runs");
    patiently(held).await.expect("answered");
    assert_eq!(enis(&cloud).await, 3);
}

#[tokio::test]
async fn a_call_held_after_its_effect_has_had_it() {
    let (cloud, create, _) = start(Settings::instant(1));
    let hold = Fault::once(Operation::CreateNetworkInterface, Effect::HoldAfter);
    let fault = cloud.inject(hold).await.expect("runs");
    let held = tokio::spawn({
        let cloud = cloud.clone();
        async move { created(&cloud, create).await }
    });
    patiently(cloud.until_held(fault)).await.expect("runs");
    assert_eq!(enis(&cloud).await, 3);
    assert!(!held.is_finished());
    cloud.release(fault).await.expect("runs");
    patiently(held).await.expect("answered");
}

#[tokio::test]
async fn calls_are_counted_with_how_they_went() {
    let (cloud, create, _) = start(Settings::instant(1));
    let deny = Fault::once(Operation::CreateNetworkInterface, Effect::Deny);
    cloud.inject(deny).await.expect("runs");
    let refused = cloud.call(call(create.clone().into())).await.expect("runs");
    assert!(matches!(refused, Heard::Answer(Err(Ec2Error::Denied { .. }))));
    created(&cloud, create).await;
    enis(&cloud).await;
    let outcomes: Vec<Outcome> = (cloud.calls().await.expect("runs").into_iter())
        .map(|record| record.outcome)
        .collect();
    let denied = Outcome::Refused("UnauthorizedOperation".to_owned());
    assert_eq!(outcomes, [denied, Outcome::Done, Outcome::Done]);
    assert_eq!(cloud.mutating_calls().await, Ok(2));
    let counts = cloud.call_counts().await.expect("runs");
    assert_eq!(counts[&Operation::DescribeNetworkInterfaces], 1);
    cloud.forget_calls().await.expect("runs");
    assert_eq!(cloud.mutating_calls().await, Ok(0));
}

#[tokio::test]
async fn the_kernel_view_is_published_when_a_device_arrives() {
    let mut settings = Settings::instant(1);
    settings.delays.device = Span::millis(30, 30);
    let (cloud, create, node) = start(settings);
    let eni = created(&cloud, create).await;
    let mut views = cloud.kernel_view();
    let attach = Request::AttachNetworkInterface(AttachEni {
        eni: eni.clone(),
        instance: node,
        device_index: 1,
        network_card: 0,
    });
    let answer = cloud.call(call(attach)).await.expect("runs");
    assert!(
        matches!(answer, Heard::Answer(Ok(Response::Attached { .. }))),
        "{answer:?}"
    );
    let arrived = views.wait_for(|view| view.enis.contains_key(&eni));
    patiently(arrived).await.expect("runs");
}

#[tokio::test]
async fn a_slow_answer_comes_late_and_blocks_nobody() {
    let (cloud, create, _) = start(Settings::instant(1));
    let slow = Effect::Slow(Duration::from_millis(50));
    let fault = Fault::once(Operation::CreateNetworkInterface, slow);
    cloud.inject(fault).await.expect("runs");
    let begun = Instant::now();
    let (_, seen) = tokio::join!(created(&cloud, create), async {
        let seen = enis(&cloud).await;
        (seen, begun.elapsed())
    });
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert!(seen.1 < begun.elapsed());
}

#[tokio::test]
async fn a_run_can_be_changed_while_it_lives() {
    let (cloud, _, node) = start(Settings::instant(1));
    assert!(cloud.metadata(&node).await.expect("runs").is_some());
    let gone = node.clone();
    let ended = cloud.change(move |model, now| model.terminate(now, &gone)).await;
    assert_eq!(ended, Ok(Ok(())));
    assert_eq!(cloud.metadata(&node).await, Ok(None));
}
