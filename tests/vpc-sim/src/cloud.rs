//! The one task that owns the model and the clock.
//!
//! Servers, the data plane and tests hold a [`Cloud`]: a cheap handle that sends requests to the task. The task wakes when
//! the model says that something changes, and publishes what packets meet. A call that a scripted fault holds waits here
//! and blocks no other. The task ends when the last handle is gone.
//!
//! It leaves out how requests arrive (`ec2.rs`, `imds.rs`) and what a view is made into (`fabric.rs`).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::model::error::Ec2Error;
use crate::model::fault::{Fault, FaultId};
use crate::model::id::{EniId, InstanceId};
use crate::model::metadata::InstanceMetadata;
use crate::model::request::{Call, Caller, Operation};
use crate::model::response::Response;
use crate::model::view::KernelView;
use crate::model::{Handled, Model};

/// Requests on their way to the task; whoever sends more waits.
const QUEUE: usize = 1024;
/// Call records kept; the oldest go first. An hour of the fastest client fits.
const LOG: usize = 100_000;

/// The task is gone: the runtime is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task that owns the VPC model has ended")]
pub struct CloudGone;

/// What a caller hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An answer.
    Answer(Result<Response, Ec2Error>),
    /// Nothing: the connection ends.
    Nothing,
}

/// How one call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused, with this code.
    Refused(String),
    /// A fault holds it.
    Held,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// When it arrived, since the start.
    pub at: Duration,
    /// The action.
    pub operation: Operation,
    /// Who asked.
    pub caller: Caller,
    /// The ids it was about.
    pub subjects: Vec<String>,
    /// How it went, as far as the model is concerned: a lost answer is told apart by nobody.
    pub outcome: Outcome,
}

type Work = Box<dyn FnOnce(&mut Owner) + Send>;

/// A handle to the task; clone it freely.
#[derive(Clone, Debug)]
pub struct Cloud {
    queue: mpsc::Sender<Work>,
    view: watch::Receiver<KernelView>,
}

impl Cloud {
    /// Start the task on the current tokio runtime. The model's epoch is now.
    #[must_use]
    pub fn start(model: Model) -> Self {
        let (queue, work) = mpsc::channel(QUEUE);
        let (publish, view) = watch::channel(model.kernel_view(Duration::ZERO));
        let owner = Owner {
            model,
            start: Instant::now(),
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            log: VecDeque::new(),
        };
        tokio::spawn(own(owner, work, publish));
        Self { queue, view }
    }

    /// Make one API call and hear its answer when it arrives.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn call(&self, call: Call) -> Result<Heard, CloudGone> {
        let (send, receive) = oneshot::channel();
        self.send(move |owner| owner.call(call, send)).await?;
        let reply = receive.await.map_err(|_| CloudGone)?;
        // The timer rounds up to whole milliseconds, which an answer without delay shall not pay.
        if reply.at > Instant::now() {
            tokio::time::sleep_until(reply.at).await;
        }
        Ok(reply.heard)
    }

    /// Do anything to the model, at the task's time: launch, terminate, change delays …
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Model, Duration) -> T + Send + 'static,
    ) -> Result<T, CloudGone> {
        self.ask(move |owner| {
            let now = owner.now();
            change(&mut owner.model, now)
        })
        .await
    }

    /// What packets meet, whenever it changes.
    #[must_use]
    pub fn kernel_view(&self) -> watch::Receiver<KernelView> {
        self.view.clone()
    }

    /// What metadata tells an instance now.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn metadata(&self, instance: &InstanceId) -> Result<Option<InstanceMetadata>, CloudGone> {
        let instance = instance.clone();
        self.change(move |model, now| model.metadata(now, &instance))
            .await
    }

    /// Whose packets come from this address now.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn sender(&self, address: IpAddr) -> Result<Option<(EniId, InstanceId)>, CloudGone> {
        self.change(move |model, now| model.sender(now, address)).await
    }

    /// Script a fault.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn inject(&self, fault: Fault) -> Result<FaultId, CloudGone> {
        self.change(move |model, _| model.inject(fault)).await
    }

    /// End a fault and release every call that it holds. A call held before its effect has it now.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn release(&self, fault: FaultId) -> Result<(), CloudGone> {
        self.ask(move |owner| owner.release(fault)).await
    }

    /// Wait until the fault holds a call.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn until_held(&self, fault: FaultId) -> Result<(), CloudGone> {
        let (send, receive) = oneshot::channel();
        self.send(move |owner| owner.tell_when_held(fault, send)).await?;
        receive.await.map_err(|_| CloudGone)
    }

    /// Every call so far, the oldest first.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn calls(&self) -> Result<Vec<CallRecord>, CloudGone> {
        self.ask(|owner| owner.log.iter().cloned().collect()).await
    }

    /// Calls so far by action; those that were refused count too.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn call_counts(&self) -> Result<BTreeMap<Operation, usize>, CloudGone> {
        self.ask(|owner| {
            let mut counts = BTreeMap::new();
            for record in &owner.log {
                *counts.entry(record.operation).or_insert(0) += 1;
            }
            counts
        })
        .await
    }

    /// How many calls so far wanted to change something.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn mutating_calls(&self) -> Result<usize, CloudGone> {
        let counts = self.call_counts().await?;
        Ok(counts
            .iter()
            .filter(|(operation, _)| operation.mutates())
            .map(|(_, count)| count)
            .sum())
    }

    /// Forget all calls so far.
    ///
    /// # Errors
    /// When the task is gone.
    pub async fn forget_calls(&self) -> Result<(), CloudGone> {
        self.ask(|owner| owner.log.clear()).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Owner) -> T + Send + 'static,
    ) -> Result<T, CloudGone> {
        let (send, receive) = oneshot::channel();
        self.send(move |owner| {
            // Nobody listens any more when the asking side was cancelled; its effect stays.
            let _ = send.send(ask(owner));
        })
        .await?;
        receive.await.map_err(|_| CloudGone)
    }

    async fn send(&self, work: impl FnOnce(&mut Owner) + Send + 'static) -> Result<(), CloudGone> {
        self.queue.send(Box::new(work)).await.map_err(|_| CloudGone)
    }
}

