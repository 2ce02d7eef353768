//! What the kernel tells of pods that other daemons wired: whose device is there, and how it is tied.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::UNEXPLAINED;
use crate::address::PodAddresses;
use crate::checkpoint::Claim;
use crate::id::{AttachmentKey, Malformed, Pod};
use crate::net::pod::{PodWiring, WiringFacts, device_suffix, host_mac, peer, wiring};
use crate::net::{NetState, Rule, SeenLink, TableId, Via};
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

    /// Each device of ours or the peer's that routes lead to, with the addresses that are behind it.
    pub(super) fn routed(&self, prefix: &str) -> impl Iterator<Item = (PodAddresses, &'a SeenLink)> {
        let routes = self.seen.routes.iter().filter(|route| {
            let of_pods = route.table == TableId::PODS || route.table == TableId::MAIN;
            of_pods && route.to.prefix_len() == route.to.max_prefix_len()
        });
        let mut behind: BTreeMap<u32, PodAddresses> = BTreeMap::new();
        for route in routes {
            let Via::Link { index, .. } = route.via else {
                continue;
            };
            let addresses = behind.entry(index).or_default();
            match route.to.addr() {
                IpAddr::V4(address) => addresses.v4 = addresses.v4.or(Some(address)),
                IpAddr::V6(address) => addresses.v6 = addresses.v6.or(Some(address)),
            }
        }
        let links = behind.into_iter();
        let links = links.filter_map(|(index, addresses)| Some((addresses, self.seen.links.get(&index)?)));
        let prefix = prefix.to_owned();
        links.filter(move |(_, link)| link.name.as_str().starts_with(&prefix))
    }

    /// The table that the peer sends a pod's packets to.
    fn table_of(&self, addresses: PodAddresses) -> TableId {
        let is_from_pod = |rule: &&Rule| addresses.iter().any(|address| peer::is_from_pod(rule, address));
        let rule = self.seen.rules.iter().find(is_from_pod);
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
        key, pod, addresses, ..
    } = claim;
    let Some(link) = devices.of_pod(pod) else {
        return peer::wiring_on(devices.table_of(*addresses), key, pod, *addresses, facts);
    };
    found(key, pod, *addresses, link, devices, facts)
}

/// A lease for an address that only the kernel tells of.
pub(super) fn unexplained(
    addresses: PodAddresses,
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
    let wiring = found(&key, &Pod::unknown(), addresses, link, devices, facts)?;
    Ok((key, wiring))
}

fn found(
    key: &AttachmentKey,
    pod: &Pod,
    addresses: PodAddresses,
    link: &SeenLink,
    devices: &Devices<'_>,
    facts: WiringFacts<'_>,
) -> Result<PodWiring, Malformed> {
    let made_here = link.mac == Some(host_mac(key));
    let wired = if made_here {
        wiring(key, pod, addresses, facts)?
    } else {
        peer::wiring_on(devices.table_of(addresses), key, pod, addresses, facts)?
    };
    Ok(PodWiring {
        host_name: link.name.clone(),
        host_mac: link.mac.unwrap_or(wired.host_mac),
        ..wired
    })
}
