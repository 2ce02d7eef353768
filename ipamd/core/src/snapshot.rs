//! What was seen of the node's cloud: the facts of the instance, and its ENIs as EC2 described them.
//!
//! Always assumed late and partial. The kernel's side is `net::NetState`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::address::{AddressCount, Block, Mac};
use crate::id::{EniAttachmentId, EniId, InstanceId, IntentId, SecurityGroupId, SubnetId, VpcId};
use crate::moment::Moment;

/// What does not change while the instance runs, from instance metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The instance.
    pub instance: InstanceId,
    /// Its type, as EC2 names it.
    pub instance_type: String,
    /// Its Region.
    pub region: String,
    /// The MAC of the primary ENI.
    pub primary_mac: Mac,
    /// The node's address: the primary of the primary ENI.
    pub primary_ip: Ipv4Addr,
    /// Its IPv6 address, where it has one.
    #[serde(default)]
    pub primary_ip6: Option<Ipv6Addr>,
    /// The IPv6 CIDR of the primary ENI's subnet, where it has one.
    #[serde(default)]
    pub subnet_cidr6: Option<Ipv6Net>,
    /// The VPC.
    pub vpc: VpcId,
    /// The availability zone, by name: an ENI is attached only to an instance of its zone.
    pub zone: String,
    /// The subnet of the primary ENI, where new ENIs go unless tags offer others.
    pub subnet: SubnetId,
    /// The security groups of the primary ENI, which new ENIs get.
    pub groups: BTreeSet<SecurityGroupId>,
    /// Every CIDR associated with the VPC.
    pub vpc_cidrs: BTreeSet<Ipv4Net>,
    /// The CIDR of every subnet that has an ENI of ours.
    pub subnet_cidrs: BTreeMap<SubnetId, Ipv4Net>,
}

/// How far a look at the instance's ENIs goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// What is attached to the instance.
    Attached,
    /// That, and what carries the instance's tag wherever it is.
    Everything,
}

/// What EC2 said of the instance's ENIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When the answer came.
    pub at: Moment,
    /// How far was looked: what it does not cover is not missing.
    pub scope: Scope,
    /// Every ENI that was found.
    pub enis: BTreeMap<EniId, SeenEni>,
}

/// An ENI as EC2 described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenEni {
    /// Its id.
    pub id: EniId,
    /// Its MAC, by which the kernel's device is found.
    pub mac: Mac,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its primary address, which no pod ever has.
    pub primary_ip: Ipv4Addr,
    /// Its secondary addresses and delegated prefixes.
    pub blocks: BTreeSet<Block>,
    /// Its delegated IPv6 prefixes, each a /80.
    #[serde(default)]
    pub prefixes6: BTreeSet<Ipv6Net>,
    /// Where it is attached, if it is.
    pub attachment: Option<SeenAttachment>,
    /// Whose it is.
    pub owner: Owner,
}

/// An attachment as EC2 described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAttachment {
    /// Its id, which detaching needs.
    pub id: EniAttachmentId,
    /// The instance that it is attached to.
    pub instance: InstanceId,
    /// The device index, unique per network card.
    pub device_index: u32,
    /// The network card.
    pub network_card: u32,
    /// Whether the ENI goes with the instance.
    pub delete_on_termination: bool,
    /// Whether a detach is under way.
    pub detaching: bool,
}

/// An ENI that is attached nowhere, as EC2 described it: what tells whose it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unattached {
    /// Its id.
    pub id: EniId,
    /// Free text of whoever made it.
    pub description: String,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
}

/// A subnet as EC2 described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSubnet {
    /// Its id.
    pub id: SubnetId,
    /// Its IPv4 CIDR.
    pub cidr: Ipv4Net,
    /// `AvailableIpAddressCount`: says nothing of whole prefixes, and counts what is reserved.
    pub free: AddressCount,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
}

/// Whose an ENI is, from its tags and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Device 0 of card 0; used, never removed.
    Primary,
    /// Created by this node, with the intent that its tag names where we know it.
    Ours(Option<IntentId>),
    /// Anybody else's, or marked not to be managed: counted against the limits and never touched.
    Foreign,
}
