//! A node's own view of the file system: the machine's files, with the places that node software writes to replaced
//! by the node's own.
//!
//! The root is a tmpfs. The machine's top-level directories are bound into it; a directory on the way to one of the
//! node's own places is rebuilt from symbolic links into `/.machine`, where the whole of the machine's tree is bound,
//! so a place need not exist on the machine and nothing is ever created there. `/run` is empty at every boot; the
//! other places are the node's disk and outlive a reboot. What is the machine's is read-only, but for `/dev` and
//! `/tmp` and for file systems mounted further down.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use crate::holder::role::{file, make_dir, mount_on};
use crate::holder::{Error, cgroup};

/// The places on a node's disk that its software writes to: the CNI configuration, its plugins and their state, the
/// runtime's and the kubelet's state, and logs.
pub(super) const DISK: [&str; 9] = [
    "etc/cni",
    "opt/cni/bin",
    "var/lib/cni",
    "var/lib/containerd",
    "var/lib/kubelet",
    "var/log/aws-routed-eni",
    "var/log/containers",
    "var/log/pods",
    "var/lib/aws-node",
];

/// Where the machine's own tree is found from a node.
const MACHINE: &str = ".machine";

/// Directories that are made anew, not taken from the machine.
const FRESH: [&str; 3] = ["proc", "run", "sys"];

/// Directories of the machine that a node may write to.
const SHARED: [&str; 2] = ["dev", "tmp"];

/// Which cgroups `/sys/fs/cgroup` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cgroups {
    /// The machine's: nobody on the node makes any.
    OfTheMachine,
    /// The node's own part of them, for a container runtime.
    OfTheNode,
}

/// Builds the root in `directory` and moves into it.
pub(super) fn build(directory: &Path, cgroups: Cgroups) -> Result<(), Error> {
    let root = directory.join("root");
    make_dir(&root)?;
    mount_on("tmpfs", &root, Some("tmpfs"), MsFlags::empty())?;
    bind(Path::new("/"), &root.join(MACHINE))?;
    protect(&root.join(MACHINE))?;
    mirror(&directory.join("disk"), &root, Path::new(""))?;
    for fresh in FRESH {
        make_dir(&root.join(fresh))?;
    }
    mount_on("proc", &root.join("proc"), Some("proc"), MsFlags::empty())?;
    match cgroups {
        Cgroups::OfTheMachine => mount_sys(&root)?,
        Cgroups::OfTheNode => {
            hide_machine_cgroups(&root)?;
            mount_on("sysfs", &root.join("sys"), Some("sysfs"), MsFlags::empty())?;
            cgroup::mount_below(&root)?;
        }
    }
    let run = root.join("run");
    mount_on("tmpfs", &run, Some("tmpfs"), MsFlags::empty())?;
    make_dir(&run.join("netns"))?;
    make_dir(&run.join("lock"))?;
    move_into(&root)?;
    // Mounts that a container makes for its node, and the node's for containers, are passed on where they are wanted.
    mount_on("none", Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_SHARED)
}

/// Runtimes take the first cgroups among the mounts for theirs.
fn hide_machine_cgroups(root: &Path) -> Result<(), Error> {
    umount2(&root.join(MACHINE).join("sys"), MntFlags::MNT_DETACH).map_err(|source| Error::System {
        attempt: "take the machine's /sys away from a node",
        source,
    })
}

/// The node's devices appear in a `/sys` of its own; where the kernel refuses one (a container that masks its own),
/// the machine's serves for the rest. The cgroups are the machine's either way.
fn mount_sys(root: &Path) -> Result<(), Error> {
    let sys = root.join("sys");
    let machine = root.join(MACHINE).join("sys");
    if mount_on("sysfs", &sys, Some("sysfs"), MsFlags::empty()).is_err() {
        return bind(&machine, &sys);
    }
    let cgroups = Path::new("fs/cgroup");
    if sys.join(cgroups).is_dir() && machine.join(cgroups).is_dir() {
        bind(&machine.join(cgroups), &sys.join(cgroups))?;
    }
    Ok(())
}

/// Rebuilds `path` of the machine under `root`: links or binds for what the node shares, its own disk for the rest.
fn mirror(disk: &Path, root: &Path, path: &Path) -> Result<(), Error> {
    let original = Path::new("/").join(path);
    let entries = match fs::read_dir(&original) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
            .collect(),
        Err(_) => Vec::new(),
    };
    let top = path.as_os_str().is_empty();
    for name in entries {
        let child = path.join(&name);
        let fresh = top && FRESH.iter().any(|fresh| name == *fresh);
        if !fresh && !leads_to_disk(&child) {
            share(root, &child, top)?;
        }
    }
    for child in children_towards_disk(path) {
        let place = root.join(&child);
        make_dir(&place)?;
        if DISK.iter().any(|own| child == Path::new(own)) {
            let own = disk.join(&child);
            make_dir(&own)?;
            bind(&own, &place)?;
        } else {
            mirror(disk, root, &child)?;
        }
    }
    Ok(())
}

fn leads_to_disk(path: &Path) -> bool {
    DISK.iter().any(|own| Path::new(own).starts_with(path))
}

/// The children of `path` that are one of the node's own places or lead to one.
fn children_towards_disk(path: &Path) -> Vec<PathBuf> {
    let mut children: Vec<PathBuf> = DISK
        .iter()
        .filter_map(|own| Path::new(own).strip_prefix(path).ok())
        .filter_map(|rest| rest.components().next())
        .map(|first| path.join(first))
        .collect();
    children.sort();
    children.dedup();
    children
}

/// Top-level directories are bound, so that what programs resolve looks as on the machine; the rest is linked.
fn share(root: &Path, path: &Path, top: bool) -> Result<(), Error> {
    let original = Path::new("/").join(path);
    let place = root.join(path);
    let Ok(kind) = fs::symlink_metadata(&original).map(|metadata| metadata.file_type()) else {
        return Ok(());
    };
    let target = if top && kind.is_symlink() {
        fs::read_link(&original).map_err(|source| file("read the link", &original, source))?
    } else if top && kind.is_dir() {
        bind(&original, &place)?;
        let shared = SHARED.iter().any(|shared| path == Path::new(shared));
        return if shared { Ok(()) } else { protect(&place) };
    } else {
        Path::new("/").join(MACHINE).join(path)
    };
    symlink(target, &place).map_err(|source| file("create the link", &place, source))
}

fn bind(from: &Path, to: &Path) -> Result<(), Error> {
    make_dir(to)?;
    mount_on(
        &from.to_string_lossy(),
        to,
        None,
        MsFlags::MS_BIND | MsFlags::MS_REC,
    )
}

/// Makes a bind read-only. In a user namespace the flags that the mount came with must be repeated.
fn protect(path: &Path) -> Result<(), Error> {
    let flags = statvfs(path).map_err(|source| Error::System {
        attempt: "read the flags of a mount",
        source,
    })?;
    let flags = flags.flags();
    let mut kept = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    for (had, keep) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        kept.set(keep, flags.contains(had));
    }
    mount_on("none", path, None, kept)
}

fn move_into(root: &Path) -> Result<(), Error> {
    let system = |attempt| move |source| Error::System { attempt, source };
    chdir(root).map_err(system("change into a node's root"))?;
    // The old root ends up on top of the new one, from where it is taken away.
    pivot_root(".", ".").map_err(system("make a node's root the root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(system("take the machine's root away from a node"))?;
    chdir("/").map_err(system("change into a node's root"))
}
