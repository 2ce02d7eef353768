//! A node's life at random: pods of one family or of both come and go, calls overlap and fail, answers are lost, the daemon
//! is killed at any step. The invariants of the core hold after each step, and when faults stop every pod is served and
//! every target is met.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::address::{AddressCount, Mac, PodAddresses};
use ipamd_core::id::{AttachmentKey, EniId, InstanceId, Pod};
use ipamd_core::instance::{Limits, Table};
use ipamd_core::ledger::journal::{Entry, Present, decode, encode};
use ipamd_core::ledger::outcome::Happening;
use ipamd_core::ledger::{AddRequest, Added, EniRecord, Ledger};
use ipamd_core::moment::{Moment, Stamp};
use ipamd_core::plan::{Situation, plan};
use ipamd_core::policy::{AddressTarget, Families, Policy, WarmTarget, WarmTargets};
use ipamd_core::snapshot::{Node, SeenEni};
use proptest::prelude::*;

mod cloud;
mod rows;

use cloud::Cloud;

const COOLDOWN: Duration = Duration::from_secs(30);
const DWELL: Duration = Duration::from_secs(60);
const BOOT: &str = "one";

fn instance() -> InstanceId {
    "i-01234567".parse().unwrap()
}

fn policy(warm: WarmTarget) -> Policy {
    let (enis, addresses) = match warm {
        WarmTarget::Enis(enis) => (enis, None),
        WarmTarget::Addresses(target) => (1, Some(target)),
        WarmTarget::Prefixes(_) => panic!("this cloud has no prefixes"),
    };
    Policy {
        warm: WarmTargets {
            enis,
            addresses,
            ..WarmTargets::default()
        },
        cooldown: COOLDOWN,
        dwell: DWELL,
        discovers_subnets: false,
        ..Policy::default()
    }
}

/// The node with its cloud, its journal and the pods that believe to have an address.
struct Life {
    limits: &'static Limits,
    policy: Policy,
    cloud: Cloud,
    ledger: Ledger,
    journal: Vec<Entry>,
    pods: BTreeMap<u32, Option<PodAddresses>>,
    freed: BTreeMap<IpAddr, Moment>,
    now: Moment,
    seed: u64,
    /// Calls that have begun, and once EC2 has done them what it answered.
    flights: Vec<Flight>,
}

struct Flight {
    action: Action,
    begun: Moment,
    answer: Option<Result<Effect, Fault>>,
}

/// How the call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Works,
    Throttled,
    AnswerLost,
    KilledBefore,
    KilledAfter,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u32),
    Delete(u32),
    Wait(u64),
    /// Plans, and makes each call at once.
    Plan(Call),
    /// Plans, and leaves the calls under way.
    Begin,
    /// EC2 does one of the calls under way.
    Execute(usize, Call),
    /// One of its answers arrives.
    Land(usize),
    Kill,
}

