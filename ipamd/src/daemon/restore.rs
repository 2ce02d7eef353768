//! The beginning: the state that the journal tells, and where somebody else decided meanwhile, what the peer's files and
//! the kernel tell.

use std::collections::BTreeSet;

use ipamd_core::checkpoint::{self, Allocation, Claim, Claims, Digest};
use ipamd_core::ledger::Ledger;
use ipamd_core::ledger::journal::{Entry, Present};
use ipamd_core::ledger::takeover::TakenOver;
use ipamd_core::net::TableId;

use super::{Daemon, Error};
use crate::checkpoint::mirror::Mirror;
use crate::checkpoint::{Change, Found, Sheets};
use crate::config::Config;
use crate::kernel::Kernel;
use crate::store::Opened;
use crate::{checkpoint as files, daemon, store};

/// What the daemon begins with.
pub(super) struct Beginning {
    pub(super) ledger: Ledger,
    /// The network cards that have a file.
    pub(super) cards: BTreeSet<u32>,
}

/// What the files say that our journal does not know.
#[derive(Default)]
struct Foreign {
    claims: Vec<Claim>,
    digests: Vec<Digest>,
    /// A file of another form, or one that cannot be read: nobody knows who holds what.
    unreadable: bool,
}

impl Beginning {
    /// Reads the past. Nothing is changed but for files that are set aside.
    pub(super) async fn read(
        config: &Config,
        opened: Opened,
        present: &Present,
        kernel: &Kernel,
    ) -> Result<Self, Error> {
        let mut ledger = Ledger::restore(opened.entries, present);
        let base = &config.process.checkpoint;
        let found = files::read(base).unwrap_or_else(|error| {
            tracing::error!(path = %base.display(), %error, "the checkpoint files cannot be read");
            Vec::new()
        });
        let cards = found.iter().map(|found| found.card).collect();
        let foreign = Foreign::among(&found, &ledger);
        let lost = opened.damaged || foreign.unreadable;
        if foreign.digests.is_empty() && !lost && !ledger.is_blank() {
            return Ok(Self { ledger, cards });
        }
        let seen = kernel
            .look(&BTreeSet::from([TableId::PODS, TableId::MAIN]))
            .await?;
        let policy = &config.policy;
        let taken = if foreign.digests.is_empty() {
            ledger.handle_lost_journal(lost, &seen, policy, present.at)
        } else {
            ledger.take_over(&foreign.claims, &seen, policy, present.at)
        };
        // Not taken over a second time, whatever becomes of the file.
        foreign
            .digests
            .into_iter()
            .for_each(|digest| ledger.handle_checkpoint(digest));
        tell(&taken);
        Ok(Self { ledger, cards })
    }
}

impl Foreign {
    fn among(found: &[Found], ledger: &Ledger) -> Self {
        let mut foreign = Self::default();
        for file in found {
            let digest = Digest::of(&file.content);
            if ledger.knows_checkpoint(&digest) {
                continue;
            }
            let path = file.path.display();
            match checkpoint::decode(&file.content) {
                Ok(Claims { claims, faults }) => {
                    tracing::warn!(%path, pods = claims.len(), "somebody else wrote the checkpoint file: it is taken over");
                    for fault in faults {
                        tracing::error!(%path, fault, "an entry of the checkpoint file cannot be used");
                    }
                    foreign.claims.extend(claims);
                    foreign.digests.push(digest);
                }
                Err(error) => {
                    let error = daemon::chain(&error);
                    match store::set_aside(&file.path, "set-aside") {
                        Ok(aside) => {
                            let kept = aside.display();
                            tracing::error!(%path, error, %kept, "the checkpoint file cannot be used: a copy was set aside, and pods keep the addresses that their devices have");
                        }
                        Err(aside) => {
                            tracing::error!(%path, error, %aside, "the checkpoint file cannot be used, nor be set aside; pods keep the addresses that their devices have");
                        }
                    }
                    foreign.unreadable = true;
                }
            }
        }
        foreign
    }
}

fn tell(taken: &TakenOver) {
    for fault in &taken.faults {
        tracing::error!(fault, "an address that cannot be taken over");
    }
    for address in &taken.unexplained {
        tracing::warn!(%address, "a device has an address that no record explains: it is kept until the device goes");
    }
    if *taken != TakenOver::default() {
        let TakenOver {
            kept, adopted, ended, ..
        } = taken;
        tracing::warn!(kept, adopted, ended, "taken over");
    }
}

impl Daemon<'_> {
    /// A fresh journal of this boot, and the kernel and the files as the ledger wants them.
    pub(super) async fn begin_with(&mut self, cards: BTreeSet<u32>, present: &Present) -> Result<(), Error> {
        // The fewest entries that say everything say what is unwritten, too.
        self.ledger.take_entries();
        let entries = self.ledger.entries(&present.boot_id, present.at.moment);
        self.store.compact(&entries)?;
        tracing::info!(
            leases = self.ledger.leases().len(),
            enis = self.ledger.enis().len(),
            "restored"
        );
        let mut sheets = Sheets::new(&self.config.process.checkpoint, cards.into_iter());
        for change in entries.iter().filter_map(|entry| self.change_of(entry)) {
            sheets.apply(change);
        }
        self.mirror = Some(Mirror::start(sheets, self.messages.clone()));
        self.drain_tombstones();
        if let Some(node) = self.ledger.node().cloned() {
            self.meet(node).await;
        }
        Ok(())
    }

    /// What an entry of the journal changes in the peer's files.
    pub(super) fn change_of(&self, entry: &Entry) -> Option<Change> {
        match entry {
            Entry::Leased { key, lease } if !Ledger::is_unexplained(key) => {
                let record = lease.eni.as_ref().and_then(|eni| self.ledger.enis().get(eni));
                let card = record
                    .and_then(|record| record.place())
                    .map(|place| place.network_card);
                let allocation = Allocation::of(key, lease);
                Some(Change::Held(card.unwrap_or_default(), key.clone(), allocation))
            }
            Entry::Released { key, .. } => Some(Change::Free(key.clone())),
            _ => None,
        }
    }

    /// Notes in the journal that the files will have these contents.
    pub(super) fn handle_checkpoint(&mut self, digests: Vec<Digest>) -> bool {
        digests
            .into_iter()
            .for_each(|digest| self.ledger.handle_checkpoint(digest));
        self.write()
    }

    /// The last write: whoever comes next, the peer's daemon perhaps, finds everything.
    pub(super) fn end(mut self) {
        let Some(mut sheets) = self.mirror.take().and_then(Mirror::end) else {
            return;
        };
        let written = sheets
            .stale()
            .map_err(|error| error.to_string())
            .and_then(|fresh| {
                let digests = fresh.values().map(|fresh| fresh.digest.clone()).collect();
                if !self.handle_checkpoint(digests) {
                    return Err("the journal cannot be written".to_owned());
                }
                sheets.write(fresh).map_err(|error| error.to_string())
            });
        if let Err(error) = written {
            tracing::error!(error, "the checkpoint file is not up to date");
        }
    }
}
