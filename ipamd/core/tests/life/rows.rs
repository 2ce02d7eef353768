//! Single days of that life, each with its lesson.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::address::{AddressCount, Ask, Block, Mac};
use ipamd_core::checkpoint::Claim;
use ipamd_core::id::{AttachmentKey, EniId, InstanceId, Pod};
use ipamd_core::ledger::journal::{Present, decode, encode};
use ipamd_core::ledger::{Added, Ledger};
use ipamd_core::net::NetState;
use ipamd_core::policy::{AddressTarget, WarmTarget};

use ipamd_core::snapshot::{Owner, Scope, SeenAttachment, SeenEni};

use crate::{BOOT, COOLDOWN, Call, Life, Step, instance, node, request};

/// The worked numbers of the peer's documentation, reached by planning: t3.small, 3 ENIs of 3 addresses.
#[test]
fn steady_states_are_the_peers() {
    let ips = warm;
    for (warm, pods, expected) in [
        (WarmTarget::Enis(1), 0, (1, 3)),
        (WarmTarget::Enis(1), 5, (3, 9)),
        (ips(1, 1), 0, (1, 1)),
        (ips(1, 1), 5, (2, 6)),
        (ips(2, 5), 0, (2, 5)),
        (ips(2, 5), 5, (3, 7)),
    ] {
        let mut life = Life::new(warm);
        (0..pods).for_each(|pod| life.step(Step::Add(pod)));
        life.settle();
        assert_eq!(life.totals(), expected, "{warm:?} with {pods} pods");
        (0..pods).for_each(|pod| life.step(Step::Delete(pod)));
        life.settle();
        let mut fresh = Life::new(warm);
        fresh.settle();
        assert_eq!(
            life.totals(),
            fresh.totals(),
            "{warm:?}: as before, after {pods} pods went"
        );
    }
}

/// Nobody knows what the daemon before released a moment ago.
#[test]
fn after_a_take_over_nothing_is_given_for_a_cool_down() {
    let mut life = Life::new(WarmTarget::Enis(1));
    life.settle();
    let began = life.now;
    let (policy, at) = (life.policy.clone(), life.stamp());
    life.ledger.take_over(&[], &NetState::default(), &policy, at);
    life.sync();
    life.step(Step::Add(1));
    life.step(Step::Kill);
    life.step(Step::Wait(COOLDOWN.as_secs() - 1));
    assert!(life.in_use().is_empty(), "{:?} after it", life.now.since(began));
    life.step(Step::Wait(1));
    assert_eq!(life.in_use().len(), 1);
}

/// What the peer left on a second network card takes no place on the first, serves the pods that it has, and goes after
/// the last of them.
#[test]
fn an_eni_on_another_card_drains() {
    let mut life = Life::new(warm(1, 0));
    let primary = life.cloud.enis.values().next().unwrap().clone();
    let address = Ipv4Addr::new(10, 0, 9, 2);
    let other = SeenEni {
        id: "eni-00ffffff".parse().unwrap(),
        mac: Mac([2, 0, 0, 1, 0, 1]),
        primary_ip: Ipv4Addr::new(10, 0, 9, 1),
        blocks: BTreeSet::from([Block::Secondary(address)]),
        attachment: Some(SeenAttachment {
            id: "eni-attach-00ffffff".parse().unwrap(),
            device_index: 1,
            network_card: 1,
            delete_on_termination: true,
            ..primary.attachment.clone().unwrap()
        }),
        owner: Owner::Ours(None),
        ..primary
    };
    life.cloud.enis.insert(other.id.clone(), other.clone());
    let claim = Claim {
        key: request(99).key,
        pod: Pod::unknown(),
        addresses: address.into(),
        since: Duration::ZERO,
    };
    let (policy, at) = (life.policy.clone(), life.stamp());
    life.ledger.take_over(&[claim], &NetState::default(), &policy, at);
    // A t3.small has three places for ENIs of three addresses, and runs nine pods.
    life.now = life.now.after(COOLDOWN);
    (0..8).for_each(|pod| life.step(Step::Add(pod)));
    (0..200).for_each(|_| {
        life.step(Step::Plan(Call::Works));
        life.step(Step::Wait(1));
    });
    assert_eq!(life.in_use().len(), 8);
    assert_eq!(
        life.totals(),
        (4, 9),
        "three ENIs with eight addresses, and what was there"
    );
    life.ledger.release(&request(99).key, &policy, life.stamp());
    life.settle();
    assert!(
        !life.cloud.enis.contains_key(&other.id),
        "it went after its last pod"
    );
}

