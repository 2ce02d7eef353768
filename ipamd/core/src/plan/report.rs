//! Why the plan is as it is, and why it is not more: typed lines that read as sentences.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::Ipv6Net;
use serde::Serialize;

use super::demand::Demand;
use crate::action::Fault;
use crate::address::{AddressCount, Block, PodAddresses};
use crate::id::{EniId, IfName, SubnetId};
use crate::moment::Moment;
use crate::pace::Hold;

/// The lines, in the order in which the plan was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report(pub Vec<Line>);

/// One decision or one reason to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// Nothing can be planned before the node is known.
    NodeUnknown,
    /// What the instance holds is not known yet.
    EnisUnknown,
    /// What is wanted and what there is.
    Demand(Demand),
    /// An action that is planned.
    Acts {
        /// Which.
        action: String,
    },
    /// An action that waits after a failure.
    Rests {
        /// Which.
        action: String,
        /// What failed.
        fault: Fault,
        /// Until when.
        until: Moment,
    },
    /// An action that the operator forbids.
    NotProvisioned {
        /// Which.
        action: String,
    },
    /// An action that waits for the node's pace towards EC2.
    Paced {
        /// Which.
        action: String,
        /// Why.
        hold: Hold,
    },
    /// An action that waits because much is under way.
    Busy {
        /// Which.
        action: String,
    },
    /// An ENI is read because nobody knows what the last call did.
    Uncertain {
        /// Which.
        eni: EniId,
    },
    /// An attached ENI whose device the kernel does not show yet.
    AwaitsDevice {
        /// Which.
        eni: EniId,
    },
    /// An attached ENI whose device did not come for so long that it is given up.
    DeviceLost {
        /// Which.
        eni: EniId,
    },
    /// An ENI of ours is detached, and every place for it is taken.
    NoPlace {
        /// Which.
        eni: EniId,
    },
    /// Pods have addresses that EC2 does not show on their ENI any more.
    Lost {
        /// The ENI.
        eni: EniId,
        /// The blocks.
        blocks: BTreeSet<Block>,
    },
    /// EC2 does not show an ENI any more that pods have addresses of.
    Vanished {
        /// Which.
        eni: EniId,
    },
    /// Something that another daemon decided.
    Past(Past),
    /// Addresses that will be asked of ENIs once these can be asked.
    AwaitsRoom {
        /// How many.
        addresses: AddressCount,
    },
    /// No subnet has a whole /28, so single addresses are got.
    Fragmented,
    /// Blocks of the kind that the node does not get any more.
    Strays {
        /// How many addresses of them nobody uses.
        addresses: AddressCount,
        /// Until when they are kept.
        until: Moment,
    },
    /// An ENI more than is needed, whose addresses others take over.
    Spare {
        /// Which.
        eni: EniId,
    },
    /// EC2 is asked first where ENIs may go.
    AwaitsSubnets,
    /// No subnet of the zone takes ENIs.
    NoSubnet,
    /// About IPv6.
    Ipv6(Ipv6),
    /// The node is cordoned and the pool is left alone.
    Cordoned,
    /// More is wanted than the instance type can hold.
    NoRoom {
        /// How much is missing.
        missing: AddressCount,
        /// ENIs that there are.
        enis: u32,
    },
    /// A surplus that has not lasted long enough.
    Dwells {
        /// How much.
        surplus: AddressCount,
        /// Until when it is kept.
        until: Moment,
    },
    /// The termination signal came.
    Terminating,
}

/// What another daemon decided, and this one goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "past", rename_all = "snake_case")]
pub enum Past {
    /// Nobody knows what was released before this daemon came: nothing is given for a while.
    Quiet {
        /// Until when.
        until: Moment,
    },
    /// A device has an address, and no record says whose it is.
    Unexplained {
        /// The address, or one of each family.
        addresses: PodAddresses,
        /// The device.
        device: IfName,
    },
    /// A pod has an address that no ENI of the node has.
    Homeless {
        /// The address, or one of each family.
        addresses: PodAddresses,
        /// The pod.
        pod: String,
    },
}

/// What there is to say of pods' IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "ipv6", rename_all = "snake_case")]
pub enum Ipv6 {
    /// Pods get addresses of this prefix.
    Prefix {
        /// Which.
        prefix: Ipv6Net,
        /// Requests that wait, for IPv4 or for the prefix to be served.
        waiting: usize,
    },
    /// The subnet has none.
    NotInSubnet {
        /// Which.
        subnet: SubnetId,
        /// Whether pods are to get nothing else.
        alone: bool,
    },
    /// The instance type has no prefixes.
    NotOnType {
        /// Which.
        instance_type: String,
    },
}

