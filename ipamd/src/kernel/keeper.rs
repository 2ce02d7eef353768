//! The task that owns the kernel's sockets: the ledger's owner says when to look, is asked what it wants once that was
//! seen, and is told what came of it. It never waits for the kernel itself, and so nobody who asks it for an address
//! does.
//!
//! One pass at a time: the owner does not begin another before it heard of the last, so a wish that comes meanwhile
//! waits there, and the newest wins.

use std::collections::BTreeSet;

use hostnet::Error;
use ipamd_core::net::TableId;
use ipamd_core::net::eni::Wanted;
use ipamd_core::net::pod::PodWiring;
use ipamd_core::policy::Policy;
use ipamd_core::snapshot::Node;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{Kernel, Pass};
use crate::daemon::{Checked, Message, chain};

/// CHECKs that may wait behind a pass: as many as come at once on a full node in practice. More are told to come again.
const QUEUE: usize = 64;

/// What the kernel should be like.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) wanted: Wanted,
    pub(crate) node: Node,
}

/// The question of a CHECK.
#[derive(Debug)]
pub(crate) struct Check {
    /// What its pod needs of the node.
    pub(crate) wanted: Wanted,
    /// What is on record for it, passed on.
    pub(crate) wiring: Option<PodWiring>,
    pub(crate) reply: oneshot::Sender<Checked>,
}

/// What a pass does beside looking at links, addresses, rules and routes.
#[derive(Debug, Default)]
struct Extent {
    /// The tables whose routes are looked at.
    tables: BTreeSet<TableId>,
    /// Somebody changed something in nftables.
    firewall_changed: bool,
    /// What DELs left for dead goes.
    reap: bool,
}

#[derive(Debug)]
enum Order {
    Pass(Extent),
    Check(Box<Check>),
}

/// The owner's end.
#[derive(Debug)]
pub(crate) struct Keeper {
    orders: mpsc::Sender<Order>,
    runs: bool,
    next: Extent,
}

impl Keeper {
    /// Starts the task, on a thread that may block: comparing and nftables' transactions take milliseconds, and no
    /// connection should wait for them.
    pub(crate) fn start(kernel: Kernel, policy: &Policy, messages: mpsc::Sender<Message>) -> Self {
        let (orders, inbox) = mpsc::channel(QUEUE);
        let task = Task {
            kernel,
            policy: policy.clone(),
            messages,
        };
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(task.obey(inbox)));
        Self {
            orders,
            runs: false,
            next: Extent::default(),
        }
    }

    /// Whether a pass may begin.
    pub(crate) fn is_free(&self) -> bool {
        !self.runs
    }

    /// Begins a pass; says whether it did.
    pub(crate) fn begin_pass(&mut self, tables: BTreeSet<TableId>) -> bool {
        let extent = Extent {
            tables,
            ..std::mem::take(&mut self.next)
        };
        match self.orders.try_send(Order::Pass(extent)) {
            Ok(()) => self.runs = true,
            Err(refused) => {
                if let Order::Pass(extent) = refused.into_inner() {
                    self.next = extent;
                }
            }
        }
        self.runs
    }

    /// Notes that the pass ended.
    pub(crate) fn end_pass(&mut self) {
        self.runs = false;
    }

    /// Has the next pass look at our nftables table, too.
    pub(crate) fn doubt_firewall(&mut self) {
        self.next.firewall_changed = true;
    }

    /// Has the next pass delete what DELs left for dead.
    pub(crate) fn reap_too(&mut self) {
        self.next.reap = true;
    }

    /// Answers a CHECK.
    pub(crate) fn check(&self, check: Check) {
        if let Err(refused) = self.orders.try_send(Order::Check(Box::new(check)))
            && let Order::Check(check) = refused.into_inner()
        {
            let problems =
                vec!["too many CHECKs wait for a look at the node's network; try again".to_owned()];
            check.answer(problems);
        }
    }
}

impl Check {
    /// Nobody waits for the answer any more if sending fails.
    fn answer(self, problems: Vec<String>) {
        let wiring = self.wiring;
        drop(self.reply.send(Checked { wiring, problems }));
    }
}

/// The kernel's end.
struct Task {
    kernel: Kernel,
    policy: Policy,
    messages: mpsc::Sender<Message>,
}

impl Task {
    /// Until the owner ends.
    async fn obey(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Check(check) => {
                    let problems = self.kernel.problems(&check.wanted).await;
                    check.answer(problems.unwrap_or_else(|error| vec![chain(&error)]));
                }
                Order::Pass(extent) => {
                    let Some(made) = self.pass(&extent).await.transpose() else {
                        // The owner ended before it said what it wants.
                        return;
                    };
                    if self.messages.send(Message::KernelMade(made)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// A pass; `None` where nobody wants anything.
    async fn pass(&mut self, extent: &Extent) -> Result<Option<Pass>, Error> {
        let mut refused = Vec::new();
        if extent.firewall_changed {
            refused.extend(self.kernel.nat.handle_change().err());
        }
        if extent.reap {
            refused.extend(hostnet::pod::reap(&self.kernel.routing).await.err());
        }
        let seen = self.kernel.look(&extent.tables).await?;
        let Some(wish) = self.ask().await else {
            return Ok(None);
        };
        let mut pass = self.kernel.make(&seen, &wish, &self.policy).await?;
        pass.refused.extend(refused);
        Ok(Some(pass))
    }

    async fn ask(&self) -> Option<Wish> {
        let (reply, wish) = oneshot::channel();
        self.messages.send(Message::KernelSeen { reply }).await.ok()?;
        wish.await.ok()?
    }
}