/// What the task owns.
struct Owner {
    model: Model,
    start: Instant,
    held: BTreeMap<FaultId, Vec<Held>>,
    waiting: BTreeMap<FaultId, Vec<oneshot::Sender<()>>>,
    log: VecDeque<CallRecord>,
}

/// A call that a fault holds.
struct Held {
    what: HeldCall,
    caller: oneshot::Sender<Reply>,
}

enum HeldCall {
    /// Not yet performed.
    Before(Call),
    /// Performed, with this result.
    After(Result<Response, Ec2Error>),
}

/// What a caller hears, and when.
struct Reply {
    heard: Heard,
    at: Instant,
}

async fn own(mut owner: Owner, mut work: mpsc::Receiver<Work>, publish: watch::Sender<KernelView>) {
    loop {
        // One moment for both: what changes while the view is made is still ahead of it, and wakes us.
        let now = owner.now();
        let view = owner.model.kernel_view(now);
        publish.send_if_modified(|published| {
            let changed = *published != view;
            *published = view;
            changed
        });
        let wake = owner.model.next_change(now).map(|at| owner.start + at);
        tokio::select! {
            received = work.recv() => match received {
                Some(work) => work(&mut owner),
                None => return,
            },
            () = at(wake) => {}
        }
    }
}

async fn at(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

impl Owner {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn call(&mut self, call: Call, caller: oneshot::Sender<Reply>) {
        let now = self.now();
        let handled = self.model.handle(now, &call);
        self.record(now, &call, &handled);
        self.deliver(call, handled, caller);
    }

    fn deliver(&mut self, call: Call, handled: Handled, caller: oneshot::Sender<Reply>) {
        let reply = match handled {
            Handled::Answered { result, at } => Reply {
                heard: Heard::Answer(result),
                at: self.start + at,
            },
            Handled::AnswerLost(_) => Reply {
                heard: Heard::Nothing,
                at: Instant::now(),
            },
            Handled::HeldBefore(fault) => return self.hold(fault, HeldCall::Before(call), caller),
            Handled::HeldAfter(fault, result) => return self.hold(fault, HeldCall::After(result), caller),
        };
        // A caller that went away hears nothing; the effect stays, as in EC2.
        let _ = caller.send(reply);
    }

    fn hold(&mut self, fault: FaultId, what: HeldCall, caller: oneshot::Sender<Reply>) {
        self.held.entry(fault).or_default().push(Held { what, caller });
        for waiting in self.waiting.remove(&fault).unwrap_or_default() {
            let _ = waiting.send(());
        }
    }

    fn tell_when_held(&mut self, fault: FaultId, tell: oneshot::Sender<()>) {
        if self.held.contains_key(&fault) {
            let _ = tell.send(());
        } else {
            self.waiting.entry(fault).or_default().push(tell);
        }
    }

    fn release(&mut self, fault: FaultId) {
        self.model.remove_fault(fault);
        for held in self.held.remove(&fault).unwrap_or_default() {
            match held.what {
                HeldCall::Before(call) => {
                    let handled = self.model.handle_released(self.now(), &call);
                    self.deliver(call, handled, held.caller);
                }
                HeldCall::After(result) => {
                    let _ = held.caller.send(Reply {
                        heard: Heard::Answer(result),
                        at: Instant::now(),
                    });
                }
            }
        }
    }

    fn record(&mut self, at: Duration, call: &Call, handled: &Handled) {
        let outcome = match handled {
            Handled::Answered { result, .. }
            | Handled::AnswerLost(result)
            | Handled::HeldAfter(_, result) => result.as_ref().map_or_else(
                |error| Outcome::Refused(error.code().to_owned()),
                |_| Outcome::Done,
            ),
            Handled::HeldBefore(_) => Outcome::Held,
        };
        if self.log.len() >= LOG {
            self.log.pop_front();
        }
        self.log.push_back(CallRecord {
            at,
            operation: call.request.operation(),
            caller: call.caller.clone(),
            subjects: call.request.subjects(),
            outcome,
        });
    }
}
