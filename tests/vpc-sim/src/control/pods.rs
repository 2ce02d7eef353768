//! The run's pods: who is where, made and ended by the CNI plugin, each answering pings.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::{Answer, PodId, PodLine};
use crate::holder::role::chain;
use crate::pod::{self, Plugin, Pod, PodName};
use crate::probe::{self, Responder};
use crate::story::Story;
use crate::vpc::machine::Machine;

/// The longest name of a pod or namespace (Kubernetes, "Object Names and IDs": RFC 1123 label).
const LABEL_BYTES: usize = 63;

/// What cannot be done to a pod.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "no CNI plugin wires pods here: start the run with --ipamd and --cni-shim, or name both in the scenario"
    )]
    Bare,
    #[error(
        "{0:?} is no name of a pod or namespace: use 1 to {LABEL_BYTES} lower-case letters, digits and dashes"
    )]
    Name(String),
    #[error("pod {pod} is there already, on node {node}; end it with `vpc-sim pod del {node} {name} --namespace {namespace}`", name = .pod.name, namespace = .pod.namespace)]
    Taken { pod: PodId, node: String },
    #[error("no pod {pod} on node {node}; `vpc-sim pod list` shows where which are")]
    Unknown { pod: PodId, node: String },
    #[error("pod {pod} is just being made or ended; ask again")]
    Busy { pod: PodId },
    #[error("{reason}\nThe log of ipamd on {node} ends with:\n{log}")]
    Plugin {
        reason: String,
        node: String,
        log: String,
    },
    #[error(transparent)]
    Probe(#[from] probe::Error),
}

/// Lines of the daemon's log that are shown with a failure.
const LOG_LINES: usize = 8;

/// The run's pods.
#[derive(Debug)]
pub(super) struct Pods {
    plugin: Option<Plugin>,
    held: Mutex<BTreeMap<PodId, Held>>,
    sandboxes: AtomicU64,
}

#[derive(Debug)]
struct Held {
    node: String,
    /// Nothing while it is being made or ended.
    pod: Option<(Pod, Responder)>,
}

/// A pod as one end of a ping.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) id: PodId,
    pub(super) address: Ipv4Addr,
    pub(super) namespace: Arc<OwnedFd>,
}

impl Pods {
    pub(super) fn new(plugin: Option<Plugin>) -> Self {
        Self {
            plugin,
            held: Mutex::default(),
            sandboxes: AtomicU64::new(1),
        }
    }

    pub(super) async fn add(
        &self,
        story: Story,
        node: &str,
        machine: &Machine,
        id: PodId,
    ) -> Result<Answer, Error> {
        let plugin = self.plugin.as_ref().ok_or(Error::Bare)?;
        check(&id.namespace)?;
        check(&id.name)?;
        self.reserve(node, &id).await?;
        let sandbox = self.sandboxes.fetch_add(1, Ordering::Relaxed);
        let name = PodName {
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            container: format!("sandbox-{sandbox}"),
        };
        let made = pod::add(machine.node(), plugin, &name).await;
        let made = made.map_err(|error| failed(node, machine, &error));
        let answering = made.and_then(|pod| {
            let place = pod.place();
            Ok((Responder::start(&place.name, pod.network(), place.address)?, pod))
        });
        let mut held = self.held.lock().await;
        let (responder, pod) = match answering {
            Ok(made) => made,
            Err(error) => {
                held.remove(&id);
                return Err(error);
            }
        };
        let (address, took) = (pod.address, pod.took);
        story.say(&format!("{node}: pod {id} has {address} after {took:.1?}."));
        if let Some(held) = held.get_mut(&id) {
            held.pod = Some((pod, responder));
        }
        Ok(Answer::PodAdded {
            pod: PodLine {
                pod: id,
                node: node.to_owned(),
                address,
            },
            milliseconds: milliseconds(took),
        })
    }

    pub(super) async fn del(
        &self,
        story: Story,
        node: &str,
        machine: &Machine,
        id: PodId,
    ) -> Result<Answer, Error> {
        let plugin = self.plugin.as_ref().ok_or(Error::Bare)?;
        let (pod, responder) = {
            let mut held = self.held.lock().await;
            let entry = held.get_mut(&id).filter(|held| held.node == node);
            let entry = entry.ok_or_else(|| Error::Unknown {
                pod: id.clone(),
                node: node.to_owned(),
            })?;
            let busy = || Error::Busy { pod: id.clone() };
            entry.pod.take().ok_or_else(busy)?
        };
        let ended = pod::del(machine.node(), plugin, pod.clone()).await;
        let mut held = self.held.lock().await;
        match ended {
            Ok(took) => {
                held.remove(&id);
                story.say(&format!("{node}: pod {id} is gone."));
                Ok(Answer::PodGone {
                    milliseconds: milliseconds(took),
                })
            }
            Err(error) => {
                if let Some(held) = held.get_mut(&id) {
                    held.pod = Some((pod, responder));
                }
                Err(failed(node, machine, &error))
            }
        }
    }

    pub(super) async fn list(&self) -> Answer {
        let held = self.held.lock().await;
        let pods = held.iter().filter_map(|(id, held)| {
            let (pod, _) = held.pod.as_ref()?;
            Some(PodLine {
                pod: id.clone(),
                node: held.node.clone(),
                address: pod.address,
            })
        });
        Answer::Pods { pods: pods.collect() }
    }

    /// The pods that can be pinged.
    pub(super) async fn ends(&self) -> Vec<End> {
        let held = self.held.lock().await;
        let pods = held.iter().filter_map(|(id, held)| {
            let (pod, _) = held.pod.as_ref()?;
            Some(End {
                id: id.clone(),
                address: pod.address,
                namespace: pod.place().namespace,
            })
        });
        pods.collect()
    }

    async fn reserve(&self, node: &str, id: &PodId) -> Result<(), Error> {
        let mut held = self.held.lock().await;
        if let Some(there) = held.get(id) {
            return Err(Error::Taken {
                pod: id.clone(),
                node: there.node.clone(),
            });
        }
        let new = Held {
            node: node.to_owned(),
            pod: None,
        };
        held.insert(id.clone(), new);
        Ok(())
    }
}

fn check(label: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=LABEL_BYTES).contains(&label.len()) && label.bytes().all(plain) {
        Ok(())
    } else {
        Err(Error::Name(label.to_owned()))
    }
}

fn failed(node: &str, machine: &Machine, error: &pod::Error) -> Error {
    let log = machine.ipamd_log();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.len().saturating_sub(LOG_LINES);
    Error::Plugin {
        reason: chain(error),
        node: node.to_owned(),
        log: lines.get(last..).unwrap_or_default().join("\n"),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
