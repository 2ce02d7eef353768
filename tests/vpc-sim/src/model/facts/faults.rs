//! Throttling and scripted faults.

use super::*;

#[test]
fn throttling_is_per_operation_and_narrowed_describes_have_more() {
    let settings = Settings {
        buckets: crate::model::throttle::published_buckets(),
        ..Settings::instant(1)
    };
    let mut world = World::new(settings);
    let mut allowed = |narrowed| {
        let ask = Request::DescribeNetworkInterfaces(Describe {
            ids: Vec::new(),
            narrowed,
        });
        (0..200).filter(|_| world.ask(ask.clone()).is_ok()).count()
    };
    assert_eq!((allowed(false), allowed(true)), (50, 100));
    assert!(world.ask(CreateEni::plain(world.subnet.clone()).into()).is_ok());
}

#[test]
fn a_denial_names_caller_action_and_resource() {
    let mut world = World::instant();
    let fault = Fault::always(Operation::CreateNetworkInterface, Effect::Deny).about(&world.node);
    let id = world.model.inject(fault);
    let error = world
        .ask(CreateEni::plain(world.subnet.clone()).into())
        .expect_err("denied");
    assert_eq!((error.code(), error.status()), ("UnauthorizedOperation", 403));
    assert!(
        error.to_string().contains("ec2:CreateNetworkInterface"),
        "{error}"
    );
    world.model.remove_fault(id);
    assert!(world.ask(CreateEni::plain(world.subnet.clone()).into()).is_ok());
}

#[test]
fn a_lost_answer_has_had_its_effect_and_a_held_call_has_not() {
    let mut world = World::instant();
    let create: Request = CreateEni::plain(world.subnet.clone()).into();
    let count = |world: &mut World| world.describe(&[]).expect("described").len();
    let before = count(&mut world);
    let operation = Operation::CreateNetworkInterface;
    world.model.inject(Fault::once(operation, Effect::LoseAnswer));
    assert!(matches!(world.handle(create.clone()), Handled::AnswerLost(Ok(_))));
    assert_eq!(count(&mut world), before + 1);
    world.model.inject(Fault::once(operation, Effect::HoldBefore));
    assert!(matches!(world.handle(create.clone()), Handled::HeldBefore(_)));
    assert_eq!(count(&mut world), before + 1);
    world.model.inject(Fault::once(operation, Effect::HoldAfter));
    assert!(matches!(world.handle(create), Handled::HeldAfter(_, Ok(_))));
    assert_eq!(count(&mut world), before + 2);
}

#[test]
fn a_describe_may_be_stale_or_partial() {
    let mut world = World::instant();
    world.wait(60_000);
    let eni = world.create(Wanted::Nothing).id;
    let operation = Operation::DescribeNetworkInterfaces;
    world.wait(1000);
    world
        .model
        .inject(Fault::once(operation, Effect::Stale(Duration::from_secs(30))));
    assert_eq!(world.describe(&[]).expect("described").len(), 1);
    let hidden = std::collections::BTreeSet::from([eni.to_string()]);
    world
        .model
        .inject(Fault::once(operation, Effect::Partial(hidden)));
    assert!(
        !world
            .describe(&[])
            .expect("described")
            .iter()
            .any(|found| found.id == eni)
    );
    assert_eq!(world.describe(&[]).expect("described").len(), 2);
}
