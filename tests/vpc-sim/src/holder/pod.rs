//! A pod's network namespace on a node, bound to a file as container runtimes do it.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sched::{CloneFlags, unshare};

use super::Error;
use super::role::{file, make_dir, mount_on};

/// Where runtimes keep network namespaces.
const DIRECTORY: &str = "/run/netns";

/// The file that stands for a pod's network namespace, as seen on its node.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes the namespace. Runs on the node, in a process of its own that ends right after.
pub(super) fn create(name: &str) -> Result<(), Error> {
    let path = path(name);
    make_dir(Path::new(DIRECTORY))?;
    std::fs::write(&path, "").map_err(|source| file("create", &path, source))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|source| Error::System {
        attempt: "make a pod's network namespace",
        source,
    })?;
    mount_on("/proc/self/ns/net", &path, None, MsFlags::MS_BIND)
}

/// Lets go of the namespace, as a runtime does when a pod ends. It lives as long as somebody else holds it.
pub(super) fn remove(name: &str) -> Result<(), Error> {
    let path = path(name);
    umount2(&path, MntFlags::MNT_DETACH).map_err(|source| Error::System {
        attempt: "unmount a pod's network namespace",
        source,
    })?;
    std::fs::remove_file(&path).map_err(|source| file("remove", &path, source))
}
