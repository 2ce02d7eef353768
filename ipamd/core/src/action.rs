//! One call to EC2 and what came of it. What each promises when it is repeated stands at each variant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::address::{Ask, Block, BlockKind};
use crate::id::{EniAttachmentId, EniId, InstanceId, IntentId, SecurityGroupId, SubnetId, VpcId};
use crate::moment::Moment;
use crate::pace;
use crate::snapshot::{Scope, SeenEni, SeenSubnet, Snapshot, Unattached};

/// One call to EC2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    Assign {
        /// To which ENI.
        eni: EniId,
        /// What is asked for.
        ask: Ask,
    },
    /// AssignIpv6Addresses of one /80 prefix. No client token: after an unknown outcome the ENI is read before a repeat.
    AssignPrefix6 {
        /// To which ENI.
        eni: EniId,
    },
    /// UnassignPrivateIpAddresses. After any failure the ENI is read before a repeat.
    Unassign {
        /// From which ENI.
        eni: EniId,
        /// Which blocks, all of one kind; nobody holds an address of them any more.
        blocks: BTreeSet<Block>,
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
    /// DescribeNetworkInterfaces of what carries some instance's tag and is attached nowhere.
    ReadUnattached {
        /// In which VPC.
        vpc: VpcId,
        /// Of which cluster, where the operator names one.
        cluster: Option<String>,
        /// Only this one.
        only: Option<EniId>,
    },
    /// DeleteNetworkInterface of what another node left behind. Already gone is success.
    DeleteLeak {
        /// Which ENI.
        eni: EniId,
    },
    /// DescribeSubnets of the node's zone.
    ReadSubnets {
        /// In which VPC.
        vpc: VpcId,
        /// In which zone, by name.
        zone: String,
    },
    /// DescribeNetworkInterfaces of everything on the instance, one call, or two with what carries our tag elsewhere.
    ReadAll {
        /// Whose.
        instance: InstanceId,
        /// How far to look.
        scope: Scope,
    },
}

/// An ENI that is to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEni {
    /// The journalled intent, from which the client token comes.
    pub intent: IntentId,
    /// The instance that it is for, named in the description.
    pub instance: InstanceId,
    /// Where.
    pub subnet: SubnetId,
    /// With which security groups.
    pub groups: BTreeSet<SecurityGroupId>,
    /// With what to begin with.
    pub ask: Ask,
    /// When it was intended, since 1970: the same on every repeat, as the client token demands.
    pub wall: Duration,
    /// All tags, ours included.
    pub tags: BTreeMap<String, String>,
}

/// What an action is about: two actions about one subject never run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An ENI that has an id.
    Eni(EniId),
    /// The IPv6 prefix of an ENI: what becomes of its IPv4 does not wait for that.
    Prefix6(EniId),
    /// An ENI that is being created.
    Intent(IntentId),
    /// All of them.
    Instance,
    /// All subnets of the zone.
    Subnets,
    /// Everything in the VPC that is attached nowhere.
    Unattached,
    /// Making another ENI: no call has this subject, it only rests after a failure.
    Growth,
    /// Getting blocks of a kind from a subnet: no call has this subject, it only rests after a failure.
    Subnet(SubnetId, BlockKind),
}

