//! The command line: the flags of the existing script, what we add, and every complaint about them.

use clap::{Parser, ValueEnum};
use ipamd_core::instance::{Table, TableError};
use ipamd_core::max_pods::{Cap, CniVersion, Mode, NoAnswer, Question};

use crate::imds;

/// How many pods a node of an EC2 instance type can have.
///
/// Prints one number: what kubelet's max-pods should be. Knows every published type without network access and
/// accepts the flags of max-pods-calculator.sh unchanged. With several types it prints the smallest, which is what a
/// node group of mixed types needs.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 answered, 1 no instance type could be had, 2 wrong usage, 3 unknown \
    instance type, 4 a number that cannot be defended with the data there is."
)]
pub(crate) struct Arguments {
    /// The instance type, or several: --instance-type m5.large,m5.xlarge
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    pub(crate) instance_type: Vec<String>,
    /// Ask instance metadata for the type (the only thing here that uses the network)
    #[arg(long)]
    pub(crate) instance_type_from_imds: bool,
    /// The CNI version, which gates prefixes and IPv6; the newest when left out
    #[arg(long, value_parser = cni_version, value_name = "VERSION")]
    pub(crate) cni_version: Option<CniVersion>,
    /// Pods are kept off the primary ENI
    #[arg(long)]
    pub(crate) cni_custom_networking_enabled: bool,
    /// /28 prefixes instead of single addresses, where type and version allow
    #[arg(long)]
    pub(crate) cni_prefix_delegation_enabled: bool,
    /// The operator's ceiling on ENIs (MAX_ENI); 0 means none
    #[arg(long, value_name = "ENIS")]
    pub(crate) cni_max_eni: Option<u32>,
    /// The raw number, without the caps of 110 and 250
    #[arg(long)]
    pub(crate) show_max_allowed: bool,
    /// An IPv6 node
    #[arg(long, conflicts_with = "windows")]
    pub(crate) ipv6: bool,
    /// A Windows node: addresses of the primary ENI
    #[arg(long)]
    pub(crate) windows: bool,
    /// Security groups for pods: a trunk ENI takes a slot, pods on branch ENIs come on top
    #[arg(long)]
    pub(crate) security_groups_for_pods: bool,
    /// ENI slots that serve no pods for another reason (unmanaged, EFA-only, excluded)
    #[arg(long, default_value_t = 0, value_name = "ENIS")]
    pub(crate) reserved_enis: u32,
    /// Every type of the table
    #[arg(long, conflicts_with_all = ["instance_type", "instance_type_from_imds"])]
    pub(crate) all: bool,
    /// Show the formula with its numbers and where the data is from
    #[arg(long)]
    pub(crate) explain: bool,
    /// How to print
    #[arg(long, value_enum)]
    pub(crate) output: Option<Output>,
    /// Credentials profile of the old script: not needed, as EC2 is not asked
    #[arg(long, hide = true)]
    pub(crate) profile: Option<String>,
    /// Tolerated as the old script does
    #[arg(hide = true)]
    pub(crate) ignored: Vec<String>,
}

/// A form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// An object for one type, an array for several
    Json,
    /// A row a type
    Table,
    /// A KubeletConfiguration to drop into kubelet's configuration folder
    Kubelet,
}

fn cni_version(text: &str) -> Result<CniVersion, String> {
    CniVersion::parse(text)
        .ok_or_else(|| "not a version; write it like 1.18.3 or v1.18.3-eksbuild.2".to_owned())
}

impl Arguments {
    /// What is asked about each type.
    pub(crate) fn question(&self) -> Question {
        let mode = match (self.ipv6, self.windows, self.cni_prefix_delegation_enabled) {
            (true, _, _) => Mode::Ipv6,
            (false, true, true) => Mode::WindowsPrefix,
            (false, true, false) => Mode::Windows,
            (false, false, true) => Mode::Prefix,
            (false, false, false) => Mode::SecondaryIp,
        };
        Question {
            mode,
            custom_networking: self.cni_custom_networking_enabled,
            security_groups_for_pods: self.security_groups_for_pods,
            max_eni: self.cni_max_eni,
            reserved_enis: self.reserved_enis,
            cap: if self.show_max_allowed {
                Cap::Off
            } else {
                Cap::ByVcpus
            },
            cni_version: self.cni_version.unwrap_or(CniVersion::NEWEST),
        }
    }

    /// The types that are asked about; metadata wins over the flag, as in the script.
    pub(crate) fn types(&self) -> Result<Vec<String>, Fault> {
        if self.instance_type_from_imds {
            return Ok(vec![imds::instance_type().map_err(Fault::Imds)?]);
        }
        if self.instance_type.is_empty() {
            Err(Fault::NoType)
        } else {
            Ok(self.instance_type.clone())
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no instance type: give --instance-type TYPE, --instance-type-from-imds or --all")]
    NoType,
    #[error("asking instance metadata for the instance type: {0}; give --instance-type TYPE instead")]
    Imds(#[source] imds::Fault),
    #[error("unknown instance type {name}{}; --all lists every known type", nearest(.near))]
    UnknownType { name: String, near: Vec<String> },
    #[error("{name}: {reason}")]
    NoAnswer { name: String, reason: NoAnswer },
    #[error("the table of instance types cannot be read: {0}; this build is broken")]
    Table(TableError),
    #[error("writing the answer as JSON: {0}")]
    Json(serde_json::Error),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nmax-pods: "))]
    Several(Vec<Fault>),
}

fn nearest(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", names.join(", "))
    }
}

/// At most this many suggestions for an unknown name, and none less alike than this.
const SUGGESTIONS: usize = 3;
const LEAST_LIKENESS: f64 = 0.75;

impl Fault {
    /// The complaint about a type that is not in the table, with the names most like it.
    pub(crate) fn unknown_type(name: String, table: &Table) -> Self {
        let mut near: Vec<(f64, &str)> = table
            .iter()
            .map(|(known, _)| (strsim::jaro_winkler(&name, known), known))
            .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let near = near
            .into_iter()
            .take(SUGGESTIONS)
            .map(|(_, known)| known.to_owned())
            .collect();
        Self::UnknownType { name, near }
    }

    /// All faults as one, if there are any.
    pub(crate) fn all(mut faults: Vec<Self>) -> Option<Self> {
        if faults.len() > 1 {
            Some(Self::Several(faults))
        } else {
            faults.pop()
        }
    }

    /// The exit code, distinct by kind.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoType | Self::Imds(_) | Self::Table(_) | Self::Json(_) => 1,
            Self::UnknownType { .. } => 3,
            Self::NoAnswer { .. } => 4,
            Self::Several(faults) => faults.iter().map(Self::exit_code).min().unwrap_or(1),
        }
    }
}
