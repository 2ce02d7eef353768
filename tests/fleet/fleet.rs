//! Nodes of one account in virtual time: the model's answers and the nodes' own deadlines are the only clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
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
use crate::node::{FleetNode, Spec, facts};

/// Within which all nodes start, evenly.
const BOOT: Duration = Duration::from_secs(10);

/// Something that happens to a node.
enum Event {
    /// It starts, with so many pods that wait.
    Start(u32),
    Come(Range<u32>),
    Go(u32),
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

/// An action, from its first call to its last answer.
pub(crate) struct Done {
    pub(crate) action: Action,
    pub(crate) begun: Duration,
    pub(crate) ended: Duration,
}

pub(crate) struct Fleet {
    pub(crate) model: Model,
    pub(crate) subnet: SubnetId,
    pub(crate) tally: Tally,
    pub(crate) nodes: Vec<FleetNode>,
    /// Everything that was done, in the order of its end.
    pub(crate) log: Vec<Done>,
    queue: BinaryHeap<Reverse<(Duration, usize)>>,
    /// By the order in which they were planned, with the node.
    events: BTreeMap<usize, (usize, Event)>,
    next: usize,
}

impl Fleet {
    /// A fleet that will start within ten seconds, or of one node, at once.
    pub(crate) fn new(spec: &Spec, settings: Settings) -> Self {
        let offset = Duration::from_nanos(settings.seed);
        let mut model = Model::new(settings, "10.0.0.0/16".parse().unwrap());
        let zone = Zone {
            name: "us-east-1a".to_owned(),
            id: "use1-az1".to_owned(),
        };
        let subnet = model
            .add_subnet(NewSubnet::plain("10.0.0.0/17".parse().unwrap(), zone))
            .unwrap();
        let vpc = model.vpc_id().to_string();
        let launch = Launch::plain(spec.instance_type.parse().unwrap(), subnet.clone());
        let instances = (0..spec.nodes).map(|number| {
            let instance = model.launch(Duration::ZERO, &launch).unwrap();
            let metadata = model.metadata(Duration::ZERO, &instance).unwrap();
            let address = metadata.primary_address().unwrap();
            let primary = (
                address,
                format!("02:00:00:00:{:02x}:{:02x}", number >> 8, number & 255),
            );
            let facts = facts(
                instance.as_str(),
                spec.instance_type,
                &vpc,
                subnet.as_str(),
                primary,
            );
            FleetNode::new(facts, BOOT * number / spec.nodes + offset, spec)
        });
        let nodes = instances.collect();
        let mut fleet = Self {
            model,
            subnet,
            tally: Tally::default(),
            nodes,
            log: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
        };
        for which in 0..fleet.nodes.len() {
            fleet.at(fleet.nodes[which].started, which, Event::Start(spec.pods));
        }
        fleet
    }

    /// Lets pods come to a node at a moment.
    pub(crate) fn come(&mut self, at: Duration, which: usize, pods: Range<u32>) {
        self.at(at, which, Event::Come(pods));
    }

    /// Lets a pod go.
    pub(crate) fn go(&mut self, at: Duration, which: usize, pod: u32) {
        self.at(at, which, Event::Go(pod));
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
                Event::Start(pods) => self.nodes[which].start(pods, now),
                Event::Come(pods) => self.nodes[which].come(pods, now),
                Event::Go(pod) => self.nodes[which].go(pod, now),
                // A later turn may have planned another one.
                Event::Wake if self.nodes[which].wakes_at != Some(now) => continue,
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
        let wake = plan.wake_at.map(|wake| wake.0.max(now));
        let planned = std::mem::replace(&mut self.nodes[which].wakes_at, wake);
        if let Some(at) = wake.filter(|at| planned != Some(*at) || *at == now) {
            self.at(at, which, Event::Wake);
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
        self.log.push(Done {
            action: work.action.clone(),
            begun: work.begun.0,
            ended: at,
        });
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