#[test]
fn after_a_reboot_all_pods_are_gone_and_their_addresses_rest() {
    let mut life = Life::new(WarmTarget::Enis(1));
    life.step(Step::Add(1));
    life.settle();
    let address = life.in_use().into_iter().next().unwrap();
    let present = Present {
        boot_id: "two".to_owned(),
        at: life.stamp(),
        cooldown: COOLDOWN,
    };
    let mut ledger = Ledger::restore(life.journal.clone(), &present);
    assert!(ledger.leases().is_empty());
    let settled = ledger.take_settled(life.now.after(COOLDOWN));
    ledger.handle_forgotten(&settled);
    assert!(!ledger.is_free(address, life.now) && ledger.is_free(address, life.now.after(COOLDOWN)));
}

#[test]
fn a_compacted_journal_restores_the_same() {
    let mut life = Life::new(WarmTarget::Enis(1));
    (0..6).for_each(|pod| life.step(Step::Add(pod)));
    life.settle();
    life.step(Step::Delete(3));
    let present = Present {
        boot_id: BOOT.to_owned(),
        at: life.stamp(),
        cooldown: COOLDOWN,
    };
    let long = Ledger::restore(life.journal.clone(), &present);
    let bytes = life
        .ledger
        .entries(BOOT, life.now)
        .iter()
        .flat_map(|entry| encode(entry).unwrap())
        .collect::<Vec<u8>>();
    let short = Ledger::restore(decode(&bytes).entries, &present);
    assert_eq!(long.entries(BOOT, life.now), short.entries(BOOT, life.now));
}

#[test]
fn a_repeated_add_gets_the_same_answer_and_the_line_is_bounded() {
    let mut life = Life::new(WarmTarget::Enis(1));
    life.settle();
    let add = |life: &mut Life, pod| {
        life.ledger
            .add(request(pod), &life.policy.clone(), AddressCount(2), life.stamp())
    };
    let Added::Given(first) = add(&mut life, 1).unwrap() else {
        panic!("there is a free address")
    };
    assert_eq!(add(&mut life, 1).unwrap(), Added::Again(first));
    let outcomes: Vec<bool> = (2..20).map(|pod| add(&mut life, pod).is_ok()).collect();
    assert!(outcomes.contains(&false), "the line has an end");
}

/// A node that holds exactly so many addresses.
fn holding(addresses: u32) -> Life {
    let mut life = Life::new(warm(0, addresses));
    life.settle();
    life
}

fn warm(warm: u32, minimum: u32) -> WarmTarget {
    WarmTarget::Addresses(AddressTarget {
        warm: AddressCount(warm),
        minimum: AddressCount(minimum),
    })
}

fn primary() -> EniId {
    "eni-00000000".parse().unwrap()
}

/// What the calls under way are, in short.
fn creations(life: &Life) -> usize {
    let calls = life.flights.iter().map(|flight| &flight.action);
    calls
        .filter(|action| matches!(action, Action::CreateEni(_)))
        .count()
}

/// Begins a call and lets EC2 do it; the answer is not heard yet.
fn under_way(life: &mut Life, action: Action) -> (Action, Result<Effect, Fault>) {
    life.ledger.handle_begin(&action);
    let answer = life.cloud.execute(&action, &life.in_use(), life.now);
    (action, answer)
}

