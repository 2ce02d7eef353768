//! The parts that this program plays when it is run again: the world's process 1, a node, a command on a node.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::starter::{RUN, STARTER};
use super::supervise::supervise;
use super::{Error, INSIDE, ROLE_PREFIX, SCRATCH, cgroup, hint, pod, this_program};
use crate::node::machine;

/// Plays a part to its end and returns the exit code.
pub(super) fn play(part: &str, program: &OsStr, arguments: &[OsString]) -> Result<i32, Error> {
    match (part, arguments) {
        ("init", arguments) => init(program, arguments),
        ("node", [spec]) => machine::keep(text(spec)?),
        ("node-init", [spec]) => machine::run(text(spec)?),
        ("enter", [holder, rest @ ..]) => enter(process(holder)?, rest),
        ("exec", [holder, namespace, command, rest @ ..]) => {
            arrive(process(holder)?, text(namespace)?)?;
            let source = Command::new(command).args(rest).exec();
            Err(Error::Start {
                what: command.to_string_lossy().into_owned(),
                source,
            })
        }
        ("pod", [holder, name]) => {
            arrive(process(holder)?, "")?;
            pod::create(text(name)?).map(|()| 0)
        }
        ("pod-gone", [holder, name]) => {
            arrive(process(holder)?, "")?;
            pod::remove(text(name)?).map(|()| 0)
        }
        _ => Err(Error::Arguments(format!("{ROLE_PREFIX}{part}"))),
    }
}

/// The exit code of a part that could not play: as container runtimes say "it was us, not the command".
const OUR_FAULT: i32 = 125;

/// Says on standard error why a part could not play, and gives its exit code. Whoever started it reads that.
pub(super) fn complain(part: &str, error: &Error) -> i32 {
    // There is nobody else to tell.
    drop(writeln!(io::stderr(), "{part}: {}", chain(error)));
    OUR_FAULT
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

/// Process 1 of the run: a `/proc` that shows its processes, a scratch, and then the simulator.
fn init(program: &OsStr, arguments: &[OsString]) -> Result<i32, Error> {
    die_with_parent()?;
    if !starter_lives() {
        return Ok(1);
    }
    mount_on(
        "none",
        Path::new("/"),
        None,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
    )?;
    mount_on("proc", Path::new("/proc"), Some("proc"), MsFlags::empty())?;
    mount_on("tmpfs", Path::new("/run"), Some("tmpfs"), MsFlags::empty())?;
    make_dir(Path::new(SCRATCH))?;
    let mut simulator = Command::new(this_program());
    simulator
        .arg0(program)
        .args(arguments)
        .env(INSIDE, std::env::var_os(RUN).unwrap_or_default())
        .env_remove(RUN)
        .env_remove(STARTER);
    supervise(&mut simulator, "the simulator", |_| Ok(()))
}

/// Whether the starter is still our parent; it may have died before we asked to die with it. The machine's own
/// `/proc` is still mounted here, so numbers are as the starter knows them.
fn starter_lives() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let starter = std::env::var(STARTER).unwrap_or_default();
    parent.is_none_or(|parent| parent.trim() == starter)
}

/// Enters a node's namespaces but for its files, and runs the next part there: joining a process namespace counts
/// for children only. The caller is in the world, or outside of it with the holder's number as it is there.
fn enter(holder: u32, rest: &[OsString]) -> Result<i32, Error> {
    let (part, rest) = match rest {
        [part, rest @ ..] => (text(part)?, rest),
        [] => return Err(Error::Arguments(format!("{ROLE_PREFIX}enter"))),
    };
    if !same_namespace(holder, "user") {
        // Only from outside of the world: whoever made it may enter it, and is root there.
        join(holder, "user", CloneFlags::CLONE_NEWUSER)?;
    }
    if !same_namespace(holder, "cgroup") {
        cgroup::join(holder)?;
        join(holder, "cgroup", CloneFlags::CLONE_NEWCGROUP)?;
    }
    for (kind, flag) in [
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("pid", CloneFlags::CLONE_NEWPID),
    ] {
        join(holder, kind, flag)?;
    }
    let mut next = Command::new(this_program());
    next.arg(format!("{ROLE_PREFIX}{part}"))
        .arg(holder.to_string())
        .args(rest);
    supervise(&mut next, "a command on a node", |_| Ok(()))
}

/// Takes the last step onto a node: its files, and a pod's network namespace when one is named.
fn arrive(holder: u32, namespace: &str) -> Result<(), Error> {
    die_with_parent()?;
    join(holder, "mnt", CloneFlags::CLONE_NEWNS)?;
    if !namespace.is_empty() {
        let file = open(&pod::path(namespace))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(|source| Error::Enter {
            kind: "pod's network",
            pid: holder,
            source,
        })?;
    }
    Ok(())
}

/// Whether this process is where another is already: the user namespace that a process is in cannot be joined, and
/// only nodes that run containers have cgroups of their own. One that cannot be read is tried.
fn same_namespace(pid: u32, kind: &str) -> bool {
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    let ours = std::fs::read_link(format!("/proc/self/ns/{kind}"));
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs == ours)
}

fn join(pid: u32, kind: &'static str, flag: CloneFlags) -> Result<(), Error> {
    let namespace = open(Path::new(&format!("/proc/{pid}/ns/{kind}")))?;
    setns(namespace, flag).map_err(|source| Error::Enter { kind, pid, source })
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::File {
        attempt: "open",
        path: path.to_owned(),
        source,
    })
}

/// The kernel kills this process when its parent ends. Every parent here is a thread that lives as long as its
/// process.
pub(crate) fn die_with_parent() -> Result<(), Error> {
    set_pdeathsig(Signal::SIGKILL).map_err(|source| Error::System {
        attempt: "ask to die with the parent",
        source,
    })
}

pub(crate) fn mount_on(what: &str, path: &Path, kind: Option<&str>, flags: MsFlags) -> Result<(), Error> {
    mount_with(what, path, kind, flags, None)
}

pub(crate) fn mount_with(
    what: &str,
    path: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), Error> {
    mount(Some(what), path, kind, flags, options).map_err(|source| Error::Mount {
        what: what.to_owned(),
        path: path.to_owned(),
        hint: hint(),
        source,
    })
}

pub(crate) fn make_dir(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| file("create the directory", path, source))
}

pub(crate) fn file(attempt: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        attempt,
        path: path.to_owned(),
        source,
    }
}

fn text(argument: &OsStr) -> Result<&str, Error> {
    argument
        .to_str()
        .ok_or_else(|| Error::Arguments(argument.to_string_lossy().into_owned()))
}

fn process(argument: &OsStr) -> Result<u32, Error> {
    text(argument)?
        .parse()
        .map_err(|_| Error::Arguments(argument.to_string_lossy().into_owned()))
}
