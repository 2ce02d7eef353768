//! Nodes of one account in virtual time: the model's answers and the nodes' own deadlines are the only clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::moment::Moment;
use vpc_sim::model::Model;
use vpc_sim::model::id::SubnetId;
use vpc_sim::model::instance::Launch;
use vpc_sim::model::request::Call;
use vpc_sim::model::response::{Response, Zone};
use vpc_sim::model::settings::Settings;
use vpc_sim::model::subnet::NewSubnet;

use crate::call;
use crate::cloud::{self, Tally};
use crate::node::{FleetNode, INSTANCE_TYPE, facts};

/// Within which all nodes start, evenly.
const BOOT: Duration = Duration::from_secs(10);

/// Something that happens to a node.
enum Event {
    Start,
    Wake,
    /// Some of the calls that one action makes were answered.
    Goes(Work),
    Landed(Action, Result<Effect, Fault>),
}

/// An action under way: its calls are made one after the other.
struct Work {
    action: Action,
    begun: Moment,
    responses: Vec<Response>,
}

pub(crate) struct Fleet {
    pub(crate) model: Model,
    pub(crate) subnet: SubnetId,
    pub(crate) tally: Tally,
    pub(crate) nodes: Vec<FleetNode>,
    queue: BinaryHeap<Reverse<(Duration, usize)>>,
    /// By the order in which they were planned, with the node.
    events: BTreeMap<usize, (usize, Event)>,
    next: usize,
}

impl Fleet {
    pub(crate) fn new(nodes: u32, seed: u64) -> Self {
        let mut model = Model::new(Settings::seeded(seed), "10.0.0.0/16".parse().unwrap());
        let zone = Zone {
            name: "us-east-1a".to_owned(),
            id: "use1-az1".to_owned(),
        };
        let subnet = model
            .add_subnet(NewSubnet::plain("10.0.0.0/17".parse().unwrap(), zone))
            .unwrap();
        let vpc = model.vpc_id().to_string();
        let launch = Launch::plain(INSTANCE_TYPE.parse().unwrap(), subnet.clone());
        let instances = (0..nodes).map(|number| {
            let instance = model.launch(Duration::ZERO, &launch).unwrap();
            let metadata = model.metadata(Duration::ZERO, &instance).unwrap();
            let address = metadata.primary_address().unwrap();
            let primary = (
                address,
                format!("02:00:00:00:{:02x}:{:02x}", number >> 8, number & 255),
            );
            let facts = facts(instance.as_str(), &vpc, subnet.as_str(), primary);
            FleetNode::new(facts, BOOT * number / nodes + Duration::from_nanos(seed))
        });
        let nodes = instances.collect();
        let mut fleet = Self {
            model,
            subnet,
            tally: Tally::default(),
            nodes,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
        };
        for which in 0..fleet.nodes.len() {
            fleet.at(fleet.nodes[which].started, which, Event::Start);
        }
        fleet
    }

    fn at(&mut self, time: Duration, which: usize, event: Event) {
        self.queue.push(Reverse((time, self.next)));
        self.events.insert(self.next, (which, event));
        self.next += 1;
    }

    /// Lets time pass until `end`, or until `done` says so.
    pub(crate) fn run(&mut self, end: Duration, done: impl Fn(&Self) -> bool) {
        while let Some(Reverse((now, number))) = self.queue.pop() {
            if now > end || done(self) {
                self.queue.push(Reverse((now, number)));
                return;
            }
            let (which, event) = self.events.remove(&number).unwrap();
            match event {
                Event::Start => self.nodes[which].start(now),
                Event::Wake => {}
                Event::Goes(work) => {
                    self.call(now, which, work);
                    continue;
                }
                Event::Landed(action, outcome) => self.nodes[which].hear(&action, outcome, now),
            }
            self.turn(now, which);
        }
    }

    fn turn(&mut self, now: Duration, which: usize) {
        let plan = self.nodes[which].turn(now);
        for action in plan.actions {
            let work = Work {
                action,
                begun: Moment(now),
                responses: Vec::new(),
            };
            self.call(now, which, work);
        }
        if let Some(wake) = plan.wake_at {
            self.at(wake.0.max(now), which, Event::Wake);
        }
    }

    /// Makes the next call of an action.
    fn call(&mut self, now: Duration, which: usize, mut work: Work) {
        let instance = self.nodes[which].node.instance.clone();
        let calls = call::calls(&work.action, &instance);
        let next: &Call = &calls[work.responses.len()];
        let (result, at) = cloud::make(&mut self.model, &mut self.tally, now, next);
        let outcome = match result {
            Ok(response) => {
                work.responses.push(response);
                if work.responses.len() < calls.len() {
                    return self.at(at, which, Event::Goes(work));
                }
                Ok(call::effect(&work.action, work.responses, &instance, work.begun))
            }
            Err(error) => Err(call::fault(&work.action, &error, &instance)),
        };
        self.at(at, which, Event::Landed(work.action, outcome));
    }

    /// From the start of each node to the moment when it was served, in order.
    pub(crate) fn times(&self) -> Vec<Duration> {
        let times = self.nodes.iter().map(|node| node.done.unwrap() - node.started);
        let mut times: Vec<Duration> = times.collect();
        times.sort();
        times
    }

    pub(crate) fn last(&self) -> Duration {
        self.nodes.iter().map(|node| node.done.unwrap()).max().unwrap()
    }
}
