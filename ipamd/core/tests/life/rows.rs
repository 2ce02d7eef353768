//! Single days of that life, each with its lesson.

use ipamd_core::address::AddressCount;
use ipamd_core::ledger::journal::{Present, decode, encode};
use ipamd_core::ledger::{Added, Ledger};
use ipamd_core::policy::WarmTarget;

use crate::{BOOT, COOLDOWN, Life, Step, request};

/// The worked numbers of the peer's documentation, reached by planning: t3.small, 3 ENIs of 3 addresses.
#[test]
fn steady_states_are_the_peers() {
    let ips = |warm, minimum| WarmTarget::Addresses {
        warm: AddressCount(warm),
        minimum: AddressCount(minimum),
    };
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
    let ledger = Ledger::restore(life.journal.clone(), &present);
    assert!(ledger.leases().is_empty());
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
            .add(request(pod), &life.policy.clone(), AddressCount(2), life.now)
    };
    let Added::Given(first) = add(&mut life, 1).unwrap() else {
        panic!("there is a free address")
    };
    assert_eq!(add(&mut life, 1).unwrap(), Added::Again(first));
    let outcomes: Vec<bool> = (2..20).map(|pod| add(&mut life, pod).is_ok()).collect();
    assert!(outcomes.contains(&false), "the line has an end");
}
