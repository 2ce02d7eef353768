//! Security groups: rules as data, when packets meet them, and what keeps a group alive.

use std::collections::BTreeSet;

use super::*;
use crate::model::id::{SecurityGroupId, SecurityGroupRuleId};
use crate::model::request::{NewGroup, Revoked};
use crate::model::security_group::{Allowed, Direction, Peer, Ports, Rule, Traffic};

fn create(world: &mut World, name: &str) -> SecurityGroupId {
    let new = NewGroup {
        name: name.to_owned(),
        description: "d".to_owned(),
        vpc: world.model.vpc_id().clone(),
        tags: Tags::new(),
    };
    match world.ask(Request::CreateSecurityGroup(new)) {
        Ok(Response::GroupCreated { id, .. }) => id,
        other => panic!("expected a group: {other:?}"),
    }
}

fn tcp(port: u16, peer: Peer) -> Rule {
    let ports = Ports {
        first: port,
        last: port,
    };
    Rule {
        direction: Direction::Ingress,
        allowed: Allowed {
            traffic: Traffic::Tcp(ports),
            peer,
        },
        description: None,
    }
}

fn anybody() -> Peer {
    Peer::Ipv4("0.0.0.0/0".parse().expect("a CIDR"))
}

fn authorize(world: &mut World, group: &SecurityGroupId, rules: Vec<Rule>) -> Result<Response, Ec2Error> {
    world.ask(Request::Authorize {
        group: group.clone(),
        direction: Direction::Ingress,
        rules,
        accounts: BTreeSet::new(),
    })
}

fn revoke(world: &mut World, group: &SecurityGroupId, revoked: Revoked) -> Result<Response, Ec2Error> {
    world.ask(Request::Revoke {
        group: group.clone(),
        direction: Direction::Ingress,
        revoked,
        accounts: BTreeSet::new(),
    })
}

fn into_group(world: &mut World, eni: &EniId, group: &SecurityGroupId) {
    let change = EniChange::Groups(vec![group.clone()]);
    let request = Request::ModifyNetworkInterfaceAttribute {
        eni: eni.clone(),
        change,
    };
    assert_eq!(world.ask(request), Ok(Response::Done));
}

/// What packets to the ENI meet.
fn met(world: &World, eni: &EniId) -> BTreeSet<Allowed> {
    world.model.kernel_view(world.now).enis[eni].ingress.clone()
}

#[test]
fn members_of_the_default_group_reach_each_other_and_everything_may_go_out() {
    let mut world = World::instant();
    let eni = world.primary().id;
    let view = world
        .model
        .kernel_view(world.now)
        .enis
        .remove(&eni)
        .expect("plugged");
    let own = view.groups.first().expect("a group").clone();
    let members = Allowed {
        traffic: Traffic::All,
        peer: Peer::Group(own),
    };
    assert_eq!(view.ingress, BTreeSet::from([members]));
    let all = Allowed {
        traffic: Traffic::All,
        peer: anybody(),
    };
    assert_eq!(view.egress, BTreeSet::from([all]));
}

#[test]
fn packets_meet_rules_of_all_groups_of_their_eni_after_a_while() {
    let mut world = World::with(|delays| delays.packets = SECOND);
    let eni = world.primary().id;
    let (one, other) = (create(&mut world, "one"), create(&mut world, "other"));
    let change = EniChange::Groups(vec![one.clone(), other.clone()]);
    let request = Request::ModifyNetworkInterfaceAttribute {
        eni: eni.clone(),
        change,
    };
    world.ask(request).expect("both exist");
    world.wait(1000);
    assert!(met(&world, &eni).is_empty(), "a new group lets nothing in");
    authorize(&mut world, &one, vec![tcp(80, anybody())]).expect("a good rule");
    authorize(&mut world, &other, vec![tcp(443, Peer::Group(one))]).expect("a good rule");
    assert!(met(&world, &eni).is_empty());
    assert!(world.model.next_change(world.now).is_some());
    world.wait(1000);
    assert_eq!(met(&world, &eni).len(), 2);
}

