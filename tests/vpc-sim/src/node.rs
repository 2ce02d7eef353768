//! A node: what an instance is to the software that runs on it.
//!
//! One holder process owns the node's network, mount, process, host-name and IPC namespaces; everything of the node
//! is entered through it, and killing it is pulling the plug. The node's disk is a directory of the run that outlives
//! a reboot; its memory (`/run`, network devices, processes) does not.
//!
//! A node that is to run containers has cgroups of its own besides (see [`NodeSpec::runtime`]).
//!
//! What it leaves out: a clock of its own, an init system, and the settings that no namespace separates.

pub(crate) mod machine;
mod root;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::holder::{INSIDE, ROLE_PREFIX, World, pod, this_program};
use machine::{FAILED_LINE, Machine, PID_LINE, READY_LINE};

/// A node mounts a few dozen directories; a machine that needs longer than this is stuck.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The reverse path filter (kernel, Documentation/networking/ip-sysctl.rst, `rp_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// 0: no check.
    Off,
    /// 1: a packet must come in where its answer would go out.
    Strict,
    /// 2: its source must be reachable at all; what Amazon Linux sets.
    Loose,
}

/// A node to be.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its host name; it also names its files.
    pub name: String,
    /// `net.ipv4.conf.{all,default}.rp_filter`.
    pub reverse_path: ReversePath,
    /// `net.ipv6.conf.all.forwarding`.
    pub ipv6_forwarding: bool,
    /// Whether a container runtime can run on it: it then has cgroups of its own. Needs root on the machine.
    pub runtime: bool,
}

impl NodeSpec {
    /// A node as an EKS image boots it: IPv4 forwarding, loose reverse path.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            reverse_path: ReversePath::Loose,
            ipv6_forwarding: false,
            runtime: false,
        }
    }
}

