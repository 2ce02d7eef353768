//! The node in its VPC: virtual time, the queue of what will happen, and the step from one event to the next. Time never
//! ticks; it jumps to whatever comes first: an event, a deadline of the daemon, or a change in the model.
//!
//! Long because everything that can happen is told apart in one place; what each means is in the files beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipamd_core::action::{Effect, Fault};
use ipamd_core::address::{AddressCount, BlockKind};
use ipamd_core::id::{AttachmentKey, InstanceId};
use ipamd_core::instance::{Limits, Table};
use ipamd_core::ledger::Ledger;
use ipamd_core::ledger::journal::Entry;
use ipamd_core::ledger::stale::Known;
use ipamd_core::moment::{Moment, Stamp};
use ipamd_core::plan::Situation;
use ipamd_core::policy::Policy;
use vpc_sim::model::Model;
use vpc_sim::model::fault::{FaultId, Times};
use vpc_sim::model::instance::Launch;
use vpc_sim::model::request::{Call, Request};
use vpc_sim::model::response::EniDescription;
use vpc_sim::model::settings::{Settings, Span};

use crate::call::id;
use crate::cloud::Flight;
use crate::daemon::{Daemon, KERNEL_DELAY, Message};
use crate::disk::Disk;
use crate::facts::add_subnet;
use crate::pods::{Ask, Pods};
use crate::record::Record;
use crate::script::{Kill, Lasts, Setting, Step};

/// How often metadata is looked at, as in the product.
const METADATA_AGAIN: Duration = Duration::from_secs(60);

/// How long the plugin waits for an address in the daemon's line.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the runtime waits before it asks again.
const AGAIN: Duration = Duration::from_secs(2);

/// How long a reboot takes: longer than EC2 shows the past, because a journal on a tmpfs forgets what was given back.
const REBOOT: Duration = Duration::from_secs(61);

/// Turns at one instant beyond which the daemon spins: a batch of the largest burst needs a few dozen.
const MOST_AT_ONCE: u32 = 2000;

/// Why a step did not end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The daemon was killed, as the script says.
    Died,
    /// An invariant does not hold.
    Broken(String),
}

/// What will happen.
pub(crate) enum Event {
    Start,
    Facts {
        incarnation: u32,
    },
    Ask(u32),
    GiveUp(Ask),
    FaultEnds(FaultId),
    /// The operator goes on.
    ByHand(Box<Request>),
    /// The next answer of a flight, or the end of waiting for one.
    Hear {
        incarnation: u32,
        flight: u64,
        heard: Heard,
    },
    /// A call that was held up reaches EC2.
    Arrive {
        incarnation: u32,
        flight: u64,
        call: Box<Call>,
    },
}

pub(crate) type Heard = Result<vpc_sim::model::response::Response, Fault>;

/// Everything.
pub(crate) struct World {
    pub(crate) setting: Setting,
    pub(crate) policy: Policy,
    pub(crate) limits: &'static Limits,
    pub(crate) model: Model,
    pub(crate) instance: InstanceId,
    pub(crate) now: Duration,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) disk: Disk,
    pub(crate) tombstones: BTreeSet<AttachmentKey>,
    pub(crate) pods: Pods,
    pub(crate) record: Record,
    pub(crate) flights: BTreeMap<u64, Flight>,
    /// MACs of the devices that the kernel shows.
    pub(crate) devices: BTreeSet<[u8; 6]>,
    pub(crate) incarnation: u32,
    /// Steps that the daemon passed, over all its lives.
    pub(crate) steps_passed: u32,
    pub(crate) story: Option<Vec<String>>,
    /// Actions begun: reads, and calls that change something.
    pub(crate) reads: u32,
    pub(crate) changes: u32,
    pub(crate) truth: Truth,
    pub(crate) doom: Option<Kill>,
    dels: BTreeMap<u64, AttachmentKey>,
    booted: Duration,
    boots: u32,
    queue: BTreeMap<(Duration, u64), Event>,
    serial: u64,
    faults: Vec<FaultId>,
    next_pod: u32,
    at_once: u32,
    model_due: Option<Duration>,
    /// A few more than the node can serve: enough for a line that does not end.
    most_pods: usize,
    pub(crate) line_bound: AddressCount,
    pub(crate) cordoned: bool,
    /// A call reached EC2 when whoever made it was gone.
    pub(crate) orphaned: bool,
}

/// Every ENI as it truly is, kept until it changes.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) enis: Vec<EniDescription>,
    pub(crate) stale: bool,
}

/// As many requests may wait as the node can serve.
fn bound(policy: &Policy, limits: &Limits) -> AddressCount {
    let situation = Situation {
        policy,
        limits,
        ledger: &Ledger::default(),
        now: Moment::default(),
        wall: Duration::ZERO,
        terminating: false,
        cordoned: false,
        kubelet_max_pods: None,
    };
    situation.capacity()
}

