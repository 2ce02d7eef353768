//! The run's control socket: a unix stream with one JSON request and one JSON answer a line.
//!
//! A request is an object whose `do` names what is wanted, an answer one whose `is` names what it tells; both are the
//! serde forms of [`Request`] and [`Answer`]. Connections are independent, requests on one are answered in order. The
//! answer to `enter` carries, as SCM_CREDENTIALS (unix(7)), the process that is the node's process 1: the kernel
//! translates its number to the one that the receiver knows it by, whatever process namespaces lie between.
//!
//! Whoever can open the socket may do all of this; the run's folder is for its user alone.

mod answer;
pub mod client;
mod faults;
mod ping;
mod pods;
pub mod server;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// What the run is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Which nodes there are.
    Nodes,
    /// The way onto a node, for a command.
    Enter {
        /// Which node.
        node: String,
    },
    /// Make a pod by the CNI plugin.
    PodAdd {
        /// Where.
        node: String,
        /// Which.
        pod: PodId,
    },
    /// End a pod by the CNI plugin.
    PodDel {
        /// Where it is.
        node: String,
        /// Which.
        pod: PodId,
    },
    /// Which pods there are.
    PodList,
    /// Ask one end from another, by TCP and UDP.
    Ping {
        /// A pod, a node or `internet`.
        from: String,
        /// The same.
        to: String,
    },
    /// What the VPC dropped.
    Drops,
    /// Which faults were added.
    FaultList,
    /// Add a fault.
    FaultAdd(NewFault),
    /// Forget a fault; calls that it holds go on.
    FaultEnd {
        /// Which.
        id: u32,
    },
    /// End the run.
    Down,
}

/// What the run answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// The nodes.
    Nodes {
        /// By name.
        nodes: Vec<NodeLine>,
    },
    /// The sender of this answer, as the kernel tells it, is the node's process 1.
    Enter {
        /// What to add to a command's environment.
        env: BTreeMap<String, String>,
    },
    /// A pod came.
    PodAdded {
        /// It.
        pod: PodLine,
        /// From exec to result.
        milliseconds: u64,
    },
    /// A pod went.
    PodGone {
        /// From exec to exit.
        milliseconds: u64,
    },
    /// The pods.
    Pods {
        /// By namespace and name.
        pods: Vec<PodLine>,
    },
    /// What came of a ping.
    Ping(Ping),
    /// What was dropped.
    Drops {
        /// By ENI and reason.
        drops: Vec<DropLine>,
    },
    /// The faults.
    Faults {
        /// By number.
        faults: Vec<FaultLine>,
    },
    /// A fault will happen.
    FaultAdded {
        /// Its number.
        id: u32,
    },
    /// What was asked is done.
    Done,
    /// It was not done.
    Refused {
        /// Why, about what, and what to do.
        reason: String,
    },
}

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodId {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its name.
    pub name: String,
    /// Its EC2 instance.
    pub instance: String,
    /// Its primary address.
    pub address: Ipv4Addr,
    /// By which the internet sees it.
    pub public: Option<Ipv4Addr>,
    /// Whether ipamd runs there.
    pub has_ipamd: bool,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLine {
    /// Which.
    pub pod: PodId,
    /// Its node.
    pub node: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// What came of a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Who was asked, for people.
    pub target: String,
    /// By TCP, then by UDP.
    pub replies: Vec<Reply>,
    /// What the VPC dropped meanwhile.
    pub dropped: Vec<DropLine>,
}

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The source that the other end saw, and whose it is; or why there is no answer.
    pub result: Result<String, String>,
}

/// What was dropped of one ENI for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropLine {
    /// Which ENI.
    pub eni: String,
    /// The node that it is attached to.
    pub node: Option<String>,
    /// The reason's short word.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// What usually is wrong.
    pub explanation: String,
}

/// A fault to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFault {
    /// The EC2 action.
    pub operation: String,
    /// What happens, as on the command line.
    pub effect: String,
    /// How often; until removed when absent.
    pub count: Option<u32>,
    /// Only for calls about or from this id.
    pub about: Option<String>,
}

/// A fault that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultLine {
    /// Its number.
    pub id: u32,
    /// What was asked for.
    pub fault: NewFault,
    /// Calls of its action since it was added.
    pub calls: usize,
}
