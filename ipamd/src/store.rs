//! The journal's file: append, one sync for many entries, compact by rename, cut a torn tail.
//!
//! A second daemon is kept out by a lock beside the file. What could not be written is kept and written with the next
//! entries, so the file never has a gap; until then nobody is answered. Of a file that is damaged beyond a torn last
//! line a copy is set aside under another name and never deleted.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hostnet::failpoint::{self, Step};
use ipamd_core::ledger::journal::{self, Entry, NotEncoded};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step on the way to an open journal, or of writing it.
    #[error("{attempt} {path}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody else has the journal.
    #[error("another ipamd holds {path}; only one may run on a node, so stop the other first")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// An entry has no JSON.
    #[error("encode an entry for {path}")]
    Encode {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: NotEncoded,
    },
}

/// What the journal held.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Every whole entry.
    pub(crate) entries: Vec<Entry>,
    /// More than a torn last line is missing.
    pub(crate) damaged: bool,
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    file: File,
    /// Bytes that are known to be on disk and whole.
    whole_bytes: u64,
    /// What could not be written yet.
    pending: Vec<u8>,
    entries: usize,
    /// How many entries it took when it was last written anew.
    fewest: usize,
    in_memory: bool,
    _lock: Flock<File>,
}

impl Store {
    /// Opens or creates the journal and reads it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Opened), Error> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(io("create", folder))?;
        let lock = lock(&path.with_extension("lock"))?;
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(io("read", path))?,
        };
        let decoded = journal::decode(&bytes);
        let tail = bytes.get(decoded.whole_bytes..).unwrap_or_default();
        // A torn write is the beginning of one line; more than that is damage, and worth keeping.
        let damaged = tail.split(|byte| *byte == b'\n').count() > 1;
        if damaged {
            let kept = set_aside(path, "corrupt").map_err(io("set a copy aside of", path))?;
            tracing::error!(kept = %kept.display(), "journal is damaged; a copy was set aside");
        }
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(io("open", path))?;
        let whole_bytes = decoded.whole_bytes as u64;
        file.set_len(whole_bytes)
            .map_err(io("cut the torn tail of", path))?;
        if whole_bytes < bytes.len() as u64 {
            tracing::warn!(
                cut_bytes = bytes.len() as u64 - whole_bytes,
                "journal had a torn tail"
            );
        }
        let entries = decoded.entries.len();
        let store = Self {
            path: path.to_owned(),
            file,
            whole_bytes,
            pending: Vec::new(),
            entries,
            fewest: 0,
            in_memory: fstatfs(&*lock).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC),
            _lock: lock,
        };
        let opened = Opened {
            entries: decoded.entries,
            damaged,
        };
        Ok((store, opened))
    }

    /// Whether no write ever waits for a disk: the folder is a tmpfs, as `/var/run` is on most nodes.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Appends entries and waits until they are on disk.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), Error> {
        for entry in entries {
            let line = journal::encode(entry);
            self.pending.extend(line.map_err(|source| Error::Encode {
                path: self.path.clone(),
                source,
            })?);
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        // From the last whole byte on: what a failed write left behind is written over.
        self.file
            .seek(SeekFrom::Start(self.whole_bytes))
            .map_err(io("seek in", &self.path))?;
        self.file
            .write_all(&self.pending)
            .map_err(io("append to", &self.path))?;
        failpoint::reach(Step::JournalWritten);
        self.file.sync_data().map_err(io("sync", &self.path))?;
        failpoint::reach(Step::JournalSynced);
        self.whole_bytes += self.pending.len() as u64;
        self.entries += entries.len();
        self.pending.clear();
        Ok(())
    }

    /// Whether the file holds so much history that it is worth writing anew. What it must hold does not count, or a
    /// journal of many resting addresses would be written anew for every entry.
    pub(crate) fn is_long(&self) -> bool {
        /// Enough for a day of ordinary churn; a restart reads it in milliseconds.
        const SLACK: usize = 4096;
        self.entries > SLACK + 4 * self.fewest
    }

    /// Replaces the file by the fewest entries that say the same.
    pub(crate) fn compact(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let fresh = self.path.with_extension("new");
        let mut bytes = Vec::new();
        for entry in entries {
            let line = journal::encode(entry);
            bytes.extend(line.map_err(|source| Error::Encode {
                path: fresh.clone(),
                source,
            })?);
        }
        let mut file = File::create(&fresh).map_err(io("create", &fresh))?;
        file.write_all(&bytes).map_err(io("write", &fresh))?;
        file.sync_all().map_err(io("sync", &fresh))?;
        failpoint::reach(Step::CompactWritten);
        std::fs::rename(&fresh, &self.path).map_err(io("rename to", &self.path))?;
        failpoint::reach(Step::CompactRenamed);
        // From here on the fresh file is the journal, whatever becomes of the sync.
        self.file = file;
        self.whole_bytes = bytes.len() as u64;
        (self.entries, self.fewest) = (entries.len(), entries.len());
        self.pending.clear();
        if let Some(folder) = self.path.parent() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(io("sync", folder))?;
        }
        Ok(())
    }
}

