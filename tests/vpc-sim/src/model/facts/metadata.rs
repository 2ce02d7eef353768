//! What instance metadata and packets see, and when.

use super::*;

#[test]
fn metadata_lists_an_attached_eni_late_and_its_secondary_addresses_later() {
    let mut world = World::with(|delays| {
        delays.metadata_attached = SECOND;
        delays.metadata_assigned = SECOND;
    });
    let eni = world.create(Wanted::Addresses(4)).id;
    world.attach(&eni, 1);
    assert_eq!(world.listed(&eni), None);
    world.wait(1000);
    assert_eq!(world.listed(&eni), Some(1));
    world.wait(1000);
    assert_eq!(world.listed(&eni), Some(5));
}

#[test]
fn metadata_keeps_unassigned_addresses_and_detached_enis() {
    let mut world = World::with(|delays| {
        delays.metadata_unassigned = SECOND;
        delays.metadata_detached = SECOND;
    });
    let eni = world.create(Wanted::Addresses(4));
    let attachment = world.attach(&eni.id, 1);
    world.unassign(&eni.id, eni.secondary.clone()).expect("assigned");
    assert_eq!(world.listed(&eni.id), Some(5));
    world.wait(1000);
    assert_eq!(world.listed(&eni.id), Some(1));
    world.detach(&attachment).expect("attached");
    world.delete(&eni.id).expect("available");
    assert_eq!(world.listed(&eni.id), Some(1), "even a deleted one stays listed");
    world.wait(1000);
    assert_eq!(world.listed(&eni.id), None);
}

#[test]
fn p11_services_know_the_sender_by_its_address_which_packets_meet_late() {
    let mut world = World::with(|delays| delays.packets = SECOND);
    let eni = world.primary().id;
    let Ok(Response::Assigned { addresses, .. }) = world.assign(&eni, Wanted::Addresses(1)) else {
        panic!("there is room");
    };
    let meets = |world: &World| {
        world.model.kernel_view(world.now).enis[&eni]
            .addresses
            .contains(&addresses[0])
    };
    assert!(!meets(&world) && world.model.sender(world.now, addresses[0]).is_none());
    world.wait(1000);
    assert!(meets(&world));
    assert_eq!(
        world.model.sender(world.now, addresses[0]),
        Some((eni, world.node.clone()))
    );
}

#[test]
fn p12_services_of_some_older_types_do_not_answer_from_the_32nd_address_of_an_eni_on() {
    let answered = |instance_type: &str| {
        let mut world = World::instant();
        let mut launch = Launch::plain(instance_type.parse().expect("known"), world.subnet.clone());
        launch.secondary_addresses = 49;
        let node = world.model.launch(world.now, &launch).expect("launches");
        let told = world.model.metadata(world.now, &node).expect("it runs");
        let primary = &told.enis[&told.primary.expect("a primary ENI")];
        let all = primary.addresses.iter();
        all.map(|address| world.model.services_answer(world.now, *address))
            .collect::<Vec<_>>()
    };
    let old = answered("i3.16xlarge");
    assert_eq!((&old[..31], &old[31..]), (&[true; 31][..], &[false; 19][..]));
    assert_eq!(answered("m5.24xlarge"), [true; 50]);
}
