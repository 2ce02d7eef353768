//! Pods as a container runtime makes them: a network namespace, then the CNI plugin exec'd with environment and
//! standard input, its answer kept for later verbs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::node::{self, Node};
use crate::probe::Place;
use crate::vpc::PROBE_PORT;

/// What could not be done to a pod.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its namespace could not be made.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// The plugin could not be run.
    #[error("run the CNI plugin {verb} for pod {pod}")]
    Run {
        /// Which verb.
        verb: &'static str,
        /// Which pod.
        pod: String,
        /// Why.
        source: std::io::Error,
    },
    /// The plugin failed and said why.
    #[error("CNI {verb} of pod {pod}: {document}")]
    Refused {
        /// Which verb.
        verb: &'static str,
        /// Which pod.
        pod: String,
        /// The error document.
        document: Value,
    },
    /// The plugin's document makes no sense.
    #[error("CNI {verb} of pod {pod} printed {text:?}")]
    Nonsense {
        /// Which verb.
        verb: &'static str,
        /// Which pod.
        pod: String,
        /// What it printed.
        text: String,
    },
    /// The conflist cannot be used.
    #[error("the conflist {path}: {reason}", path = .path.display())]
    Conflist {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What a runtime knows of the plugin: where it is, and the configuration that it gets.
#[derive(Clone, Debug)]
pub struct Plugin {
    program: PathBuf,
    conf: Value,
}

impl Plugin {
    /// The first plugin of a conflist, its configuration made as a runtime makes it.
    ///
    /// # Errors
    /// When the conflist cannot be read or has no plugin.
    pub fn of(program: &Path, conflist: &Path) -> Result<Self, Error> {
        let bad = |reason: String| Error::Conflist {
            path: conflist.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(conflist).map_err(|error| bad(error.to_string()))?;
        let list: Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let mut conf = list
            .pointer("/plugins/0")
            .cloned()
            .ok_or_else(|| bad("has no plugin".to_owned()))?;
        let fields = conf
            .as_object_mut()
            .ok_or_else(|| bad("its plugin is no object".to_owned()))?;
        for key in ["name", "cniVersion"] {
            fields.insert(key.to_owned(), list.get(key).cloned().unwrap_or_default());
        }
        fields.remove("capabilities");
        Ok(Self {
            program: program.to_owned(),
            conf,
        })
    }

    /// A plugin that needs no configuration of its own, spoken to as by an EKS node's conflist.
    #[must_use]
    pub fn plain(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            conf: json!({"cniVersion": "0.4.0", "name": "aws-cni", "type": "aws-cni"}),
        }
    }

    /// What it gets on standard input.
    #[must_use]
    pub fn conf(&self) -> &Value {
        &self.conf
    }
}

/// Who a pod is, before it has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its Kubernetes name.
    pub name: String,
    /// Its container's id, which also names its network namespace.
    pub container: String,
}

impl PodName {
    /// A pod of the default namespace, with a container id that follows from its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            container: format!("c-{name}"),
        }
    }

    /// The same pod made again: another container.
    #[must_use]
    pub fn again(&self, container: &str) -> Self {
        Self {
            container: container.to_owned(),
            ..self.clone()
        }
    }

    /// The variables that a runtime sets for a verb.
    #[must_use]
    pub fn environment(&self, verb: &str) -> BTreeMap<String, String> {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={}",
            self.namespace, self.name, self.container
        );
        [
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", self.container.clone()),
            ("CNI_NETNS", self.netns()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", "/opt/cni/bin".to_owned()),
            ("CNI_ARGS", args),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Its network namespace, as its node has it.
    #[must_use]
    pub fn netns(&self) -> String {
        format!("/run/netns/{}", self.container)
    }
}

/// A pod with its address.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Who it is.
    pub name: PodName,
    /// Its IPv4 address; 0.0.0.0 where it has IPv6 alone.
    pub address: Ipv4Addr,
    /// All its addresses, at least one.
    pub addresses: Vec<IpAddr>,
    /// What the plugin printed.
    pub result: Value,
    /// From exec to result.
    pub took: Duration,
    namespace: Arc<OwnedFd>,
}

impl Pod {
    /// Its network namespace.
    #[must_use]
    pub fn network(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    fn first_address(&self) -> IpAddr {
        self.addresses.first().copied().unwrap_or(self.address.into())
    }

    /// The pod as one that asks and is asked.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            name: self.name.name.clone(),
            namespace: Arc::clone(&self.namespace),
            address: SocketAddr::new(self.first_address(), PROBE_PORT),
        }
    }
}

