//! How amazon-vpc-cni-k8s wires a pod: a route in the main table and up to two rules per pod.
//!
//! Needed where its daemon answers our plugin, and where a pod that its plugin made is deleted by ours. Left out: pods
//! with several interfaces and branch ENIs.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::PodAddresses;
use crate::id::{AttachmentKey, Malformed, Pod};
use crate::net::pod::{PodWiring, WiringFacts, wiring};
use crate::net::{Family, Rule, TableId};

/// Rules to pods, and from pods on secondary ENIs (the peer's driver: 512 and 1536).
const TO_POD: u32 = 512;
const FROM_POD: u32 = 1536;

/// The host table that an answer of the peer's daemon names: 254 and whatever is below 2 are main.
#[must_use]
pub fn table(answered: i32) -> TableId {
    u32::try_from(answered)
        .ok()
        .filter(|table| *table > 1)
        .map_or(TableId::MAIN, TableId)
}

/// The rules for an address of a pod whose ENI has this table.
#[must_use]
pub fn rules(address: IpAddr, table: TableId) -> Vec<Rule> {
    let bare = Rule::bare(Family::of(address));
    let to = Rule {
        priority: TO_POD,
        to: Some(IpNet::from(address)),
        ..bare
    };
    let from = Rule {
        priority: FROM_POD,
        from: Some(IpNet::from(address)),
        table,
        ..bare
    };
    let mut rules = vec![to];
    rules.extend((table != TableId::MAIN).then_some(from));
    rules
}

/// Whether a rule sends this pod's packets to its ENI's table.
#[must_use]
pub fn is_from_pod(rule: &Rule, address: IpAddr) -> bool {
    rule.priority == FROM_POD && rule.from == Some(IpNet::from(address))
}

/// The wiring of an attachment to which the peer's daemon gave these addresses on an ENI with this table.
///
/// # Errors
/// When the prefix makes no valid device name.
pub fn wiring_on(
    table: TableId,
    key: &AttachmentKey,
    pod: &Pod,
    addresses: PodAddresses,
    facts: WiringFacts<'_>,
) -> Result<PodWiring, Malformed> {
    let facts = WiringFacts {
        node_address: None,
        ..facts
    };
    Ok(PodWiring {
        table: TableId::MAIN,
        rules: addresses
            .iter()
            .flat_map(|address| rules(address, table))
            .collect(),
        ..wiring(key, pod, addresses, facts)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_on_the_primary_needs_one_rule_and_others_two() {
        let address = IpAddr::from([10, 0, 1, 30]);
        for (answered, expected, count) in [
            (254, TableId::MAIN, 1),
            (0, TableId::MAIN, 1),
            (1, TableId::MAIN, 1),
            (-1, TableId::MAIN, 1),
            (2, TableId(2), 2),
            (10_101, TableId(10_101), 2),
        ] {
            assert_eq!(table(answered), expected, "{answered}");
            assert_eq!(rules(address, table(answered)).len(), count, "{answered}");
        }
    }
}
