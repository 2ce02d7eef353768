//! What instance metadata tells the node of itself and of its ENIs.

use std::collections::{BTreeMap, BTreeSet};

use ipamd_core::address::Block;
use ipamd_core::ledger::hint::Hint;
use ipamd_core::snapshot::Node;
use vpc_sim::model::Model;
use vpc_sim::model::id::SubnetId;
use vpc_sim::model::response::{EniDescription, Zone};
use vpc_sim::model::subnet::NewSubnet;

use crate::call::id;
use crate::script::Setting;
use crate::world::World;

/// The subnet's, where it has IPv6.
const IPV6: &str = "2001:db8::/64";

/// Makes the node's subnet.
pub(crate) fn add_subnet(model: &mut Model, setting: &Setting) -> SubnetId {
    let zone = Zone {
        name: "us-east-1a".to_owned(),
        id: "use1-az1".to_owned(),
    };
    let cidr = format!("10.0.16.0/{}", setting.subnet_bits).parse().unwrap();
    let mut subnet = NewSubnet::plain(cidr, zone);
    if setting.ipv6 {
        model.add_ipv6_cidr("2001:db8::/56".parse().unwrap());
        subnet.ipv6_cidr = Some(IPV6.parse().unwrap());
        subnet.ipv6_on_creation = true;
    }
    model.add_subnet(subnet).unwrap()
}

impl World {
    /// What instance metadata says of the node.
    pub(crate) fn node(&mut self) -> Node {
        let primary = self.primary();
        let subnet = id(&primary.subnet);
        let cidr = format!("10.0.16.0/{}", self.setting.subnet_bits).parse().unwrap();
        Node {
            instance: self.instance.clone(),
            instance_type: self.setting.instance_type.to_owned(),
            region: "us-east-1".to_owned(),
            primary_mac: ipamd_core::address::Mac(primary.mac.0),
            primary_ip: primary.primary,
            primary_ip6: primary.ipv6.first().copied(),
            subnet_cidr6: self.setting.ipv6.then(|| IPV6.parse().unwrap()),
            groups: primary.groups.iter().map(|group| id(&group.id)).collect(),
            vpc_cidrs: BTreeSet::from(["10.0.0.0/16".parse().unwrap()]),
            subnet_cidrs: BTreeMap::from([(id(&primary.subnet), cidr)]),
            vpc: id(self.model.vpc_id()),
            zone: "us-east-1a".to_owned(),
            subnet,
        }
    }

    /// What instance metadata lists of its ENIs.
    pub(crate) fn hint(&self) -> Hint {
        let listed = self.model.metadata(self.now, &id(&self.instance));
        let enis = listed.into_iter().flat_map(|metadata| metadata.enis);
        let enis = enis.map(|(mac, eni)| {
            let addresses = eni.addresses.into_iter().skip(1).map(Block::Secondary);
            let prefixes = eni.prefixes.into_iter().map(Block::Prefix);
            (
                ipamd_core::address::Mac(mac.0),
                addresses.chain(prefixes).collect(),
            )
        });
        Hint {
            enis: enis.collect(),
            unread: BTreeSet::new(),
        }
    }

    fn primary(&mut self) -> EniDescription {
        let is_primary = |eni: &&EniDescription| {
            let attachment = eni.attachment.as_ref();
            attachment.is_some_and(|attachment| attachment.device_index == 0)
        };
        self.enis().iter().find(is_primary).unwrap().clone()
    }
}
