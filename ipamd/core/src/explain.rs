//! What a node sees, wants, will do next, and why not more: as sentences and as data, from a running daemon or from a
//! dump that was saved. The plan is worked out from the dump alone, so any moment of a node's life can be looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::address::{AddressCount, Block};
use crate::id::EniId;
use crate::instance::Limits;
use crate::ledger::{EniRecord, Ledger};
use crate::moment::Moment;
use crate::net::eni::Place;
use crate::plan::report::Report;
use crate::plan::{Plan, Situation, plan};
use crate::policy::Policy;
use crate::snapshot::Owner;

/// The form of dumps that this version writes and reads.
const VERSION: u32 = 1;

/// Everything that the daemon's decisions depend on, at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dump {
    version: u32,
    /// What the operator wants.
    pub policy: Policy,
    /// What the instance can hold, once known.
    pub limits: Option<Limits>,
    /// Who holds what.
    pub ledger: Ledger,
    /// What a record knows beside what is saved of it.
    live: BTreeMap<EniId, Live>,
    /// The moment.
    pub now: Moment,
    /// Since 1970.
    pub wall: Duration,
    /// Whether the daemon is ending.
    pub terminating: bool,
    /// Whether the node takes no new pods.
    pub cordoned: bool,
    /// The pods that kubelet admits, where that is known.
    pub kubelet_max_pods: Option<AddressCount>,
    /// What the kernel refused last, if it did.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Live {
    served: BTreeSet<Block>,
    #[serde(default)]
    served6: Option<Ipv6Net>,
    created: Option<Moment>,
    attached: Option<Moment>,
}

/// A dump that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadDump {
    /// It is no dump.
    #[error("this is no dump of ipamd; `ipamd explain --dump` writes one")]
    Json(#[from] serde_json::Error),
    /// It comes from another version.
    #[error("this dump has form {found}, and this ipamd reads form {VERSION}; use the ipamd that wrote it")]
    Version {
        /// Its form.
        found: u32,
    },
}

impl Dump {
    /// A dump of this situation.
    #[must_use]
    pub fn of(situation: &Situation<'_>, trouble: Option<String>) -> Self {
        Self {
            limits: Some(situation.limits.clone()),
            now: situation.now,
            wall: situation.wall,
            terminating: situation.terminating,
            cordoned: situation.cordoned,
            kubelet_max_pods: situation.kubelet_max_pods,
            ..Self::without_limits(situation.policy, situation.ledger, trouble)
        }
    }

    /// A dump of a node whose instance type is not known yet.
    #[must_use]
    pub fn without_limits(policy: &Policy, ledger: &Ledger, trouble: Option<String>) -> Self {
        let live = ledger.enis().iter().map(|(id, record)| {
            let live = Live {
                served: record.served.clone(),
                served6: record.served6,
                created: record.created,
                attached: record.attached,
            };
            (id.clone(), live)
        });
        Self {
            version: VERSION,
            policy: policy.clone(),
            limits: None,
            ledger: ledger.clone(),
            live: live.collect(),
            now: Moment::default(),
            wall: Duration::ZERO,
            terminating: false,
            cordoned: false,
            kubelet_max_pods: None,
            trouble,
        }
    }

    /// Reads a dump.
    ///
    /// # Errors
    /// When it is none, or of another form.
    pub fn parse(text: &str) -> Result<Self, BadDump> {
        let mut dump: Self = serde_json::from_str(text)?;
        if dump.version != VERSION {
            return Err(BadDump::Version { found: dump.version });
        }
        for (id, live) in &dump.live {
            dump.ledger.revive(id, |record| {
                record.served.clone_from(&live.served);
                record.served6 = live.served6;
                record.created = live.created;
                record.attached = live.attached;
            });
        }
        Ok(dump)
    }

    /// What there is to say.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let plan = self.limits.as_ref().map_or_else(Plan::default, |limits| {
            plan(&Situation {
                policy: &self.policy,
                limits,
                ledger: &self.ledger,
                now: self.now,
                wall: self.wall,
                terminating: self.terminating,
                cordoned: self.cordoned,
                kubelet_max_pods: self.kubelet_max_pods,
            })
        });
        let known = (self.limits.as_ref(), self.trouble.as_deref());
        let enis = self.ledger.enis().values();
        let under_way = self.ledger.in_flight().values();
        Explanation {
            not_ready: not_ready(&self.policy, &self.ledger, known.0, known.1, &plan.report),
            enis: enis.map(|record| EniSummary::of(record, &self.ledger)).collect(),
            under_way: under_way.map(ToString::to_string).collect(),
            sentences: plan.report.0.iter().map(ToString::to_string).collect(),
            report: plan.report,
        }
    }
}

