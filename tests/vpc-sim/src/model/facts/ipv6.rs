//! IPv6: addresses and /80 prefixes of ENIs, their limits, and who sees them when.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::*;
use crate::model::request::WantedIpv6;

/// A world whose first subnet has IPv6, and gives every ENI an address or not.
fn dual_stack(mut world: World, on_creation: bool) -> World {
    let net = |text: &str| text.parse::<Ipv6Net>().expect("a CIDR");
    world.model.add_ipv6_cidr(net("2001:db8:0:100::/56"));
    let new = NewSubnet {
        ipv6_cidr: Some(net("2001:db8:0:101::/64")),
        ipv6_on_creation: on_creation,
        ..NewSubnet::plain(
            "10.0.3.0/24".parse().expect("a CIDR"),
            Zone {
                name: "us-east-1a".to_owned(),
                id: "use1-az-a".to_owned(),
            },
        )
    };
    world.subnet = world.model.add_subnet(new).expect("a good subnet");
    world
}

fn assign(world: &mut World, eni: &EniId, wanted: WantedIpv6) -> Result<Response, Ec2Error> {
    world.ask(Request::AssignIpv6Addresses {
        eni: eni.clone(),
        wanted,
    })
}

fn unassign(world: &mut World, eni: &EniId, addresses: Vec<Ipv6Addr>) -> Result<Response, Ec2Error> {
    world.ask(Request::UnassignIpv6Addresses {
        eni: eni.clone(),
        addresses,
        prefixes: Vec::new(),
    })
}

#[test]
fn a_subnets_ipv6_cidr_is_a_64_of_the_vpc_that_nobody_else_has() {
    let mut world = dual_stack(World::instant(), false);
    let mut add = |cidr: &str, ipv6: &str| {
        let zone = Zone {
            name: "z".to_owned(),
            id: "z".to_owned(),
        };
        let new = NewSubnet {
            ipv6_cidr: Some(ipv6.parse().expect("a CIDR")),
            ..NewSubnet::plain(cidr.parse().expect("a CIDR"), zone)
        };
        world.model.add_subnet(new)
    };
    for bad in ["2001:db8:0:101::/64", "2001:db8:0:102::/72", "2001:db8:1::/64"] {
        assert!(
            matches!(add("10.0.4.0/24", bad), Err(SetupError::Ipv6Subnet(_))),
            "{bad}"
        );
    }
    assert!(add("10.0.4.0/24", "2001:db8:0:1ff::/64").is_ok());
}

#[test]
fn a5_ipv6_slots_are_counted_apart_from_ipv4s() {
    let mut world = dual_stack(World::instant(), false);
    let eni = world.create(Wanted::Addresses(9)).id;
    world.attach(&eni, 1);
    assert!(assign(&mut world, &eni, Wanted::Addresses(7)).is_ok());
    assert!(assign(&mut world, &eni, Wanted::Prefixes(3)).is_ok());
    let full = assign(&mut world, &eni, Wanted::Addresses(1));
    assert_eq!(full, Err(Ec2Error::Ipv6Limit));
    let held = world.one(&eni);
    assert_eq!((held.ipv6.len(), held.ipv6_prefixes.len()), (7, 3));
}

#[test]
fn a6_types_without_ipv6_and_prefixes_on_xen_are_refused_at_assignment_and_at_attach() {
    let mut world = dual_stack(World::instant(), false);
    let with_address = world.create_ipv6(Wanted::Addresses(1));
    let with_prefix = world.create_ipv6(Wanted::Prefixes(1));
    let subnet = world.subnet.clone();
    world.node = launch(&mut world.model, "t1.micro", &subnet);
    let attach = world.attach_request(&with_address, 1);
    assert!(matches!(world.ask(attach), Err(Ec2Error::Ipv6Unsupported(_))));
    world.node = launch(&mut world.model, "t2.medium", &subnet);
    let attach = world.attach_request(&with_prefix, 1);
    assert!(matches!(world.ask(attach), Err(Ec2Error::PrefixesUnsupported(_))));
    world.attach(&with_address, 1);
    let refused = assign(&mut world, &with_address, Wanted::Prefixes(1));
    assert!(matches!(refused, Err(Ec2Error::PrefixesUnsupported(_))));
}

