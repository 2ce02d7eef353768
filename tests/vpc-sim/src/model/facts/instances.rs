//! Instances by the API: `RunInstances` and `TerminateInstances`.

use super::*;
use crate::model::request::{EniSource, LaunchedEni, MetadataOptions, RunInstances};
use crate::model::response::InstanceDescription;

fn run(world: &World, least: u32, most: u32) -> RunInstances {
    RunInstances {
        least,
        most,
        instance_type: "c5.large".parse().expect("known"),
        image: "ami-1".to_owned(),
        zone: None,
        role: None,
        metadata: MetadataOptions::default(),
        tags: Tags::new(),
        enis: vec![LaunchedEni {
            device_index: 0,
            network_card: 0,
            delete_on_termination: true,
            source: EniSource::New {
                eni: Box::new(CreateEni::plain(world.subnet.clone())),
                public: None,
            },
        }],
        client_token: None,
    }
}

fn launched(world: &mut World, run: RunInstances) -> Vec<InstanceDescription> {
    match world.ask(Request::RunInstances(Box::new(run))) {
        Ok(Response::Launched(list)) => list,
        other => panic!("expected instances: {other:?}"),
    }
}

fn terminate(world: &mut World, ids: &[&InstanceId]) -> Result<Response, Ec2Error> {
    world.ask(Request::TerminateInstances {
        instances: ids.iter().map(|id| (*id).clone()).collect(),
    })
}

#[test]
fn an_instance_is_pending_then_running_and_l6_its_enis_are_in_its_zone() {
    let mut world = World::with(|delays| delays.launch = SECOND);
    let run = run(&world, 1, 1);
    let made = launched(&mut world, run).remove(0);
    assert_eq!(made.state, InstanceState::Pending);
    assert_eq!(made.enis.len(), 1);
    world.node = made.id.clone();
    let eni = world.create(Wanted::Nothing).id;
    let attach = world.attach_request(&eni, 1);
    assert_eq!(
        world.ask(attach.clone()),
        Err(Ec2Error::IncorrectState(made.id.clone()))
    );
    assert!(world.model.metadata(world.now, &made.id).is_none());
    world.wait(1000);
    assert!(world.ask(attach).is_ok());
    assert!(world.model.metadata(world.now, &made.id).is_some());
}

#[test]
fn l7_a_fresh_instance_may_not_be_found_yet() {
    let mut world = World::with(|delays| delays.api_created = SECOND);
    let run = run(&world, 1, 1);
    let made = launched(&mut world, run).remove(0).id;
    let refused = terminate(&mut world, &[&made]);
    assert_eq!(refused, Err(Ec2Error::InstanceNotFound(made.clone())));
    world.wait(1000);
    assert!(terminate(&mut world, &[&made]).is_ok());
}

#[test]
fn as_many_start_as_fit_or_none_and_a_refused_launch_leaves_nothing() {
    let mut world = World::instant();
    // A /28 has eleven addresses.
    world.subnet = subnet(&mut world.model, "10.0.9.0/28", "a");
    let all = run(&world, 12, 12);
    let refused = world.ask(Request::RunInstances(Box::new(all)));
    assert_eq!(refused, Err(Ec2Error::NoFreeAddresses));
    assert_eq!(world.model.instance_ids().count(), 1, "the node alone");
    let some = run(&world, 3, 12);
    let made = launched(&mut world, some);
    assert_eq!(made.len(), 11);
    let indexes: Vec<u32> = made.iter().map(|instance| instance.launch_index).collect();
    assert_eq!(indexes, (0..11).collect::<Vec<_>>());
    assert!(
        made.iter()
            .all(|instance| instance.reservation == made[0].reservation)
    );
}

#[test]
fn l9_a_client_token_names_its_instances_for_ever() {
    let mut world = World::instant();
    let wanted = RunInstances {
        client_token: Some("t".to_owned()),
        ..run(&world, 1, 2)
    };
    let ids = |list: Vec<InstanceDescription>| list.into_iter().map(|made| made.id).collect::<Vec<_>>();
    let first = ids(launched(&mut world, wanted.clone()));
    terminate(&mut world, &[&first[0]]).expect("there is one");
    assert_eq!(ids(launched(&mut world, wanted.clone())), first);
    let other = RunInstances { most: 1, ..wanted };
    let refused = world.ask(Request::RunInstances(Box::new(other)));
    assert_eq!(refused, Err(Ec2Error::TokenMismatch));
}

#[test]
fn l10_termination_by_the_api_deletes_marked_enis_leaves_the_rest_and_is_all_or_none() {
    let mut world = World::instant();
    let there = world.create(Wanted::Nothing).id;
    let mut wanted = run(&world, 1, 1);
    wanted.enis.push(LaunchedEni {
        device_index: 1,
        network_card: 0,
        delete_on_termination: false,
        source: EniSource::Existing(there.clone()),
    });
    let made = launched(&mut world, wanted).remove(0);
    let primary = made.enis[0].id.clone();
    assert_eq!(world.one(&there).status, EniStatus::InUse);
    let unknown = InstanceId::numbered(1);
    let refused = terminate(&mut world, &[&made.id, &unknown]);
    assert_eq!(refused, Err(Ec2Error::InstanceNotFound(unknown)));
    assert_eq!(world.one(&primary).status, EniStatus::InUse, "none was ended");
    assert!(terminate(&mut world, &[&made.id]).is_ok());
    assert!(world.describe(&[&primary]).is_err());
    assert_eq!(world.one(&there).status, EniStatus::Available);
    let again = terminate(&mut world, &[&made.id]);
    let ended = InstanceState::Terminated;
    assert_eq!(again, Ok(Response::Terminating(vec![(made.id, ended, ended)])));
}

#[test]
fn quotas_and_public_addresses_end() {
    let mut settings = Settings::instant(1);
    settings.quotas.enis = 3;
    let mut world = World::new(settings);
    let many = run(&world, 3, 3);
    let refused = world.ask(Request::RunInstances(Box::new(many)));
    assert_eq!(refused, Err(Ec2Error::EniQuota));
    let mut world = World::instant();
    world.model.public_given = 507;
    let two = run(&world, 2, 2);
    let refused = world.ask(Request::RunInstances(Box::new(two.clone())));
    assert_eq!(refused, Err(Ec2Error::PublicAddressQuota));
    assert_eq!(launched(&mut world, RunInstances { least: 1, ..two }).len(), 1);
}
