//! One call to EC2 and what came of it. What each promises when it is repeated stands at each variant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::address::AddressCount;
use crate::id::{EniAttachmentId, EniId, InstanceId, IntentId, SecurityGroupId, SubnetId};
use crate::snapshot::{SeenEni, Snapshot};

/// One call to EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// CreateNetworkInterface. Repeating it gives the same ENI: the client token comes from the intent.
    CreateEni(NewEni),
    /// AttachNetworkInterface. No client token: after an unknown outcome the ENI is read before a repeat.
    AttachEni {
        /// Which ENI.
        eni: EniId,
        /// To which instance.
        instance: InstanceId,
        /// At which free index of card 0.
        device_index: u32,
    },
    /// ModifyNetworkInterfaceAttribute: the ENI goes with the instance. Repeating it changes nothing.
    DeleteOnTermination {
        /// Which ENI.
        eni: EniId,
        /// Its attachment, which carries the attribute.
        attachment: EniAttachmentId,
    },
    /// AssignPrivateIpAddresses. No client token: after an unknown outcome the ENI is read before a repeat.
    AssignAddresses {
        /// To which ENI.
        eni: EniId,
        /// How many secondary addresses.
        count: AddressCount,
    },
    /// UnassignPrivateIpAddresses. After any failure the ENI is read before a repeat.
    UnassignAddresses {
        /// From which ENI.
        eni: EniId,
        /// Which addresses; nobody holds them any more.
        addresses: BTreeSet<Ipv4Addr>,
    },
    /// DetachNetworkInterface. Already detached is success.
    DetachEni {
        /// Which ENI.
        eni: EniId,
        /// The attachment to end.
        attachment: EniAttachmentId,
    },
    /// DeleteNetworkInterface. Already gone is success.
    DeleteEni {
        /// Which ENI.
        eni: EniId,
    },
    /// DescribeNetworkInterfaces of one ENI that we lost sight of.
    ReadEni {
        /// Which ENI.
        eni: EniId,
    },
    /// DescribeNetworkInterfaces of everything on the instance, and of everything with our instance tag.
    ReadAll {
        /// Whose.
        instance: InstanceId,
    },
}

/// An ENI that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEni {
    /// The journalled intent, from which the client token comes.
    pub intent: IntentId,
    /// The instance that it is for, named in the description.
    pub instance: InstanceId,
    /// Where.
    pub subnet: SubnetId,
    /// With which security groups.
    pub groups: BTreeSet<SecurityGroupId>,
    /// With how many secondary addresses.
    pub addresses: AddressCount,
    /// When it was intended, since 1970: the same on every repeat, as the client token demands.
    pub wall: Duration,
    /// All tags, ours included.
    pub tags: BTreeMap<String, String>,
}

/// What an action is about: two actions about one subject never run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An ENI that has an id.
    Eni(EniId),
    /// An ENI that is being created.
    Intent(IntentId),
    /// All of them.
    Instance,
    /// Making another ENI: no call has this subject, it only rests after a failure.
    Growth,
}

impl Action {
    /// What the action is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::CreateEni(new) => Subject::Intent(new.intent),
            Self::ReadAll { .. } => Subject::Instance,
            Self::AttachEni { eni, .. }
            | Self::DeleteOnTermination { eni, .. }
            | Self::AssignAddresses { eni, .. }
            | Self::UnassignAddresses { eni, .. }
            | Self::DetachEni { eni, .. }
            | Self::DeleteEni { eni }
            | Self::ReadEni { eni } => Subject::Eni(eni.clone()),
        }
    }

    /// The EC2 operation behind it.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::CreateEni(_) => "CreateNetworkInterface",
            Self::AttachEni { .. } => "AttachNetworkInterface",
            Self::DeleteOnTermination { .. } => "ModifyNetworkInterfaceAttribute",
            Self::AssignAddresses { .. } => "AssignPrivateIpAddresses",
            Self::UnassignAddresses { .. } => "UnassignPrivateIpAddresses",
            Self::DetachEni { .. } => "DetachNetworkInterface",
            Self::DeleteEni { .. } => "DeleteNetworkInterface",
            Self::ReadEni { .. } | Self::ReadAll { .. } => "DescribeNetworkInterfaces",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateEni(new) => {
                write!(
                    f,
                    "create an ENI in {} with {} secondary addresses",
                    new.subnet, new.addresses
                )
            }
            Self::AttachEni {
                eni, device_index, ..
            } => write!(f, "attach {eni} at device index {device_index}"),
            Self::DeleteOnTermination { eni, .. } => write!(f, "let {eni} go with the instance"),
            Self::AssignAddresses { eni, count } => write!(f, "assign {count} addresses to {eni}"),
            Self::UnassignAddresses { eni, addresses } => {
                write!(f, "unassign {} addresses from {eni}", addresses.len())
            }
            Self::DetachEni { eni, .. } => write!(f, "detach {eni}"),
            Self::DeleteEni { eni } => write!(f, "delete {eni}"),
            Self::ReadEni { eni } => write!(f, "read {eni}"),
            Self::ReadAll { .. } => f.write_str("read every ENI of the instance"),
        }
    }
}

/// What an action changed or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The new ENI, with its addresses.
    Created(SeenEni),
    /// The new attachment.
    Attached(EniAttachmentId),
    /// The addresses that were assigned.
    Assigned(BTreeSet<Ipv4Addr>),
    /// The ENI, or that there is none.
    Read(Option<SeenEni>),
    /// Everything that was asked for.
    ReadAll(Snapshot),
    /// It is as it was asked to be.
    Done,
}

/// Why an action had no known effect: what we would do about it, not what EC2 called it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Throttled or briefly unwell, and certainly without effect.
    #[error("EC2 asks to wait ({code})")]
    Wait {
        /// EC2's code.
        code: String,
    },
    /// The answer was lost; the effect may have happened.
    #[error("the answer was lost, the effect may have happened ({reason})")]
    Unknown {
        /// How it was lost.
        reason: String,
    },
    /// The subnet has no address left.
    #[error("subnet {subnet} has no free address; free some or add a subnet")]
    SubnetFull {
        /// Which subnet, or the ENI whose subnet it is.
        subnet: String,
    },
    /// IAM forbids it.
    #[error("the node's role lacks ec2:{operation}; add it to the role's policy")]
    Forbidden {
        /// The operation that is not allowed.
        operation: String,
    },
    /// A limit of type or account.
    #[error("a limit is reached ({code}); fewer ENIs or a quota increase would help")]
    Limit {
        /// EC2's code.
        code: String,
    },
    /// We lost sight of something: read before going on.
    #[error("what we believe of the ENI is out of date ({code})")]
    Stale {
        /// EC2's code.
        code: String,
    },
    /// It no longer exists, or does not exist yet.
    #[error("{what} does not exist")]
    Gone {
        /// What does not exist.
        what: String,
    },
    /// Something else still uses it.
    #[error("still in use; it is tried again")]
    Busy,
    /// A request that EC2 refuses for good: our bug or a wrong setting.
    #[error("EC2 refused the request ({code}: {message})")]
    Refused {
        /// EC2's code.
        code: String,
        /// EC2's words.
        message: String,
    },
}
