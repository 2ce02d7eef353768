//! The loop: one task owns the ledger, hears messages, and after each batch makes one turn.
//!
//! A turn: what the kernel should be like → serve those who wait → write the journal → answer → plan → begin calls.
//! Nobody is answered before the journal holds what the answer says (7). Everything here may be killed at any line and
//! run again.

mod clock;
mod forget;
mod mend;
mod message;
mod record;
mod restore;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ec2::{Connection, Ec2};
use hostnet::failpoint::{self, Step};
use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::address::AddressCount;
use ipamd_core::id::AttachmentKey;
use ipamd_core::instance::{Limits, Table};
use ipamd_core::ledger::journal::Present;
use ipamd_core::ledger::outcome::Happening;
use ipamd_core::ledger::waiting::Ticket;
use ipamd_core::ledger::{AddRequest, Added, Ledger};
use ipamd_core::moment::Moment;
use ipamd_core::net::notice::Sieve;
use ipamd_core::plan::report::Report;
use ipamd_core::plan::{Situation, plan};
use ipamd_core::retry;
use ipamd_core::snapshot::Node;
use netlink::events::Events;
use proto::absence::Absence;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::checkpoint::mirror::Mirror;
use crate::config::Config;
use crate::kernel::Kernel;
use crate::kernel::keeper::Keeper;
use crate::server::Health;
use crate::store::Store;
use crate::{execute, imds, kernel, server, store};

pub(crate) use clock::now;
use message::AddReply;
pub use message::Refusal;
pub(crate) use message::{Checked, Facts, Message};
use record::Answer;
use restore::Beginning;

/// Messages that may wait for the owner; callers wait beyond that, each with its own deadline.
const QUEUE: usize = 1024;

/// Messages handled in one turn, so that one sync serves many and none waits long.
const BATCH: usize = 256;

/// The slow pass, for whatever no event told of.
const SLOW_PASS: Duration = Duration::from_secs(30);

/// The line's length before the instance type is known: as many pods as EKS lets any node run.
const UNKNOWN_CAPACITY: AddressCount = AddressCount(250);

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be opened.
    #[error("open the journal")]
    Store(#[from] store::Error),
    /// The socket cannot be served.
    #[error("serve the socket")]
    Server(#[from] server::Error),
    /// The kernel refuses what every node allows.
    #[error(
        "get ready to change the node's network; CAP_NET_ADMIN in the host's network namespace is needed"
    )]
    Kernel(#[from] hostnet::Error),
    /// Kernel events cannot be had.
    #[error("listen to the kernel's events")]
    Events(#[source] netlink::Error),
    /// Signals cannot be had.
    #[error("listen to signals")]
    Signals(#[source] std::io::Error),
}

/// Runs until the termination signal. Leaves everything in place.
///
/// # Errors
/// When it cannot start. What happens later is logged and tried again.
pub async fn run(config: Config) -> Result<(), Error> {
    let config = &config;
    let (store, opened) = Store::open(&config.process.journal)?;
    let (messages, mut inbox) = mpsc::channel(QUEUE);
    let health = server::serve(config, messages.clone()).await?;
    failpoint::reach(Step::SocketOpen);
    let boot_id = hostnet::sysctl::boot_id()?;
    let present = Present {
        boot_id,
        at: clock::stamp(),
        cooldown: config.policy.cooldown,
    };
    let kernel = Kernel::open()?;
    if !hostnet::sysctl::forwards_ipv4()? {
        tracing::error!("net.ipv4.ip_forward is 0: pods cannot be reached; set it to 1 on the node");
    }
    let beginning = Beginning::read(config, opened, &present, &kernel).await?;
    let kernel = Keeper::start(kernel, &config.policy, messages.clone());
    let mut daemon = Daemon::new(config, store, kernel, health, messages.clone());
    daemon.boot_id.clone_from(&present.boot_id);
    daemon.ledger = beginning.ledger;
    daemon.begin_with(beginning.cards, &present).await?;
    failpoint::reach(Step::Restored);
    let events = Events::open().map_err(Error::Events)?;
    let sieve = Sieve::new(&config.policy.devices.veth_prefix);
    tokio::spawn(kernel::watch(events, sieve, messages.clone()));
    tokio::spawn(imds::watch(messages.clone()));
    tokio::spawn(await_termination(messages)?);
    while daemon.turn(&mut inbox).await {}
    drop(inbox);
    daemon.end();
    tracing::info!("ended; pods keep their network");
    Ok(())
}

fn await_termination(messages: mpsc::Sender<Message>) -> Result<impl Future<Output = ()>, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The owner is gone if this fails, and then it has ended already.
        let _ = messages.send(Message::Terminate).await;
    })
}

