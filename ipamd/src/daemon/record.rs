//! Writes what changed, then answers: in this order always (7).

use ipamd_core::ledger::Lease;
use ipamd_core::net::pod::PodWiring;

use super::message::{AddReply, DelReply};
use super::{Daemon, Refusal, chain, clock};

/// An answer that may be given once the journal is written.
pub(super) enum Answer {
    Add(AddReply, Box<Lease>),
    Del(DelReply, Option<PodWiring>),
}

impl Daemon<'_> {
    /// Writes what changed, then answers: in this order always.
    pub(super) fn record(&mut self) {
        let durable = self.write();
        for answer in std::mem::take(&mut self.answers) {
            self.answer(answer, durable);
        }
        // What was taken back from callers who had gone.
        self.write();
        let live = self.ledger.leases().len() + self.ledger.enis().len();
        if durable && self.store.is_long(live) {
            let entries = self.ledger.entries(&self.boot_id, clock::now());
            if let Err(error) = self.store.compact(&entries) {
                tracing::error!(error = %chain(&error), "the journal cannot be compacted");
            }
        }
    }

    pub(super) fn write(&mut self) -> bool {
        let written = self.store.append(&self.ledger.take_entries());
        if let Err(error) = &written {
            tracing::error!(error = %chain(error), "the journal cannot be written");
        }
        written.is_ok()
    }

    /// Gives an answer, or says that it could not be made durable. A pod whose caller has gone is not left with an
    /// address that nobody will ever delete.
    pub(super) fn answer(&mut self, answer: Answer, durable: bool) {
        match answer {
            Answer::Add(reply, lease) if durable => {
                if let Err(Ok(lease)) = reply.send(Ok(*lease)) {
                    tracing::info!(pod = %lease.pod, "caller went away; its address is taken back");
                    self.take_back(&lease);
                }
            }
            Answer::Add(reply, _) => drop(reply.send(Err(Refusal::JournalFailed))),
            Answer::Del(reply, wiring) if durable => drop(reply.send(Ok(wiring))),
            Answer::Del(reply, _) => drop(reply.send(Err(Refusal::JournalFailed))),
        }
    }

    pub(super) fn take_back(&mut self, lease: &Lease) {
        let key = self
            .ledger
            .leases()
            .iter()
            .find(|(_, held)| *held == lease)
            .map(|(key, _)| key.clone());
        if let Some(key) = key {
            self.ledger.release(&key, &self.config.policy, clock::stamp());
        }
    }
}
