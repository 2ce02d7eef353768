//! Which traffic is translated.

use std::collections::BTreeSet;

use ipamd_core::net::SourcePorts;
use ipamd_core::snat::SnatPolicy;
use ipnet::{IpNet, Ipv4Net};

use super::value::Values;

/// Everything about source translation.
pub(super) fn snat(values: &mut Values<'_>) -> SnatPolicy {
    SnatPolicy {
        external: values.boolean("AWS_VPC_K8S_CNI_EXTERNALSNAT", false),
        excluded: cidrs(values, "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"),
        source_ports: source_ports(values),
        node_ports: values.boolean("AWS_VPC_CNI_NODE_PORT_SUPPORT", true),
        external_services: cidrs(values, "AWS_EXTERNAL_SERVICE_CIDRS"),
    }
}

fn source_ports(values: &mut Values<'_>) -> SourcePorts {
    const VARIABLE: &str = "AWS_VPC_K8S_CNI_RANDOMIZESNAT";
    match values.raw(VARIABLE) {
        None | Some("" | "prng") => SourcePorts::Prng,
        Some("hashrandom") => SourcePorts::HashRandom,
        Some("none") => SourcePorts::Keep,
        Some(_) => {
            values.warn(
                VARIABLE,
                "is not prng, hashrandom or none; prng is used, as the peer does",
            );
            SourcePorts::Prng
        }
    }
}

/// A list of IPv4 CIDRs with commas between; others are left out, as with the peer.
fn cidrs(values: &mut Values<'_>, variable: &str) -> BTreeSet<Ipv4Net> {
    let mut cidrs = BTreeSet::new();
    let items = values.raw(variable).unwrap_or_default().split(',').map(str::trim);
    for item in items.filter(|item| !item.is_empty()) {
        match item.parse() {
            Ok(IpNet::V4(net)) => drop(cidrs.insert(net.trunc())),
            Ok(IpNet::V6(_)) => values.warn(variable, format!("{item} is not IPv4 and is left out")),
            Err(_) => values.warn(variable, format!("{item:?} is not a CIDR and is left out")),
        }
    }
    cidrs
}
