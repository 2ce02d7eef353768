//! Which traffic of pods is translated, and to which address.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use serde::{Deserialize, Serialize};

use crate::net::{NatRules, SourcePorts};
use crate::snapshot::Node;

/// The operator's wishes about source translation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnatPolicy {
    /// `AWS_VPC_K8S_CNI_EXTERNALSNAT`: somebody else translates, so we do not.
    pub external: bool,
    /// `AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS`: reached untranslated, like the VPC.
    pub excluded: BTreeSet<Ipv4Net>,
    /// `AWS_VPC_K8S_CNI_RANDOMIZESNAT`: how the translated source port is chosen.
    pub source_ports: SourcePorts,
    /// `AWS_VPC_CNI_NODE_PORT_SUPPORT`: connections to the node keep their way back.
    pub node_ports: bool,
    /// `AWS_EXTERNAL_SERVICE_CIDRS`: routed by the main table.
    pub external_services: BTreeSet<Ipv4Net>,
}

/// The translation rules for a node: what goes to the VPC or an excluded CIDR keeps its source, the rest leaves
/// through the primary ENI with the primary address.
#[must_use]
pub fn nat_rules(policy: &SnatPolicy, node: &Node) -> NatRules {
    NatRules {
        translate: !policy.external,
        untranslated: merged(node.vpc_cidrs.iter().chain(&policy.excluded).copied()),
        primary: node.primary_ip,
        source_ports: policy.source_ports,
        keep_way_back: policy.node_ports || !policy.external,
    }
}

/// The CIDRs that are reached untranslated, as the peer lists them to its plugin: nothing is excluded where nothing is
/// translated.
#[must_use]
pub fn untranslated(policy: &SnatPolicy, node: &Node) -> Vec<Ipv4Net> {
    let excluded = policy.excluded.iter().filter(|_| !policy.external);
    node.vpc_cidrs.iter().chain(excluded).copied().collect()
}

/// The fewest networks that cover the same addresses: the kernel refuses overlaps within one set.
fn merged(nets: impl Iterator<Item = Ipv4Net>) -> BTreeSet<Ipv4Net> {
    Ipv4Net::aggregate(&nets.map(|net| net.trunc()).collect::<Vec<_>>())
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> BTreeSet<Ipv4Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn overlaps_are_merged() {
        for (given, expected) in [
            (&["10.0.0.0/16", "10.0.1.0/24"][..], &["10.0.0.0/16"][..]),
            (&["10.0.0.0/17", "10.0.128.0/17"], &["10.0.0.0/16"]),
            (&["10.0.0.0/16", "0.0.0.0/0"], &["0.0.0.0/0"]),
            (
                &["10.0.0.9/16", "192.168.0.0/24"],
                &["10.0.0.0/16", "192.168.0.0/24"],
            ),
        ] {
            assert_eq!(merged(nets(given).into_iter()), nets(expected), "{given:?}");
        }
    }
}
