//! What `ipamd/src/daemon.rs` does, in virtual time: one turn is hear → kernel → serve → journal → answer → plan → begin.
//! It may die at each of its steps, which are counted.
//!
//! Left out: logs, health, tombstone files as files, and the kernel itself, which is what the model says of devices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::id::AttachmentKey;
use ipamd_core::ledger::hint::Hint;
use ipamd_core::ledger::journal::Present;
use ipamd_core::ledger::outcome::Happening;
use ipamd_core::ledger::stale::Known;
use ipamd_core::ledger::waiting::Ticket;
use ipamd_core::ledger::{Added, Lease, Ledger, NotAdded};
use ipamd_core::moment::Moment;
use ipamd_core::plan::{Plan, Situation, plan};
use ipamd_core::policy::Policy;
use ipamd_core::snapshot::Node;

use crate::pods::{Ask, request};
use crate::world::{Stop, World};

/// The slow pass of the product.
const SLOW_PASS: Duration = Duration::from_secs(30);

/// Between a kernel event and the look, as in the product.
pub(crate) const KERNEL_DELAY: Duration = Duration::from_millis(300);

/// While an ENI's device is awaited, as in the product.
const DEVICE_DELAY: Duration = Duration::from_secs(2);

/// What the daemon hears.
pub(crate) enum Message {
    Add(Ask),
    Del {
        number: u64,
        key: AttachmentKey,
    },
    Collect(Known),
    CallerGone,
    Node(Box<Node>, Hint, Moment),
    Outcome {
        flight: u64,
        outcome: Result<Effect, Fault>,
    },
}

/// What is answered once the journal holds it.
enum Answer {
    Add {
        ask: Ask,
        lease: Box<Lease>,
        fresh: bool,
    },
    Del {
        number: u64,
        key: AttachmentKey,
    },
}

/// The owner of the ledger.
pub(crate) struct Daemon {
    pub(crate) ledger: Ledger,
    pub(crate) inbox: Vec<Message>,
    pub(crate) kernel_due: Option<Moment>,
    pub(crate) flights: BTreeMap<u64, Action>,
    pub(crate) last_plan: Plan,
    waiting: BTreeMap<Ticket, Ask>,
    answers: Vec<Answer>,
    slow_due: Moment,
    wake_at: Option<Moment>,
    seed: u64,
}

impl Daemon {
    /// When it has something to do though nobody says anything.
    pub(crate) fn due(&self, policy: &Policy) -> Moment {
        let others = [self.kernel_due, self.wake_at, self.ledger.forget_at(policy)];
        let others = others.into_iter().flatten();
        others.fold(self.slow_due, Moment::min)
    }
}

impl World {
    /// Starts: restores what the journal tells and writes it afresh.
    pub(crate) fn start(&mut self) -> Result<Daemon, Stop> {
        let entries = self.disk.read();
        let present = Present {
            boot_id: self.boot_id(),
            at: self.stamp(),
            cooldown: self.policy.cooldown,
        };
        let ledger = Ledger::restore(entries, &present);
        self.disk
            .replace(&ledger.entries(&present.boot_id, present.at.moment));
        let mut daemon = Daemon {
            inbox: Vec::new(),
            kernel_due: ledger.node().map(|_| self.moment()),
            flights: BTreeMap::new(),
            last_plan: Plan::default(),
            waiting: BTreeMap::new(),
            answers: Vec::new(),
            slow_due: self.moment().after(SLOW_PASS),
            wake_at: None,
            seed: self.setting.seed.wrapping_add(u64::from(self.steps_passed)),
            ledger,
        };
        self.check_restored(&daemon.ledger)?;
        self.reach("restored", None)?;
        self.drain_tombstones(&mut daemon)?;
        Ok(daemon)
    }

