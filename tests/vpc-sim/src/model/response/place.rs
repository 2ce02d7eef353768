//! The VPC, its subnets and what belongs to them, as describe shows them.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Zone;
use crate::model::id::{CidrReservationId, SubnetId, VpcId};
use crate::model::pool::ReservationKind;
use crate::model::request::{Resource, Tags};

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
    /// Its IPv6 addresses.
    pub ipv6_cidr: Option<Ipv6Net>,
    /// Whether ENIs that ask for no IPv6 address get one.
    pub ipv6_on_creation: bool,
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
    /// Its IPv6 CIDRs.
    pub ipv6_cidrs: Vec<Ipv6Net>,
    /// Its tags.
    pub tags: Tags,
}

/// A subnet CIDR reservation as EC2 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrReservationDescription {
    /// Its id.
    pub id: CidrReservationId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Which part.
    pub cidr: IpNet,
    /// For what.
    pub kind: ReservationKind,
    /// The account that owns it.
    pub owner: String,
    /// Free text.
    pub description: String,
    /// Its tags.
    pub tags: Tags,
}

/// A zone as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneDescription {
    /// Which.
    pub zone: Zone,
    /// The Region it is in.
    pub region: String,
}

/// A tag as `DescribeTags` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagDescription {
    /// Of what.
    pub resource: Resource,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}
