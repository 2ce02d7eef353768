//! Every failure, with its CNI code and what the operator can do. Codes below 100 are the specification's.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ipamd_core::id::Malformed;

/// Why the plugin failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CniError {
    /// CNI_COMMAND is none that there is.
    #[error("CNI_COMMAND {given:?} is not ADD, DEL, CHECK, GC, STATUS or VERSION")]
    Verb { given: String },
    /// Environment variables are missing or unusable: all of them.
    #[error("environment: {}", .faults.join("; "))]
    Environment { faults: Vec<String> },
    /// The pod's namespace is the plugin's own.
    #[error("CNI_NETNS {netns} is the plugin's own network namespace")]
    OwnNamespace { netns: String },
    /// Standard input could not be read.
    #[error("read the network configuration from standard input")]
    Input { source: io::Error },
    /// Standard input is no JSON object.
    #[error("decode the network configuration")]
    Decode { source: serde_json::Error },
    /// A key of the configuration is missing or unusable.
    #[error("network configuration: {fault}")]
    Conf { fault: String },
    /// The runtime did not add to the configuration what the verb needs.
    #[error("network configuration: {fault}")]
    NotAdded { fault: String },
    /// The configuration asks for something that we do not do.
    #[error("network configuration: {key} is {value}, which is not supported")]
    Unsupported { key: &'static str, value: String },
    /// The configuration's version is none of ours.
    #[error("CNI version {given:?} is not supported")]
    Version { given: String },
    /// The verb exists from a later version on.
    #[error("{verb} needs CNI version {version} or later")]
    VerbNeeds {
        verb: &'static str,
        version: &'static str,
    },
    /// The daemon has no record of what the runtime asks about.
    #[error("nothing is on record for container {container}, interface {interface}")]
    Unknown { container: String, interface: String },
    /// The single-threaded runtime could not be built.
    #[error("start")]
    Runtime { source: io::Error },
    /// The daemon does not answer.
    #[error("ask ipamd at {socket}: {reason}")]
    Daemon { socket: PathBuf, reason: String },
    /// The daemon refuses.
    #[error("ipamd: {reason}")]
    Refused {
        reason: String,
        code: u32,
        transient: bool,
        next_step: String,
    },
    /// The daemon's answer cannot be used.
    #[error("ipamd's answer: {source}")]
    Answer { source: proto::ConvertError },
    /// The answer of the peer's daemon asks for what this plugin does not do.
    #[error("amazon-vpc-cni-k8s gave {what}, which this plugin cannot wire")]
    PeersAnswer { what: String },
    /// The peer's daemon has no such thing.
    #[error(
        "{verb} cannot be done: the daemon on this node is amazon-vpc-cni-k8s's, which knows nothing of it"
    )]
    NotThePeers { verb: &'static str },
    /// The network policy agent cannot be told of a pod.
    #[error("tell the network policy agent: {reason}")]
    PolicyAgent { reason: String },
    /// No pod could be served.
    #[error("no pod can get an address: {reason}")]
    Unavailable { reason: String, impaired: bool },
    /// Some of what is stale could not be taken away.
    #[error("take away what is stale: {}", .failures.join("; "))]
    Collecting { failures: Vec<String> },
    /// The verb took too long.
    #[error("{verb} was not done within {} s", .after.as_secs())]
    Late { verb: &'static str, after: Duration },
    /// The kernel refuses, or the pod's namespace is not as it should be.
    #[error("{doing}")]
    Kernel { doing: String, source: hostnet::Error },
    /// What is does not equal what was promised.
    #[error("check of the pod's network: {}", .differences.join("; "))]
    Differs { differences: Vec<String> },
    /// The release could be neither told nor recorded.
    #[error("record the release in {path}")]
    Tombstone { path: PathBuf, source: io::Error },
}

impl CniError {
    /// The code of the CNI specification, or ours from 100 on.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::Version { .. } | Self::VerbNeeds { .. } => 1,
            Self::Unsupported { .. } => 2,
            Self::Unknown { .. } => 3,
            Self::Verb { .. } | Self::Environment { .. } => 4,
            Self::Input { .. } => 5,
            Self::Decode { .. } => 6,
            Self::Conf { .. } | Self::NotAdded { .. } => 7,
            Self::OwnNamespace { .. } => 8,
            Self::Daemon { .. }
            | Self::Tombstone { .. }
            | Self::PolicyAgent { .. }
            | Self::Late { .. }
            | Self::Refused { transient: true, .. } => 11,
            Self::Unavailable { impaired: false, .. } => 50,
            Self::Unavailable { impaired: true, .. } => 51,
            Self::Refused { code, .. } => *code,
            Self::Kernel { .. } => 120,
            Self::Differs { .. } => 121,
            Self::Answer { .. } => 122,
            Self::Runtime { .. } => 123,
            Self::PeersAnswer { .. } => 124,
            Self::NotThePeers { .. } => 125,
            Self::Collecting { .. } => 126,
        }
    }

    /// What the operator can do about it.
    pub(crate) fn next_step(&self) -> &str {
        match self {
            Self::Verb { .. } | Self::Environment { .. } => {
                "the container runtime should set it; see the CNI specification"
            }
            Self::OwnNamespace { .. } => {
                "give the pod a network namespace of its own, or set CNI_NETNS_OVERRIDE"
            }
            Self::Input { .. } => "the container runtime should write the configuration to standard input",
            Self::Decode { .. } | Self::Conf { .. } | Self::Unsupported { .. } => {
                "mend the conflist in the runtime's CNI configuration folder"
            }
            Self::NotAdded { .. } => "the container runtime should set it as the CNI specification says",
            Self::Version { .. } | Self::VerbNeeds { .. } => "choose a supported cniVersion in the conflist",
            Self::Unknown { .. } => "delete the pod, so that it is made anew",
            Self::Daemon { .. } => "see whether ipamd runs on this node, and its log",
            Self::Refused { next_step, .. } => next_step,
            Self::Kernel { .. } => "see the cause; the pod is tried again",
            Self::PeersAnswer { .. } | Self::NotThePeers { .. } => {
                "finish the upgrade: run ipamd of Berth on this node"
            }
            Self::PolicyAgent { .. } => {
                "see whether the network policy agent runs on this node, or unset NETWORK_POLICY_ENFORCING_MODE"
            }
            Self::Unavailable { .. } => "ask `ipamd explain` on this node, and see the log of ipamd",
            Self::Collecting { .. } | Self::Late { .. } => "it is tried again; see the log of ipamd",
            Self::Differs { .. } => "delete the pod, so that it is made anew",
            Self::Answer { .. } => "bring ipamd and the plugin to versions that belong together",
            Self::Tombstone { .. } => "make room or mend the disk below /var/run/aws-node",
            Self::Runtime { .. } => "see whether the node runs out of memory or descriptors",
        }
    }

    /// The causes, outermost first, in one line.
    pub(crate) fn causes(&self) -> String {
        chain(std::error::Error::source(self))
    }
}

/// An error and its causes, outermost first, in one line; what only repeats the one before is left out.
pub(crate) fn chain(first: Option<&(dyn std::error::Error + 'static)>) -> String {
    let causes = std::iter::successors(first, |cause| cause.source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// A fault of one environment variable, from a name that does not parse.
pub(crate) fn bad_variable(variable: &str) -> impl FnOnce(Malformed) -> String {
    move |malformed| format!("{variable} {malformed}")
}
