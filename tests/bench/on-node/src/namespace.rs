//! Network namespaces as a runtime makes them, at a path where the plugin looks. They live as long as this process
//! holds them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

const FOLDER: &str = "/run/netns";

/// A network namespace with a name.
#[derive(Debug)]
pub(crate) struct Namespace {
    fd: OwnedFd,
    path: PathBuf,
}

impl Namespace {
    /// Makes one, empty.
    pub(crate) fn make(name: &str) -> Result<Self> {
        let made = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
            std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
        });
        let fd = made.join().map_err(|_| anyhow!("a thread ended"))?;
        let fd = fd.context("make a network namespace")?;
        std::fs::create_dir_all(FOLDER).context("make the folder of namespaces")?;
        let path = Path::new(FOLDER).join(name);
        let target = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        std::os::unix::fs::symlink(target, &path).with_context(|| format!("name the namespace {name}"))?;
        Ok(Self { fd, path })
    }

    /// Where the plugin finds it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nobody looks for it any more.
        drop(std::fs::remove_file(&self.path));
    }
}
