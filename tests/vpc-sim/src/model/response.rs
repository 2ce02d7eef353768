//! What EC2 answers, as values: what the API's viewers see, which may be late.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::id::{AttachmentId, EniId, InstanceId, SecurityGroupId, SubnetId, VpcId};
use super::limits::InstanceTypeInfo;
use super::mac::Mac;
use super::request::Tags;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To `CreateNetworkInterface`.
    Created {
        /// As it was created.
        eni: Box<EniDescription>,
        /// The token given, if any.
        client_token: Option<String>,
    },
    /// To `AttachNetworkInterface`.
    Attached {
        /// By which it can be detached.
        attachment: AttachmentId,
        /// Where it went.
        network_card: u32,
    },
    /// To `AssignPrivateIpAddresses`.
    Assigned {
        /// Which ENI.
        eni: EniId,
        /// New secondary addresses.
        addresses: Vec<Ipv4Addr>,
        /// New prefixes.
        prefixes: Vec<Ipv4Net>,
    },
    /// To everything that answers only that it was done.
    Done,
    /// To `DescribeNetworkInterfaces`, ordered by id.
    Enis(Vec<EniDescription>),
    /// To `DescribeInstances`, ordered by id.
    Instances(Vec<InstanceDescription>),
    /// To `DescribeSubnets`, ordered by id.
    Subnets(Vec<SubnetDescription>),
    /// To `DescribeVpcs`.
    Vpcs(Vec<VpcDescription>),
    /// To `DescribeInstanceTypes`, ordered by name.
    InstanceTypes(Vec<&'static InstanceTypeInfo>),
}

/// An availability zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone {
    /// As this account names it: `us-east-1a`.
    pub name: String,
    /// As all accounts name it: `use1-az1`.
    pub id: String,
}

/// A security group: an id and a name; rules are not simulated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Its id.
    pub id: SecurityGroupId,
    /// Its name.
    pub name: String,
}

/// The status of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EniStatus {
    /// Attached to nothing.
    Available,
    /// Attached, or on its way there.
    InUse,
    /// On its way out.
    Detaching,
}

impl EniStatus {
    /// As EC2 writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::InUse => "in-use",
            Self::Detaching => "detaching",
        }
    }
}

/// The status of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttachmentStatus {
    /// Asked for.
    Attaching,
    /// Done, says the API; the device may still be missing.
    Attached,
    /// Being ended.
    Detaching,
}

impl AttachmentStatus {
    /// As EC2 writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attaching => "attaching",
            Self::Attached => "attached",
            Self::Detaching => "detaching",
        }
    }
}

/// A network interface as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniDescription {
    /// Its id.
    pub id: EniId,
    /// Its MAC.
    pub mac: Mac,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its zone.
    pub zone: Zone,
    /// The account that owns it.
    pub owner: String,
    /// Who created it.
    pub requester: String,
    /// Its status.
    pub status: EniStatus,
    /// Where it is attached.
    pub attachment: Option<AttachmentDescription>,
    /// The primary address.
    pub primary: Ipv4Addr,
    /// Secondary addresses in the order of their assignment.
    pub secondary: Vec<Ipv4Addr>,
    /// Prefixes in the order of their assignment.
    pub prefixes: Vec<Ipv4Net>,
    /// Private to public address.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Its security groups.
    pub groups: Vec<Group>,
    /// Free text.
    pub description: String,
    /// Whether the check is on.
    pub source_dest_check: bool,
    /// Its tags.
    pub tags: Tags,
}

/// An attachment as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentDescription {
    /// Its id.
    pub id: AttachmentId,
    /// To what.
    pub instance: InstanceId,
    /// Unique per instance and card.
    pub device_index: u32,
    /// The network card.
    pub network_card: u32,
    /// How far it is.
    pub status: AttachmentStatus,
    /// Since when, as time since 1970.
    pub attached_at: Duration,
    /// Whether termination deletes the ENI.
    pub delete_on_termination: bool,
}

/// The state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// Up.
    Running,
    /// On its way out.
    ShuttingDown,
    /// Gone; listed for a while.
    Terminated,
}

impl InstanceState {
    /// As EC2 writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    /// EC2's number for it (AWS documentation, `InstanceState`).
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
        }
    }
}

/// An instance as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDescription {
    /// Its id.
    pub id: InstanceId,
    /// Its type.
    pub instance_type: &'static InstanceTypeInfo,
    /// Its state.
    pub state: InstanceState,
    /// Its zone.
    pub zone: Zone,
    /// The account that owns it.
    pub owner: String,
    /// The name of its role, if it has one.
    pub role: Option<String>,
    /// How far a metadata token travels.
    pub hop_limit: u8,
    /// Whether metadata answers at all.
    pub metadata_enabled: bool,
    /// When, as time since 1970.
    pub launched_at: Duration,
    /// Its tags.
    pub tags: Tags,
    /// Its ENIs, the primary first.
    pub enis: Vec<EniDescription>,
}

/// A subnet as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetDescription {
    /// Its id.
    pub id: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its zone.
    pub zone: Zone,
    /// The account that owns it.
    pub owner: String,
    /// The Region, for the resource name.
    pub region: String,
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// How many are neither reserved nor assigned.
    pub available: u32,
    /// Whether new instances get a public address.
    pub public: bool,
    /// Its tags.
    pub tags: Tags,
}

/// The VPC as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcDescription {
    /// Its id.
    pub id: VpcId,
    /// The account that owns it.
    pub owner: String,
    /// Its CIDRs, the first one first.
    pub cidrs: Vec<Ipv4Net>,
    /// Its tags.
    pub tags: Tags,
}