fn lock(path: &Path) -> Result<Flock<File>, Error> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(io("open", path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| Error::Locked {
        path: path.to_owned(),
    })
}

/// Keeps a copy of a file, with the file's own mode, beside it: under the first ending of this word and a number that
/// is free.
pub(crate) fn set_aside(path: &Path, word: &str) -> Result<PathBuf, io::Error> {
    let mut names = (0_u32..).map(|number| path.with_extension(format!("{word}{number}")));
    let aside = names.find(|path| !path.exists());
    let aside = aside.ok_or(io::ErrorKind::AlreadyExists)?;
    std::fs::copy(path, &aside)?;
    Ok(aside)
}

fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io {
        attempt,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str) -> Entry {
        Entry::Boot { id: id.to_owned() }
    }

    #[test]
    fn what_was_appended_is_read_back_and_a_torn_tail_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/journal");
        let (mut store, opened) = Store::open(&path).unwrap();
        assert_eq!(opened.entries, []);
        store.append(&[boot("a"), boot("b")]).unwrap();
        drop(store);
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"0123abcd 40 {\"entry\":").unwrap();
        let (mut store, opened) = Store::open(&path).unwrap();
        assert_eq!(opened.entries, [boot("a"), boot("b")]);
        assert!(!opened.damaged, "a torn tail is no damage");
        store.append(&[boot("c")]).unwrap();
        store.compact(&[boot("c")]).unwrap();
        store.append(&[boot("d")]).unwrap();
        drop(store);
        assert_eq!(Store::open(&path).unwrap().1.entries, [boot("c"), boot("d")]);
    }

    #[test]
    fn an_unreadable_file_is_set_aside_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "not a journal\n").unwrap();
        let (_, opened) = Store::open(&path).unwrap();
        assert_eq!(opened.entries, []);
        assert!(opened.damaged);
        assert_eq!(
            std::fs::read_to_string(folder.path().join("journal.corrupt0")).unwrap(),
            "not a journal\n"
        );
    }

    #[test]
    fn damage_in_the_middle_keeps_what_came_before_and_a_copy_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut store, _) = Store::open(&path).unwrap();
        store.append(&[boot("a"), boot("b"), boot("c")]).unwrap();
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second] = b'x';
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Store::open(&path).unwrap().1.entries, [boot("a")]);
        assert_eq!(
            std::fs::read(folder.path().join("journal.corrupt0")).unwrap(),
            bytes
        );
    }

    #[test]
    fn a_journal_of_many_entries_that_must_stay_is_not_written_anew_for_each_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(&folder.path().join("journal")).unwrap();
        let all = vec![boot("a"); 5000];
        store.append(&all).unwrap();
        assert!(store.is_long());
        store.compact(&all).unwrap();
        store.append(&all).unwrap();
        assert!(!store.is_long());
    }

    #[test]
    fn a_second_daemon_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let first = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(Error::Locked { .. })));
        drop(first);
        assert!(Store::open(&path).is_ok());
    }
}