impl Action {
    /// What the action is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::CreateEni(new) => Subject::Intent(new.intent),
            Self::AssignPrefix6 { eni } => Subject::Prefix6(eni.clone()),
            Self::ReadAll { .. } => Subject::Instance,
            Self::ReadSubnets { .. } => Subject::Subnets,
            Self::ReadUnattached { only: None, .. } => Subject::Unattached,
            Self::AttachEni { eni, .. }
            | Self::DeleteOnTermination { eni, .. }
            | Self::Assign { eni, .. }
            | Self::Unassign { eni, .. }
            | Self::DetachEni { eni, .. }
            | Self::DeleteEni { eni }
            | Self::DeleteLeak { eni }
            | Self::ReadUnattached { only: Some(eni), .. }
            | Self::ReadEni { eni } => Subject::Eni(eni.clone()),
        }
    }

    /// Whether the call changes anything.
    #[must_use]
    pub fn effect(&self) -> pace::Effect {
        match self {
            Self::ReadAll { .. }
            | Self::ReadEni { .. }
            | Self::ReadSubnets { .. }
            | Self::ReadUnattached { .. } => pace::Effect::Reads,
            Self::CreateEni(_)
            | Self::AttachEni { .. }
            | Self::DeleteOnTermination { .. }
            | Self::Assign { .. }
            | Self::AssignPrefix6 { .. }
            | Self::Unassign { .. }
            | Self::DetachEni { .. }
            | Self::DeleteLeak { .. }
            | Self::DeleteEni { .. } => pace::Effect::Changes,
        }
    }

    /// The EC2 operation behind it.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::CreateEni(_) => "CreateNetworkInterface",
            Self::AttachEni { .. } => "AttachNetworkInterface",
            Self::DeleteOnTermination { .. } => "ModifyNetworkInterfaceAttribute",
            Self::Assign { .. } => "AssignPrivateIpAddresses",
            Self::AssignPrefix6 { .. } => "AssignIpv6Addresses",
            Self::Unassign { .. } => "UnassignPrivateIpAddresses",
            Self::DetachEni { .. } => "DetachNetworkInterface",
            Self::DeleteEni { .. } | Self::DeleteLeak { .. } => "DeleteNetworkInterface",
            Self::ReadSubnets { .. } => "DescribeSubnets",
            Self::ReadEni { .. } | Self::ReadAll { .. } | Self::ReadUnattached { .. } => {
                "DescribeNetworkInterfaces"
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateEni(new) => {
                write!(f, "create an ENI in {} with {}", new.subnet, new.ask)
            }
            Self::AttachEni {
                eni, device_index, ..
            } => write!(f, "attach {eni} at device index {device_index}"),
            Self::DeleteOnTermination { eni, .. } => write!(f, "let {eni} go with the instance"),
            Self::Assign { eni, ask } => write!(f, "assign {ask} to {eni}"),
            Self::AssignPrefix6 { eni } => write!(f, "assign an IPv6 prefix to {eni}"),
            Self::Unassign { eni, blocks } => match blocks.first() {
                Some(only) if blocks.len() == 1 => write!(f, "unassign {only} from {eni}"),
                _ => write!(f, "unassign {} blocks from {eni}", blocks.len()),
            },
            Self::DetachEni { eni, .. } => write!(f, "detach {eni}"),
            Self::DeleteEni { eni } => write!(f, "delete {eni}"),
            Self::ReadEni { eni } => write!(f, "read {eni}"),
            Self::ReadUnattached { vpc, only: None, .. } => {
                write!(f, "look for ENIs that nodes left behind in {vpc}")
            }
            Self::ReadUnattached { only: Some(eni), .. } => {
                write!(f, "look whether {eni} is still left behind")
            }
            Self::DeleteLeak { eni } => write!(f, "delete {eni}, which another node left behind"),
            Self::ReadSubnets { zone, .. } => write!(f, "read the subnets of {zone}"),
            Self::ReadAll { scope, .. } => match scope {
                Scope::Attached => f.write_str("read every ENI on the instance"),
                Scope::Everything => f.write_str("read every ENI of the instance, attached or not"),
            },
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
    /// The blocks that were assigned.
    Assigned(BTreeSet<Block>),
    /// The IPv6 prefixes that were assigned.
    Assigned6(BTreeSet<Ipv6Net>),
    /// The ENI, or that there is none.
    Read(Option<SeenEni>),
    /// Everything that was asked for.
    ReadAll(Snapshot),
    /// The unattached ENIs that were asked for, as of the moment before the call.
    Unattached(Vec<Unattached>, Moment),
    /// The subnets that were asked for, as of the moment before the call.
    Subnets(Vec<SeenSubnet>, Moment),
    /// It is as it was asked to be.
    Done,
}

/// Why an action had no known effect: what we would do about it, not what EC2 called it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Too many calls of this account, and certainly without effect.
    #[error("EC2 throttles this account's calls ({code}); it is tried again, more slowly")]
    Throttled {
        /// EC2's code.
        code: String,
    },
    /// Briefly unwell, and certainly without effect.
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
    #[error("the subnet of {subject} has no free address; free some or add a subnet")]
    SubnetFull {
        /// Which subnet, or the ENI whose subnet it is.
        subject: String,
    },
    /// The subnet has no whole /28 left; single addresses may still be had.
    #[error(
        "the subnet of {subject} is fragmented: it has no free /28; reserve a range for prefixes or add a subnet"
    )]
    Fragmented {
        /// Which subnet, or the ENI whose subnet it is.
        subject: String,
    },
    /// IAM forbids it.
    #[error("the node's role lacks ec2:{operation}; add it to the role's policy")]
    Forbidden {
        /// The operation that is not allowed.
        operation: String,
    },
    /// EC2 does not believe who asks, or when: certainly without effect.
    #[error(
        "EC2 does not accept the node's credentials ({code}); check the node's clock and the role of its instance profile or service account"
    )]
    Credentials {
        /// EC2's code.
        code: String,
    },
    /// Something that the operator chose is not there, or not ours to change.
    #[error("EC2 refused it for {subject} ({code}): {step}")]
    Wrong {
        /// EC2's code.
        code: String,
        /// About what.
        subject: String,
        /// What the operator can do.
        step: String,
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