    /// One turn.
    pub(crate) fn turn(&mut self, daemon: &mut Daemon) -> Result<(), Stop> {
        for message in std::mem::take(&mut daemon.inbox) {
            self.hear(daemon, message)?;
        }
        let now = self.moment();
        // This kernel forgets connections at once.
        if daemon.ledger.forget_at(&self.policy).is_some_and(|at| at <= now) {
            let settled = daemon.ledger.take_settled(now);
            daemon.ledger.handle_forgotten(&settled);
        }
        daemon.ledger.handle_time(now);
        self.drop_those_who_left(daemon);
        if now >= daemon.slow_due {
            daemon.slow_due = now.after(SLOW_PASS);
            daemon.kernel_due = Some(now);
            self.drain_tombstones(daemon)?;
        }
        self.make_kernel(daemon, now);
        self.serve(daemon);
        self.record(daemon)?;
        self.plan(daemon, now)
    }

    fn hear(&mut self, daemon: &mut Daemon, message: Message) -> Result<(), Stop> {
        match message {
            Message::Add(ask) => self.hear_add(daemon, ask),
            Message::Del { number, key } => {
                daemon.ledger.release(&key, &self.policy, self.stamp());
                self.refuse_deleted(daemon);
                daemon.answers.push(Answer::Del { number, key });
            }
            Message::Collect(known) => {
                for key in daemon.ledger.stale(&known) {
                    self.check_collected(&key)?;
                    daemon.ledger.release(&key, &self.policy, self.stamp());
                }
                self.refuse_deleted(daemon);
            }
            Message::CallerGone => {}
            Message::Node(node, hint, at) => {
                if daemon.ledger.node() != Some(&node) || daemon.kernel_due.is_none() {
                    daemon.kernel_due = Some(self.moment());
                }
                daemon.ledger.handle_node(*node);
                daemon.ledger.handle_hint(&hint, at);
            }
            Message::Outcome { flight, outcome } => {
                if let Some(action) = daemon.flights.remove(&flight) {
                    self.hear_outcome(daemon, &action, outcome);
                }
                self.reach("an outcome is noted", None)?;
            }
        }
        Ok(())
    }

    fn hear_add(&mut self, daemon: &mut Daemon, ask: Ask) {
        let bound = self.line_bound;
        let at = self.stamp();
        match daemon.ledger.add(request(&ask), &self.policy, bound, at) {
            Ok(Added::Queued(ticket)) => drop(daemon.waiting.insert(ticket, ask)),
            added => self.prepare_answer(daemon, ask, added),
        }
    }

    fn prepare_answer(&mut self, daemon: &mut Daemon, ask: Ask, added: Result<Added, NotAdded>) {
        let (lease, fresh) = match added {
            Ok(Added::Given(lease)) => (Box::new(lease), true),
            Ok(Added::Again(lease)) => (Box::new(lease), false),
            // It did not leave the line.
            Ok(Added::Queued(_)) => return,
            Err(_) => return self.refuse(&ask),
        };
        daemon.answers.push(Answer::Add { ask, lease, fresh });
    }

    fn hear_outcome(&mut self, daemon: &mut Daemon, action: &Action, outcome: Result<Effect, Fault>) {
        self.say(|| match &outcome {
            Ok(_) => format!("heard: {action}: done"),
            Err(fault) => format!("heard: {action}: {fault}"),
        });
        daemon.seed = daemon.seed.wrapping_add(1);
        let happening = Happening {
            now: self.moment(),
            seed: daemon.seed,
        };
        daemon.ledger.handle_outcome(action, outcome, happening);
        daemon.ledger.handle_policy(&self.policy, Some(self.limits));
        daemon.kernel_due = Some(happening.now);
    }

    fn drop_those_who_left(&mut self, daemon: &mut Daemon) {
        let gone: Vec<Ticket> = daemon
            .waiting
            .extract_if(.., |_, ask| !self.pods.asks(ask))
            .map(|(ticket, _)| ticket)
            .collect();
        gone.into_iter().for_each(|ticket| daemon.ledger.give_up(ticket));
    }

    fn refuse_deleted(&mut self, daemon: &mut Daemon) {
        let line = daemon.ledger.waiting().iter();
        let line: BTreeSet<Ticket> = line.map(|waiting| waiting.ticket).collect();
        let refused: Vec<Ask> = daemon
            .waiting
            .extract_if(.., |ticket, _| !line.contains(ticket))
            .map(|(_, ask)| ask)
            .collect();
        refused.iter().for_each(|ask| self.refuse(ask));
    }