#[test]
fn a_read_that_began_before_a_change_does_not_undo_it() {
    let mut life = holding(2);
    let given_up = *life.cloud.enis[&primary()].blocks.first().unwrap();
    let read = under_way(
        &mut life,
        Action::ReadAll {
            instance: instance(),
            scope: Scope::Everything,
        },
    );
    let changes = [
        Action::Unassign {
            eni: primary(),
            blocks: [given_up].into(),
        },
        Action::Assign {
            eni: primary(),
            ask: Ask::Addresses(AddressCount(1)),
        },
    ];
    for change in changes {
        let change = under_way(&mut life, change);
        life.hear(&change.0, change.1);
    }
    life.step(Step::Wait(3600));
    life.hear(&read.0, read.1);
    assert_eq!(
        life.ledger.enis()[&primary()].seen.blocks,
        life.cloud.enis[&primary()].blocks
    );
}

#[test]
fn a_read_soon_after_a_change_may_still_show_what_was_before() {
    let mut life = holding(2);
    let before = life.cloud.enis.clone();
    let change = Action::Unassign {
        eni: primary(),
        blocks: before[&primary()].blocks.first().copied().into_iter().collect(),
    };
    let change = under_way(&mut life, change);
    life.hear(&change.0, change.1);
    life.step(Step::Wait(2));
    let after = std::mem::replace(&mut life.cloud.enis, before);
    let read = under_way(
        &mut life,
        Action::ReadAll {
            instance: instance(),
            scope: Scope::Everything,
        },
    );
    life.cloud.enis = after;
    life.hear(&read.0, read.1);
    assert_eq!(life.ledger.enis()[&primary()].seen.blocks.len(), 1);
}

#[test]
fn a_creation_that_is_heard_of_late_does_not_undo_the_attachment() {
    let mut life = holding(1);
    (0..3).for_each(|pod| life.step(Step::Add(pod)));
    life.settle();
    life.step(Step::Add(3));
    life.step(Step::Begin);
    assert_eq!(creations(&life), 1);
    life.step(Step::Execute(0, Call::Works));
    life.now = life.now.after(Duration::from_secs(3600));
    (0..3).for_each(|_| life.step(Step::Plan(Call::Works)));
    let attached = |life: &Life| {
        let records = life.ledger.enis().values();
        records.filter(|record| record.seen.attachment.is_some()).count()
    };
    assert_eq!(attached(&life), 2, "found by a read, and attached");
    life.step(Step::Land(0));
    assert_eq!(attached(&life), 2);
}

#[test]
fn a_creation_is_repeated_word_for_word_though_the_node_changed_meanwhile() {
    let mut life = holding(1);
    (0..3).for_each(|pod| life.step(Step::Add(pod)));
    life.settle();
    life.step(Step::Add(3));
    life.step(Step::Begin);
    let asked = life.flights.pop().unwrap().action;
    let lost = Fault::Unknown {
        reason: "timed out".to_owned(),
    };
    life.hear(&asked, Err(lost));
    let mut changed = node();
    changed.groups.insert("sg-01234567".parse().unwrap());
    life.ledger.handle_node(changed);
    life.policy.tags.insert("team".to_owned(), "blue".to_owned());
    life.kill();
    life.step(Step::Wait(60));
    life.step(Step::Plan(Call::Works));
    life.step(Step::Begin);
    let again = life
        .flights
        .iter()
        .find(|flight| flight.action.subject() == asked.subject());
    assert_eq!(again.map(|flight| &flight.action), Some(&asked));
}

