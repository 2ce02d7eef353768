//! The VPC and its subnets.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::id::{CidrReservationId, SubnetId, VpcId};
use super::ipv6_pool::Ipv6Pool;
use super::mac::Mac;
use super::pool::{Pool, ReservationKind};
use super::request::Tags;
use super::response::Zone;
use super::timeline::{Facet, Timeline};

/// The one VPC of a model.
#[derive(Clone, Debug)]
pub(crate) struct Vpc {
    pub(crate) id: VpcId,
    pub(crate) cidrs: Vec<Ipv4Net>,
    pub(crate) ipv6_cidrs: Vec<Ipv6Net>,
    pub(crate) tags: Facet<Tags>,
}

/// A subnet.
#[derive(Clone, Debug)]
pub(crate) struct Subnet {
    pub(crate) id: SubnetId,
    pub(crate) cidr: Ipv4Net,
    pub(crate) zone: Zone,
    pub(crate) internet: bool,
    pub(crate) router_mac: Mac,
    pub(crate) pool: Pool,
    pub(crate) ipv6: Option<Ipv6Subnet>,
    /// What the API says is free, perhaps late.
    pub(crate) available: Timeline<u32>,
    pub(crate) reservations: BTreeMap<CidrReservationId, CidrReservation>,
    pub(crate) tags: Facet<Tags>,
}

/// The IPv6 half of a subnet.
#[derive(Clone, Debug)]
pub(crate) struct Ipv6Subnet {
    pub(crate) cidr: Ipv6Net,
    /// Whether ENIs that ask for no IPv6 address get one.
    pub(crate) on_creation: bool,
    pub(crate) pool: Ipv6Pool,
}

/// A part of a subnet set aside, as the API made it.
#[derive(Clone, Debug)]
pub(crate) struct CidrReservation {
    pub(crate) cidr: IpNet,
    pub(crate) kind: ReservationKind,
    pub(crate) description: String,
    pub(crate) tags: Facet<Tags>,
}

/// What a new subnet is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubnet {
    /// Between /16 and /28, inside the VPC, overlapping no other.
    pub cidr: Ipv4Net,
    /// A /64 of an IPv6 CIDR of the VPC, if it shall have one.
    pub ipv6_cidr: Option<Ipv6Net>,
    /// Whether an ENI that asks for no IPv6 address gets one (`AssignIpv6AddressOnCreation`).
    pub ipv6_on_creation: bool,
    /// Where it is.
    pub zone: Zone,
    /// Whether its route table leads to an internet gateway, and new instances may get a public address.
    pub internet: bool,
    /// Its tags.
    pub tags: Tags,
}

impl NewSubnet {
    /// A subnet with a way to the internet, without IPv6 and tags.
    #[must_use]
    pub fn plain(cidr: Ipv4Net, zone: Zone) -> Self {
        Self {
            cidr,
            ipv6_cidr: None,
            ipv6_on_creation: false,
            zone,
            internet: true,
            tags: Tags::new(),
        }
    }
}
