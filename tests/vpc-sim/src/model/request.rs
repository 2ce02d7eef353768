//! What a client may ask of EC2, as values: one variant per action, parameters parsed and free of contradictions.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::id::{AttachmentId, EniId, InstanceId, SecurityGroupId, SubnetId, VpcId};

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
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeInstanceTypes,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DescribeVpcs,
    DetachNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    UnassignPrivateIpAddresses,
}

impl Operation {
    /// Whether the action changes something.
    #[must_use]
    pub fn mutates(self) -> bool {
        !self.name().starts_with("Describe")
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
}

/// What every describe action shares; filters and pages are applied to the answer by the API's front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Describe<Id> {
    /// All when empty. One that does not exist fails the whole call.
    pub ids: Vec<Id>,
    /// Whether the caller filters or pages, which draws from another token bucket.
    pub narrowed: bool,
}

/// Parameters of `CreateNetworkInterface`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateEni {
    /// Where.
    pub subnet: SubnetId,
    /// Free text.
    pub description: String,
    /// The VPC's default group when empty.
    pub groups: Vec<SecurityGroupId>,
    /// The primary address; chosen by EC2 when absent.
    pub primary: Option<Ipv4Addr>,
    /// Beside the primary address.
    pub wanted: Wanted,
    /// The first tags.
    pub tags: Tags,
    /// The same token with the same parameters names the same ENI for ever.
    pub client_token: Option<String>,
}

impl From<CreateEni> for Request {
    fn from(create: CreateEni) -> Self {
        Self::CreateNetworkInterface(create)
    }
}

impl CreateEni {
    /// An ENI with nothing but a primary address.
    #[must_use]
    pub fn plain(subnet: SubnetId) -> Self {
        Self {
            subnet,
            description: String::new(),
            groups: Vec::new(),
            primary: None,
            wanted: Wanted::Nothing,
            tags: Tags::new(),
            client_token: None,
        }
    }
}

/// Addresses or prefixes to assign. EC2 allows one kind per call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    Nothing,
    /// So many secondary addresses.
    Addresses(u32),
    /// Exactly these secondary addresses.
    ExplicitAddresses(Vec<Ipv4Addr>),
    /// So many /28 prefixes.
    Prefixes(u32),
    /// Exactly these /28 prefixes.
    ExplicitPrefixes(Vec<Ipv4Net>),
}

impl Wanted {
    /// The address slots it takes: one per address and one per prefix.
    #[must_use]
    pub fn slots(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Addresses(count) | Self::Prefixes(count) => usize::try_from(*count).unwrap_or(usize::MAX),
            Self::ExplicitAddresses(list) => list.len(),
            Self::ExplicitPrefixes(list) => list.len(),
        }
    }

    /// Whether it asks for prefixes.
    #[must_use]
    pub fn is_prefixes(&self) -> bool {
        match self {
            Self::Prefixes(_) | Self::ExplicitPrefixes(_) => true,
            Self::Nothing | Self::Addresses(_) | Self::ExplicitAddresses(_) => false,
        }
    }
}

/// Parameters of `AttachNetworkInterface`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachEni {
    /// The ENI.
    pub eni: EniId,
    /// The instance that gets it.
    pub instance: InstanceId,
    /// Unique per instance and card.
    pub device_index: u32,
    /// The network card; 0 on types with one.
    pub network_card: u32,
}

/// The one attribute that a modify call changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EniChange {
    /// The description.
    Description(String),
    /// The security groups, all of them.
    Groups(Vec<SecurityGroupId>),
    /// The source and destination check.
    SourceDestCheck(bool),
    /// Whether the ENI goes when its instance is terminated.
    DeleteOnTermination {
        /// The attachment that is meant.
        attachment: AttachmentId,
        /// The new value.
        delete: bool,
    },
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
            Self::CreateTags { .. } => Operation::CreateTags,
            Self::DescribeNetworkInterfaces(_) => Operation::DescribeNetworkInterfaces,
            Self::DescribeInstances(_) => Operation::DescribeInstances,
            Self::DescribeSubnets(_) => Operation::DescribeSubnets,
            Self::DescribeVpcs(_) => Operation::DescribeVpcs,
            Self::DescribeInstanceTypes(_) => Operation::DescribeInstanceTypes,
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
            | Self::UnassignPrivateIpAddresses { eni, .. } => vec![eni.to_string()],
            Self::CreateTags { resources, .. } => resources.iter().map(Resource::to_string).collect(),
            Self::DescribeNetworkInterfaces(describe) => texts(&describe.ids),
            Self::DescribeInstances(describe) => texts(&describe.ids),
            Self::DescribeSubnets(describe) => texts(&describe.ids),
            Self::DescribeVpcs(describe) => texts(&describe.ids),
            Self::DescribeInstanceTypes(describe) => texts(&describe.ids),
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
            Self::DescribeInstanceTypes(describe) => describe.narrowed,
            Self::CreateNetworkInterface(_)
            | Self::AttachNetworkInterface(_)
            | Self::DetachNetworkInterface { .. }
            | Self::DeleteNetworkInterface { .. }
            | Self::ModifyNetworkInterfaceAttribute { .. }
            | Self::AssignPrivateIpAddresses { .. }
            | Self::UnassignPrivateIpAddresses { .. }
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
        }
    }
}
