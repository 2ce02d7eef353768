//! The VPC and its subnets.

use ipnet::Ipv4Net;

use super::id::{SubnetId, VpcId};
use super::mac::Mac;
use super::pool::Pool;
use super::request::Tags;
use super::response::Zone;
use super::timeline::Facet;

/// The one VPC of a model.
#[derive(Clone, Debug)]
pub(crate) struct Vpc {
    pub(crate) id: VpcId,
    pub(crate) cidrs: Vec<Ipv4Net>,
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
    pub(crate) tags: Facet<Tags>,
}

/// What a new subnet is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubnet {
    /// Between /16 and /28, inside the VPC, overlapping no other.
    pub cidr: Ipv4Net,
    /// Where it is.
    pub zone: Zone,
    /// Whether its route table leads to an internet gateway, and new instances may get a public address.
    pub internet: bool,
    /// Its tags.
    pub tags: Tags,
}
