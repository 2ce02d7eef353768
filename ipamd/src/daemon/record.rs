//! Writes what changed, then answers: in this order always (7).

use std::collections::BTreeSet;

use hostnet::failpoint::{self, Step};
use ipamd_core::id::AttachmentKey;
use ipamd_core::ledger::Lease;
use ipamd_core::net::pod::PodWiring;

use super::message::{AddReply, DelReply, GcReply};
use super::{Daemon, Refusal, chain, clock};
use crate::store::Store;

/// An answer that may be given once the journal is written.
pub(super) enum Answer {
    /// The attachment holds this lease.
    Add {
        /// Whom to tell.
        reply: AddReply,
        /// Which attachment.
        key: AttachmentKey,
        /// What it holds.
        lease: Box<Lease>,
        /// Whether it holds it only since this turn.
        fresh: bool,
    },
    /// The attachment holds nothing any more; this is what it held.
    Del(DelReply, Option<Box<Lease>>),
    /// These attachments hold nothing any more.
    Gc(GcReply, Vec<(AttachmentKey, PodWiring)>),
}

impl Daemon<'_> {
    pub(super) fn record(&mut self) {
        let durable = self.write();
        let (mut heard, mut unheard) = (BTreeSet::new(), BTreeSet::new());
        for answer in std::mem::take(&mut self.answers) {
            match answer {
                Answer::Add {
                    reply,
                    key,
                    lease,
                    fresh,
                } if durable => {
                    if reply.send(Ok(*lease)).is_ok() {
                        heard.insert(key);
                    } else if fresh {
                        unheard.insert(key);
                    }
                }
                Answer::Add { reply, .. } => drop(reply.send(Err(Refusal::JournalFailed))),
                Answer::Del(reply, lease) if durable => drop(reply.send(Ok(lease.map(|lease| *lease)))),
                Answer::Del(reply, _) => drop(reply.send(Err(Refusal::JournalFailed))),
                Answer::Gc(reply, stale) if durable => drop(reply.send(Ok(stale))),
                Answer::Gc(reply, _) => drop(reply.send(Err(Refusal::JournalFailed))),
            }
        }
        if durable && !heard.is_empty() {
            failpoint::reach(Step::Answered);
        }
        self.take_back(unheard.difference(&heard));
        if durable && self.store.is_long() {
            let entries = self.ledger.entries(&self.boot_id, clock::now());
            if let Err(error) = patiently(&mut self.store, |store| store.compact(&entries)) {
                tracing::error!(error = %chain(&error), "the journal cannot be compacted");
            }
        }
    }

    /// An address that was given to nobody who listens is nobody's to delete: it is taken back.
    fn take_back<'k>(&mut self, keys: impl Iterator<Item = &'k AttachmentKey>) {
        for key in keys {
            tracing::info!(attachment = %key, "caller went away; its address is taken back");
            self.ledger.release(key, &self.config.policy, clock::stamp());
        }
        self.write();
    }

    pub(super) fn write(&mut self) -> bool {
        let entries = self.ledger.take_entries();
        if let Some(mirror) = &self.mirror {
            let changes = entries.iter().filter_map(|entry| self.change_of(entry));
            changes.for_each(|change| mirror.note(change));
        }
        let written = patiently(&mut self.store, |store| store.append(&entries));
        if let Err(error) = &written {
            tracing::error!(error = %chain(error), "the journal cannot be written");
        }
        written.is_ok()
    }
}

/// Uses the journal without keeping this thread's other tasks waiting where a disk may take its time.
fn patiently<T>(store: &mut Store, work: impl FnOnce(&mut Store) -> T) -> T {
    if store.is_in_memory() {
        work(store)
    } else {
        tokio::task::block_in_place(|| work(store))
    }
}
