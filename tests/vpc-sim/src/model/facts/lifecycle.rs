//! The life of an ENI: what is slow, what is late and what may be repeated.

use super::*;

#[test]
fn l1_attach_returns_before_the_device_exists_and_attached_does_not_mean_plugged() {
    let mut world = World::with(|delays| {
        delays.attach = SECOND;
        delays.device = Span::exactly(Duration::from_secs(3));
    });
    let eni = world.create(Wanted::Nothing).id;
    world.attach(&eni, 1);
    let status = |world: &mut World| world.one(&eni).attachment.expect("attached").status;
    assert_eq!(
        (status(&mut world), world.plugged(&eni)),
        (AttachmentStatus::Attaching, false)
    );
    world.wait(1000);
    assert_eq!(
        (status(&mut world), world.plugged(&eni)),
        (AttachmentStatus::Attached, false)
    );
    assert_eq!(world.model.next_change(world.now), Some(Duration::from_secs(3)));
    world.wait(2000);
    assert!(world.plugged(&eni));
}

#[test]
fn l1_a_device_may_never_appear() {
    let mut world = World::instant();
    let eni = world.create(Wanted::Nothing).id;
    world
        .model
        .inject(Fault::once(Operation::AttachNetworkInterface, Effect::NoDevice));
    let attachment = world.attach(&eni, 1);
    world.wait(1_000_000);
    assert!(!world.plugged(&eni));
    assert_eq!(world.one(&eni).status, EniStatus::InUse);
    assert_eq!(world.detach(&attachment), Ok(Response::Done));
    assert_eq!(world.delete(&eni), Ok(Response::Done));
}

#[test]
fn l3_detach_removes_the_device_and_lingers_so_that_delete_fails_at_first() {
    let mut world = World::with(|delays| {
        delays.device_gone = SECOND;
        delays.detach = Span::exactly(Duration::from_secs(2));
    });
    let eni = world.create(Wanted::Nothing).id;
    let attachment = world.attach(&eni, 1);
    assert_eq!(world.detach(&attachment), Ok(Response::Done));
    assert_eq!(world.one(&eni).status, EniStatus::Detaching);
    world.wait(1500);
    assert!(!world.plugged(&eni));
    let error = world.delete(&eni).expect_err("still in use");
    assert_eq!(
        error.to_string(),
        format!("Network interface '{eni}' is currently in use.")
    );
    assert_eq!(error.code(), "InvalidParameterValue");
    world.wait(500);
    assert_eq!(world.delete(&eni), Ok(Response::Done));
}

#[test]
fn l4_the_primary_cannot_be_detached_and_attached_ones_survive_their_instance_unless_told() {
    let mut world = World::instant();
    let primary = world.primary().attachment.expect("attached");
    assert!(primary.delete_on_termination);
    let error = world.detach(&primary.id).expect_err("the primary");
    let text = "The network interface at device index 0 and networkCard index 0 cannot be detached.";
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("OperationNotPermitted", text)
    );
    let eni = world.create(Wanted::Nothing).id;
    let attachment = world.attach(&eni, 1);
    assert!(
        !world
            .one(&eni)
            .attachment
            .expect("attached")
            .delete_on_termination
    );
    let change = EniChange::DeleteOnTermination {
        attachment,
        delete: true,
    };
    let request = Request::ModifyNetworkInterfaceAttribute {
        eni: eni.clone(),
        change,
    };
    assert_eq!(world.ask(request), Ok(Response::Done));
    assert!(
        world
            .one(&eni)
            .attachment
            .expect("attached")
            .delete_on_termination
    );
}

#[test]
fn l5_a_device_index_is_unique_per_instance_and_card() {
    let mut world = World::instant();
    let (first, second) = (world.create(Wanted::Nothing).id, world.create(Wanted::Nothing).id);
    world.attach(&first, 1);
    let error = world.ask(world.attach_request(&second, 1)).expect_err("taken");
    let text = format!(
        "Instance '{}' already has an interface attached at device index '1'.",
        world.node
    );
    assert_eq!((error.code(), error.to_string()), ("InvalidParameterValue", text));
    let again = world.ask(world.attach_request(&first, 2)).expect_err("attached");
    assert_eq!(again.code(), "InvalidNetworkInterface.InUse");
}

#[test]
fn l6_eni_and_instance_must_be_in_one_zone() {
    let mut world = World::instant();
    let create = CreateEni::plain(world.other_zone.clone());
    let eni = world.created(create).id;
    assert_eq!(world.ask(world.attach_request(&eni, 1)), Err(Ec2Error::OtherZone));
}

#[test]
fn l7_a_fresh_id_is_not_found_and_a_deleted_one_is_still_listed() {
    let mut world = World::with(|delays| {
        delays.api_created = SECOND;
        delays.api_deleted = SECOND;
    });
    let eni = world.create(Wanted::Nothing).id;
    assert_eq!(world.describe(&[&eni]), Err(Ec2Error::EniNotFound(eni.clone())));
    assert_eq!(
        world.ask(world.attach_request(&eni, 1)),
        Err(Ec2Error::EniNotFound(eni.clone()))
    );
    world.wait(1000);
    assert!(world.describe(&[&eni]).is_ok());
    assert_eq!(world.delete(&eni), Ok(Response::Done));
    assert_eq!(world.one(&eni).status, EniStatus::Available);
    assert_eq!(world.delete(&eni), Err(Ec2Error::EniNotFound(eni.clone())));
    world.wait(1000);
    assert_eq!(world.describe(&[&eni]), Err(Ec2Error::EniNotFound(eni)));
}

