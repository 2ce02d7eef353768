//! The command line of `vpc-sim`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vpc_sim::folder::RunName;

/// A VPC on a laptop: EC2's API, instance metadata, and nodes with real Linux networks, without an AWS account.
#[derive(Debug, Parser)]
#[command(name = "vpc-sim", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a VPC with its nodes, and show what happens until SIGINT or SIGTERM
    Up(Start),
    /// Show the nodes of a run
    Nodes {
        #[command(flatten)]
        run: Run,
    },
    /// Run a command on a node, with this terminal and its exit code
    Exec {
        #[command(flatten)]
        run: Run,
        /// On which
        node: String,
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Make, end and list pods, as a container runtime does
    Pod {
        #[command(subcommand)]
        command: PodCommand,
    },
    /// Ask B from A by TCP and UDP, and show the source that B saw
    ///
    /// A and B are a pod (name, or namespace/name), a node, or `internet`. Fails unless both are answered.
    Ping {
        #[command(flatten)]
        run: Run,
        /// Who asks
        #[arg(value_name = "A")]
        from: String,
        /// Who is asked
        #[arg(value_name = "B")]
        to: String,
    },
    /// Show what the VPC dropped, by ENI and reason, and what usually is wrong then
    Drops {
        #[command(flatten)]
        run: Run,
    },
    /// Make EC2 fail in chosen ways
    Faults {
        #[command(subcommand)]
        command: FaultCommand,
    },
    /// End a run; returns when nothing of it is left
    Down {
        #[command(flatten)]
        run: Run,
    },
    /// Serve the API alone, with an example VPC: two zones, a subnet and a c5.large in each
    ///
    /// The first line printed is the endpoint's URL; then come the ids of the VPC, its subnets and instances. Point any
    /// EC2 client at it, for example with AWS_ENDPOINT_URL_EC2 and arbitrary access keys. It ends on SIGINT or SIGTERM.
    Serve(Serving),
}

/// Which run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The run's name
    #[arg(long, default_value = "default")]
    pub(crate) name: RunName,
}

/// What to start.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The VPC, its subnets and nodes (scenario.schema.json); two bare nodes when absent
    #[arg(value_name = "SCENARIO.yaml")]
    pub(crate) scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: Run,
    /// Return when all is up, and leave it running until `vpc-sim down`
    #[arg(long)]
    pub(crate) detach: bool,
    /// The daemon that nodes run; without one they start bare
    #[arg(long, value_name = "PATH")]
    pub(crate) ipamd: Option<PathBuf>,
    /// The CNI plugin that wires pods; needs the daemon
    #[arg(long, value_name = "PATH")]
    pub(crate) cni_shim: Option<PathBuf>,
    /// The plugin's configuration, as on a node in /etc/cni/net.d
    #[arg(long, value_name = "PATH")]
    pub(crate) conflist: Option<PathBuf>,
    /// Ids, MACs, addresses and delays follow from it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// This is the process that `--detach` leaves behind
    #[arg(long, hide = true)]
    pub(crate) background: bool,
}

/// What to do with pods.
#[derive(Debug, Subcommand)]
pub(crate) enum PodCommand {
    /// Make a pod: a network namespace, wired by the CNI plugin
    Add {
        #[command(flatten)]
        run: Run,
        /// On which node
        node: String,
        #[command(flatten)]
        pod: PodName,
    },
    /// End a pod
    Del {
        #[command(flatten)]
        run: Run,
        /// On which node it is
        node: String,
        #[command(flatten)]
        pod: PodName,
    },
    /// Show the pods
    List {
        #[command(flatten)]
        run: Run,
    },
}

/// Which pod.
#[derive(Debug, Args)]
pub(crate) struct PodName {
    /// The pod's name
    #[arg(id = "pod", value_name = "NAME")]
    pub(crate) name: String,
    /// Its Kubernetes namespace
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
}

/// What to do with faults.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Show the faults that were added
    List {
        #[command(flatten)]
        run: Run,
    },
    /// Add a fault; prints its number
    Add {
        #[command(flatten)]
        run: Run,
        /// The EC2 action, for example AttachNetworkInterface
        operation: String,
        /// throttle, deny, lose-answer, hold-before, hold-after, slow=SECONDS, no-device or refuse=CODE
        effect: String,
        /// How often; until removed when absent
        #[arg(long, value_name = "N")]
        count: Option<u32>,
        /// Only for calls about this id, or from this instance
        #[arg(long, value_name = "ID")]
        about: Option<String>,
    },
    /// Forget a fault
    Remove {
        #[command(flatten)]
        run: Run,
        /// Its number
        id: u32,
    },
    /// Let the calls go on that a fault holds, and forget it
    Release {
        #[command(flatten)]
        run: Run,
        /// Its number
        id: u32,
    },
}

/// What to serve.
#[derive(Debug, Args)]
pub(crate) struct Serving {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Ids, MACs, chosen addresses and delays follow from it
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Nothing is late and nothing is throttled. Unless set, views lag as EC2's do
    #[arg(long)]
    pub(crate) instant: bool,
}