#[test]
fn a_call_about_several_rules_is_all_or_nothing() {
    let mut world = World::instant();
    let eni = world.primary().id;
    let group = create(&mut world, "g");
    into_group(&mut world, &eni, &group);
    let (http, tls) = (tcp(80, anybody()), tcp(443, anybody()));
    let twice = authorize(&mut world, &group, vec![http.clone(), http.clone()]);
    assert_eq!(twice, Err(Ec2Error::RuleDuplicate(http.allowed.clone())));
    assert!(met(&world, &eni).is_empty());
    let nobody = Peer::Group(SecurityGroupId::numbered(1));
    let unknown = authorize(&mut world, &group, vec![http.clone(), tcp(22, nobody)]);
    assert!(matches!(unknown, Err(Ec2Error::GroupNotFound(_))));
    authorize(&mut world, &group, vec![http.clone()]).expect("a good rule");
    let missing = revoke(&mut world, &group, Revoked::Rules(vec![http.clone(), tls]));
    assert_eq!(missing, Err(Ec2Error::RuleNotFound));
    let nowhere = Revoked::Ids(vec![SecurityGroupRuleId::numbered(1)]);
    assert!(revoke(&mut world, &group, nowhere).is_err());
    assert_eq!(met(&world, &eni).len(), 1);
    revoke(&mut world, &group, Revoked::Rules(vec![http])).expect("there is one");
    assert!(met(&world, &eni).is_empty());
}

#[test]
fn a_group_stays_while_an_eni_or_another_groups_rule_needs_it() {
    let mut world = World::instant();
    let (group, other) = (create(&mut world, "g"), create(&mut world, "o"));
    let eni = world.create(Wanted::Nothing).id;
    into_group(&mut world, &eni, &group);
    let delete = |world: &mut World, group: &SecurityGroupId| {
        world.ask(Request::DeleteSecurityGroup { group: group.clone() })
    };
    let needed = Err(Ec2Error::GroupInUse(group.clone()));
    assert_eq!(delete(&mut world, &group), needed);
    into_group(&mut world, &eni, &other);
    let rule = tcp(80, Peer::Group(group.clone()));
    authorize(&mut world, &group, vec![rule.clone()]).expect("a good rule");
    authorize(&mut world, &other, vec![rule.clone()]).expect("a good rule");
    assert_eq!(delete(&mut world, &group), needed);
    revoke(&mut world, &other, Revoked::Rules(vec![rule])).expect("there is one");
    assert_eq!(
        delete(&mut world, &group),
        Ok(Response::GroupDeleted(group.clone()))
    );
    let gone = authorize(&mut world, &group, vec![tcp(1, anybody())]);
    assert_eq!(gone, Err(Ec2Error::GroupNotFound(group)));
    let default = world.model.default_group.clone();
    assert_eq!(delete(&mut world, &default), Err(Ec2Error::DefaultGroup(default)));
}

#[test]
fn l7_a_fresh_group_may_not_be_found_yet_and_quotas_end() {
    let mut settings = Settings::instant(1);
    settings.delays.api_created = SECOND;
    settings.quotas.groups = 2;
    settings.quotas.rules_per_group = 1;
    let mut world = World::new(settings);
    let group = create(&mut world, "g");
    let early = authorize(&mut world, &group, vec![tcp(80, anybody())]);
    assert_eq!(early, Err(Ec2Error::GroupNotFound(group.clone())));
    world.wait(1000);
    let two = authorize(&mut world, &group, vec![tcp(80, anybody()), tcp(81, anybody())]);
    assert_eq!(two, Err(Ec2Error::RuleQuota));
    let vpc = world.model.vpc_id().clone();
    let new = |name: &str| {
        Request::CreateSecurityGroup(NewGroup {
            name: name.to_owned(),
            description: "d".to_owned(),
            vpc: vpc.clone(),
            tags: Tags::new(),
        })
    };
    assert!(matches!(
        world.ask(new("g")),
        Err(Ec2Error::GroupDuplicate { .. })
    ));
    assert_eq!(world.ask(new("third")), Err(Ec2Error::GroupsQuota));
}