    fn drain_tombstones(&mut self, daemon: &mut Daemon) -> Result<(), Stop> {
        let tombstones = self.tombstones.clone();
        for key in &tombstones {
            daemon.ledger.release(key, &self.policy, self.stamp());
        }
        self.write(daemon)?;
        self.tombstones.retain(|key| !tombstones.contains(key));
        Ok(())
    }

    /// Serves the ENIs whose devices the kernel shows.
    fn make_kernel(&mut self, daemon: &mut Daemon, now: Moment) {
        if daemon.kernel_due.is_none_or(|due| due > now) {
            return;
        }
        daemon.kernel_due = None;
        let Some(mut wanted) = daemon.ledger.wanted(&self.policy) else {
            return;
        };
        let all = wanted.enis.len();
        wanted.enis.retain(|eni| self.devices.contains(&eni.mac.0));
        if wanted.enis.len() < all {
            daemon.kernel_due = Some(now.after(DEVICE_DELAY));
        }
        daemon.ledger.handle_served(&wanted);
    }

    fn serve(&mut self, daemon: &mut Daemon) {
        for (ticket, added) in daemon.ledger.serve(&self.policy, self.stamp()) {
            if let Some(ask) = daemon.waiting.remove(&ticket) {
                self.prepare_answer(daemon, ask, added);
            }
        }
    }

    /// Writes, then answers; takes back what nobody heard of.
    fn record(&mut self, daemon: &mut Daemon) -> Result<(), Stop> {
        self.write(daemon)?;
        let (mut heard, mut unheard) = (BTreeSet::new(), BTreeSet::new());
        for answer in std::mem::take(&mut daemon.answers) {
            match answer {
                Answer::Add { ask, lease, fresh } => {
                    if self.tell(&ask, &lease, fresh)? {
                        heard.insert(ask.key);
                    } else if fresh {
                        unheard.insert(ask.key);
                    }
                }
                Answer::Del { number, key } => self.tell_deleted(number, &key)?,
            }
        }
        if !heard.is_empty() {
            self.reach("answered", None)?;
        }
        for key in unheard.difference(&heard) {
            daemon.ledger.release(key, &self.policy, self.stamp());
        }
        self.write(daemon)?;
        if self.disk.is_long() {
            let entries = daemon.ledger.entries(&self.boot_id(), self.moment());
            self.disk.replace(&entries);
        }
        Ok(())
    }

    fn write(&mut self, daemon: &mut Daemon) -> Result<(), Stop> {
        let entries = daemon.ledger.take_entries();
        if !entries.is_empty() {
            self.reach("writing", Some(&entries))?;
            self.disk.append(&entries);
            self.reach("written", None)?;
        }
        Ok(())
    }

    fn plan(&mut self, daemon: &mut Daemon, now: Moment) -> Result<(), Stop> {
        daemon.wake_at = None;
        if daemon.ledger.node().is_none() {
            return Ok(());
        }
        let situation = Situation {
            policy: &self.policy,
            limits: self.limits,
            ledger: &daemon.ledger,
            now,
            wall: self.stamp().wall,
            terminating: false,
            cordoned: self.cordoned,
            kubelet_max_pods: None,
        };
        let planned = plan(&situation);
        self.check_plan(&situation, &planned)?;
        daemon.ledger.handle_surplus(planned.surplus, now);
        daemon.wake_at = planned.wake_at;
        let actions = planned.actions.clone();
        daemon.last_plan = planned;
        for action in actions {
            daemon.ledger.handle_begin(&action);
            self.reach("a call is planned", None)?;
            self.write(daemon)?;
            self.reach("a call is about to begin", None)?;
            daemon.kernel_due = Some(now);
            let flight = self.begin(&action)?;
            daemon.flights.insert(flight, action);
            self.reach("EC2 has the call", None)?;
        }
        Ok(())
    }
}