#[test]
fn invariant_4_an_eni_with_pods_is_not_detached_even_if_it_was_to_go() {
    let mut life = Life::new(warm(1, 0));
    (0..4).for_each(|pod| life.step(Step::Add(pod)));
    life.settle();
    let (id, attachment) = life
        .cloud
        .enis
        .iter()
        .nth(1)
        .map(|(id, eni)| (id.clone(), eni.attachment.clone().unwrap().id))
        .unwrap();
    // Somebody else's detach, or a removal that was begun on a wrong belief, failed.
    let detach = Action::DetachEni { eni: id, attachment };
    life.ledger.handle_begin(&detach);
    let throttled = Fault::Wait {
        code: "RequestLimitExceeded".to_owned(),
    };
    life.hear(&detach, Err(throttled));
    life.step(Step::Wait(60));
    life.settle();
}

/// Two requests of one attachment wait; whoever asked first has gone when an address comes.
#[test]
fn requests_of_one_attachment_are_answered_together() {
    let mut life = holding(1);
    let capacity = AddressCount(10);
    let ask = |life: &mut Life, pod| {
        life.ledger
            .add(request(pod), &life.policy, capacity, life.stamp())
            .unwrap()
    };
    let Added::Given(first) = ask(&mut life, 0) else {
        panic!("one is free");
    };
    let tickets = [1, 1, 2].map(|pod| match ask(&mut life, pod) {
        Added::Queued(ticket) => ticket,
        other => panic!("{other:?}"),
    });
    life.ledger.release(&request(0).key, &life.policy, life.stamp());
    life.now = life.now.after(life.policy.cooldown);
    let settled = life.ledger.take_settled(life.now);
    life.ledger.handle_forgotten(&settled);
    let served = life.ledger.serve(&life.policy, life.stamp());
    let outcomes: BTreeMap<_, _> = served.into_iter().collect();
    let Some(Ok(Added::Given(lease))) = outcomes.get(&tickets[0]) else {
        panic!("{outcomes:?}");
    };
    assert_eq!(lease.wiring.addresses(), first.wiring.addresses());
    assert_eq!(outcomes.get(&tickets[1]), Some(&Ok(Added::Again(lease.clone()))));
    assert_eq!(outcomes.get(&tickets[2]), None, "nothing is left for another pod");
    assert_eq!(life.ledger.waiting().len(), 1);
}

#[test]
fn invariant_2_what_the_kernel_no_longer_serves_is_not_handed_out() {
    let mut life = holding(1);
    assert!(life.ledger.has_free(&life.policy));
    let mut served = life.ledger.wanted(&life.policy).unwrap();
    served.enis.clear();
    life.ledger.handle_served(&served);
    assert!(!life.ledger.has_free(&life.policy), "its device is gone");
}

#[test]
fn invariant_2_nothing_is_handed_out_of_an_eni_that_leaves() {
    let elsewhere: InstanceId = "i-89abcdef".parse().unwrap();
    let leaving: [fn(&mut SeenAttachment, &InstanceId); 2] = [
        |attachment, _| attachment.detaching = true,
        |attachment, elsewhere| attachment.instance = elsewhere.clone(),
    ];
    for leave in leaving {
        let mut life = Life::new(warm(1, 0));
        (0..3).for_each(|pod| life.step(Step::Add(pod)));
        life.settle();
        let (id, _) = life.cloud.enis.iter().nth(1).unwrap();
        let id = id.clone();
        let mut seen = life.cloud.enis[&id].clone();
        leave(seen.attachment.as_mut().unwrap(), &elsewhere);
        let action = Action::ReadEni { eni: id };
        life.ledger.handle_begin(&action);
        life.hear(&action, Ok(Effect::Read(Some(seen))));
        life.step(Step::Wait(0));
        assert!(!life.ledger.has_free(&life.policy));
    }
}

#[test]
fn a_subnet_that_metadata_forgets_for_a_moment_stays_known() {
    let mut life = holding(1);
    let before = life.ledger.wanted(&life.policy);
    let mut forgetful = node();
    forgetful.subnet_cidrs.clear();
    life.ledger.handle_node(forgetful);
    assert_eq!(life.ledger.wanted(&life.policy), before);
}