impl fmt::Display for Ipv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix { prefix, waiting } => {
                write!(
                    f,
                    "Pods get IPv6 addresses of {prefix} ({waiting} requests wait)."
                )
            }
            Self::NotInSubnet { subnet, alone } => {
                let so = if *alone {
                    "no pod can be served"
                } else {
                    "pods get IPv4 alone"
                };
                write!(
                    f,
                    "{subnet} has no IPv6 CIDR, so {so}: associate one with it, or set ENABLE_IPv6=false."
                )
            }
            Self::NotOnType { instance_type } => write!(
                f,
                "Pods are to have IPv6, which needs prefixes, and {instance_type} has none: choose a Nitro type."
            ),
        }
    }
}

impl fmt::Display for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quiet { until } => write!(
                f,
                "Another daemon, or a journal that is lost, decided before: free addresses rest until {until}, and pods wait."
            ),
            Self::Unexplained { addresses, device } => write!(
                f,
                "{device} has {addresses} and no record says whose it is: kept until the device goes."
            ),
            Self::Homeless { addresses, pod } => write!(
                f,
                "{pod} has {addresses}, which no ENI of this node has: restart the pod."
            ),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeUnknown => f.write_str("Nothing is planned: the node's own facts are not known yet."),
            Self::EnisUnknown => {
                f.write_str("Nothing is changed: EC2 has not told yet which ENIs the node has.")
            }
            Self::Demand(demand) => write!(
                f,
                "{} addresses are in use ({} requests wait); {} of at most {} should be held, {} are.",
                demand.in_use, demand.waiting, demand.wanted, demand.capacity, demand.held
            ),
            Self::Acts { action } => write!(f, "Next: {action}."),
            Self::NotProvisioned { action } => tell_forbidden(f, action),
            Self::Paced { action, hold } => tell_hold(f, action, *hold),
            Self::Rests { action, fault, until } => write!(
                f,
                "Would {action}, but the last try failed: {fault}. Next try {until}."
            ),
            Self::Busy { action } => write!(f, "Would {action}, but enough calls are under way."),
            Self::Uncertain { eni } => write!(f, "Nobody knows what the last call did to {eni}."),
            Self::AwaitsDevice { eni } => write!(f, "{eni} is attached and its device is not there yet."),
            Self::DeviceLost { eni } => {
                write!(f, "The device of {eni} did not come: detached, to be replaced or attached again.")
            }
            Self::NoPlace { eni } => write!(
                f,
                "{eni} is detached, and the instance holds as many ENIs as it can: detach one that is not needed."
            ),
            Self::Lost { eni, blocks } => write!(
                f,
                "Somebody took {} from {eni} while pods have it: restart those pods, or assign it again.",
                joined(blocks)
            ),
            Self::Vanished { eni } => write!(
                f,
                "EC2 does not show {eni} any more, but pods have addresses of it: restart them."
            ),
            Self::Past(past) => past.fmt(f),
            Self::AwaitsRoom { addresses } => write!(
                f,
                "{addresses} more addresses are wanted and have room on ENIs that are busy or on their way."
            ),
            Self::Fragmented => f.write_str(
                "The subnet is fragmented and gives no prefix: single addresses stand in until it does.",
            ),
            Self::Strays { addresses, until } => write!(
                f,
                "{addresses} unused addresses are of the kind that is not got any more; kept until {until}."
            ),
            Self::Spare { eni } => write!(f, "{eni} is one ENI more than is needed and has no pod."),
            Self::AwaitsSubnets => f.write_str("Where a new ENI may go is being asked."),
            Self::NoSubnet => f.write_str(
                "No subnet of the node's zone takes ENIs: tag one with kubernetes.io/role/cni=1, or do not exclude the node's own.",
            ),
            Self::Ipv6(ipv6) => ipv6.fmt(f),
            Self::Cordoned => f.write_str(
                "The node is cordoned: only waiting pods are served, nothing is prepared or given back.",
            ),
            Self::NoRoom { missing, enis } => {
                write!(
                    f,
                    "{missing} more addresses are wanted, but {enis} ENIs are all that this node may have."
                )
            }
            Self::Dwells { surplus, until } => {
                write!(f, "{surplus} addresses are too many; kept until {until}.")
            }
            Self::Terminating => {
                f.write_str("The daemon is ending: nothing new begins, nothing is given back.")
            }
        }
    }
}

fn tell_forbidden(f: &mut fmt::Formatter<'_>, action: &str) -> fmt::Result {
    write!(
        f,
        "Would {action}, but DISABLE_NETWORK_RESOURCE_PROVISIONING forbids it."
    )
}

fn tell_hold(f: &mut fmt::Formatter<'_>, action: &str, hold: Hold) -> fmt::Result {
    match hold.until() {
        Some(until) => write!(f, "Would {action}, but {hold}. It goes {until}."),
        None => write!(f, "Would {action}, but {hold}."),
    }
}

fn joined(blocks: &BTreeSet<Block>) -> String {
    let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    blocks.join(", ")
}

impl Report {
    /// Whether nothing is to be held: the targets are zero and nobody asks.
    #[must_use]
    pub fn wants_nothing(&self) -> bool {
        let zero = |line: &Line| matches!(line, Line::Demand(demand) if demand.wanted == AddressCount::ZERO);
        self.0.iter().any(zero)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