impl Life {
    fn new(warm: WarmTarget) -> Self {
        let limits = Table::builtin().unwrap().get("t3.small").unwrap();
        let mut life = Self {
            limits,
            policy: policy(warm),
            cloud: Cloud::new(limits),
            ledger: Ledger::default(),
            journal: vec![Entry::Boot { id: BOOT.to_owned() }],
            pods: BTreeMap::new(),
            freed: BTreeMap::new(),
            now: Moment(Duration::from_secs(10)),
            seed: 1,
            flights: Vec::new(),
        };
        life.ledger.handle_node(node());
        life.sync();
        life
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            moment: self.now,
            wall: self.now.0,
        }
    }

    fn sync(&mut self) {
        let bytes = self
            .ledger
            .take_entries()
            .iter()
            .flat_map(|entry| encode(entry).unwrap())
            .collect::<Vec<u8>>();
        self.journal.extend(decode(&bytes).entries);
        for eni in self.ledger.enis().keys() {
            let leases = self.ledger.leases().values();
            let counted = leases.filter(|lease| lease.eni.as_ref() == Some(eni)).count();
            assert_eq!(self.ledger.leases_on(eni).0 as usize, counted, "pods on {eni}");
        }
    }

    fn in_use(&self) -> BTreeSet<Ipv4Addr> {
        let held = self.pods.values().flatten();
        held.filter_map(|addresses| addresses.v4).collect()
    }

    fn holds_all(&self) -> BTreeSet<IpAddr> {
        let held = self.pods.values().flatten();
        held.flat_map(|addresses| addresses.iter()).collect()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Add(pod) => self.add(pod),
            Step::Delete(pod) => self.delete(pod),
            Step::Wait(seconds) => self.now = self.now.after(Duration::from_secs(seconds)),
            Step::Plan(call) => self.plan(call),
            Step::Begin => self.begin(),
            Step::Execute(which, call) => self.execute(which, call),
            Step::Land(which) => self.land(which),
            Step::Kill => self.kill(),
        }
        self.kernel();
        self.check();
    }

    fn add(&mut self, pod: u32) {
        if self.pods.contains_key(&pod) {
            return;
        }
        let capacity = self.situation().capacity();
        match self
            .ledger
            .add(request(pod), &self.policy, capacity, self.stamp())
        {
            Ok(Added::Given(lease) | Added::Again(lease)) => {
                self.sync();
                self.hold(pod, lease.wiring.addresses());
            }
            Ok(Added::Queued(_)) => drop(self.pods.insert(pod, None)),
            Err(_) => {}
        }
    }

    fn hold(&mut self, pod: u32, addresses: PodAddresses) {
        let families = self.policy.families;
        assert_eq!(
            (addresses.v4.is_some(), addresses.v6.is_some()),
            (families.has_v4(), families.has_v6()),
            "pod {pod} has {addresses}"
        );
        for address in addresses.iter() {
            assert!(
                !self.holds_all().contains(&address),
                "invariant 1: {address} has two holders"
            );
            if let Some(freed) = self.freed.get(&address) {
                assert!(
                    self.now.since(*freed) >= COOLDOWN,
                    "invariant 3: {address} did not rest"
                );
            }
            let attached = self.cloud.enis.values().filter(|eni| eni.attachment.is_some());
            let brings = |eni: &SeenEni| match address {
                IpAddr::V4(address) => eni.blocks.iter().any(|block| block.holds(address)),
                IpAddr::V6(address) => eni.prefixes6.iter().any(|prefix| prefix.contains(&address)),
            };
            assert!(
                { attached }.any(brings),
                "invariant 2: {address} is not on an attached ENI"
            );
        }
        self.pods.insert(pod, Some(addresses));
    }

    fn delete(&mut self, pod: u32) {
        if let Some(held) = self.pods.remove(&pod) {
            self.ledger.release(&request(pod).key, &self.policy, self.stamp());
            self.sync();
            let freed = held.into_iter().flat_map(PodAddresses::iter);
            self.freed.extend(freed.map(|address| (address, self.now)));
        }
    }

    fn plan(&mut self, call: Call) {
        let before = self.flights.len();
        self.begin();
        for flight in self.flights.split_off(before) {
            if call == Call::KilledBefore {
                return self.kill();
            }
            let answer = self.answer(&flight, call);
            if call == Call::KilledAfter {
                return self.kill();
            }
            self.hear(&flight.action, answer);
        }
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            policy: &self.policy,
            limits: self.limits,
            ledger: &self.ledger,
            now: self.now,
            wall: self.now.0,
            terminating: false,
            cordoned: false,
            kubelet_max_pods: None,
        }
    }

    fn begin(&mut self) {
        let plan = plan(&self.situation());
        self.ledger.handle_surplus(plan.surplus, self.now);
        self.check_limits(&plan.actions);
        for action in plan.actions {
            self.ledger.handle_begin(&action);
            self.sync();
            self.flights.push(Flight {
                action,
                begun: self.now,
                answer: None,
            });
        }
    }

    fn execute(&mut self, which: usize, call: Call) {
        let mut open = (0..self.flights.len()).filter(|place| self.flights[*place].answer.is_none());
        if let Some(place) = open.nth(which) {
            let mut flight = self.flights.remove(place);
            flight.answer = Some(self.answer(&flight, call));
            self.flights.insert(place, flight);
        }
    }

    fn land(&mut self, which: usize) {
        let mut places = (0..self.flights.len()).filter(|place| self.flights[*place].answer.is_some());
        if let Some(place) = places.nth(which) {
            let flight = self.flights.remove(place);
            self.hear(&flight.action, flight.answer.unwrap());
        }
    }

    /// What EC2 does and what the daemon will hear of it.
    fn answer(&mut self, flight: &Flight, call: Call) -> Result<Effect, Fault> {
        if call == Call::Throttled {
            return Err(Fault::Throttled {
                code: "RequestLimitExceeded".to_owned(),
            });
        }
        let in_use = self.in_use();
        let answer = self.cloud.execute(&flight.action, &in_use, flight.begun);
        if call == Call::AnswerLost {
            return Err(Fault::Unknown {
                reason: "timed out".to_owned(),
            });
        }
        answer
    }

    fn hear(&mut self, action: &Action, answer: Result<Effect, Fault>) {
        self.seed += 1;
        let happening = Happening {
            now: self.now,
            seed: self.seed,
        };
        self.ledger.handle_outcome(action, answer, happening);
        self.sync();
    }
    /// What the plan adds to what is on record fits the instance type.
    fn check_limits(&self, actions: &[Action]) {
        let new = |action: &&Action| matches!(action, Action::CreateEni(new) if !self.ledger.intents().contains_key(&new.intent));
        // One on another card is excluded.
        let takes_a_place = |record: &&EniRecord| !record.excluded;
        let there = self.ledger.enis().values().filter(takes_a_place).count();
        let enis = there + self.ledger.intents().len() + actions.iter().filter(new).count();
        assert!(enis <= self.limits.enis() as usize, "invariant 5: {enis} ENIs");
        for action in actions {
            if let Action::Assign { eni, ask } = action {
                let count = ask.size();
                let there = self.ledger.enis()[eni].seen.blocks.len() as u32;
                assert!(
                    there + count.0 <= self.limits.pod_slots_per_eni(),
                    "invariant 5: {there} and {count} on {eni}"
                );
            }
        }
    }

    /// The daemon dies; waiting pods are asked for again by the runtime, the rest is restored.
    fn kill(&mut self) {
        let present = Present {
            boot_id: BOOT.to_owned(),
            at: self.stamp(),
            cooldown: COOLDOWN,
        };
        self.ledger = Ledger::restore(self.journal.clone(), &present);
        self.flights.clear();
        let again: Vec<u32> = self
            .pods
            .iter()
            .filter(|(_, held)| held.is_none())
            .map(|(pod, _)| *pod)
            .collect();
        self.pods.retain(|_, held| held.is_some());
        self.kernel();
        for pod in again {
            self.add(pod);
        }
    }

    /// The kernel serves what is attached; those that wait are served.
    fn kernel(&mut self) {
        let settled = self.ledger.take_settled(self.now);
        self.ledger.handle_forgotten(&settled);
        self.ledger.handle_time(self.now);
        if let Some(wanted) = self.ledger.wanted(&self.policy) {
            self.ledger.handle_served(&wanted);
        }
        for (_, added) in self.ledger.serve(&self.policy, self.stamp()) {
            let (Added::Given(lease) | Added::Again(lease)) = added.unwrap() else {
                panic!("served, and still in the line");
            };
            self.sync();
            self.hold(lease.pod.name.as_str().parse().unwrap(), lease.wiring.addresses());
        }
    }

    fn check(&self) {
        for (pod, held) in &self.pods {
            let lease = self.ledger.leases().get(&request(*pod).key);
            assert_eq!(lease.map(|lease| lease.wiring.addresses()), *held, "pod {pod}");
        }
    }

    /// Without faults everything comes to rest: every pod is served, targets are met, the plan is empty.
    fn settle(&mut self) {
        while !self.flights.is_empty() {
            self.step(Step::Execute(0, Call::Works));
            self.step(Step::Land(0));
        }
        for _ in 0..400 {
            self.step(Step::Plan(Call::Works));
            self.step(Step::Wait(1));
        }
        let capacity = self.situation().capacity().0 as usize;
        let served = self.pods.values().flatten().count();
        assert_eq!(
            served,
            self.pods.len().min(capacity),
            "pods wait though there is room"
        );
        let situation = self.situation();
        let rest = plan(&situation);
        assert_eq!(rest.actions, [], "{}", rest.report);
        assert_eq!(
            plan(&situation),
            rest,
            "two plans in a row without events are equal"
        );
        let ours: BTreeSet<&EniId> = self.ledger.enis().keys().collect();
        assert_eq!(ours, self.cloud.enis.keys().collect(), "leaked or forgotten ENIs");
        for (id, eni) in &self.cloud.enis {
            assert_eq!(self.ledger.enis()[id].seen.blocks, eni.blocks, "{id}");
            assert!(
                eni.attachment
                    .as_ref()
                    .is_some_and(|attachment| attachment.delete_on_termination),
                "{id}"
            );
        }
    }

    fn totals(&self) -> (usize, usize) {
        (
            self.cloud.enis.len(),
            self.cloud.enis.values().map(|eni| eni.blocks.len()).sum(),
        )
    }
}

