//! What a client may ask of EC2, as values: one variant per action, parameters parsed and free of contradictions.

mod eni;
mod group;
mod launch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::id::{
    AttachmentId, CidrReservationId, EniId, InstanceId, SecurityGroupId, SecurityGroupRuleId, SubnetId, VpcId,
};
use super::pool::ReservationKind;
use super::security_group::{Direction, Rule};
pub use eni::{AttachEni, CreateEni, EniChange, Wanted, WantedIpv6};
pub use group::{NewGroup, Revoked};
pub use launch::{EniSource, LaunchedEni, MetadataOptions, RunInstances};

macro_rules! operations {
    ($($name:ident,)*) => {
        /// The actions that are served, by their EC2 names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Operation {
            $(#[doc = concat!("The action `", stringify!($name), "`.")] $name,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];

            /// The name as EC2 writes it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    AuthorizeSecurityGroupEgress,
    AuthorizeSecurityGroupIngress,
    CreateNetworkInterface,
    CreateSecurityGroup,
    CreateSubnetCidrReservation,
    CreateTags,
    DeleteNetworkInterface,
    DeleteSecurityGroup,
    DeleteSubnetCidrReservation,
    DeleteTags,
    DescribeAvailabilityZones,
    DescribeInstanceTypes,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSecurityGroupRules,
    DescribeSecurityGroups,
    DescribeSubnets,
    DescribeTags,
    DescribeVpcs,
    DetachNetworkInterface,
    GetSubnetCidrReservations,
    ModifyNetworkInterfaceAttribute,
    RevokeSecurityGroupEgress,
    RevokeSecurityGroupIngress,
    RunInstances,
    TerminateInstances,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
}

impl Operation {
    /// Whether the action changes something.
    #[must_use]
    pub fn mutates(self) -> bool {
        !self.name().starts_with("Describe") && !self.name().starts_with("Get")
    }

    /// The action with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// The role of an instance.
    Instance(InstanceId),
    /// A user, by access key.
    AccessKey(String),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => write!(f, "assumed-role/node/{id}"),
            Self::AccessKey(key) => write!(f, "user/{key}"),
        }
    }
}

/// A request with its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// Whether only the permission is asked for.
    pub dry_run: bool,
    /// What is asked.
    pub request: Request,
}

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// One action with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `CreateNetworkInterface`.
    CreateNetworkInterface(CreateEni),
    /// `AttachNetworkInterface`.
    AttachNetworkInterface(AttachEni),
    /// `DetachNetworkInterface`.
    DetachNetworkInterface {
        /// The attachment to end.
        attachment: AttachmentId,
    },
    /// `DeleteNetworkInterface`.
    DeleteNetworkInterface {
        /// The ENI to delete.
        eni: EniId,
    },
    /// `ModifyNetworkInterfaceAttribute`.
    ModifyNetworkInterfaceAttribute {
        /// The ENI to change.
        eni: EniId,
        /// The one attribute that changes.
        change: EniChange,
    },
    /// `AssignPrivateIpAddresses`.
    AssignPrivateIpAddresses {
        /// The ENI that gets more.
        eni: EniId,
        /// What it gets.
        wanted: Wanted,
    },
    /// `UnassignPrivateIpAddresses`.
    UnassignPrivateIpAddresses {
        /// The ENI that loses.
        eni: EniId,
        /// Secondary addresses.
        addresses: Vec<Ipv4Addr>,
        /// Prefixes.
        prefixes: Vec<Ipv4Net>,
    },
    /// `AssignIpv6Addresses`.
    AssignIpv6Addresses {
        /// The ENI that gets more.
        eni: EniId,
        /// What it gets.
        wanted: WantedIpv6,
    },
    /// `UnassignIpv6Addresses`.
    UnassignIpv6Addresses {
        /// The ENI that loses.
        eni: EniId,
        /// Addresses.
        addresses: Vec<Ipv6Addr>,
        /// Prefixes.
        prefixes: Vec<Ipv6Net>,
    },
    /// `RunInstances`.
    RunInstances(Box<RunInstances>),
    /// `TerminateInstances`.
    TerminateInstances {
        /// All of them or none.
        instances: Vec<InstanceId>,
    },
    /// `CreateSecurityGroup`.
    CreateSecurityGroup(NewGroup),
    /// `DeleteSecurityGroup`.
    DeleteSecurityGroup {
        /// Which.
        group: SecurityGroupId,
    },
    /// `AuthorizeSecurityGroupIngress` and `AuthorizeSecurityGroupEgress`.
    Authorize {
        /// The group that lets more pass.
        group: SecurityGroupId,
        /// Which of the two.
        direction: Direction,
        /// What it lets pass, all in this direction.
        rules: Vec<Rule>,
        /// The accounts that the groups in the rules are said to be of; only the own one has any.
        accounts: BTreeSet<String>,
    },
    /// `RevokeSecurityGroupIngress` and `RevokeSecurityGroupEgress`.
    Revoke {
        /// The group that lets less pass.
        group: SecurityGroupId,
        /// Which of the two.
        direction: Direction,
        /// What goes.
        revoked: Revoked,
        /// The accounts that the groups in the rules are said to be of; only the own one has any.
        accounts: BTreeSet<String>,
    },
    /// `CreateSubnetCidrReservation`.
    CreateSubnetCidrReservation {
        /// Of which a part is set aside.
        subnet: SubnetId,
        /// Which part.
        cidr: IpNet,
        /// For what.
        kind: ReservationKind,
        /// Free text.
        description: String,
        /// The first tags.
        tags: Tags,
    },
    /// `DeleteSubnetCidrReservation`.
    DeleteSubnetCidrReservation {
        /// Which.
        reservation: CidrReservationId,
    },
    /// `DeleteTags`.
    DeleteTags {
        /// What loses the tags.
        resources: Vec<Resource>,
        /// Keys, some only if they have this value; all tags when empty.
        tags: BTreeMap<String, Option<String>>,
    },
    /// `CreateTags`.
    CreateTags {
        /// What gets the tags.
        resources: Vec<Resource>,
        /// Added to those present, which they replace by key.
        tags: Tags,
    },
    /// `DescribeNetworkInterfaces`.
    DescribeNetworkInterfaces(Describe<EniId>),
    /// `DescribeInstances`.
    DescribeInstances(Describe<InstanceId>),
    /// `DescribeSubnets`.
    DescribeSubnets(Describe<SubnetId>),
    /// `DescribeVpcs`.
    DescribeVpcs(Describe<VpcId>),
    /// `DescribeInstanceTypes`, by name.
    DescribeInstanceTypes(Describe<String>),
    /// `DescribeSecurityGroups`.
    DescribeSecurityGroups(Describe<SecurityGroupId>),
    /// `DescribeSecurityGroupRules`.
    DescribeSecurityGroupRules(Describe<SecurityGroupRuleId>),
    /// `DescribeAvailabilityZones`, by name or by id.
    DescribeAvailabilityZones(Describe<String>),
    /// `DescribeTags`, which takes no ids.
    DescribeTags(Describe<String>),
    /// `GetSubnetCidrReservations`, of one subnet.
    GetSubnetCidrReservations(Describe<SubnetId>),
}

