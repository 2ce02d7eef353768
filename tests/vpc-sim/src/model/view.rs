//! What the network cards of all instances look like at one moment: the seam between the pure model and whoever
//! makes it real.
//!
//! The model produces a [`KernelView`], which lags behind what the API says by the model's delays; the fabric makes
//! namespaces look like it, by comparing it with what it applied last. Nothing here is policy, and nothing here says
//! how a view is made real.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::id::{EniId, InstanceId, SubnetId};
use super::mac::Mac;

/// The whole VPC as packets meet it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelView {
    /// Every CIDR associated with the VPC; what is inside and assigned to nobody vanishes.
    pub vpc_cidrs: BTreeSet<Ipv4Net>,
    /// Every subnet, also those without an ENI.
    pub subnets: BTreeMap<SubnetId, SubnetView>,
    /// Every ENI whose device exists on an instance.
    pub enis: BTreeMap<EniId, EniView>,
}

/// A subnet as its hosts meet it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetView {
    /// The subnet's addresses.
    pub cidr: Ipv4Net,
    /// The MAC of the subnet's router, at base + 1.
    pub router_mac: Mac,
    /// Whether the subnet's route table has a default route to the internet gateway.
    pub internet: bool,
}

/// An ENI whose device exists on an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniView {
    /// Where the device is.
    pub instance: InstanceId,
    /// Unique per instance and network card; 0 on card 0 is the primary.
    pub device_index: u32,
    /// The network card the ENI sits on.
    pub network_card: u32,
    /// The device's address on the wire; frames with another source are dropped.
    pub mac: Mac,
    /// The subnet whose router and route table serve this ENI.
    pub subnet: SubnetId,
    /// The first address, which the instance's DHCP client would configure.
    pub primary: Ipv4Addr,
    /// Every assigned address, the primary included.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Every delegated prefix, /28.
    pub prefixes: BTreeSet<Ipv4Net>,
    /// Private to public address, for those that the internet gateway translates.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Whether the source and destination check is on (the default).
    pub source_dest_check: bool,
}