fn node() -> Node {
    Node {
        instance: instance(),
        instance_type: "t3.small".to_owned(),
        region: "eu-test-1".to_owned(),
        primary_mac: Mac([2, 0, 0, 0, 0, 0]),
        primary_ip: Ipv4Addr::new(10, 0, 0, 4),
        primary_ip6: Some("2001:db8:0:1::4".parse().unwrap()),
        subnet_cidr6: Some("2001:db8:0:1::/64".parse().unwrap()),
        vpc: "vpc-01234567".parse().unwrap(),
        zone: "eu-west-1a".to_owned(),
        subnet: "subnet-01234567".parse().unwrap(),
        groups: BTreeSet::new(),
        vpc_cidrs: BTreeSet::from(["10.0.0.0/16".parse().unwrap()]),
        subnet_cidrs: BTreeMap::from([("subnet-01234567".parse().unwrap(), "10.0.0.0/20".parse().unwrap())]),
    }
}

fn request(pod: u32) -> AddRequest {
    let key = AttachmentKey {
        container: format!("c{pod}").parse().unwrap(),
        interface: "eth0".parse().unwrap(),
        network: "aws-cni".parse().unwrap(),
    };
    let pod = Pod {
        namespace: "default".parse().unwrap(),
        name: pod.to_string().parse().unwrap(),
    };
    AddRequest {
        key,
        pod,
        netns: "/run/netns/x".to_owned(),
    }
}

