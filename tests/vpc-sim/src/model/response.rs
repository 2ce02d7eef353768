//! What EC2 answers, as values: what the API's viewers see, which may be late.

mod group;
mod instance;
mod place;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use super::id::{AttachmentId, EniId, InstanceId, SecurityGroupId, SubnetId, VpcId};
use super::limits::InstanceTypeInfo;
use super::mac::Mac;
use super::request::Tags;
pub use group::{GroupDescription, RuleDescription};
pub use instance::{InstanceDescription, InstanceState};
pub use place::{
    CidrReservationDescription, SubnetDescription, TagDescription, VpcDescription, ZoneDescription,
};

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
    /// To `AssignIpv6Addresses`.
    AssignedIpv6 {
        /// Which ENI.
        eni: EniId,
        /// New addresses.
        addresses: Vec<Ipv6Addr>,
        /// New prefixes.
        prefixes: Vec<Ipv6Net>,
    },
    /// To `UnassignIpv6Addresses`.
    UnassignedIpv6 {
        /// Which ENI.
        eni: EniId,
        /// Addresses it had.
        addresses: Vec<Ipv6Addr>,
        /// Prefixes it had.
        prefixes: Vec<Ipv6Net>,
    },
    /// To `RunInstances`, ordered by launch index.
    Launched(Vec<InstanceDescription>),
    /// To `TerminateInstances`: each with its state before and now.
    Terminating(Vec<(InstanceId, InstanceState, InstanceState)>),
    /// To `CreateSecurityGroup`.
    GroupCreated {
        /// Its id.
        id: SecurityGroupId,
        /// Its resource name.
        arn: String,
        /// Its tags.
        tags: Tags,
    },
    /// To `DeleteSecurityGroup`.
    GroupDeleted(SecurityGroupId),
    /// To `AuthorizeSecurityGroupIngress` and `AuthorizeSecurityGroupEgress`: the new rules.
    Authorized(Vec<RuleDescription>),
    /// To `RevokeSecurityGroupIngress` and `RevokeSecurityGroupEgress`: the rules that went.
    Revoked(Vec<RuleDescription>),
    /// To `CreateSubnetCidrReservation`.
    ReservationCreated(CidrReservationDescription),
    /// To `DeleteSubnetCidrReservation`: as it was.
    ReservationDeleted(CidrReservationDescription),
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
    /// To `DescribeSecurityGroups`, ordered by id.
    Groups(Vec<GroupDescription>),
    /// To `DescribeSecurityGroupRules`, ordered by id.
    Rules(Vec<RuleDescription>),
    /// To `DescribeAvailabilityZones`, ordered by name.
    Zones(Vec<ZoneDescription>),
    /// To `DescribeTags`, ordered by resource and key.
    Tags(Vec<TagDescription>),
    /// To `GetSubnetCidrReservations`, ordered by id.
    Reservations(Vec<CidrReservationDescription>),
}

/// An availability zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone {
    /// As this account names it: `us-east-1a`.
    pub name: String,
    /// As all accounts name it: `use1-az1`.
    pub id: String,
}

/// A security group as its members show it.
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
    /// Its Region, for its names.
    pub region: String,
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
    /// IPv6 addresses in the order of their assignment.
    pub ipv6: Vec<Ipv6Addr>,
    /// IPv6 prefixes in the order of their assignment.
    pub ipv6_prefixes: Vec<Ipv6Net>,
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
