//! Addresses, prefixes and the limits of instance types.

use super::*;

#[test]
fn a1_subnets_are_between_16_and_28() {
    let mut model = Model::new(Settings::instant(1), "10.0.0.0/15".parse().expect("a CIDR"));
    let mut add = |cidr: &str| {
        let new = NewSubnet {
            cidr: cidr.parse().expect("a CIDR"),
            ipv6_cidr: None,
            ipv6_on_creation: false,
            zone: Zone {
                name: "z".to_owned(),
                id: "z".to_owned(),
            },
            internet: false,
            tags: Tags::new(),
        };
        model.add_subnet(new)
    };
    assert!(matches!(add("10.0.0.0/15"), Err(SetupError::SubnetSize(_))));
    assert!(matches!(add("10.0.0.0/29"), Err(SetupError::SubnetSize(_))));
    assert!(matches!(add("10.2.0.0/24"), Err(SetupError::SubnetOutside(_))));
    assert!(add("10.0.0.0/16").is_ok());
    assert!(matches!(
        add("10.0.7.0/24"),
        Err(SetupError::SubnetOverlap { .. })
    ));
}

#[test]
fn a5_a_prefix_takes_one_slot_of_the_eni() {
    let mut world = World::instant();
    let eni = world.primary().id;
    assert!(world.assign(&eni, Wanted::Prefixes(4)).is_ok());
    assert!(world.assign(&eni, Wanted::Addresses(5)).is_ok());
    assert_eq!(
        world.assign(&eni, Wanted::Addresses(1)),
        Err(Ec2Error::AddressLimit)
    );
    assert_eq!(
        world.assign(&eni, Wanted::Prefixes(1)),
        Err(Ec2Error::AddressLimit)
    );
    assert_eq!(
        (world.one(&eni).secondary.len(), world.one(&eni).prefixes.len()),
        (5, 4)
    );
}

#[test]
fn a6_prefixes_need_nitro_or_bare_metal() {
    let mut world = World::instant();
    let subnet = world.subnet.clone();
    world.node = launch(&mut world.model, "t2.medium", &subnet);
    let node = world.node.clone();
    let all = world.describe(&[]).expect("described");
    let xen = all
        .into_iter()
        .find(|eni| eni.attachment.as_ref().is_some_and(|at| at.instance == node));
    let xen = xen.expect("the primary of the Xen instance").id;
    let refused = world.assign(&xen, Wanted::Prefixes(1));
    assert!(matches!(refused, Err(Ec2Error::PrefixesUnsupported(_))));
    let eni = world.create(Wanted::Prefixes(1));
    let attach = world.attach_request(&eni.id, 1);
    assert!(matches!(world.ask(attach), Err(Ec2Error::PrefixesUnsupported(_))));
}

#[test]
fn a8_unrelated_requests_do_not_change_what_is_chosen() {
    let chosen = |disturb: bool| {
        let mut world = World::instant();
        if disturb {
            let other = CreateEni::plain(world.other_zone.clone());
            world.created(other);
        }
        let eni = world.create(Wanted::Addresses(3));
        (eni.id, eni.mac, eni.secondary)
    };
    assert_eq!(chosen(false), chosen(true));
}

#[test]
fn a9_the_limit_is_per_network_card() {
    let mut world = World::instant();
    let enis: Vec<EniId> = (0..3).map(|_| world.create(Wanted::Nothing).id).collect();
    world.attach(&enis[0], 1);
    world.attach(&enis[1], 2);
    let error = world
        .ask(world.attach_request(&enis[2], 3))
        .expect_err("c5.large has three");
    assert_eq!(
        error.to_string(),
        "Interface count 4 exceeds the limit for c5.large"
    );
    assert_eq!(error.code(), "AttachmentLimitExceeded");
    let subnet = world.subnet.clone();
    world.node = launch(&mut world.model, "p5.48xlarge", &subnet);
    let place = |index, card| AttachEni {
        eni: enis[2].clone(),
        instance: world.node.clone(),
        device_index: index,
        network_card: card,
    };
    let (on_31, on_32) = (place(1, 31), place(1, 32));
    assert_eq!(
        world.code(Request::AttachNetworkInterface(on_32)),
        "InvalidParameterValue"
    );
    assert!(world.ask(Request::AttachNetworkInterface(on_31)).is_ok());
}

#[test]
fn explicit_addresses_are_taken_or_refused() {
    let mut world = World::instant();
    let eni = world.create(Wanted::Nothing).id;
    let wanted = vec![Ipv4Addr::new(10, 0, 1, 200)];
    assert!(
        world
            .assign(&eni, Wanted::ExplicitAddresses(wanted.clone()))
            .is_ok()
    );
    let other = world.create(Wanted::Nothing).id;
    let taken = world
        .assign(&other, Wanted::ExplicitAddresses(wanted))
        .expect_err("taken");
    assert_eq!(taken.code(), "Resource.AlreadyAssigned");
    for reserved in [1, 3, 255] {
        let reserved = vec![Ipv4Addr::new(10, 0, 1, reserved)];
        let refused = world
            .assign(&other, Wanted::ExplicitAddresses(reserved))
            .expect_err("reserved");
        assert_eq!(refused.code(), "InvalidParameterValue");
    }
    let inside = vec!["10.0.1.192/28".parse().expect("a CIDR")];
    let taken = world
        .assign(&other, Wanted::ExplicitPrefixes(inside))
        .expect_err("one is used");
    assert_eq!(taken.code(), "Resource.AlreadyAssigned");
}

#[test]
fn no_type_has_more_slots_than_an_unattached_eni() {
    let table = limits::table().expect("the embedded table reads");
    let most = table.values().map(|info| info.ipv4_per_eni as usize).max();
    assert_eq!(most, Some(crate::model::assign::UNATTACHED_SLOTS));
}

#[test]
fn random_client_tokens_do_not_change_what_is_chosen() {
    let chosen = |token: &str| {
        let mut world = World::instant();
        let create = CreateEni {
            client_token: Some(token.to_owned()),
            ..CreateEni::plain(world.subnet.clone())
        };
        world.created(create).id
    };
    assert_eq!(chosen("one"), chosen("another"));
}
