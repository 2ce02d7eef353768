//! The journal as bytes on a disk, beside a plain record of what those bytes say: what was answered must be in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipamd_core::id::{AttachmentKey, IntentId};
use ipamd_core::ledger::journal::{Entry, decode, encode};

use crate::record::ipv4;

/// What survives the daemon.
#[derive(Default)]
pub(crate) struct Disk {
    bytes: Vec<u8>,
    entries: usize,
    fewest: usize,
    /// Who holds what, by the bytes alone.
    pub(crate) leases: BTreeMap<AttachmentKey, Ipv4Addr>,
    /// Intents without an end, by the bytes alone.
    pub(crate) intents: BTreeSet<IntentId>,
}

impl Disk {
    /// What a daemon that starts now can read; what is torn is cut.
    pub(crate) fn read(&mut self) -> Vec<Entry> {
        let decoded = decode(&self.bytes);
        self.bytes.truncate(decoded.whole_bytes);
        decoded.entries
    }

    /// Appends and syncs.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let bytes = bytes(entries);
        let decoded = decode(&bytes);
        assert_eq!(
            decoded.entries.len(),
            entries.len(),
            "what is read is what was written"
        );
        self.bytes.extend(bytes);
        decoded.entries.into_iter().for_each(|entry| self.note(entry));
    }

    /// Appends, and dies on the way: so much of it, in 255ths, reached the disk.
    pub(crate) fn tear(&mut self, entries: &[Entry], survives: u8) {
        let bytes = bytes(entries);
        let left = bytes.len() * usize::from(survives) / 255;
        self.bytes.extend(&bytes[..left]);
    }

    /// Replaces everything at once.
    pub(crate) fn replace(&mut self, entries: &[Entry]) {
        *self = Self::default();
        self.append(entries);
        self.fewest = self.entries;
    }

    /// Mirrors the bound of the product's store.
    pub(crate) fn is_long(&self) -> bool {
        self.entries > 4096 + 4 * self.fewest
    }

    fn note(&mut self, entry: Entry) {
        self.entries += 1;
        match entry {
            Entry::Leased { key, lease } => drop(self.leases.insert(key, ipv4(&lease))),
            Entry::Released { key, .. } => drop(self.leases.remove(&key)),
            Entry::Intended { id, .. } => drop(self.intents.insert(id)),
            Entry::IntentEnded { id } => drop(self.intents.remove(&id)),
            Entry::Boot { .. }
            | Entry::Node { .. }
            | Entry::Eni { .. }
            | Entry::EniGone { .. }
            | Entry::Mark { .. }
            | Entry::GivenBack { .. }
            | Entry::Checkpoint { .. }
            | Entry::LostSight { .. }
            | Entry::Resting { .. } => {}
        }
    }
}

fn bytes(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| encode(entry).unwrap()).collect()
}