/// Makes a pod: its namespace, then ADD.
///
/// # Errors
/// When the plugin refuses; the namespace is then let go, as a runtime does after its DEL.
pub async fn add(node: &Node, plugin: &Plugin, name: &PodName) -> Result<Pod, Error> {
    let namespace = Arc::new(node.add_pod(&name.container).await?);
    let began = Instant::now();
    let output = run(node, plugin, name, "ADD", None).await;
    let took = began.elapsed();
    let result = match output.and_then(|output| document("ADD", name, &output)) {
        Ok(result) => result,
        Err(error) => {
            del_quietly(node, plugin, name).await;
            return Err(error);
        }
    };
    let addresses = addresses(&result);
    if addresses.is_empty() {
        return Err(Error::Nonsense {
            verb: "ADD",
            pod: name.name.clone(),
            text: result.to_string(),
        });
    }
    let ipv4 = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    Ok(Pod {
        name: name.clone(),
        address: ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED),
        addresses,
        result,
        took,
        namespace,
    })
}

/// The addresses of a result.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let texts = ips.filter_map(|ip| ip.get("address")?.as_str());
    let nets = texts.filter_map(|text| text.parse::<IpNet>().ok());
    nets.map(|net| net.addr()).collect()
}

/// A runtime follows a failed ADD with a DEL and lets go of the namespace; the ADD's failure is what is told.
async fn del_quietly(node: &Node, plugin: &Plugin, name: &PodName) {
    drop(run(node, plugin, name, "DEL", None).await);
    drop(node.remove_pod(&name.container).await);
}

/// Ends a pod: DEL with what ADD printed, then the namespace goes. Gives the time from exec to exit.
///
/// # Errors
/// When the plugin refuses.
pub async fn del(node: &Node, plugin: &Plugin, pod: Pod) -> Result<Duration, Error> {
    let began = Instant::now();
    let output = run(node, plugin, &pod.name, "DEL", Some(&pod.result)).await?;
    let took = began.elapsed();
    accept("DEL", &pod.name, &output)?;
    let name = pod.name.container.clone();
    drop(pod);
    node.remove_pod(&name).await?;
    Ok(took)
}

/// Checks a pod.
///
/// # Errors
/// What the plugin found different.
pub async fn check(node: &Node, plugin: &Plugin, pod: &Pod) -> Result<(), Error> {
    let output = run(node, plugin, &pod.name, "CHECK", Some(&pod.result)).await?;
    accept("CHECK", &pod.name, &output)
}

/// Runs the plugin for a verb, with what ADD printed where the runtime would pass it.
///
/// # Errors
/// When it cannot be run; its exit code is for the caller to judge.
pub async fn run(
    node: &Node,
    plugin: &Plugin,
    name: &PodName,
    verb: &'static str,
    previous: Option<&Value>,
) -> Result<Output, Error> {
    let mut conf = plugin.conf.clone();
    if let (Some(fields), Some(previous)) = (conf.as_object_mut(), previous) {
        fields.insert("prevResult".to_owned(), previous.clone());
    }
    let output = exec(node, plugin, &name.environment(verb), &conf).await;
    output.map_err(|source| Error::Run {
        verb,
        pod: name.name.clone(),
        source,
    })
}

/// Runs the plugin with whatever environment and configuration.
///
/// # Errors
/// When it cannot be run; its exit code is for the caller to judge.
pub async fn exec(
    node: &Node,
    plugin: &Plugin,
    environment: &BTreeMap<String, String>,
    conf: &Value,
) -> std::io::Result<Output> {
    let mut child = node
        .command(&plugin.program.to_string_lossy())
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A plugin that ends without reading has its reasons, which its exit tells.
        drop(input.write_all(conf.to_string().as_bytes()).await);
    }
    child.wait_with_output().await
}

fn accept(verb: &'static str, name: &PodName, output: &Output) -> Result<(), Error> {
    if output.status.success() && output.stdout.is_empty() {
        return Ok(());
    }
    match document(verb, name, output) {
        Ok(document) => Err(Error::Nonsense {
            verb,
            pod: name.name.clone(),
            text: document.to_string(),
        }),
        Err(error) => Err(error),
    }
}

fn document(verb: &'static str, name: &PodName, output: &Output) -> Result<Value, Error> {
    let text = String::from_utf8_lossy(&output.stdout);
    let nonsense = || {
        let text = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        Error::Nonsense {
            verb,
            pod: name.name.clone(),
            text,
        }
    };
    let document: Value = serde_json::from_str(&text).map_err(|_| nonsense())?;
    if output.status.success() {
        Ok(document)
    } else {
        Err(Error::Refused {
            verb,
            pod: name.name.clone(),
            document,
        })
    }
}
