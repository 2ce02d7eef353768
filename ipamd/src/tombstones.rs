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

/// Every release that waits. A file that cannot be read as one is left and named.
pub(crate) fn read(folder: &Path) -> Vec<Tombstone> {
    let files = match std::fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "recorded releases cannot be listed");
            return Vec::new();
        }
    };
    files
        .flatten()
        .map(|file| file.path())
        .filter(|path| is_whole(path))
        .filter_map(read_one)
        .collect()
}

/// The shim writes under a name with a leading dot first and renames.
fn is_whole(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
}

fn read_one(path: PathBuf) -> Option<Tombstone> {
    let read = std::fs::read(&path).map_err(|error| error.to_string());
    match read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())) {
        Ok(key) => Some(Tombstone { key, path }),
        Err(error) => {
            tracing::warn!(path = %path.display(), error, "recorded release cannot be read");
            None
        }
    }
}
