//! What the network cards of all instances look like at one moment: the seam between the pure model and whoever
//! makes it real.
//!
//! The model produces a [`KernelView`], which lags behind what the API says by the model's delays; the fabric makes
//! namespaces look like it, by comparing it with what it applied last. Nothing here is policy, and nothing here says
//! how a view is made real.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::id::{EniId, InstanceId, SecurityGroupId, SubnetId};
use super::mac::Mac;
use super::security_group::Allowed;

/// The whole VPC as packets meet it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelView {
    /// Every CIDR associated with the VPC; what is inside and assigned to nobody vanishes.
    pub vpc_cidrs: BTreeSet<Ipv4Net>,
    /// Every IPv6 CIDR associated with the VPC.
    pub vpc_ipv6_cidrs: BTreeSet<Ipv6Net>,
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
    /// The subnet's IPv6 addresses, a /64.
    pub ipv6_cidr: Option<Ipv6Net>,
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
    /// Every assigned IPv6 address.
    pub ipv6_addresses: BTreeSet<Ipv6Addr>,
    /// Every delegated IPv6 prefix, /80.
    pub ipv6_prefixes: BTreeSet<Ipv6Net>,
    /// Private to public address, for those that the internet gateway translates.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Whether the source and destination check is on (the default).
    pub source_dest_check: bool,
    /// The security groups the ENI is in: a rule of another ENI that names one of them means this ENI's addresses.
    pub groups: BTreeSet<SecurityGroupId>,
    /// What those groups let in, all together. Answers to what was let out need no rule: groups are stateful, each ENI
    /// by itself.
    pub ingress: BTreeSet<Allowed>,
    /// What they let out.
    pub egress: BTreeSet<Allowed>,
}
