//! One node of the fleet: the core as the daemon drives it, and its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::address::AddressCount;
use ipamd_core::explain::Dump;
use ipamd_core::id::{AttachmentKey, EniId, Pod};
use ipamd_core::instance::{Limits, Table};
use ipamd_core::ledger::outcome::Happening;
use ipamd_core::ledger::{AddRequest, Ledger};
use ipamd_core::moment::{Moment, Stamp};
use ipamd_core::plan::{Plan, Situation, plan};
use ipamd_core::policy::Policy;
use ipamd_core::retry;
use ipamd_core::snapshot::{Node, Owner};

/// What all nodes of a fleet are.
pub(crate) struct Spec {
    pub(crate) nodes: u32,
    pub(crate) instance_type: &'static str,
    pub(crate) policy: Policy,
    /// Pods that wait when a node starts.
    pub(crate) pods: u32,
}

/// When the simulated time begins, since 1970.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// From an attach to the device in the kernel (observed: one to three seconds).
const DEVICE: Duration = Duration::from_secs(2);

pub(crate) struct FleetNode {
    pub(crate) node: Node,
    policy: Policy,
    limits: &'static Limits,
    ledger: Ledger,
    seed: u64,
    devices: BTreeMap<EniId, Moment>,
    pub(crate) started: Duration,
    /// When it has something to do, if nothing happens before.
    pub(crate) wakes_at: Option<Duration>,
    pods: BTreeSet<u32>,
    /// When every pod was served and nothing was half-way.
    pub(crate) done: Option<Duration>,
}

impl FleetNode {
    pub(crate) fn new(node: Node, started: Duration, spec: &Spec) -> Self {
        Self {
            // The clock at which it started makes the seed another in each run.
            seed: retry::seed(&node.instance, started),
            node,
            policy: spec.policy.clone(),
            limits: Table::builtin().unwrap().get(spec.instance_type).unwrap(),
            ledger: Ledger::default(),
            devices: BTreeMap::new(),
            started,
            wakes_at: None,
            pods: BTreeSet::new(),
            done: None,
        }
    }

    pub(crate) fn start(&mut self, pods: u32, now: Duration) {
        let at = self.happening(now);
        self.ledger.handle_node(self.node.clone());
        self.ledger.handle_policy(&self.policy, Some(self.limits));
        self.ledger.handle_start(self.policy.start_spread, at);
        self.come(0..pods, now);
    }

    /// Pods come, and wait where they must.
    pub(crate) fn come(&mut self, pods: Range<u32>, now: Duration) {
        self.done = None;
        for pod in pods {
            self.pods.insert(pod);
            let line = AddressCount(u32::MAX);
            self.ledger
                .add(request(pod), &self.policy, line, stamp(now))
                .unwrap();
        }
    }

    /// A pod goes.
    pub(crate) fn go(&mut self, pod: u32, now: Duration) {
        self.pods.remove(&pod);
        let key = request(pod).key;
        self.ledger.release(&key, &self.policy, stamp(now)).unwrap();
    }

    pub(crate) fn hear(&mut self, action: &Action, outcome: Result<Effect, Fault>, now: Duration) {
        if let (Action::AttachEni { eni, .. }, Ok(_)) = (action, &outcome) {
            self.devices.insert(eni.clone(), Moment(now + DEVICE));
        }
        let at = self.happening(now);
        self.ledger.handle_outcome(action, outcome, at);
        self.ledger.handle_policy(&self.policy, Some(self.limits));
    }

    /// Everything that follows from the passing of time, and the calls to make.
    pub(crate) fn turn(&mut self, now: Duration) -> Plan {
        let moment = Moment(now);
        self.ledger.handle_time(moment);
        if self.ledger.forget_at(&self.policy).is_some_and(|at| at <= moment) {
            let settled = self.ledger.take_settled(moment);
            self.ledger.handle_forgotten(&settled);
        }
        if let Some(mut wanted) = self.ledger.wanted(&self.policy) {
            let shown = |id: &EniId| self.devices.get(id).is_none_or(|at| *at <= moment);
            wanted.enis.retain(|eni| shown(&eni.id));
            self.ledger.handle_served(&wanted);
        }
        self.ledger.serve(&self.policy, stamp(now));
        let mut plan = plan(&self.situation(now));
        self.ledger.handle_surplus(plan.surplus, moment);
        for action in &plan.actions {
            self.ledger.handle_begin(action);
        }
        self.ledger.take_entries();
        let device = self.devices.values().filter(|at| **at > moment).min().copied();
        let deadline = self.ledger.next_deadline(moment);
        let forget_at = self.ledger.forget_at(&self.policy);
        plan.wake_at = [plan.wake_at, device, deadline, forget_at]
            .into_iter()
            .flatten()
            .min();
        if self.done.is_none() && self.is_served() {
            self.done = Some(now);
        }
        plan
    }

    /// What it says of itself, by way of a dump that is saved and read.
    pub(crate) fn explain(&self, now: Duration) -> String {
        let dump = Dump::of(&self.situation(now), None);
        let saved = serde_json::to_string(&dump).unwrap();
        Dump::parse(&saved).unwrap().explain().to_string()
    }

    fn situation(&self, now: Duration) -> Situation<'_> {
        Situation {
            policy: &self.policy,
            limits: self.limits,
            ledger: &self.ledger,
            now: Moment(now),
            wall: EPOCH + now,
            terminating: false,
            cordoned: false,
            kubelet_max_pods: None,
        }
    }

    /// Every pod has its address, and nothing of the node's is half-way.
    fn is_served(&self) -> bool {
        let tied = self.ledger.enis().values().all(|record| {
            let place = record.seen.attachment.as_ref();
            place.is_some_and(|place| place.delete_on_termination || record.seen.owner == Owner::Primary)
        });
        self.ledger.leases().len() == self.pods.len() && tied
    }

    fn happening(&mut self, now: Duration) -> Happening {
        self.seed = self.seed.wrapping_add(1);
        Happening {
            now: Moment(now),
            seed: self.seed,
        }
    }
}

fn stamp(now: Duration) -> Stamp {
    Stamp {
        moment: Moment(now),
        wall: EPOCH + now,
    }
}

fn request(pod: u32) -> AddRequest {
    AddRequest {
        key: AttachmentKey {
            container: format!("c{pod}").parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            network: "aws-cni".parse().unwrap(),
        },
        pod: Pod {
            namespace: "default".parse().unwrap(),
            name: format!("pod-{pod}").parse().unwrap(),
        },
        netns: "/run/netns/x".to_owned(),
    }
}

/// What metadata tells of an instance.
pub(crate) fn facts(
    instance: &str,
    instance_type: &str,
    vpc: &str,
    subnet: &str,
    primary: (Ipv4Addr, String),
) -> Node {
    let (primary_ip, mac) = primary;
    Node {
        instance: instance.parse().unwrap(),
        instance_type: instance_type.to_owned(),
        region: "us-east-1".to_owned(),
        primary_mac: mac.parse().unwrap(),
        primary_ip,
        primary_ip6: None,
        subnet_cidr6: None,
        vpc: vpc.parse().unwrap(),
        zone: "us-east-1a".to_owned(),
        subnet: subnet.parse().unwrap(),
        groups: BTreeSet::new(),
        vpc_cidrs: BTreeSet::from(["10.0.0.0/16".parse().unwrap()]),
        subnet_cidrs: BTreeMap::from([(subnet.parse().unwrap(), "10.0.0.0/17".parse().unwrap())]),
    }
}