impl World {
    /// A node that has just booted.
    pub(crate) fn new(setting: &Setting) -> Self {
        let mut settings = Settings::seeded(setting.seed);
        settings.delays.device = Span {
            least: Duration::from_secs(1),
            most: setting.slowest_device,
        };
        let mut model = Model::new(settings, "10.0.0.0/16".parse().unwrap());
        let subnet = add_subnet(&mut model, setting);
        let launch = Launch::plain(setting.instance_type.parse().unwrap(), subnet);
        let instance = id(model.launch(Duration::ZERO, &launch).unwrap());
        let policy = setting.policy();
        let limits = Table::builtin().unwrap().get(setting.instance_type).unwrap();
        let line_bound = bound(&policy, limits);
        let mut world = Self {
            policy,
            limits,
            model,
            instance,
            now: Duration::from_secs(30),
            daemon: None,
            disk: Disk::default(),
            tombstones: BTreeSet::new(),
            pods: Pods::default(),
            record: Record::default(),
            flights: BTreeMap::new(),
            devices: BTreeSet::new(),
            incarnation: 0,
            steps_passed: 0,
            story: None,
            reads: 0,
            changes: 0,
            truth: Truth {
                enis: Vec::new(),
                stale: true,
            },
            doom: None,
            dels: BTreeMap::new(),
            booted: Duration::ZERO,
            boots: 1,
            queue: BTreeMap::new(),
            serial: 0,
            faults: Vec::new(),
            next_pod: 10_000,
            at_once: 0,
            model_due: None,
            most_pods: line_bound.0 as usize + 4,
            line_bound,
            cordoned: false,
            orphaned: false,
            setting: setting.clone(),
        };
        world.look();
        world.push(Duration::ZERO, Event::Start);
        world
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment(self.now.saturating_sub(self.booted))
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            moment: self.moment(),
            wall: self.model.settings().epoch + self.now,
        }
    }

    pub(crate) fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    pub(crate) fn say(&mut self, words: impl FnOnce() -> String) {
        let now = self.now.as_secs_f64() - 30.0;
        if let Some(story) = &mut self.story {
            story.push(format!("{now:>9.3} s      {}", words()));
        }
    }

    pub(crate) fn push(&mut self, wait: Duration, event: Event) {
        self.serial += 1;
        self.queue.insert((self.now + wait, self.serial), event);
    }

    /// The daemon passes one of its steps, or dies there; of what it was writing a part survives.
    pub(crate) fn reach(&mut self, point: &'static str, writing: Option<&[Entry]>) -> Result<(), Stop> {
        self.steps_passed += 1;
        match &mut self.doom {
            Some(kill) if kill.after_steps == 0 => {
                let survives = kill.survives;
                self.say(|| format!("the daemon dies: {point}"));
                if let Some(entries) = writing {
                    self.disk.tear(entries, survives);
                }
                Err(Stop::Died)
            }
            Some(kill) => {
                kill.after_steps -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Lives until that moment.
    pub(crate) fn run(&mut self, until: Duration) -> Result<(), String> {
        loop {
            let event = self.queue.keys().next().map(|(at, _)| *at);
            let due = self.daemon.as_ref().map(|daemon| {
                let at = self.booted + daemon.due(&self.policy).0;
                if daemon.inbox.is_empty() { at } else { self.now }
            });
            let next = [event, due, self.model_due].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until.max(self.now);
                return Ok(());
            };
            self.at_once = if next > self.now { 0 } else { self.at_once + 1 };
            if self.at_once > MOST_AT_ONCE {
                return Err("the daemon spins: it has something to do at once, again and again".to_owned());
            }
            self.now = self.now.max(next);
            self.instant()?;
        }
    }

    /// Everything that happens now.
    fn instant(&mut self) -> Result<(), String> {
        if self.model_due.is_some_and(|due| due <= self.now) {
            self.look();
        }
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let event = entry.remove();
            self.happen(event)?;
        }
        if let Some(mut daemon) = self.daemon.take() {
            let due = daemon.due(&self.policy) <= self.moment() || !daemon.inbox.is_empty();
            let turned = if due { self.turn(&mut daemon) } else { Ok(()) };
            self.survive(turned, daemon)?;
        }
        self.check_truth()
    }

    fn survive(&mut self, lived: Result<(), Stop>, daemon: Daemon) -> Result<(), String> {
        match lived {
            Ok(()) => self.daemon = Some(daemon),
            Err(Stop::Died) => {
                let down = self.doom.map_or(Duration::from_secs(1), |kill| kill.down);
                self.bury(down);
            }
            Err(Stop::Broken(why)) => {
                self.say(|| format!("the last plan: {}", daemon.last_plan.report));
                return Err(why);
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Start => {
                if self.daemon.is_none() {
                    self.incarnation += 1;
                    self.say(|| "the daemon starts".to_owned());
                    match self.start() {
                        Ok(daemon) => self.daemon = Some(daemon),
                        Err(Stop::Died) => self.bury(Duration::from_secs(1)),
                        Err(Stop::Broken(why)) => return Err(why),
                    }
                    let incarnation = self.incarnation;
                    self.push(Duration::from_millis(300), Event::Facts { incarnation });
                }
            }
            Event::Facts { incarnation } => {
                if incarnation == self.incarnation {
                    let (node, hint) = (Box::new(self.node()), self.hint());
                    let now = self.moment();
                    self.tell_daemon(Message::Node(node, hint, now));
                    self.push(METADATA_AGAIN, Event::Facts { incarnation });
                }
            }
            Event::Ask(pod) => {
                let waits = |pod: &crate::pods::PodState| pod.address.is_none() && pod.asks.is_empty();
                if self.pods.all.get(&pod).is_some_and(waits) {
                    self.ask(pod);
                }
            }
            Event::GiveUp(ask) => {
                if self.pods.asks(&ask) {
                    self.refuse(&ask);
                    self.tell_daemon(Message::CallerGone);
                }
            }
            Event::FaultEnds(fault) => self.model.remove_fault(fault),
            Event::ByHand(request) => drop(self.ask_by_hand(*request)),
            Event::Hear {
                incarnation,
                flight,
                heard,
            } => self.hear_from_ec2(incarnation, flight, heard)?,
            Event::Arrive {
                incarnation,
                flight,
                call,
            } => self.arrive(incarnation, flight, &call)?,
        }
        Ok(())
    }

    /// A step of the script.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        self.say(|| format!("-- {step}"));
        match step {
            Step::Add(pod) => {
                if self.pods.all.contains_key(pod) || self.pods.all.len() < self.most_pods {
                    self.ask(*pod);
                }
            }
            Step::Burst(count) => (0..*count).for_each(|_| self.ask_afresh()),
            Step::Delete(pod) => self.delete(*pod),
            Step::RollOut => {
                let pods: Vec<u32> = self.pods.all.keys().copied().collect();
                pods.iter().for_each(|pod| self.delete(*pod));
                pods.iter().for_each(|_| self.ask_afresh());
            }
            Step::DeleteUnknown => {
                let key = self.pods.container();
                self.send_delete(key);
            }
            Step::GiveUp => {
                if let Some(ask) = self.pods.unanswered().into_iter().next() {
                    self.happen(Event::GiveUp(ask))?;
                }
            }
            Step::Collect => {
                let known = Known {
                    network: "aws-cni".parse().unwrap(),
                    valid: self.pods.all.values().map(|pod| pod.key.clone()).collect(),
                    as_of: self.moment(),
                };
                self.tell_daemon(Message::Collect(known));
            }
            Step::Cordon => self.cordoned = !self.cordoned,
            Step::SwitchKind => self.switch_kind(),
            Step::Kill(kill) => {
                if self.daemon.is_some() {
                    self.doom = Some(*kill);
                }
            }
            Step::Reboot { keeps_journal } => self.reboot(*keeps_journal),
            Step::Fault(fault) => {
                let mut scripted =
                    vpc_sim::model::fault::Fault::always(fault.operation, fault.effect.clone())
                        .about(&self.instance);
                if let Lasts::Times(times) = fault.lasts {
                    scripted.times = Times::Count(times);
                }
                let id = self.model.inject(scripted);
                self.faults.push(id);
                if let Lasts::Time(time) = fault.lasts {
                    self.push(time, Event::FaultEnds(id));
                }
            }
            Step::Operator(act) => self.operate(*act),
        }
        Ok(())
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn quieten(&mut self) {
        self.say(|| "-- all is quiet from now on".to_owned());
        self.doom = None;
        self.cordoned = false;
        for fault in std::mem::take(&mut self.faults) {
            self.model.remove_fault(fault);
        }
        if self.setting.restart_when_quiet && self.daemon.take().is_some() {
            self.bury(Duration::from_secs(2));
        }
    }

    /// The daemon is started with another setting, as a DaemonSet does after an upgrade of its variables.
    fn switch_kind(&mut self) {
        self.setting.kind = match self.setting.kind {
            BlockKind::Secondary => BlockKind::Prefix,
            BlockKind::Prefix => BlockKind::Secondary,
        };
        self.policy = self.setting.policy();
        self.line_bound = bound(&self.policy, self.limits);
        self.most_pods = self.most_pods.max(self.line_bound.0 as usize + 4);
        if self.daemon.take().is_some() {
            self.bury(Duration::from_secs(2));
        }
    }

    /// Pods go with the node; the workload comes back under new names. A journal on a tmpfs goes too, and with it what
    /// was known of resting addresses: no connection of theirs survives either.
    fn reboot(&mut self, keeps_journal: bool) {
        self.daemon = None;
        let pods: Vec<u32> = self.pods.all.keys().copied().collect();
        for pod in &pods {
            self.forget_pod(*pod);
        }
        self.bury(REBOOT);
        if !keeps_journal {
            self.disk = Disk::default();
            self.tombstones.clear();
            self.record.freed.clear();
            self.record.freed6.clear();
        }
        self.boots += 1;
        self.booted = self.now;
        for _ in pods {
            self.next_pod += 1;
            self.pods.ask(self.next_pod);
            let asked = self.pods.unanswered().pop().unwrap();
            self.refuse(&asked);
        }
    }

    /// What is left when the daemon is gone: who waited hears that the connection ended, and it starts again.
    fn bury(&mut self, down: Duration) {
        self.doom = None;
        self.daemon = None;
        self.flights.clear();
        for ask in self.pods.unanswered() {
            self.refuse(&ask);
        }
        self.tombstones
            .extend(std::mem::take(&mut self.dels).into_values());
        self.push(down, Event::Start);
    }

    fn tell_daemon(&mut self, message: Message) {
        if let Some(daemon) = &mut self.daemon {
            daemon.inbox.push(message);
        }
    }

    fn ask_afresh(&mut self) {
        if self.pods.all.len() >= self.most_pods {
            return;
        }
        self.next_pod += 1;
        self.ask(self.next_pod);
    }

    fn ask(&mut self, pod: u32) {
        let ask = self.pods.ask(pod);
        if self.daemon.is_some() {
            self.push(PATIENCE, Event::GiveUp(ask.clone()));
            self.tell_daemon(Message::Add(ask));
        } else {
            self.refuse(&ask);
        }
    }

    /// A request came to nothing; the runtime cleans up and asks again.
    pub(crate) fn refuse(&mut self, ask: &Ask) {
        let (asks_again, delete) = self.pods.fail(ask);
        if let Some(key) = delete {
            self.send_delete(key);
        }
        if asks_again {
            self.push(AGAIN, Event::Ask(ask.pod));
        }
    }

    fn delete(&mut self, pod: u32) {
        if let Some(key) = self.forget_pod(pod) {
            self.send_delete(key);
        }
    }

    fn forget_pod(&mut self, pod: u32) -> Option<AttachmentKey> {
        let gone = self.pods.all.remove(&pod)?;
        if let Some(address) = gone.address {
            self.record.told.remove(&address);
            self.record.freed.insert(address, self.now);
        }
        if let Some(address) = gone.address6 {
            self.record.told6.remove(&address);
            self.record.freed6.insert(address, self.now);
        }
        Some(gone.key)
    }

    fn send_delete(&mut self, key: AttachmentKey) {
        if self.daemon.is_none() {
            self.tombstones.insert(key);
            return;
        }
        self.serial += 1;
        let number = self.serial;
        self.dels.insert(number, key.clone());
        self.tell_daemon(Message::Del { number, key });
    }

    /// A DEL is answered.
    pub(crate) fn tell_deleted(&mut self, number: u64, key: &AttachmentKey) -> Result<(), Stop> {
        self.dels.remove(&number);
        match self.disk.leases.get(key) {
            Some(address) => Err(Stop::Broken(format!(
                "invariant 7: the DEL of {key} is answered, and the journal still leases {address} to it"
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn outcome(&mut self, flight: u64, outcome: Result<Effect, Fault>) {
        self.tell_daemon(Message::Outcome { flight, outcome });
    }

    /// Notes what changed in the model, and when something will.
    pub(crate) fn look(&mut self) {
        self.truth.stale = true;
        self.model_due = self.model.next_change(self.now);
        let view = self.model.kernel_view(self.now);
        let ours = view
            .enis
            .values()
            .filter(|eni| eni.instance.as_str() == self.instance.as_str());
        let devices: BTreeSet<[u8; 6]> = ours.map(|eni| eni.mac.0).collect();
        if devices != self.devices {
            self.devices = devices;
            let due = self.moment().after(KERNEL_DELAY);
            if let Some(daemon) = &mut self.daemon {
                daemon.kernel_due = Some(daemon.kernel_due.map_or(due, |already| already.min(due)));
            }
        }
    }

    /// Every ENI as it truly is now.
    pub(crate) fn enis(&mut self) -> &[EniDescription] {
        if self.truth.stale {
            self.truth.enis = self.model.truth(self.now);
            self.truth.stale = false;
        }
        &self.truth.enis
    }

    /// Which pod address is whose, in words.
    pub(crate) fn told(&self) -> &BTreeMap<Ipv4Addr, u32> {
        &self.record.told
    }
}
