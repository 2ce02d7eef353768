//! What the kernel tells of pods that other daemons wired: whose device is there, and how it is tied.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::UNEXPLAINED;
use crate::checkpoint::Claim;
use crate::id::{AttachmentKey, Malformed, Pod};
use crate::net::pod::{PodWiring, WiringFacts, device_suffix, host_mac, peer, wiring};
use crate::net::{NetState, SeenLink, TableId, Via};
use crate::policy::Policy;

/// What the host's network tells of pods.
pub(super) struct Devices<'a> {
    pub(super) seen: &'a NetState,
}

impl<'a> Devices<'a> {
    /// The device of a pod, as the peer recognises it: by the end of its name. A pod without a name has none.
    pub(super) fn of_pod(&self, pod: &Pod) -> Option<&'a SeenLink> {
        let suffix = device_suffix(pod)?;
        let mut links = self.seen.links.values();
        links.find(|link| link.name.as_str().ends_with(&suffix))
    }

    /// Each address that a route leads to a device of ours or the peer's for.
    pub(super) fn routed(&self, prefix: &str) -> BTreeMap<Ipv4Addr, &'a SeenLink> {
        let routes = self.seen.routes.iter().filter(|route| {
            let of_pods = route.table == TableId::PODS || route.table == TableId::MAIN;
            of_pods && route.to.prefix_len() == 32
        });
        let links = routes.filter_map(|route| match route.via {
            Via::Link { index, .. } => Some((route.to.addr(), self.seen.links.get(&index)?)),
            Via::Gateway { .. } | Via::Blackhole => None,
        });
        links
            .filter(|(_, link)| link.name.as_str().starts_with(prefix))
            .collect()
    }

    /// The table that the peer sends a pod's packets to.
    fn table_of(&self, address: Ipv4Addr) -> TableId {
        let rule = self
            .seen
            .rules
            .iter()
            .find(|rule| peer::is_from_pod(rule, address));
        rule.map_or(TableId::MAIN, |rule| rule.table)
    }
}

/// How a claimed pod is wired: by its host end's MAC, ours or as the peer does.
pub(super) fn adopted(claim: &Claim, devices: &Devices<'_>, policy: &Policy) -> Result<PodWiring, Malformed> {
    let facts = WiringFacts {
        veth_prefix: &policy.devices.veth_prefix,
        mtu_bytes: policy.devices.pod_mtu_bytes,
        node_address: None,
    };
    let Claim {
        key, pod, address, ..
    } = claim;
    let Some(link) = devices.of_pod(pod) else {
        return peer::wiring_on(devices.table_of(*address), key, pod, *address, facts);
    };
    found(key, pod, *address, link, devices, facts)
}

/// A lease for an address that only the kernel tells of.
pub(super) fn unexplained(
    address: Ipv4Addr,
    link: &SeenLink,
    devices: &Devices<'_>,
    policy: &Policy,
) -> Result<(AttachmentKey, PodWiring), Malformed> {
    let key = AttachmentKey {
        container: link.name.as_str().parse()?,
        interface: "unknown".parse()?,
        network: UNEXPLAINED.parse()?,
    };
    let facts = WiringFacts {
        veth_prefix: &policy.devices.veth_prefix,
        mtu_bytes: link.mtu_bytes,
        node_address: None,
    };
    let wiring = found(&key, &Pod::unknown(), address, link, devices, facts)?;
    Ok((key, wiring))
}

fn found(
    key: &AttachmentKey,
    pod: &Pod,
    address: Ipv4Addr,
    link: &SeenLink,
    devices: &Devices<'_>,
    facts: WiringFacts<'_>,
) -> Result<PodWiring, Malformed> {
    let made_here = link.mac == Some(host_mac(key));
    let wired = if made_here {
        wiring(key, pod, address, facts)?
    } else {
        peer::wiring_on(devices.table_of(address), key, pod, address, facts)?
    };
    Ok(PodWiring {
        host_name: link.name.clone(),
        host_mac: link.mac.unwrap_or(wired.host_mac),
        ..wired
    })
}