/// The owner of the ledger.
struct Daemon<'a> {
    config: &'a Config,
    ledger: Ledger,
    store: Store,
    kernel: Keeper,
    health: Health,
    messages: mpsc::Sender<Message>,
    ec2: Option<Ec2>,
    limits: Option<&'static Limits>,
    boot_id: String,
    waiting: BTreeMap<Ticket, AddReply>,
    /// Answers that wait for the journal.
    answers: Vec<Answer>,
    kernel_due: Option<Moment>,
    slow_due: Moment,
    wake_at: Option<Moment>,
    report: Report,
    trouble: Option<String>,
    kernel_failures: u32,
    seed: u64,
    serving: bool,
    has_served: bool,
    /// What STATUS and a restarted daemon know of each other.
    absence: Absence,
    terminating: bool,
    /// Writes the peer's files.
    mirror: Option<Mirror>,
}

impl<'a> Daemon<'a> {
    fn new(
        config: &'a Config,
        store: Store,
        kernel: Keeper,
        health: Health,
        messages: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            config,
            ledger: Ledger::default(),
            store,
            kernel,
            health,
            messages,
            ec2: None,
            limits: None,
            boot_id: String::new(),
            waiting: BTreeMap::new(),
            answers: Vec::new(),
            kernel_due: None,
            slow_due: clock::now().after(SLOW_PASS),
            wake_at: None,
            report: Report::default(),
            trouble: None,
            kernel_failures: 0,
            seed: 0,
            serving: false,
            has_served: false,
            absence: Absence::default(),
            terminating: false,
            mirror: None,
        }
    }

    /// Hears at least one message or a deadline, then does everything that follows. Says whether to go on.
    async fn turn(&mut self, inbox: &mut mpsc::Receiver<Message>) -> bool {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            _ = inbox.recv_many(&mut batch, BATCH) => {}
            () = tokio::time::sleep(self.until_deadline()) => {}
        }
        for message in batch {
            self.handle(message).await;
        }
        let now = clock::now();
        self.ledger.handle_time(now);
        self.forget_connections(now);
        self.drop_those_who_left();
        self.slow_pass(now);
        self.make_kernel(now);
        self.serve();
        self.record();
        // Whoever was answered hears it before the plan is worked out.
        tokio::task::yield_now().await;
        self.plan(now);
        self.tell_health().await;
        !self.terminating
    }

    fn until_deadline(&self) -> Duration {
        let kernel_due = self.kernel_due.filter(|_| self.kernel.is_free());
        let forget_at = self.ledger.forget_at(&self.config.policy);
        let due = [kernel_due, self.wake_at, forget_at, Some(self.slow_due)]
            .into_iter()
            .flatten()
            .min();
        due.map_or(SLOW_PASS, |due| due.since(clock::now()))
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Add { request, reply } => self.handle_add(request, reply),
            Message::Del { key, reply } => {
                let lease = self.ledger.release(&key, &self.config.policy, clock::stamp());
                self.refuse_deleted();
                tracing::info!(attachment = %key, known = lease.is_some(), "released");
                self.answers.push(Answer::Del(reply, lease.map(Box::new)));
            }
            Message::Check { key, reply } => self.check(&key, reply),
            Message::Gc { known, reply } => self.handle_gc(&known, reply),
            // Nobody waits for these answers any more if sending fails.
            Message::Status { reply } => drop(reply.send(self.status(clock::now()))),
            Message::Facts { reply } => drop(reply.send(self.facts())),
            Message::Explain { reply } => drop(reply.send(Box::new(self.dump()))),
            Message::Checkpoint { digests, reply } => drop(reply.send(self.handle_checkpoint(digests))),
            Message::CheckpointWritten(digests) => self.ledger.handle_checkpoints_written(&digests),
            Message::CallerGone => {}
            Message::Node(node, listed, at) => {
                self.meet(*node).await;
                self.ledger.handle_hint(&listed, at);
            }
            Message::Outcome { action, outcome } => self.handle_outcome(&action, outcome),
            Message::Forgotten(addresses) => self.ledger.handle_forgotten(&addresses),
            Message::KernelChanged(notice) => self.handle_kernel_change(&notice),
            Message::KernelSeen { reply } => drop(reply.send(self.wish())),
            Message::KernelMade(pass) => self.handle_kernel_made(pass),
            Message::Terminate => self.terminating = true,
        }
    }

    fn handle_add(&mut self, request: AddRequest, reply: AddReply) {
        let key = request.key.clone();
        let situation = self.situation(clock::now());
        let capacity = situation.map_or(UNKNOWN_CAPACITY, |situation| situation.capacity());
        match self
            .ledger
            .add(request, &self.config.policy, capacity, clock::stamp())
        {
            Ok(Added::Given(lease)) => {
                tracing::info!(attachment = %key, pod = %lease.pod, address = %lease.wiring.addresses(), "given");
                let lease = Box::new(lease);
                self.answers.push(Answer::Add {
                    reply,
                    key,
                    lease,
                    fresh: true,
                });
            }
            Ok(Added::Again(lease)) => {
                tracing::info!(attachment = %key, address = %lease.wiring.addresses(), "given again");
                let lease = Box::new(lease);
                self.answers.push(Answer::Add {
                    reply,
                    key,
                    lease,
                    fresh: false,
                });
            }
            Ok(Added::Queued(ticket)) => {
                tracing::info!(attachment = %key, line = self.ledger.waiting().len(), "waits for an address");
                self.waiting.insert(ticket, reply);
            }
            Err(refusal) => {
                tracing::warn!(attachment = %key, %refusal, "refused");
                drop(reply.send(Err(refusal.into())));
            }
        }
    }

    fn handle_outcome(&mut self, action: &Action, outcome: Result<Effect, Fault>) {
        match &outcome {
            Ok(_) => tracing::info!(%action, "done"),
            Err(fault) => tracing::warn!(%action, %fault, "failed"),
        }
        let happening = self.happening();
        self.ledger.handle_outcome(action, outcome, happening);
        self.ledger.handle_policy(&self.config.policy, self.limits);
        failpoint::reach(Step::OutcomeNoted);
        self.kernel_due = Some(happening.now);
    }

    /// Now, with a seed that was not used before.
    fn happening(&mut self) -> Happening {
        self.seed = self.seed.wrapping_add(1);
        Happening {
            now: clock::now(),
            seed: self.seed,
        }
    }

    /// Learns the node's facts: what the instance can hold, and by that where to call.
    async fn meet(&mut self, node: Node) {
        let table = Table::builtin().ok();
        self.limits = table.and_then(|table| table.get(&node.instance_type));
        if self.limits.is_none() {
            tracing::error!(
                instance_type = node.instance_type,
                "the limits of this instance type are not known"
            );
        }
        if self.ec2.is_none() {
            self.seed = retry::seed(&node.instance, clock::wall());
            let happening = self.happening();
            self.ledger.handle_policy(&self.config.policy, self.limits);
            self.ledger
                .handle_start(self.config.policy.start_spread, happening);
            let connection = Connection {
                region: node.region.clone(),
                instance: node.instance.clone(),
                timeout: self.config.process.http_timeout,
            };
            self.ec2 = Some(Ec2::connect(connection).await);
        }
        if self.ledger.node() != Some(&node) || self.kernel_due.is_none() {
            self.kernel_due = Some(clock::now());
        }
        self.ledger.handle_node(node);
    }

    fn drop_those_who_left(&mut self) {
        let ledger = &mut self.ledger;
        self.waiting.retain(|ticket, reply| {
            if reply.is_closed() {
                ledger.give_up(*ticket);
            }
            !reply.is_closed()
        });
    }

    /// A DEL takes the requests of its attachment out of the line; they hear so at once.
    fn refuse_deleted(&mut self) {
        let line = self.ledger.waiting().iter();
        let line: BTreeSet<Ticket> = line.map(|waiting| waiting.ticket).collect();
        for (_, reply) in self.waiting.extract_if(.., |ticket, _| !line.contains(ticket)) {
            drop(reply.send(Err(Refusal::Deleted)));
        }
    }

    fn serve(&mut self) {
        let keys: BTreeMap<Ticket, AttachmentKey> = self
            .ledger
            .waiting()
            .iter()
            .map(|waiting| (waiting.ticket, waiting.request.key.clone()))
            .collect();
        for (ticket, outcome) in self.ledger.serve(&self.config.policy, clock::stamp()) {
            let (Some(reply), Some(key)) = (self.waiting.remove(&ticket), keys.get(&ticket).cloned()) else {
                continue;
            };
            let (lease, fresh) = match outcome {
                Ok(Added::Given(lease)) => (Box::new(lease), true),
                Ok(Added::Again(lease)) => (Box::new(lease), false),
                // It did not leave the line.
                Ok(Added::Queued(_)) => continue,
                Err(refusal) => {
                    drop(reply.send(Err(refusal.into())));
                    continue;
                }
            };
            tracing::info!(pod = %lease.pod, address = %lease.wiring.addresses(), "given after waiting");
            self.answers.push(Answer::Add {
                reply,
                key,
                lease,
                fresh,
            });
        }
    }

    fn plan(&mut self, now: Moment) {
        self.wake_at = None;
        let (Some(situation), Some(ec2)) = (self.situation(now), self.ec2.clone()) else {
            return;
        };
        let plan = plan(&situation);
        self.ledger.handle_surplus(plan.surplus, now);
        self.wake_at = plan.wake_at;
        if plan.report != self.report {
            tracing::debug!(report = %plan.report, "plan");
            self.report = plan.report;
        }
        for action in plan.actions {
            self.ledger.handle_begin(&action);
            self.begin(ec2.clone(), action);
        }
    }

    /// What a plan depends on, once the instance type is known.
    fn situation(&self, now: Moment) -> Option<Situation<'_>> {
        Some(Situation {
            policy: &self.config.policy,
            limits: self.limits?,
            ledger: &self.ledger,
            now,
            wall: clock::wall(),
            terminating: self.terminating,
            cordoned: false,
            kubelet_max_pods: None,
        })
    }

    /// Begins a call once the journal holds its intent; without the journal it counts as throttled.
    fn begin(&mut self, ec2: Ec2, action: Action) {
        if !self.write() {
            self.handle_outcome(
                &action,
                Err(Fault::Wait {
                    code: "the journal cannot be written".to_owned(),
                }),
            );
            return;
        }
        failpoint::reach(Step::CallIntended);
        tracing::info!(%action, "begins");
        self.kernel_due = Some(clock::now());
        let messages = self.messages.clone();
        tokio::spawn(async move {
            let outcome = execute::execute(&ec2, &action, clock::now()).await;
            failpoint::reach(Step::CallReturned);
            // The owner has ended if this fails; the next daemon reads what happened.
            let _ = messages.send(Message::Outcome { action, outcome }).await;
        });
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
