//! Subnets and what belongs to them: reservations, free counts that lag, zones; and tags of everything.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::*;
use crate::model::id::CidrReservationId;
use crate::model::pool::ReservationKind;

fn reserve(world: &mut World, cidr: &str, kind: ReservationKind) -> Result<CidrReservationId, Ec2Error> {
    let request = Request::CreateSubnetCidrReservation {
        subnet: world.subnet.clone(),
        cidr: cidr.parse::<IpNet>().expect("a CIDR"),
        kind,
        description: String::new(),
        tags: Tags::new(),
    };
    match world.ask(request)? {
        Response::ReservationCreated(made) => Ok(made.id),
        other => panic!("expected a reservation: {other:?}"),
    }
}

#[test]
fn a7_reservations_by_the_api_set_aside_take_nothing_and_free_nothing() {
    let mut world = World::instant();
    let held = world.create(Wanted::ExplicitPrefixes(vec![
        "10.0.1.64/28".parse().expect("a CIDR"),
    ]));
    let over = reserve(&mut world, "10.0.1.64/27", ReservationKind::Prefix).expect("over what is in use");
    assert_eq!(world.one(&held.id).prefixes, held.prefixes);
    let next = world.create(Wanted::Prefixes(1)).prefixes[0];
    assert_eq!(
        next,
        "10.0.1.80/28".parse().expect("a CIDR"),
        "from the reservation first"
    );
    let conflict = reserve(&mut world, "10.0.1.80/28", ReservationKind::Explicit);
    assert!(matches!(conflict, Err(Ec2Error::ReservationConflict(_))));
    let outside = reserve(&mut world, "10.0.2.0/28", ReservationKind::Explicit);
    assert!(matches!(outside, Err(Ec2Error::InvalidValue { .. })));
    let no_ipv6 = reserve(&mut world, "2001:db8::/80", ReservationKind::Explicit);
    assert_eq!(no_ipv6, Err(Ec2Error::NoIpv6(world.subnet.clone())));
    let delete = Request::DeleteSubnetCidrReservation {
        reservation: over.clone(),
    };
    assert!(world.ask(delete.clone()).is_ok());
    assert_eq!(world.one(&held.id).prefixes, held.prefixes);
    assert_eq!(world.ask(delete), Err(Ec2Error::ReservationNotFound(over)));
    reserve(&mut world, "10.0.1.0/24", ReservationKind::Explicit).expect("the place is free again");
    assert_eq!(
        world.ask(CreateEni::plain(world.subnet.clone()).into()),
        Err(Ec2Error::NoFreeAddresses)
    );
}

/// What describe says is free.
fn shown(world: &mut World) -> u32 {
    let request = Request::DescribeSubnets(Describe {
        ids: vec![world.subnet.clone()],
        narrowed: false,
    });
    match world.ask(request) {
        Ok(Response::Subnets(list)) => list[0].available,
        other => panic!("expected subnets: {other:?}"),
    }
}

#[test]
fn a2_the_free_count_is_exact_unless_it_is_made_to_lag() {
    let mut prompt = World::instant();
    let eni = prompt.create(Wanted::Addresses(4)).id;
    assert_eq!(shown(&mut prompt), 245);
    prompt.delete(&eni).expect("available");
    assert_eq!(shown(&mut prompt), 250);
    let mut late = World::with(|delays| delays.subnet_count = SECOND);
    late.create(Wanted::Addresses(4));
    assert_eq!(shown(&mut late), 250, "nobody knows yet");
    let refused = late.ask(Request::CreateNetworkInterface(CreateEni {
        wanted: Wanted::Prefixes(15),
        ..CreateEni::plain(late.subnet.clone())
    }));
    assert_eq!(refused, Err(Ec2Error::NoFreeBlocks), "but what is free is free");
    late.wait(1000);
    assert_eq!(shown(&mut late), 245);
}

#[test]
fn zones_are_those_of_the_subnets() {
    let mut world = World::instant();
    let mut ask = |ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        world.ask(Request::DescribeAvailabilityZones(Describe {
            ids,
            narrowed: false,
        }))
    };
    let count = |answer| match answer {
        Ok(Response::Zones(list)) => list.len(),
        other => panic!("expected zones: {other:?}"),
    };
    assert_eq!(count(ask(&[])), 2);
    assert_eq!(count(ask(&["us-east-1b"])), 1);
    assert_eq!(count(ask(&["use1-az-a"])), 1);
    let unknown = Ec2Error::ZoneNotFound("us-east-1z".to_owned());
    assert_eq!(ask(&["us-east-1z"]), Err(unknown));
}

#[test]
fn tags_go_by_key_by_value_or_all_at_once_and_l7_are_seen_late() {
    let mut world = World::with(|delays| delays.api_changed = SECOND);
    let node = Resource::Instance(world.node.clone());
    let tag = |text: &[(&str, &str)]| -> Tags {
        let pairs = text.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let left = |world: &mut World| match world.ask(Request::DescribeTags(Describe {
        ids: Vec::new(),
        narrowed: false,
    })) {
        Ok(Response::Tags(list)) => list.into_iter().map(|tag| tag.key).collect::<String>(),
        other => panic!("expected tags: {other:?}"),
    };
    let create = Request::CreateTags {
        resources: vec![node.clone()],
        tags: tag(&[("a", "1"), ("b", "2"), ("c", "")]),
    };
    world.ask(create).expect("there is one");
    assert_eq!(left(&mut world), "");
    world.wait(1000);
    assert_eq!(left(&mut world), "abc");
    let mut delete = |tags: &[(&str, Option<&str>)], expected: &str| {
        let pairs = tags.iter();
        let tags: BTreeMap<String, Option<String>> = pairs
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
            .collect();
        let request = Request::DeleteTags {
            resources: vec![node.clone()],
            tags,
        };
        assert_eq!(world.ask(request), Ok(Response::Done));
        world.wait(1000);
        assert_eq!(left(&mut world), expected);
    };
    delete(&[("a", Some("2")), ("x", None)], "abc");
    delete(&[("a", Some("1"))], "bc");
    delete(&[("c", Some(""))], "b");
    delete(&[], "");
}