#[test]
fn what_is_refused_again_and_again_is_tried_ever_more_rarely() {
    let mut life = holding(0);
    life.policy = crate::policy(warm(1, 0));
    life.policy.max_eni = Some(1);
    let mut calls = 0;
    for _ in 0..1200 {
        life.step(Step::Begin);
        for flight in std::mem::take(&mut life.flights) {
            calls += 1;
            let refused = Fault::Refused {
                code: "InvalidParameterCombination".to_owned(),
                message: String::new(),
            };
            let answer = match flight.action {
                Action::Assign { .. } => Err(refused),
                _ => life.answer(&flight, Call::Works),
            };
            life.hear(&flight.action, answer);
        }
        life.now = life.now.after(Duration::from_millis(500));
    }
    assert!(calls > 5 && calls < 60, "{calls} calls in ten minutes");
}

#[test]
fn pods_that_come_one_by_one_share_the_room_that_is_coming() {
    let mut life = Life::new(warm(1, 1));
    life.settle();
    for pod in 0..2 {
        life.step(Step::Add(pod));
        life.step(Step::Begin);
        assert_eq!(creations(&life), 0, "the primary has room for {pod}");
    }
    life.settle();
    life.step(Step::Add(2));
    life.step(Step::Begin);
    assert_eq!(creations(&life), 1);
    for pod in 3..5 {
        life.step(Step::Add(pod));
        life.step(Step::Begin);
        assert_eq!(creations(&life), 1, "the new one has room for {pod}");
    }
    life.settle();
    assert_eq!(life.totals(), (2, 6));
}

#[test]
fn a_number_for_a_client_token_is_not_used_twice_though_the_wall_clock_steps_back() {
    let mut life = Life::new(warm(1, 0));
    (0..3).for_each(|pod| life.step(Step::Add(pod)));
    life.settle();
    let next = life.ledger.next_intent(Duration::ZERO);
    let present = Present {
        boot_id: BOOT.to_owned(),
        at: life.stamp(),
        cooldown: COOLDOWN,
    };
    let restored = Ledger::restore(life.ledger.entries(BOOT, life.now), &present);
    assert_eq!(restored.next_intent(Duration::ZERO), next);
    assert!(restored.intents().is_empty());
}

#[test]
fn two_interfaces_of_one_pod_have_devices_of_their_own() {
    let mut life = holding(2);
    let add = |life: &mut Life, interface: &str| {
        let mut request = request(1);
        request.key = AttachmentKey {
            interface: interface.parse().unwrap(),
            ..request.key
        };
        let added = life
            .ledger
            .add(request, &life.policy.clone(), AddressCount(9), life.stamp());
        let Added::Given(lease) = added.unwrap() else {
            panic!("there is a free address")
        };
        lease.wiring.host_name
    };
    assert_ne!(add(&mut life, "eth0"), add(&mut life, "net1"));
}

#[test]
fn a_node_that_may_not_provision_reads_and_serves_what_there_is() {
    let mut life = Life::new(WarmTarget::Enis(1));
    life.policy.provisions = false;
    let there = [Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 1, 2)];
    let primary = life.cloud.enis.values_mut().next().unwrap();
    primary.blocks.extend(there.map(Block::Secondary));
    let given = there.len();
    (0..6).for_each(|pod| life.step(Step::Add(pod)));
    for _ in 0..200 {
        life.step(Step::Begin);
        let changes = life
            .flights
            .iter()
            .filter(|flight| flight.action.effect() == ipamd_core::pace::Effect::Changes);
        assert_eq!(changes.count(), 0);
        life.step(Step::Execute(0, Call::Works));
        life.step(Step::Land(0));
        life.step(Step::Wait(40));
    }
    assert!(life.ledger.read_all_at().is_some(), "it was read");
    assert_eq!(life.totals().1, given, "EC2 is as it was");
    assert_eq!(life.in_use().len(), given, "what there is was given");
}