/// Why pods cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum NotReady {
    /// Instance metadata has not been read.
    NodeUnknown,
    /// Nobody knows what the instance can hold.
    TypeUnknown {
        /// Its type.
        instance_type: String,
    },
    /// The kernel refused something.
    Kernel {
        /// What.
        trouble: String,
    },
    /// No address is there yet.
    NothingServed {
        /// What the plan says to that.
        because: String,
    },
}

impl NotReady {
    /// Whether pods that are there may have lost their network, too.
    #[must_use]
    pub fn impairs_pods(&self) -> bool {
        matches!(self, Self::Kernel { .. })
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeUnknown => f.write_str("instance metadata has not been read yet; see the log of ipamd"),
            Self::TypeUnknown { instance_type } => {
                write!(f, "the limits of {instance_type} are not known; upgrade Berth")
            }
            Self::Kernel { trouble } => f.write_str(trouble),
            Self::NothingServed { because } => write!(f, "no address is ready yet. {because}"),
        }
    }
}

/// Why an ADD could not be served even were there a free address.
#[must_use]
pub fn not_ready(
    policy: &Policy,
    ledger: &Ledger,
    limits: Option<&Limits>,
    trouble: Option<&str>,
    report: &Report,
) -> Option<NotReady> {
    let serves_ipv4 = || ledger.enis().values().any(|record| !record.served.is_empty());
    let serves_ipv6 = || ledger.primary().is_some_and(|record| record.served6.is_some());
    let awaits_ipv4 = policy.families.has_v4() && !serves_ipv4() && !report.wants_nothing();
    let awaits = awaits_ipv4 || (ledger.gives_ipv6(policy) && !serves_ipv6());
    match (ledger.node(), limits, trouble) {
        (None, _, _) => Some(NotReady::NodeUnknown),
        (Some(node), None, _) => Some(NotReady::TypeUnknown {
            instance_type: node.instance_type.clone(),
        }),
        (Some(_), Some(_), Some(trouble)) => Some(NotReady::Kernel {
            trouble: trouble.to_owned(),
        }),
        (Some(_), Some(_), None) if awaits => Some(NotReady::NothingServed {
            because: report.to_string().trim_end().replace('\n', " "),
        }),
        (Some(_), Some(_), None) => None,
    }
}

/// What there is to say of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Why pods cannot be served; none when they can.
    pub not_ready: Option<NotReady>,
    /// Its ENIs.
    pub enis: Vec<EniSummary>,
    /// Calls to EC2 that have begun.
    pub under_way: Vec<String>,
    /// What is wanted, what is done next, and why not more.
    pub report: Report,
    /// The same in sentences.
    pub sentences: Vec<String>,
}

/// An ENI in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EniSummary {
    /// Which.
    pub id: EniId,
    /// Where it is attached, if it is.
    pub place: Option<Place>,
    /// Whose it is.
    pub owner: Owner,
    /// Pods that have an address of it.
    pub pods: AddressCount,
    /// Blocks that EC2 gave it.
    pub held: usize,
    /// Blocks that the kernel serves.
    pub served: usize,
    /// Whether it is being given back.
    pub removing: bool,
}

impl EniSummary {
    fn of(record: &EniRecord, ledger: &Ledger) -> Self {
        Self {
            id: record.seen.id.clone(),
            place: record.place(),
            owner: record.seen.owner,
            pods: ledger.leases_on(&record.seen.id),
            held: record.seen.blocks.len(),
            served: record.served.len(),
            removing: record.removing,
        }
    }
}

impl fmt::Display for EniSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.id)?;
        match self.place {
            Some(Place {
                device_index,
                network_card: 0,
            }) => write!(f, "device {device_index}")?,
            Some(Place {
                device_index,
                network_card,
            }) => write!(f, "device {device_index} of card {network_card}")?,
            None => f.write_str("not attached")?,
        }
        if self.owner == Owner::Foreign {
            return f.write_str("): somebody else's, left alone.");
        }
        let (pods, served, held) = (self.pods, self.served, self.held);
        write!(f, "): {pods} pods, {served} of {held} blocks served")?;
        f.write_str(if self.removing { ", being given back." } else { "." })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.not_ready {
            Some(reason) => writeln!(f, "{reason}")?,
            None => writeln!(f, "Pods can be served.")?,
        }
        self.enis.iter().try_for_each(|eni| writeln!(f, "{eni}"))?;
        for call in &self.under_way {
            writeln!(f, "Under way: {call}.")?;
        }
        self.sentences
            .iter()
            .try_for_each(|sentence| writeln!(f, "{sentence}"))
    }
}
