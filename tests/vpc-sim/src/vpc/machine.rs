//! A node of a running VPC: the instance, the daemon that runs on it, and the pods that the runtime would make.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::Mutex;

use crate::model::id::InstanceId;
use crate::node::{self, Node};

/// Where the daemon listens, as the node's own `/run` has it.
const SOCKET: &str = "/run/aws-node/ipamd.sock";

/// A daemon opens its socket before it does anything else; one that needs longer is stuck.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at a file that should appear.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What could not be done to a daemon.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// It ended at once.
    #[error("ipamd on node {node} ended at once with {status}; its log: {log}")]
    Ended {
        /// Where.
        node: String,
        /// How.
        status: std::process::ExitStatus,
        /// What it wrote.
        log: String,
    },
    /// It never listened.
    #[error("ipamd on node {node} did not listen within {} s", START_LIMIT.as_secs())]
    Silent {
        /// Where.
        node: String,
    },
    /// It could not be killed or waited for.
    #[error("end ipamd on node {node}")]
    End {
        /// Where.
        node: String,
        /// Why.
        source: std::io::Error,
    },
}

/// A node of a running VPC.
#[derive(Debug)]
pub struct Machine {
    pub(super) node: Node,
    pub(super) instance: InstanceId,
    pub(super) primary: Ipv4Addr,
    pub(super) env: BTreeMap<String, String>,
    daemon: Mutex<Option<Child>>,
}

impl Machine {
    pub(super) fn new(
        node: Node,
        instance: InstanceId,
        primary: Ipv4Addr,
        env: BTreeMap<String, String>,
    ) -> Self {
        Self {
            node,
            instance,
            primary,
            env,
            daemon: Mutex::new(None),
        }
    }

    /// The node itself.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its instance.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Its own address.
    #[must_use]
    pub fn primary(&self) -> Ipv4Addr {
        self.primary
    }

    /// What its daemon's environment adds, for commands that want to see the same VPC.
    #[must_use]
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Starts the daemon with the scenario's settings and these, and waits until its socket is there.
    ///
    /// # Errors
    /// When it cannot be started, ends at once or never listens.
    pub async fn start_ipamd(&self, program: &Path, more: &[(&str, &str)]) -> Result<(), Error> {
        let socket = self.node.path(Path::new(SOCKET));
        // A dead daemon's socket must not look like the new one's.
        drop(std::fs::remove_file(&socket));
        let mut env = self.env.clone();
        env.entry("AWS_VPC_K8S_CNI_LOG_FILE".to_owned())
            .or_insert_with(|| "stderr".to_owned());
        env.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let mut child = self.node.daemon("ipamd", &program.to_string_lossy(), &[], &env)?;
        let name = || self.node.name().to_owned();
        let listening = async {
            loop {
                let ended = child
                    .try_wait()
                    .map_err(|source| Error::End { node: name(), source })?;
                if let Some(status) = ended {
                    let log = std::fs::read_to_string(self.node.log("ipamd")).unwrap_or_default();
                    return Err(Error::Ended {
                        node: name(),
                        status,
                        log,
                    });
                }
                if socket.exists() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let started = tokio::time::timeout(START_LIMIT, listening).await;
        started.map_err(|_| Error::Silent { node: name() })??;
        *self.daemon.lock().await = Some(child);
        Ok(())
    }

    /// Waits until the daemon has died by itself; says how. `None` when none was started.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn until_ipamd_died(&self) -> Result<Option<std::process::ExitStatus>, Error> {
        let Some(mut child) = self.daemon.lock().await.take() else {
            return Ok(None);
        };
        let ended = child.wait().await.map_err(|source| Error::End {
            node: self.node.name().to_owned(),
            source,
        });
        ended.map(Some)
    }

    /// Kills the daemon as the kernel would: at once, wherever it is. Returns when nothing of it is left.
    ///
    /// # Errors
    /// When it cannot be killed, or does not go.
    pub async fn kill_ipamd(&self) -> Result<(), Error> {
        let failed = |source| Error::End {
            node: self.node.name().to_owned(),
            source,
        };
        let Some(mut child) = self.daemon.lock().await.take() else {
            return Ok(());
        };
        child.kill().await.map_err(failed)?;
        // The process that entered the node is gone; the daemon itself dies with it, a moment later.
        let socket = self.node.path(Path::new(SOCKET));
        let gone = async {
            while UnixStream::connect(&socket).await.is_ok() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let waited = tokio::time::timeout(START_LIMIT, gone).await;
        waited.map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))
    }

    /// Asks the daemon to end, as kubelet does, and waits until it has; says how it did.
    ///
    /// # Errors
    /// When it cannot be asked, or does not end.
    pub async fn terminate_ipamd(&self) -> Result<Option<std::process::ExitStatus>, Error> {
        let failed = |source| Error::End {
            node: self.node.name().to_owned(),
            source,
        };
        if let Some(process) = self.ipamd_process().await {
            // The process that entered the node passes the signal on.
            let asked = kill(Pid::from_raw(process.cast_signed()), Signal::SIGTERM);
            asked.map_err(|errno| failed(errno.into()))?;
        }
        let ended = tokio::time::timeout(START_LIMIT, self.until_ipamd_died()).await;
        ended.map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
    }

    /// The process that stands for the daemon, as the simulator numbers processes: the daemon's parent.
    pub async fn ipamd_process(&self) -> Option<u32> {
        self.daemon.lock().await.as_ref().and_then(Child::id)
    }

    /// What the daemon wrote so far.
    #[must_use]
    pub fn ipamd_log(&self) -> String {
        std::fs::read_to_string(self.node.log("ipamd")).unwrap_or_default()
    }
}