/// What every describe action shares; filters and pages are applied to the answer by the API's front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Describe<Id> {
    /// All when empty. One that does not exist fails the whole call.
    pub ids: Vec<Id>,
    /// Whether the caller filters or pages, which draws from another token bucket.
    pub narrowed: bool,
}

/// Something that can have tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A network interface.
    Eni(EniId),
    /// An instance.
    Instance(InstanceId),
    /// A subnet.
    Subnet(SubnetId),
    /// The VPC.
    Vpc(VpcId),
    /// A security group.
    Group(SecurityGroupId),
    /// A subnet CIDR reservation.
    Reservation(CidrReservationId),
}

impl Request {
    /// The action this is.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::CreateNetworkInterface(_) => Operation::CreateNetworkInterface,
            Self::AttachNetworkInterface(_) => Operation::AttachNetworkInterface,
            Self::DetachNetworkInterface { .. } => Operation::DetachNetworkInterface,
            Self::DeleteNetworkInterface { .. } => Operation::DeleteNetworkInterface,
            Self::ModifyNetworkInterfaceAttribute { .. } => Operation::ModifyNetworkInterfaceAttribute,
            Self::AssignPrivateIpAddresses { .. } => Operation::AssignPrivateIpAddresses,
            Self::UnassignPrivateIpAddresses { .. } => Operation::UnassignPrivateIpAddresses,
            Self::AssignIpv6Addresses { .. } => Operation::AssignIpv6Addresses,
            Self::UnassignIpv6Addresses { .. } => Operation::UnassignIpv6Addresses,
            Self::RunInstances(_) => Operation::RunInstances,
            Self::TerminateInstances { .. } => Operation::TerminateInstances,
            Self::CreateSecurityGroup(_) => Operation::CreateSecurityGroup,
            Self::DeleteSecurityGroup { .. } => Operation::DeleteSecurityGroup,
            Self::Authorize { direction, .. } => match direction {
                Direction::Ingress => Operation::AuthorizeSecurityGroupIngress,
                Direction::Egress => Operation::AuthorizeSecurityGroupEgress,
            },
            Self::Revoke { direction, .. } => match direction {
                Direction::Ingress => Operation::RevokeSecurityGroupIngress,
                Direction::Egress => Operation::RevokeSecurityGroupEgress,
            },
            Self::CreateSubnetCidrReservation { .. } => Operation::CreateSubnetCidrReservation,
            Self::DeleteSubnetCidrReservation { .. } => Operation::DeleteSubnetCidrReservation,
            Self::CreateTags { .. } => Operation::CreateTags,
            Self::DeleteTags { .. } => Operation::DeleteTags,
            Self::DescribeNetworkInterfaces(_) => Operation::DescribeNetworkInterfaces,
            Self::DescribeInstances(_) => Operation::DescribeInstances,
            Self::DescribeSubnets(_) => Operation::DescribeSubnets,
            Self::DescribeVpcs(_) => Operation::DescribeVpcs,
            Self::DescribeInstanceTypes(_) => Operation::DescribeInstanceTypes,
            Self::DescribeSecurityGroups(_) => Operation::DescribeSecurityGroups,
            Self::DescribeSecurityGroupRules(_) => Operation::DescribeSecurityGroupRules,
            Self::DescribeAvailabilityZones(_) => Operation::DescribeAvailabilityZones,
            Self::DescribeTags(_) => Operation::DescribeTags,
            Self::GetSubnetCidrReservations(_) => Operation::GetSubnetCidrReservations,
        }
    }

    /// What the request is about, as ids: what a scripted fault may be limited to.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        match self {
            Self::CreateNetworkInterface(create) => vec![create.subnet.to_string()],
            Self::AttachNetworkInterface(attach) => vec![attach.eni.to_string(), attach.instance.to_string()],
            Self::DetachNetworkInterface { attachment } => vec![attachment.to_string()],
            Self::DeleteNetworkInterface { eni }
            | Self::ModifyNetworkInterfaceAttribute { eni, .. }
            | Self::AssignPrivateIpAddresses { eni, .. }
            | Self::UnassignPrivateIpAddresses { eni, .. }
            | Self::AssignIpv6Addresses { eni, .. }
            | Self::UnassignIpv6Addresses { eni, .. } => vec![eni.to_string()],
            Self::RunInstances(run) => run.subjects(),
            Self::TerminateInstances { instances } => texts(instances),
            Self::CreateSecurityGroup(new) => vec![new.vpc.to_string()],
            Self::DeleteSecurityGroup { group }
            | Self::Authorize { group, .. }
            | Self::Revoke { group, .. } => vec![group.to_string()],
            Self::CreateSubnetCidrReservation { subnet, .. } => vec![subnet.to_string()],
            Self::DeleteSubnetCidrReservation { reservation } => vec![reservation.to_string()],
            Self::CreateTags { resources, .. } | Self::DeleteTags { resources, .. } => {
                resources.iter().map(Resource::to_string).collect()
            }
            Self::DescribeNetworkInterfaces(describe) => texts(&describe.ids),
            Self::DescribeInstances(describe) => texts(&describe.ids),
            Self::DescribeSubnets(describe) => texts(&describe.ids),
            Self::DescribeVpcs(describe) => texts(&describe.ids),
            Self::DescribeSecurityGroups(describe) => texts(&describe.ids),
            Self::DescribeSecurityGroupRules(describe) => texts(&describe.ids),
            Self::GetSubnetCidrReservations(describe) => texts(&describe.ids),
            Self::DescribeInstanceTypes(describe)
            | Self::DescribeAvailabilityZones(describe)
            | Self::DescribeTags(describe) => texts(&describe.ids),
        }
    }

    /// Whether a describe filters or pages.
    #[must_use]
    pub fn narrowed(&self) -> bool {
        match self {
            Self::DescribeNetworkInterfaces(describe) => describe.narrowed,
            Self::DescribeInstances(describe) => describe.narrowed,
            Self::DescribeSubnets(describe) => describe.narrowed,
            Self::DescribeVpcs(describe) => describe.narrowed,
            Self::DescribeSecurityGroups(describe) => describe.narrowed,
            Self::DescribeSecurityGroupRules(describe) => describe.narrowed,
            Self::GetSubnetCidrReservations(describe) => describe.narrowed,
            Self::DescribeInstanceTypes(describe)
            | Self::DescribeAvailabilityZones(describe)
            | Self::DescribeTags(describe) => describe.narrowed,
            Self::CreateNetworkInterface(_)
            | Self::AttachNetworkInterface(_)
            | Self::DetachNetworkInterface { .. }
            | Self::DeleteNetworkInterface { .. }
            | Self::ModifyNetworkInterfaceAttribute { .. }
            | Self::AssignPrivateIpAddresses { .. }
            | Self::UnassignPrivateIpAddresses { .. }
            | Self::AssignIpv6Addresses { .. }
            | Self::UnassignIpv6Addresses { .. }
            | Self::RunInstances(_)
            | Self::TerminateInstances { .. }
            | Self::CreateSecurityGroup(_)
            | Self::DeleteSecurityGroup { .. }
            | Self::Authorize { .. }
            | Self::Revoke { .. }
            | Self::CreateSubnetCidrReservation { .. }
            | Self::DeleteSubnetCidrReservation { .. }
            | Self::DeleteTags { .. }
            | Self::CreateTags { .. } => false,
        }
    }
}

fn texts<Id: ToString>(ids: &[Id]) -> Vec<String> {
    ids.iter().map(Id::to_string).collect()
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eni(id) => id.fmt(f),
            Self::Instance(id) => id.fmt(f),
            Self::Subnet(id) => id.fmt(f),
            Self::Vpc(id) => id.fmt(f),
            Self::Group(id) => id.fmt(f),
            Self::Reservation(id) => id.fmt(f),
        }
    }
}
