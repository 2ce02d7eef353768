//! What instance metadata says: a view of its own, later than the API's and wrong in other ways.
//!
//! An attached ENI appears after a while, its secondary addresses later still; unassigned addresses and detached ENIs
//! stay listed (observed).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Model;
use super::id::{EniId, InstanceId, SecurityGroupId, SubnetId, VpcId};
use super::limits::InstanceTypeInfo;
use super::mac::Mac;
use super::response::{InstanceState, Zone};
use super::timeline::Viewer;

/// What an instance is told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceMetadata {
    /// Its id.
    pub id: InstanceId,
    /// Its type.
    pub instance_type: &'static InstanceTypeInfo,
    /// Its zone.
    pub zone: Zone,
    /// Its Region.
    pub region: String,
    /// The account that owns it.
    pub account: String,
    /// The name of its role, if it has one.
    pub role: Option<String>,
    /// How many hops the answer to a token request travels.
    pub hop_limit: u8,
    /// Whether metadata answers at all.
    pub enabled: bool,
    /// Whether it answers over IPv6 too.
    pub over_ipv6: bool,
    /// When it was launched, as time since 1970.
    pub launched_at: Duration,
    /// The VPC.
    pub vpc: VpcId,
    /// The CIDRs of the VPC, the first one first.
    pub vpc_cidrs: Vec<Ipv4Net>,
    /// Its IPv6 CIDRs.
    pub vpc_ipv6_cidrs: Vec<Ipv6Net>,
    /// The MAC of the primary ENI.
    pub primary: Option<Mac>,
    /// The ENIs that are listed.
    pub enis: BTreeMap<Mac, EniMetadata>,
}

/// Types on which link-local services (metadata, DNS, time) do not answer every address of an ENI (AWS documentation,
/// "Maximum IP addresses per network interface": notes on older types).
const HARD_OF_HEARING: [&str; 5] = [
    "f1.16xlarge",
    "g3.16xlarge",
    "h1.16xlarge",
    "i3.16xlarge",
    "r4.16xlarge",
];
/// How many addresses of each ENI are answered on those types.
const ANSWERED_ADDRESSES: usize = 31;

impl InstanceMetadata {
    /// The primary address of the primary ENI.
    #[must_use]
    pub fn primary_address(&self) -> Option<Ipv4Addr> {
        let primary = self.enis.get(&self.primary?)?;
        primary.addresses.first().copied()
    }
}

/// What an instance is told about one ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniMetadata {
    /// Its id.
    pub id: EniId,
    /// The device number.
    pub device_index: u32,
    /// The card.
    pub network_card: u32,
    /// Its subnet.
    pub subnet: SubnetId,
    /// The subnet's addresses.
    pub subnet_cidr: Ipv4Net,
    /// The subnet's IPv6 addresses.
    pub subnet_ipv6_cidr: Option<Ipv6Net>,
    /// Its addresses, the primary first.
    pub addresses: Vec<Ipv4Addr>,
    /// Its prefixes.
    pub prefixes: Vec<Ipv4Net>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Its IPv6 prefixes.
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// Private to public address.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Its security groups by name.
    pub groups: Vec<(SecurityGroupId, String)>,
}

impl Model {
    /// What metadata tells this instance; nothing when it does not run.
    #[must_use]
    pub fn metadata(&self, now: Duration, id: &InstanceId) -> Option<InstanceMetadata> {
        let instance = self
            .instances
            .get(id)
            .filter(|instance| *instance.state.at(now) == InstanceState::Running)?;
        let enis: BTreeMap<Mac, EniMetadata> = self
            .enis
            .values()
            .filter_map(|eni| Some((eni.mac, self.eni_metadata(now, eni, id)?)))
            .collect();
        let primary = enis
            .iter()
            .find(|(_, eni)| eni.device_index == 0 && eni.network_card == 0)
            .map(|(mac, _)| *mac);
        Some(InstanceMetadata {
            id: id.clone(),
            instance_type: instance.info,
            zone: instance.zone.clone(),
            region: self.settings.region.clone(),
            account: self.settings.account.clone(),
            role: instance.role.clone(),
            hop_limit: instance.metadata.hop_limit,
            enabled: instance.metadata.enabled,
            over_ipv6: instance.metadata.over_ipv6,
            launched_at: self.settings.epoch + instance.launched,
            vpc: self.vpc.id.clone(),
            vpc_cidrs: self.vpc.cidrs.clone(),
            vpc_ipv6_cidrs: self.vpc.ipv6_cidrs.clone(),
            primary,
            enis,
        })
    }

    fn eni_metadata(&self, now: Duration, eni: &super::eni::Eni, id: &InstanceId) -> Option<EniMetadata> {
        let attachment = eni.attachment.seen_by(Viewer::Metadata, now).as_ref()?;
        if attachment.instance != *id {
            return None;
        }
        let subnet = self.subnets.get(&eni.subnet)?;
        let holdings = eni.holdings.seen_by(Viewer::Metadata, now);
        let attributes = eni.attributes.seen_by(Viewer::Metadata, now);
        Some(EniMetadata {
            id: eni.id.clone(),
            device_index: attachment.device_index,
            network_card: attachment.network_card,
            subnet: eni.subnet.clone(),
            subnet_cidr: subnet.cidr,
            subnet_ipv6_cidr: subnet.ipv6.as_ref().map(|ipv6| ipv6.cidr),
            addresses: holdings.addresses().collect(),
            prefixes: holdings.prefixes.clone(),
            ipv6: holdings.ipv6.clone(),
            ipv6_prefixes: holdings.ipv6_prefixes.clone(),
            public: attributes.public.clone(),
            groups: attributes
                .groups
                .iter()
                .filter_map(|group| Some((group.clone(), self.groups.get(group)?.name.clone())))
                .collect(),
        })
    }

    /// The ENI and instance that packets from this address come from, as the VPC's services see them.
    #[must_use]
    pub fn sender(&self, now: Duration, address: impl Into<IpAddr>) -> Option<(EniId, InstanceId)> {
        let address = address.into();
        self.enis.values().find_map(|eni| {
            let attachment = eni.attachment.seen_by(Viewer::Kernel, now).as_ref()?;
            let holdings = eni.holdings.seen_by(Viewer::Kernel, now);
            holdings
                .owns(address)
                .then(|| (eni.id.clone(), attachment.instance.clone()))
        })
    }

    /// Whether link-local services answer this address; some older types are deaf to all but the first IPv4 addresses of
    /// an ENI.
    #[must_use]
    pub fn services_answer(&self, now: Duration, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        let Some((eni, instance)) = self.sender(now, address) else {
            return false;
        };
        let deaf = self
            .instances
            .get(&instance)
            .is_some_and(|instance| HARD_OF_HEARING.contains(&instance.info.instance_type.as_str()));
        let first = |eni: &super::eni::Eni| {
            let held = eni.holdings.seen_by(Viewer::Kernel, now);
            held.addresses()
                .take(ANSWERED_ADDRESSES)
                .any(|own| own == address)
                || held.ipv6.iter().any(|own| *own == address)
        };
        !deaf || self.enis.get(&eni).is_some_and(first)
    }
}
