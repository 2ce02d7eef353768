//! How the process itself behaves: where it listens, writes and logs.

use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::default_journal;
use super::value::Values;

/// How the process behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The unix socket (`BERTH_SOCKET`).
    pub socket: PathBuf,
    /// The journal (`BERTH_JOURNAL`).
    pub journal: PathBuf,
    /// The peer's checkpoint file (`AWS_VPC_K8S_CNI_BACKING_STORE`); further network cards have theirs beside it.
    pub checkpoint: PathBuf,
    /// How long one call to EC2 may take (`HTTP_TIMEOUT`).
    pub http_timeout: Duration,
    /// `AWS_VPC_K8S_CNI_LOGLEVEL`.
    pub log_level: LevelFilter,
    /// `AWS_VPC_K8S_CNI_LOG_FILE`.
    pub log: LogTarget,
    /// What the network policy agent enforces (`NETWORK_POLICY_ENFORCING_MODE`): none, standard or strict; empty where
    /// there is no agent. With any of the three, pods wait for the agent.
    pub network_policy_mode: String,
    /// How long a restart may take before STATUS fails (`BERTH_STATUS_GRACE_SECONDS`).
    pub status_grace: Duration,
    /// Whether STATUS fails when no address is free, as the CNI specification has it
    /// (`BERTH_STATUS_FAILS_WHEN_FULL`): the node turns NotReady then, and kubelet evicts its pods in the end.
    pub status_fails_when_full: bool,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// The peer's: less than ten seconds is ten.
const LEAST_TIMEOUT_SECONDS: u32 = 10;

/// Everything about the process.
pub(super) fn process(values: &mut Values<'_>) -> Process {
    let timeout = values.tolerated("HTTP_TIMEOUT", |seconds| u32::try_from(seconds).ok());
    let timeout = timeout
        .unwrap_or(LEAST_TIMEOUT_SECONDS)
        .max(LEAST_TIMEOUT_SECONDS);
    Process {
        socket: path(values, "BERTH_SOCKET").unwrap_or_else(|| PathBuf::from(proto::SOCKET)),
        journal: path(values, "BERTH_JOURNAL").unwrap_or_else(default_journal),
        checkpoint: checkpoint(values),
        http_timeout: Duration::from_secs(timeout.into()),
        log_level: log_level(values),
        log: log(values),
        network_policy_mode: network_policy_mode(values),
        status_grace: Duration::from_secs(
            values
                .bounded("BERTH_STATUS_GRACE_SECONDS", 0..=3600)
                .unwrap_or(STATUS_GRACE_SECONDS)
                .into(),
        ),
        status_fails_when_full: values.ours("BERTH_STATUS_FAILS_WHEN_FULL", false),
    }
}

/// What the policy agent can be told; anything else stops the peer's daemon, too.
fn network_policy_mode(values: &mut Values<'_>) -> String {
    const VARIABLE: &str = "NETWORK_POLICY_ENFORCING_MODE";
    let mode = values.raw(VARIABLE).unwrap_or_default().to_owned();
    if !["", "none", "standard", "strict"].contains(&mode.to_ascii_lowercase().as_str()) {
        values.fault(VARIABLE, "choose none, standard or strict, or leave it out");
    }
    mode
}

/// An upgrade replaces the daemon's pod: its image is pulled before, so this is start-up with room to spare, and far below
/// the five minutes after which a NotReady node loses its pods.
const STATUS_GRACE_SECONDS: u32 = 60;

fn path(values: &mut Values<'_>, variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(values.raw(variable)?);
    if !path.is_absolute() {
        values.fault(variable, "give an absolute path, or leave it out");
    }
    Some(path)
}

/// The peer's path; an empty value is none, as with the peer.
fn checkpoint(values: &mut Values<'_>) -> PathBuf {
    const VARIABLE: &str = "AWS_VPC_K8S_CNI_BACKING_STORE";
    let given = values.raw(VARIABLE).is_some_and(|text| !text.is_empty());
    let path = given.then(|| path(values, VARIABLE)).flatten();
    path.unwrap_or_else(|| PathBuf::from("/var/run/aws-node/ipam.json"))
}

fn log_level(values: &mut Values<'_>) -> LevelFilter {
    const VARIABLE: &str = "AWS_VPC_K8S_CNI_LOGLEVEL";
    match values
        .raw(VARIABLE)
        .unwrap_or("debug")
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" => LevelFilter::WARN,
        "error" | "fatal" => LevelFilter::ERROR,
        _ => {
            values.warn(
                VARIABLE,
                "is not debug, info, warn, error or fatal; debug is used, as the peer does",
            );
            LevelFilter::DEBUG
        }
    }
}

fn log(values: &mut Values<'_>) -> LogTarget {
    match values.raw("AWS_VPC_K8S_CNI_LOG_FILE") {
        Some("stdout") => LogTarget::Stdout,
        Some("stderr") => LogTarget::Stderr,
        Some(path) if !path.is_empty() => LogTarget::File(PathBuf::from(path)),
        Some(_) | None => LogTarget::File(PathBuf::from("/host/var/log/aws-routed-eni/ipamd.log")),
    }
}