fn targets() -> impl Strategy<Value = WarmTarget> {
    let addresses = (0..5_u32, 0..6_u32).prop_map(|(warm, minimum)| {
        WarmTarget::Addresses(AddressTarget {
            warm: AddressCount(warm),
            minimum: AddressCount(minimum.max(u32::from(warm == 0))),
        })
    });
    prop_oneof![(0..3_u32).prop_map(WarmTarget::Enis), addresses]
}

fn families() -> impl Strategy<Value = Families> {
    prop_oneof![
        2 => Just(Families::V4),
        1 => Just(Families::V6),
        1 => Just(Families::Both),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = prop_oneof![
        4 => Just(Call::Works),
        1 => Just(Call::Throttled),
        1 => Just(Call::AnswerLost),
        1 => Just(Call::KilledBefore),
        1 => Just(Call::KilledAfter),
    ];
    let answer = prop_oneof![
        4 => Just(Call::Works),
        1 => Just(Call::Throttled),
        1 => Just(Call::AnswerLost),
    ];
    let step = prop_oneof![
        4 => (0..14_u32).prop_map(Step::Add),
        3 => (0..14_u32).prop_map(Step::Delete),
        2 => prop_oneof![9 => 1..40_u64, 1 => Just(3600)].prop_map(Step::Wait),
        5 => call.prop_map(Step::Plan),
        3 => Just(Step::Begin),
        3 => (0..3_usize, answer).prop_map(|(which, call)| Step::Execute(which, call)),
        3 => (0..3_usize).prop_map(Step::Land),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_1_to_6_hold_whatever_happens_and_all_is_well_in_the_end(
        warm in targets(),
        families in families(),
        steps in steps(),
    ) {
        let mut life = Life::new(warm);
        life.policy.families = families;
        for step in steps {
            life.step(step);
        }
        life.settle();
    }
}