#[test]
fn l7_describe_misses_a_fresh_tag_attachment_and_address() {
    let mut world = World::with(|delays| delays.api_changed = SECOND);
    let eni = world.create(Wanted::Nothing).id;
    world.tag(&eni);
    world.attach(&eni, 1);
    world.assign(&eni, Wanted::Addresses(2)).expect("room");
    let seen = |eni: EniDescription| (eni.tags.len(), eni.attachment.is_some(), eni.secondary.len());
    assert_eq!(seen(world.one(&eni)), (0, false, 0));
    world.wait(1000);
    assert_eq!(seen(world.one(&eni)), (1, true, 2));
}

#[test]
fn l8_one_missing_id_fails_the_whole_describe_and_only_the_first_is_named() {
    let mut world = World::instant();
    let eni = world.create(Wanted::Nothing).id;
    let (first, second) = (EniId::numbered(9), EniId::numbered(1));
    let error = world
        .describe(&[&eni, &first, &second])
        .expect_err("two are missing");
    assert_eq!(
        error.to_string(),
        format!("The networkInterface ID '{first}' does not exist")
    );
    assert_eq!(error.code(), "InvalidNetworkInterfaceID.NotFound");
}

#[test]
fn l9_create_is_idempotent_by_client_token() {
    let mut world = World::instant();
    let create = CreateEni {
        wanted: Wanted::Addresses(3),
        client_token: Some("once".to_owned()),
        ..CreateEni::plain(world.subnet.clone())
    };
    let first = world.created(create.clone());
    assert_eq!(world.created(create.clone()), first);
    let other = CreateEni {
        wanted: Wanted::Addresses(4),
        ..create.clone()
    };
    assert_eq!(
        world.code(Request::CreateNetworkInterface(other)),
        "IdempotentParameterMismatch"
    );
    assert_eq!(world.delete(&first.id), Ok(Response::Done));
    assert_eq!(
        world.created(create).id,
        first.id,
        "a token names its ENI for ever"
    );
    assert!(world.describe(&[&first.id]).is_err());
}

#[test]
fn l10_termination_deletes_marked_enis_and_leaves_the_rest_available() {
    let mut world = World::with(|delays| delays.terminate = SECOND);
    let primary = world.primary().id;
    let eni = world.create(Wanted::Nothing).id;
    world.attach(&eni, 1);
    let node = world.node.clone();
    world.model.terminate(world.now, &node).expect("there is one");
    assert!(!world.plugged(&primary) && !world.plugged(&eni));
    assert!(world.model.metadata(world.now, &node).is_none());
    world.wait(1000);
    assert!(world.describe(&[&primary]).is_err());
    assert_eq!(world.one(&eni).status, EniStatus::Available);
    let state = |world: &mut World| match world.ask(Request::DescribeInstances(Describe {
        ids: vec![world.node.clone()],
        narrowed: false,
    })) {
        Ok(Response::Instances(list)) => list[0].state,
        other => panic!("expected instances: {other:?}"),
    };
    assert_eq!(state(&mut world), InstanceState::Terminated);
}

#[test]
fn l11_several_failures_mean_that_success_already_happened() {
    let mut world = World::instant();
    let eni = world.create(Wanted::Addresses(1));
    assert_eq!(world.unassign(&eni.id, eni.secondary.clone()), Ok(Response::Done));
    let error = world.unassign(&eni.id, eni.secondary.clone()).expect_err("gone");
    let text = format!(
        "Some of the specified addresses are not assigned to interface {}",
        eni.id
    );
    assert_eq!((error.code(), error.to_string()), ("InvalidParameterValue", text));
    let attachment = world.attach(&eni.id, 1);
    assert_eq!(world.detach(&attachment), Ok(Response::Done));
    assert_eq!(
        world.detach(&attachment).expect_err("gone").code(),
        "InvalidAttachmentID.NotFound"
    );
    assert_eq!(world.delete(&eni.id), Ok(Response::Done));
    let error = world.delete(&eni.id).expect_err("gone");
    assert_eq!(error.code(), "InvalidNetworkInterfaceID.NotFound");
}

#[test]
fn an_instance_may_be_launched_with_more_enis() {
    let mut world = World::instant();
    let mut launch = Launch::plain("c5.large".parse().expect("known"), world.subnet.clone());
    launch.public = true;
    launch.more = vec![LaunchEni {
        subnet: world.subnet.clone(),
        network_card: 0,
        device_index: 1,
        secondary_addresses: 9,
    }];
    let node = world.model.launch(world.now, &launch).expect("launches");
    let view = world.model.kernel_view(world.now);
    let ours: Vec<_> = view.enis.values().filter(|eni| eni.instance == node).collect();
    assert_eq!(ours.len(), 2);
    assert_eq!(ours.iter().map(|eni| eni.public.len()).sum::<usize>(), 1);
    launch.more[0].secondary_addresses = 10;
    let refused = world.model.launch(world.now, &launch);
    assert_eq!(refused, Err(SetupError::Refused(Ec2Error::AddressLimit)));
}

#[test]
fn history_is_forgotten_after_a_while() {
    let mut world = World::instant();
    for _ in 0..100 {
        let eni = world.create(Wanted::Nothing).id;
        world.delete(&eni).expect("available");
        world.wait(60_000);
    }
    assert!(world.model.enis.len() < 15, "{} records", world.model.enis.len());
}
