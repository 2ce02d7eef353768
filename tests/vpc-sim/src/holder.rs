//! The world of a run: namespaces of its own, in which the simulator and everything it starts live and die.
//!
//! [`enter_world`] is called first thing in `main`, before any thread. The process it is called in becomes the
//! *starter*: it leaves for new user (unless root), mount, network, IPC and process namespaces, runs this very program
//! again inside them with the same arguments, waits, and ends with its exit code. Inside, `enter_world` returns the
//! [`World`] and `main` goes on.
//!
//! ```text
//! starter ── init (process 1 of the run) ── the simulator
//!                                        └─ node (keeper) ── node's process 1 ── whatever runs on the node
//! ```
//!
//! Invariants: nothing in the run has a network device of the machine, so nothing can reach or leave its network;
//! nothing is mounted or written outside the run's own mount namespace, but for cgroups ([`cgroup`]); when the starter or the simulator ends,
//! however that comes about, the kernel kills the run's process 1 and with it everything else.
//!
//! The program is run again under a first argument that says which part it plays ([`ROLE_PREFIX`]), because a process
//! with threads cannot enter process, mount and user namespaces safely. No `fork` without `exec`, no unsafe code.

pub(crate) mod cgroup;
pub(crate) mod pod;
pub(crate) mod role;
mod starter;
pub(crate) mod supervise;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// First arguments that begin so are not the user's: they name a part of the run's process tree.
pub const ROLE_PREFIX: &str = "vpc-sim:";

/// Set inside a world to the run's name, so that the program does not make another one.
pub(crate) const INSIDE: &str = "VPC_SIM_WORLD";

/// Where the run keeps its files: a tmpfs in its own mount namespace, gone with it.
const SCRATCH: &str = "/run/vpc-sim";

/// The inside of a run. Proof that [`enter_world`] was called.
#[derive(Clone, Debug)]
pub struct World {
    scratch: PathBuf,
    run: String,
}

/// A world that could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not let us make namespaces.
    #[error("make {what} namespaces for the simulated VPC; {hint}")]
    Namespaces {
        /// Which.
        what: &'static str,
        /// What the operator can do.
        hint: String,
        /// Why.
        source: Errno,
    },
    /// A file of the world could not be read or written.
    #[error("{attempt} {path}", path = path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file system of the world could not be mounted.
    #[error("mount {what} on {path}; {hint}", path = path.display())]
    Mount {
        /// What.
        what: String,
        /// Where.
        path: PathBuf,
        /// What the operator can do.
        hint: String,
        /// Why.
        source: Errno,
    },
    /// A node cannot have cgroups of its own.
    #[error("give the node cgroups for a container runtime, which needs root on the machine")]
    Cgroups {
        /// Why.
        source: Box<Error>,
    },
    /// A part of the run could not be started.
    #[error("start {what}")]
    Start {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A namespace of a node could not be entered.
    #[error("enter the {kind} namespace of process {pid}")]
    Enter {
        /// Which.
        kind: &'static str,
        /// Whose.
        pid: u32,
        /// Why.
        source: Errno,
    },
    /// A system call that should not fail did.
    #[error("{attempt}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// Why.
        source: Errno,
    },
    /// The arguments of a part of the run make no sense: somebody called it by hand.
    #[error("the argument {0} is for the simulator's own use")]
    Arguments(String),
}

/// Makes the world and runs the program again inside it, or returns what is inside.
///
/// Call it before any thread exists. In the starter and in the parts of the run it ends the process and does not
/// return.
///
/// # Errors
/// When the world cannot be made; the error says what to enable.
pub fn enter_world() -> Result<World, Error> {
    enter_world_then(|| ())
}

/// As [`enter_world`]; in the starter `ended` runs when the world is gone, just before the process ends. It sees the
/// world's file systems, not the machine's, but for what it holds open.
///
/// # Errors
/// As [`enter_world`].
pub fn enter_world_then(ended: impl FnOnce()) -> Result<World, Error> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    if let Some(part) = arguments
        .first()
        .and_then(|first| first.to_str()?.strip_prefix(ROLE_PREFIX))
    {
        let played = role::play(part, &program, arguments.get(1..).unwrap_or_default());
        std::process::exit(played.unwrap_or_else(|error| role::complain(part, &error)));
    }
    if let Ok(run) = std::env::var(INSIDE) {
        return Ok(World {
            scratch: SCRATCH.into(),
            run,
        });
    }
    let code = starter::run(&program, &arguments)?;
    ended();
    std::process::exit(code);
}

/// Whether this process is inside a world already, or one of its parts: what must happen on the machine itself, such
/// as a build, has happened.
#[must_use]
pub fn is_inside() -> bool {
    let part = std::env::args()
        .nth(1)
        .is_some_and(|first| first.starts_with(ROLE_PREFIX));
    part || std::env::var_os(INSIDE).is_some()
}

impl World {
    /// A directory for files that vanish with the run.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// How the run's cgroups are called.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }
}

/// What the operator can do about a refusal.
pub(crate) fn hint() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut causes = Vec::new();
    if read("/proc/sys/kernel/unprivileged_userns_clone").trim() == "0" {
        causes.push("sysctl kernel.unprivileged_userns_clone=1");
    }
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1" {
        causes.push("sysctl kernel.apparmor_restrict_unprivileged_userns=0");
    }
    if read("/proc/sys/user/max_user_namespaces").trim() == "0" {
        causes.push("sysctl user.max_user_namespaces=65536");
    }
    if causes.is_empty() {
        "run it with sudo, or in a container started with CAP_SYS_ADMIN and CAP_NET_ADMIN".to_owned()
    } else {
        format!(
            "run it with sudo, or allow it once with: {}",
            causes.join(" and ")
        )
    }
}

/// This very program, to be run again in another part.
pub(crate) fn this_program() -> &'static str {
    "/proc/self/exe"
}
