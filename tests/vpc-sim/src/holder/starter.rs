//! The starter: leaves for new namespaces, runs the world's process 1, waits for it, and removes the one thing that a
//! run leaves behind.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::supervise::supervise;
use super::{Error, ROLE_PREFIX, cgroup, hint, this_program};

/// The starter's process id, told to process 1 so that it can see whether the starter still lives.
pub(super) const STARTER: &str = "VPC_SIM_STARTER";

/// The run's name, told to process 1.
pub(super) const RUN: &str = "VPC_SIM_RUN";

/// Runs the program in a world and returns its exit code.
pub(super) fn run(program: &OsStr, arguments: &[OsString]) -> Result<i32, Error> {
    let run = cgroup::Run::of_this_starter();
    cgroup::sweep();
    leave()?;
    let mut init = Command::new(this_program());
    init.arg0(program)
        .arg(format!("{ROLE_PREFIX}init"))
        .args(arguments)
        .env(STARTER, std::process::id().to_string())
        .env(RUN, run.name());
    let code = supervise(&mut init, "the world's process 1", |_| Ok(()));
    run.remove();
    code
}

/// Leaves for new namespaces: as root without a user namespace, or where that is refused as root of one.
fn leave() -> Result<(), Error> {
    let plain = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC;
    if geteuid().is_root() && unshare(plain).is_ok() {
        return Ok(());
    }
    // The numbers as the machine sees them, before they become 0.
    let (user, group) = (geteuid(), getegid());
    unshare(plain | CloneFlags::CLONE_NEWUSER)
        .map_err(|source| refused("user, mount and network", source))?;
    write_self("setgroups", "deny")?;
    write_self("uid_map", &format!("0 {user} 1"))?;
    write_self("gid_map", &format!("0 {group} 1"))
}

fn refused(what: &'static str, source: Errno) -> Error {
    Error::Namespaces {
        what,
        hint: hint(),
        source,
    }
}

fn write_self(file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/self/{file}");
    std::fs::write(&path, text).map_err(|source| Error::File {
        attempt: "write",
        path: path.into(),
        source,
    })
}
