//! The two processes that are a node: the keeper, which holds the namespaces' outer end, and the node's process 1,
//! which gives it a machine's files and settings and then buries children until the plug is pulled.

use std::io::Write;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;
use serde::{Deserialize, Serialize};

use super::root::{self, Cgroups};
use crate::holder::role::{chain, die_with_parent, file};
use crate::holder::supervise::{bury_for_ever, supervise};
use crate::holder::{Error, ROLE_PREFIX, cgroup, this_program};

/// What a node's processes are told, as JSON in an argument.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    /// Its host name.
    pub(crate) name: String,
    /// A directory of the run for its disk and its root.
    pub(crate) directory: std::path::PathBuf,
    /// Settings under `/proc/sys`: path and value.
    pub(crate) sysctls: Vec<(String, String)>,
    /// The run's cgroups, when the node has some of its own there.
    pub(crate) cgroups: Option<String>,
}

/// What the simulator reads from a starting node, a line each.
pub(crate) const PID_LINE: &str = "pid ";
/// The node is up.
pub(crate) const READY_LINE: &str = "ready";
/// The node could not come up.
pub(crate) const FAILED_LINE: &str = "failed ";

/// The keeper: makes the namespaces, starts the node's process 1 and says its number.
pub(crate) fn keep(spec: &str) -> Result<i32, Error> {
    if let Err(error) = settle(spec) {
        say(&format!("{FAILED_LINE}{}", chain(&error)))?;
        return Ok(1);
    }
    let all = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(all).map_err(|source| Error::System {
        attempt: "make a node's namespaces",
        source,
    })?;
    let mut init = Command::new(this_program());
    init.arg(format!("{ROLE_PREFIX}node-init")).arg(spec);
    supervise(&mut init, "a node's process 1", |pid| {
        say(&format!("{PID_LINE}{pid}"))
    })
}

/// Gives the node cgroups, if it is to have some: its processes are born there.
fn settle(spec: &str) -> Result<(), Error> {
    let machine = understand(spec)?;
    match &machine.cgroups {
        Some(run) => cgroup::enter_new(run, &machine.name).map_err(|source| Error::Cgroups {
            source: Box::new(source),
        }),
        None => Ok(()),
    }
}

fn understand(spec: &str) -> Result<Machine, Error> {
    serde_json::from_str(spec).map_err(|_| Error::Arguments("node".to_owned()))
}

/// The node's process 1.
pub(crate) fn run(spec: &str) -> Result<i32, Error> {
    die_with_parent()?;
    match set_up(spec) {
        Ok(()) => say(READY_LINE)?,
        Err(error) => {
            say(&format!("{FAILED_LINE}{}", chain(&error)))?;
            return Ok(1);
        }
    }
    bury_for_ever()
}

fn set_up(spec: &str) -> Result<(), Error> {
    let machine = understand(spec)?;
    let cgroups = match machine.cgroups {
        Some(_) => Cgroups::OfTheNode,
        None => Cgroups::OfTheMachine,
    };
    root::build(&machine.directory, cgroups)?;
    sethostname(&machine.name).map_err(|source| Error::System {
        attempt: "name a node",
        source,
    })?;
    for (path, value) in &machine.sysctls {
        write(path, value)?;
    }
    Ok(())
}

fn write(setting: &str, value: &str) -> Result<(), Error> {
    let path = std::path::Path::new("/proc/sys").join(setting);
    std::fs::write(&path, value).map_err(|source| file("write the setting", &path, source))
}

fn say(line: &str) -> Result<(), Error> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|source| file("tell the simulator through", "/dev/stdout".as_ref(), source))
}
