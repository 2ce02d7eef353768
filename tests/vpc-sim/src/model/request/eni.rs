//! Parameters of the calls that make, attach and change network interfaces.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Request, Tags};
use crate::model::id::{AttachmentId, EniId, InstanceId, SecurityGroupId, SubnetId};

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
    /// In IPv6; a subnet may give one address to every ENI that asks for nothing.
    pub wanted_ipv6: WantedIpv6,
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
            wanted_ipv6: Wanted::Nothing,
            tags: Tags::new(),
            client_token: None,
        }
    }
}

/// Addresses or prefixes of one family to assign. EC2 allows one kind per call and family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted<Address = Ipv4Addr, Net = Ipv4Net> {
    /// None.
    Nothing,
    /// So many addresses; in IPv4, secondary ones.
    Addresses(u32),
    /// Exactly these addresses.
    ExplicitAddresses(Vec<Address>),
    /// So many prefixes, /28 or /80.
    Prefixes(u32),
    /// Exactly these prefixes.
    ExplicitPrefixes(Vec<Net>),
}

/// What is wanted in IPv6.
pub type WantedIpv6 = Wanted<Ipv6Addr, Ipv6Net>;

impl<Address, Net> Wanted<Address, Net> {
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
