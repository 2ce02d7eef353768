//! Releases that the shim recorded in files while nobody listened: read, released, and removed once that is durable.

use std::io;
use std::path::{Path, PathBuf};

use ipamd_core::id::AttachmentKey;

/// A release that waits.
#[derive(Debug)]
pub(crate) struct Tombstone {
    /// Whose.
    pub(crate) key: AttachmentKey,
    path: PathBuf,
}

impl Tombstone {
    /// Removes the file. Gone already is success.
    pub(crate) fn remove(&self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "recorded release cannot be removed");
            }
            _ => {}
        }
    }
}

/// Every release that waits. A file whose name is none is left and named.
pub(crate) fn read(folder: &Path) -> Vec<Tombstone> {
    let files = match std::fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "recorded releases cannot be listed");
            return Vec::new();
        }
    };
    files.flatten().filter_map(|file| read_one(file.path())).collect()
}

fn read_one(path: PathBuf) -> Option<Tombstone> {
    let key = path
        .file_name()
        .and_then(|name| proto::tombstone_key(name.to_str()?));
    if key.is_none() {
        tracing::warn!(path = %path.display(), "recorded release cannot be read");
    }
    Some(Tombstone { key: key?, path })
}
