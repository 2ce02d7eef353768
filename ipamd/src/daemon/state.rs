//! What the daemon says of itself: whether pods can be served, what of the node is not as it should be, what the node is.

use ipamd_core::explain::{self, Dump};
use ipamd_core::id::AttachmentKey;
use ipamd_core::ledger::stale::Known;
use ipamd_core::moment::Moment;
use tokio::sync::oneshot;

use super::message::{GcReply, NotReady};
use super::record::Answer;
use super::{Checked, Daemon, Facts, clock};
use crate::kernel::keeper::Check;

impl Daemon<'_> {
    pub(super) async fn tell_health(&mut self) {
        let could_give =
            self.serving || self.ledger.has_free(&self.config.policy) || self.report.wants_nothing();
        let serving = self.why_not_ready().is_none() && could_give;
        if serving == self.serving {
            return;
        }
        self.serving = serving;
        self.has_served |= serving;
        tracing::info!(serving, "health");
        self.health.set(serving).await;
        if serving && let Err(error) = self.absence.end(&self.boot_id, self.config.process.status_grace) {
            tracing::warn!(%error, "STATUS will not see that the daemon was serving");
        }
    }

    /// Why an ADD could not be served, for a runtime whose kubelet evicts the node's pods for it: a restart within its
    /// grace is no reason.
    pub(super) fn status(&self, now: Moment) -> Option<NotReady> {
        let reason = self.why_not_ready().or_else(|| self.why_full())?;
        let absence = || self.absence.length(&self.boot_id, now.0);
        let is_coming_back = !self.has_served && absence().is_some_and(|absence| absence.is_within_grace());
        (!is_coming_back).then_some(reason)
    }

    /// A full node is told only to operators who asked for the specification's letter: kubelet evicts for it.
    fn why_full(&self) -> Option<NotReady> {
        let full = self.config.process.status_fails_when_full && !self.ledger.has_free(&self.config.policy);
        full.then(|| NotReady {
            reason: format!(
                "no address is free. {}",
                self.report.to_string().replace('\n', " ")
            ),
            impaired: false,
        })
    }

    /// Why an ADD could not be served even were there a free address, with the next step.
    pub(super) fn why_not_ready(&self) -> Option<NotReady> {
        let trouble = self.trouble.as_deref();
        let why = explain::not_ready(
            &self.config.policy,
            &self.ledger,
            self.limits,
            trouble,
            &self.report,
        )?;
        Some(NotReady {
            reason: why.to_string(),
            impaired: why.impairs_pods(),
        })
    }

    /// What is on record for an attachment, and what it needs of the node's network and does not find.
    pub(super) fn check(&mut self, key: &AttachmentKey, reply: oneshot::Sender<Checked>) {
        let lease = self.ledger.leases().get(key);
        let wiring = lease.map(|lease| lease.wiring.clone());
        let (Some(lease), Some(wanted)) = (lease, self.ledger.wanted(&self.config.policy)) else {
            // Nobody waits for the answer any more if sending fails.
            drop(reply.send(Checked {
                wiring,
                problems: Vec::new(),
            }));
            return;
        };
        self.kernel.check(Check {
            wanted: wanted.of_pods_on(lease.eni.as_ref()),
            wiring,
            reply,
        });
    }

    /// Takes back what a runtime forgot; whoever asked unwires it.
    pub(super) fn handle_gc(&mut self, known: &Known, reply: GcReply) {
        let mut stale = Vec::new();
        for key in self.ledger.stale(known) {
            if let Some(lease) = self.ledger.release(&key, &self.config.policy, clock::stamp()) {
                tracing::info!(attachment = %key, pod = %lease.pod, "its runtime forgot it: taken back");
                stale.push((key, lease.wiring));
            }
        }
        self.answers.push(Answer::Gc(reply, stale));
    }

    pub(super) fn facts(&self) -> Facts {
        let places = self.ledger.enis().iter();
        Facts {
            node: self.ledger.node().cloned(),
            places: places
                .filter_map(|(eni, record)| Some((eni.clone(), record.place()?)))
                .collect(),
        }
    }

    /// Everything that the daemon's decisions depend on.
    pub(super) fn dump(&self) -> Dump {
        let trouble = self.trouble.clone();
        match self.situation(clock::now()) {
            Some(situation) => Dump::of(&situation, trouble),
            None => Dump::without_limits(&self.config.policy, &self.ledger, trouble),
        }
    }
}
