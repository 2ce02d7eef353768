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
fn packets_meet_an_address_late_and_the_sender_is_known_by_it() {
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
