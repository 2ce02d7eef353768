//! Releases recorded while the daemon is away: an empty file each, whose name says all, so it is whole or not there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use hostnet::failpoint::{self, Step};
use ipamd_core::id::AttachmentKey;

use crate::error::CniError;

/// Records a release.
pub(crate) fn write(key: &AttachmentKey) -> Result<(), CniError> {
    let path = path(key);
    record(&path).map_err(|source| CniError::Tombstone { path, source })?;
    failpoint::reach(Step::ReleaseRecorded);
    Ok(())
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

fn path(key: &AttachmentKey) -> PathBuf {
    Path::new(proto::RELEASED).join(proto::tombstone_name(key))
}

fn record(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(proto::RELEASED)?;
    File::create(path)?;
    File::open(proto::RELEASED)?.sync_all()
}
