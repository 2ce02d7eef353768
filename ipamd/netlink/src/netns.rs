//! Network namespaces: open one, and enter one for the time of a closure.
//!
//! A socket remembers the namespace it was opened in, so entering is needed only to open it. [`inside`] always brings
//! the calling thread back; were that to fail, every later request of this thread would go to a stranger's kernel
//! state, so the process ends instead. Nothing here waits, so it is safe on a worker thread of a runtime.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;

/// A namespace that could not be opened, entered or told apart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that stands for it could not be opened.
    #[error("open the network namespace {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel would not let us in (not a network namespace, or no permission).
    #[error("enter a network namespace")]
    Enter(#[source] Errno),
    /// Its identity could not be read.
    #[error("read the identity of a network namespace")]
    Identify(#[source] Errno),
}

/// What tells one live namespace from another: device and inode of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// The namespace behind a path, for example `/var/run/netns/<name>` or `/proc/<pid>/ns/net`.
///
/// # Errors
/// When the file cannot be opened.
pub fn open(path: &Path) -> Result<OwnedFd, Error> {
    File::open(path).map(OwnedFd::from).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })
}

/// The namespace of a process.
///
/// # Errors
/// When the process is gone or not ours to look at.
pub fn of_process(pid: u32) -> Result<OwnedFd, Error> {
    open(&PathBuf::from(format!("/proc/{pid}/ns/net")))
}

/// The namespace of the calling thread.
///
/// # Errors
/// When `/proc` is not there.
pub fn current() -> Result<OwnedFd, Error> {
    open(Path::new("/proc/thread-self/ns/net"))
}

/// Whether two descriptors or paths mean the same namespace: compare these.
///
/// # Errors
/// When the descriptor cannot be read.
pub fn identity(namespace: BorrowedFd<'_>) -> Result<Identity, Error> {
    let stat = fstat(namespace).map_err(Error::Identify)?;
    Ok(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// Runs `work` with the calling thread inside `namespace`, and brings the thread back.
///
/// # Errors
/// When the thread's own namespace cannot be opened or the other one cannot be entered; `work` did not run then.
pub fn inside<T>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T) -> Result<T, Error> {
    let _way_back = WayBack(current()?);
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(Error::Enter)?;
    Ok(work())
}

/// Returns the thread to its namespace when dropped, also when the work panicked.
struct WayBack(OwnedFd);

impl Drop for WayBack {
    fn drop(&mut self) {
        if setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).is_err() {
            std::process::abort();
        }
    }
}
