//! The peer's files on disk, one for each network card: read at start, and written as a mirror of the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hostnet::failpoint::{self, Step};
use ipamd_core::checkpoint::{self, Allocation, Digest};
use ipamd_core::id::AttachmentKey;

pub(crate) mod mirror;

/// The network card whose file has the plain name.
const FIRST_CARD: u32 = 0;

/// The peer's: its files are for root alone.
const MODE: u32 = 0o600;

/// A file that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) card: u32,
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
}

/// Every file that there is.
pub(crate) fn read(base: &Path) -> io::Result<Vec<Found>> {
    let (Some(folder), Some(stem)) = (base.parent(), stem(base)) else {
        return Ok(Vec::new());
    };
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut cards = BTreeMap::new();
    for file in listed {
        let path = file?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let further = name
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_prefix("-nic-")?.strip_suffix(".json")?.parse().ok());
        if path == base {
            cards.insert(FIRST_CARD, path);
        } else if let Some(card) = further {
            cards.insert(card, path);
        }
    }
    let found = cards.into_iter().map(|(card, path)| {
        let content = std::fs::read(&path)?;
        Ok(Found { card, path, content })
    });
    found.collect()
}

/// The path without its ending, from which the names of further cards' files come.
fn stem(base: &Path) -> Option<&str> {
    let name = base.file_name()?.to_str()?;
    Some(name.strip_suffix(".json").unwrap_or(name))
}

fn path_of(base: &Path, card: u32) -> PathBuf {
    match stem(base) {
        Some(stem) if card != FIRST_CARD => base.with_file_name(format!("{stem}-nic-{card}.json")),
        Some(_) | None => base.to_owned(),
    }
}

/// A change to the files.
#[derive(Debug)]
pub(crate) enum Change {
    /// An attachment has an address of an ENI on this card.
    Held(u32, AttachmentKey, Allocation),
    /// An attachment has none.
    Free(AttachmentKey),
}

/// One file as it should be.
#[derive(Debug, Default)]
struct Sheet {
    entries: BTreeMap<AttachmentKey, Allocation>,
    /// Of what was last written.
    digest: Option<Digest>,
    stale: bool,
}

/// Every file as it should be.
#[derive(Debug)]
pub(crate) struct Sheets {
    base: PathBuf,
    cards: BTreeMap<u32, Sheet>,
}

impl Sheets {
    /// Sheets that overwrite the files of these cards, and the first card's.
    pub(crate) fn new(base: &Path, cards: impl Iterator<Item = u32>) -> Self {
        let empty = || Sheet {
            stale: true,
            ..Sheet::default()
        };
        let cards = cards.chain([FIRST_CARD]).map(|card| (card, empty()));
        Self {
            base: base.to_owned(),
            cards: cards.collect(),
        }
    }

    pub(crate) fn apply(&mut self, change: Change) {
        let (key, held) = match change {
            Change::Held(card, key, allocation) => (key, Some((card, allocation))),
            Change::Free(key) => (key, None),
        };
        for sheet in self.cards.values_mut() {
            sheet.stale |= sheet.entries.remove(&key).is_some();
        }
        if let Some((card, allocation)) = held {
            let sheet = self.cards.entry(card).or_default();
            sheet.entries.insert(key, allocation);
            sheet.stale = true;
        }
    }

    /// What is to be written, by card.
    pub(crate) fn stale(&self) -> serde_json::Result<BTreeMap<u32, Fresh>> {
        let stale = self.cards.iter().filter(|(_, sheet)| sheet.stale);
        let fresh = stale.map(|(card, sheet)| {
            let content = checkpoint::encode(sheet.entries.values())?;
            let digest = Digest::of(&content);
            Ok((*card, Fresh { content, digest }))
        });
        fresh.collect()
    }

    /// Replaces the files, whose digests are in the journal.
    pub(crate) fn write(&mut self, fresh: BTreeMap<u32, Fresh>) -> io::Result<()> {
        for (card, Fresh { content, digest }) in fresh {
            replace(&path_of(&self.base, card), &content)?;
            failpoint::reach(Step::CheckpointRenamed);
            if let Some(sheet) = self.cards.get_mut(&card) {
                sheet.digest = Some(digest);
                sheet.stale = false;
            }
        }
        Ok(())
    }

    /// Whether a file is not as it should be.
    fn is_stale(&self) -> bool {
        self.cards.values().any(|sheet| sheet.stale)
    }

    fn digests(&self) -> BTreeSet<Digest> {
        let digests = self.cards.values().filter_map(|sheet| sheet.digest.clone());
        digests.collect()
    }
}

/// A content that a file is to have.
#[derive(Debug)]
pub(crate) struct Fresh {
    content: Vec<u8>,
    pub(crate) digest: Digest,
}

/// By way of a file beside it, so that whoever reads sees the old content or the new one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut options = OpenOptions::new();
    let mut file: File = options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(MODE)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::set_aside;

    #[test]
    fn each_card_has_its_file_and_all_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("ipam.json");
        let mut sheets = Sheets::new(&base, [2].into_iter());
        let fresh = sheets.stale().unwrap();
        sheets.write(fresh).unwrap();
        std::fs::write(folder.path().join("ipam-nic-x.json"), "x").unwrap();
        let found = read(&base).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|found| (found.card, found.path.file_name().unwrap().to_str().unwrap()))
            .collect();
        assert_eq!(told, [(0, "ipam.json"), (2, "ipam-nic-2.json")]);
        assert!(
            found
                .iter()
                .all(|found| sheets.digests().contains(&Digest::of(&found.content)))
        );
        let first = found.first().unwrap();
        let aside = set_aside(&first.path, "set-aside").unwrap();
        assert_eq!(std::fs::read(&aside).unwrap(), first.content);
        assert_eq!(aside.metadata().unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(read(&base).unwrap().len(), 2);
    }
}