#[test]
fn a_subnet_may_give_every_eni_an_address_and_one_without_ipv6_gives_none() {
    let mut generous = dual_stack(World::instant(), true);
    assert_eq!(generous.create(Wanted::Nothing).ipv6.len(), 1);
    let prefixes = generous.create_ipv6(Wanted::Prefixes(2));
    assert_eq!(
        generous.one(&prefixes).ipv6.len(),
        0,
        "what is asked for comes instead"
    );
    let mut poor = World::instant();
    let eni = poor.create(Wanted::Nothing);
    assert_eq!(eni.ipv6, [] as [Ipv6Addr; 0]);
    let refused = assign(&mut poor, &eni.id, Wanted::Addresses(1));
    assert_eq!(refused, Err(Ec2Error::NoIpv6(poor.subnet.clone())));
}

#[test]
fn a_failed_creation_gives_both_families_back() {
    let mut world = dual_stack(World::instant(), false);
    let taken = world.create_ipv6(Wanted::Addresses(1));
    let address = world.one(&taken).ipv6[0];
    let before = world.model.subnets[&world.subnet].pool.available();
    let create = CreateEni {
        wanted: Wanted::Addresses(5),
        wanted_ipv6: Wanted::ExplicitAddresses(vec![address]),
        ..CreateEni::plain(world.subnet.clone())
    };
    let refused = world.ask(create.into());
    assert_eq!(refused, Err(Ec2Error::AlreadyAssigned(address.into())));
    assert_eq!(world.model.subnets[&world.subnet].pool.available(), before);
    world.delete(&taken).expect("available");
    let create = CreateEni {
        wanted_ipv6: Wanted::ExplicitAddresses(vec![address]),
        ..CreateEni::plain(world.subnet.clone())
    };
    assert!(
        world.ask(create.into()).is_ok(),
        "a deleted ENI's address is free"
    );
}

#[test]
fn l11_unassigning_twice_says_that_it_happened() {
    let mut world = dual_stack(World::instant(), false);
    let eni = world.create_ipv6(Wanted::Addresses(2));
    let addresses = world.one(&eni).ipv6;
    let gone = unassign(&mut world, &eni, vec![addresses[0]]).expect("assigned");
    assert!(matches!(gone, Response::UnassignedIpv6 { addresses: listed, .. } if listed == [addresses[0]]));
    let again = unassign(&mut world, &eni, addresses.clone());
    assert_eq!(again, Err(Ec2Error::NotAssigned(eni.clone())), "all or nothing");
    assert_eq!(world.one(&eni).ipv6, [addresses[1]]);
}

#[test]
fn metadata_packets_and_describe_learn_of_ipv6_each_in_their_time() {
    let world = World::with(|delays| {
        delays.metadata_assigned = SECOND;
        delays.packets = SECOND;
    });
    let mut world = dual_stack(world, false);
    let subnet = world.subnet.clone();
    world.node = launch(&mut world.model, "c5.large", &subnet);
    let primary = world.model.enis_of(world.now, &world.node)[0].clone();
    let Ok(Response::AssignedIpv6 { addresses, .. }) = assign(&mut world, &primary, Wanted::Addresses(1))
    else {
        panic!("there is room");
    };
    let told = |world: &World| {
        let told = world.model.metadata(world.now, &world.node).expect("it runs");
        told.enis.into_values().next().expect("a primary ENI").ipv6
    };
    let met = |world: &World| {
        world.model.kernel_view(world.now).enis[&primary]
            .ipv6_addresses
            .clone()
    };
    assert_eq!(world.one(&primary).ipv6, addresses);
    assert!(told(&world).is_empty() && met(&world).is_empty());
    assert_eq!(world.model.sender(world.now, addresses[0]), None);
    world.wait(1000);
    assert_eq!((told(&world), met(&world).len()), (addresses.clone(), 1));
    let sender = world.model.sender(world.now, addresses[0]);
    assert_eq!(sender, Some((primary, world.node.clone())));
    assert!(world.model.services_answer(world.now, addresses[0]));
}

#[test]
fn the_view_of_packets_has_cidrs_and_prefixes_of_both_families() {
    let mut world = dual_stack(World::instant(), false);
    let eni = world.create_ipv6(Wanted::Prefixes(2));
    world.attach(&eni, 1);
    let view = world.model.kernel_view(world.now);
    assert_eq!(view.vpc_ipv6_cidrs.len(), 1);
    assert!(view.subnets[&world.subnet].ipv6_cidr.is_some());
    assert_eq!(view.enis[&eni].ipv6_prefixes.len(), 2);
}
