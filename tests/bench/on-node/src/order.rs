//! What the bench can order on a node, and what it hears back: the wire between the two, a line of JSON each.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a node's part of the bench needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// The plugin.
    pub shim: PathBuf,
    /// Its configuration.
    pub conf: Value,
    /// A program that does nothing, linked as the plugin is.
    pub empty: PathBuf,
}

/// One thing to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Order {
    /// Exec the empty program and the plugin without wiring, in turn: [`Exec`].
    Exec {
        /// How often.
        rounds: u32,
    },
    /// The kernel work of an ADD by hand and by ours, then a whole ADD and DEL, in turn: [`Single`].
    Single {
        /// How often.
        rounds: u32,
    },
    /// So many ADDs at once, then so many DELs: [`Burst`].
    Burst {
        /// How many.
        count: u32,
    },
    /// Add pods until there are so many: their number before.
    Fill {
        /// How many.
        up_to: u32,
    },
    /// Add a pod: its address.
    Pod {
        /// Its name.
        name: String,
    },
    /// Listen in a pod, so that nothing is answered that arrives there.
    Listen {
        /// Its name.
        pod: String,
        /// The UDP port.
        port: u16,
    },
    /// Send as many datagrams of 64 bytes on the wire as one thread can: the seconds that it took.
    Flood {
        /// Who sends.
        pod: String,
        /// To where.
        to: SocketAddr,
        /// For how long.
        millis: u64,
    },
    /// How many packets a pod's eth0 received so far.
    Received {
        /// Which.
        pod: String,
    },
    /// Lay rules as the peer's plugin does, for pods that are not there and in their midst the one that is.
    PeerRules {
        /// How many pods.
        pods: u32,
        /// The address of the pod that is there.
        own: Ipv4Addr,
    },
    /// Ask the daemon for addresses at a steady pace: [`Times`] of the answers.
    Allocate {
        /// How many a second.
        per_second: u32,
        /// For how long.
        millis: u64,
    },
    /// Kill the daemon and start it, until it answers an Add: [`Times`].
    Restart {
        /// The daemon.
        program: PathBuf,
        /// Its whole environment.
        env: BTreeMap<String, String>,
        /// How often.
        rounds: u32,
    },
    /// Watch the daemon do nothing: [`Idle`].
    Idle {
        /// For how long.
        millis: u64,
    },
    /// Count what the programs of one ADD ask of the kernel: [`Option`] of [`Counts`], none without strace.
    Count {},
    /// Change our nftables table in a namespace of its own: [`FirewallTimes`].
    Firewall {
        /// How often.
        rounds: u32,
    },
}

/// A distribution, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// How many were measured.
    pub count: usize,
    /// The median.
    pub p50: f64,
    /// What one in a hundred exceeds.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Times {
    /// Of these.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(index).map_or(0.0, micros)
        };
        Self {
            count: times.len(),
            p50: at(50),
            p99: at(99),
            max: times.last().map_or(0.0, micros),
        }
    }
}

fn micros(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What changes of our nftables table cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FirewallTimes {
    /// A secondary ENI with all its addresses comes or goes.
    pub eni: Times,
    /// One address comes or goes.
    pub address: Times,
    /// A CIDR of the VPC comes or goes.
    pub cidr: Times,
    /// The policy changes: everything is written again.
    pub whole: Times,
}

/// What execs cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Exec {
    /// The empty program.
    pub empty: Times,
    /// The plugin: one question to the daemon, no wiring.
    pub shim: Times,
}

/// What one pod costs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Single {
    /// The kernel work of an ADD, by hand-written bytes.
    pub floor: Times,
    /// The kernel work of an ADD, as the plugin does it.
    pub wire: Times,
    /// A whole ADD, from exec to result.
    pub add: Times,
    /// A whole DEL, from exec to exit.
    pub del: Times,
}

/// What many pods at once cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Burst {
    /// ADDs, each from the moment that all were released to its result.
    pub add: Times,
    /// ADDs that failed.
    pub failed: u32,
    /// What the first of them said.
    pub complaint: Option<String>,
    /// DELs, each from the moment that all were released to its exit.
    pub del: Times,
    /// From the first DEL's exec until the last of the pods' devices is gone, in microseconds.
    pub gone: f64,
}

/// What an idle daemon holds and does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Idle {
    /// Resident memory.
    pub resident_mib: f64,
    /// Of that, what no file backs.
    pub anonymous_mib: f64,
    /// Thousandths of a CPU.
    pub milli_cpu: f64,
}

/// What one ADD asks of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Processes that the plugin makes.
    pub forks: u32,
    /// Times that it moves into a namespace (there and back are two).
    pub namespace_moves: u32,
    /// Netlink messages sent, by system calls.
    pub netlink_sends: u32,
    /// Netlink receives that brought something.
    pub netlink_receives: u32,
    /// All of its system calls.
    pub system_calls: u32,
    /// Processes that the daemon makes meanwhile.
    pub daemon_forks: u32,
    /// Times that the daemon moves into a namespace meanwhile.
    pub daemon_namespace_moves: u32,
}
