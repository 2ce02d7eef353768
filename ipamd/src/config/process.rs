//! How the process itself behaves: where it listens, writes and logs.

use std::path::PathBuf;
use std::time::Duration;

use super::default_journal;
use super::value::Values;

/// How the process behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The unix socket (`BERTH_SOCKET`).
    pub socket: PathBuf,
    /// The journal (`BERTH_JOURNAL`).
    pub journal: PathBuf,
    /// How long one call to EC2 may take (`HTTP_TIMEOUT`).
    pub http_timeout: Duration,
    /// `AWS_VPC_K8S_CNI_LOGLEVEL`, in tracing's words.
    pub log_level: &'static str,
    /// `AWS_VPC_K8S_CNI_LOG_FILE`.
    pub log: LogTarget,
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
        http_timeout: Duration::from_secs(timeout.into()),
        log_level: log_level(values),
        log: log(values),
    }
}

fn path(values: &mut Values<'_>, variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(values.raw(variable)?);
    if !path.is_absolute() {
        values.fault(variable, "give an absolute path, or leave it out");
    }
    Some(path)
}

fn log_level(values: &mut Values<'_>) -> &'static str {
    const VARIABLE: &str = "AWS_VPC_K8S_CNI_LOGLEVEL";
    match values
        .raw(VARIABLE)
        .unwrap_or("debug")
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "debug" => "debug",
        "info" => "info",
        "warn" => "warn",
        "error" | "fatal" => "error",
        _ => {
            values.warn(
                VARIABLE,
                "is not debug, info, warn, error or fatal; debug is used, as the peer does",
            );
            "debug"
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
