//! Releases recorded in files while the daemon is away: a file each, whole or not there, for the daemon to drain.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ipamd_core::id::AttachmentKey;

use crate::error::CniError;

/// Records a release.
pub(crate) fn write(key: &AttachmentKey) -> Result<(), CniError> {
    let path = path(key);
    record(&path, key).map_err(|source| CniError::Tombstone { path, source })
}

/// Whether a release of this attachment waits.
pub(crate) fn exists(key: &AttachmentKey) -> bool {
    path(key).exists()
}

/// Forgets a release that was told otherwise.
pub(crate) fn remove(key: &AttachmentKey) -> Result<(), CniError> {
    let path = path(key);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| CniError::Tombstone { path, source }),
    }
}

/// Container and interface make the name: both are checked to hold no slash.
fn path(key: &AttachmentKey) -> PathBuf {
    Path::new(proto::RELEASED).join(format!("{}+{}+{}", key.network, key.container, key.interface))
}

fn record(path: &Path, key: &AttachmentKey) -> io::Result<()> {
    std::fs::create_dir_all(proto::RELEASED)?;
    // Hidden, and no name of a network begins with a dot: nobody takes it for a release.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.new{}", std::process::id()));
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(key)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}