/// A node that could not be started, or something that could not be done on it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its holder could not be started or did not speak.
    #[error("start node {node}")]
    Start {
        /// Which.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// Its holder could not give it a machine's files and settings.
    #[error("start node {node}: {reason}")]
    SetUp {
        /// Which.
        node: String,
        /// What the holder said.
        reason: String,
    },
    /// A file of it could not be used.
    #[error("{attempt} {path} of node {node}", path = path.display())]
    File {
        /// Which.
        node: String,
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command could not be run on it.
    #[error("run {program} on node {node}")]
    Run {
        /// Which node.
        node: String,
        /// Which program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A pod's network namespace could not be made.
    #[error("make the network namespace of pod {pod} on node {node}: {reason}")]
    Pod {
        /// Which node.
        node: String,
        /// Which pod.
        pod: String,
        /// What the node said.
        reason: String,
    },
    /// Its network namespace could not be opened.
    #[error("open a network namespace of node {node}")]
    Namespace {
        /// Which.
        node: String,
        /// Why.
        source: netlink::netns::Error,
    },
}

/// A running node. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Node {
    spec: NodeSpec,
    directory: PathBuf,
    holder: u32,
    keeper: Child,
    network: OwnedFd,
}

impl Node {
    /// Boots a node. One of the same name that ran before in this world leaves its disk to it.
    ///
    /// # Errors
    /// When a namespace, mount or setting is refused.
    pub async fn start(world: &World, spec: NodeSpec) -> Result<Self, Error> {
        let directory = world.scratch().join("nodes").join(&spec.name);
        std::fs::create_dir_all(directory.join("log")).map_err(|source| Error::Start {
            node: spec.name.clone(),
            source,
        })?;
        let (keeper, holder) = boot(world, &spec, &directory).await?;
        let network = netlink::netns::of_process(holder).map_err(|source| Error::Namespace {
            node: spec.name.clone(),
            source,
        })?;
        Ok(Self {
            spec,
            directory,
            holder,
            keeper,
            network,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its network namespace.
    #[must_use]
    pub fn network(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    /// The process that is its process 1, as the simulator numbers processes.
    #[must_use]
    pub fn holder(&self) -> u32 {
        self.holder
    }

    /// A path of the node as the simulator reaches it, for example that of a socket under `/run`.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where the node's programs write what they say.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.directory.join("log").join(format!("{name}.log"))
    }

    /// A command to run on the node, with the caller's environment. It dies with the node, and is killed when its
    /// handle is dropped.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.command_in(program, "")
    }

    /// A command to run on the node in the network namespace of one of its pods.
    #[must_use]
    pub fn command_in_pod(&self, program: &str, pod: &str) -> Command {
        self.command_in(program, pod)
    }

    /// Runs a command on the node to its end.
    ///
    /// # Errors
    /// When it cannot be started; its exit code is for the caller to judge.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<Output, Error> {
        let output = self.command(program).args(arguments).output().await;
        output.map_err(|source| self.failed(program, source))
    }

    /// Starts a daemon on the node with this environment and no other, which writes to the log of the given name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn daemon(
        &self,
        log: &str,
        program: &str,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Result<Child, Error> {
        let path = self.log(log);
        let file = std::fs::File::options().create(true).append(true).open(&path);
        let out = file.and_then(|file| Ok((file.try_clone()?, file)));
        let (out, errors) = out.map_err(|source| Error::File {
            node: self.spec.name.clone(),
            attempt: "open the log",
            path,
            source,
        })?;
        self.command(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(|source| self.failed(program, source))
    }

    /// Makes a network namespace for a pod, bound to `/run/netns/<pod>` on the node, and opens it.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn add_pod(&self, pod: &str) -> Result<OwnedFd, Error> {
        self.pod_role("pod", pod).await?;
        netlink::netns::open(&self.path(&pod::path(pod))).map_err(|source| Error::Namespace {
            node: self.spec.name.clone(),
            source,
        })
    }

    /// Lets go of a pod's network namespace, as a runtime does when the pod ends.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn remove_pod(&self, pod: &str) -> Result<(), Error> {
        self.pod_role("pod-gone", pod).await
    }

    async fn pod_role(&self, role: &str, pod: &str) -> Result<(), Error> {
        let mut command = Command::new(this_program());
        command.arg(format!("{ROLE_PREFIX}enter"));
        command.args([&self.holder.to_string(), role, pod]);
        let output = command
            .output()
            .await
            .map_err(|source| self.failed(pod, source))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Pod {
            node: self.spec.name.clone(),
            pod: pod.to_owned(),
            reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Pulls the plug, and returns when nothing of the node runs any more.
    pub async fn power_off(mut self) {
        pull_the_plug(self.holder);
        // The keeper ends when its child has, and its child when all its processes have.
        drop(self.keeper.wait().await);
    }

    /// Pulls the plug and boots again with the same disk.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn reboot(self, world: &World) -> Result<Self, Error> {
        let spec = self.spec.clone();
        self.power_off().await;
        Self::start(world, spec).await
    }

    fn command_in(&self, program: &str, namespace: &str) -> Command {
        let mut command = Command::new(this_program());
        command.arg(format!("{ROLE_PREFIX}enter"));
        command.args([&self.holder.to_string(), "exec", namespace, program]);
        command.env_remove(INSIDE).kill_on_drop(true);
        command
    }

    fn failed(&self, program: &str, source: io::Error) -> Error {
        Error::Run {
            node: self.spec.name.clone(),
            program: program.to_owned(),
            source,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Only while the keeper was not waited for is the number still the holder's.
        if self.keeper.id().is_some() {
            pull_the_plug(self.holder);
        }
    }
}

fn pull_the_plug(holder: u32) {
    // Gone already is what was wanted.
    let _gone_already = kill(Pid::from_raw(holder.cast_signed()), Signal::SIGKILL);
}

/// Starts the keeper and waits until the node's process 1 says that it is ready.
async fn boot(world: &World, spec: &NodeSpec, directory: &Path) -> Result<(Child, u32), Error> {
    let failed = |source| Error::Start {
        node: spec.name.clone(),
        source,
    };
    let machine = Machine {
        name: spec.name.clone(),
        directory: directory.to_owned(),
        sysctls: sysctls(spec),
        cgroups: spec.runtime.then(|| world.run().to_owned()),
    };
    let machine = serde_json::to_string(&machine).map_err(|error| failed(error.into()))?;
    let mut keeper = Command::new(this_program())
        .args([format!("{ROLE_PREFIX}node"), machine])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let told = keeper
        .stdout
        .take()
        .map(BufReader::new)
        .map(AsyncBufReadExt::lines);
    let mut told = told.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let listen = async {
        let (mut holder, mut ready) = (None, false);
        while let Some(line) = told.next_line().await.map_err(failed)? {
            if let Some(pid) = line.strip_prefix(PID_LINE) {
                holder = pid.parse().ok();
            } else if let Some(reason) = line.strip_prefix(FAILED_LINE) {
                return Err(Error::SetUp {
                    node: spec.name.clone(),
                    reason: reason.to_owned(),
                });
            } else if line == READY_LINE {
                ready = true;
            }
            // The keeper and its child speak in no order.
            if let (Some(holder), true) = (holder, ready) {
                return Ok(holder);
            }
        }
        Err(failed(io::ErrorKind::UnexpectedEof.into()))
    };
    let holder = tokio::time::timeout(START_LIMIT, listen)
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))??;
    Ok((keeper, holder))
}

/// A new network namespace copies some of the machine's IPv4 settings, so each that matters is set.
fn sysctls(spec: &NodeSpec) -> Vec<(String, String)> {
    let reverse_path = match spec.reverse_path {
        ReversePath::Off => "0",
        ReversePath::Strict => "1",
        ReversePath::Loose => "2",
    };
    let mut settings = vec![("net/ipv4/ip_forward".to_owned(), "1".to_owned())];
    for scope in ["all", "default"] {
        for (name, value) in [
            ("rp_filter", reverse_path),
            ("src_valid_mark", "0"),
            ("arp_ignore", "0"),
            ("arp_announce", "0"),
            ("proxy_arp", "0"),
            ("accept_redirects", "0"),
            ("send_redirects", "1"),
            ("route_localnet", "0"),
        ] {
            settings.push((format!("net/ipv4/conf/{scope}/{name}"), value.to_owned()));
        }
    }
    if spec.ipv6_forwarding {
        settings.push(("net/ipv6/conf/all/forwarding".to_owned(), "1".to_owned()));
    }
    settings
}
