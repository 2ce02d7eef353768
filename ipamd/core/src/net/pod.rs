//! The wiring of one pod: complete, so that whoever applies it decides nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::address::{Mac, PodAddresses};
use crate::id::{AttachmentKey, IfName, Malformed, Pod};
use crate::net::{Rule, TableId};

pub mod peer;

/// The pod's next hop: nobody has the address, a permanent neighbour entry leads to the host end of the veth. The
/// peer's number.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The pod's next hop in IPv6: nobody has the address, a permanent neighbour entry leads to the host end of the veth. The
/// peer's number.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The link group of host ends that wait for their namespace's end and are reaped together. Chosen: 'B' 'D'.
pub const DOOMED_GROUP: u32 = 0x4244;

/// The interface that Kubernetes runtimes ask for.
const USUAL_INTERFACE: &str = "eth0";

/// One family of a pod's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg<A> {
    /// The pod's address, alone in its network.
    pub address: A,
    /// The pod's next hop.
    pub gateway: A,
    /// The source that the node itself uses towards the pod; the kernel chooses where there is none.
    pub node_address: Option<A>,
}

impl<A: Copy + Into<IpAddr>> Leg<A> {
    /// The same, whatever the family.
    #[must_use]
    pub fn of_any_family(self) -> Leg<IpAddr> {
        Leg {
            address: self.address.into(),
            gateway: self.gateway.into(),
            node_address: self.node_address.map(Into::into),
        }
    }
}

/// Everything about one pod's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodWiring {
    /// The host end's name.
    pub host_name: IfName,
    /// The host end's MAC.
    pub host_mac: Mac,
    /// The pod end's name.
    pub pod_name: IfName,
    /// The pod end's MAC.
    pub pod_mac: Mac,
    /// Of both ends.
    pub mtu_bytes: u32,
    /// Its IPv4, if it has any; saved as it was when there was no other.
    #[serde(flatten)]
    pub v4: Option<Leg<Ipv4Addr>>,
    /// Its IPv6, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Leg<Ipv6Addr>>,
    /// The table for the routes to the pod.
    pub table: TableId,
    /// Rules of the node for this pod alone: none in our own layout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl PodWiring {
    /// The pod's addresses.
    #[must_use]
    pub fn addresses(&self) -> PodAddresses {
        PodAddresses {
            v4: self.v4.map(|leg| leg.address),
            v6: self.v6.map(|leg| leg.address),
        }
    }

    /// Each family that it has.
    pub fn legs(&self) -> impl Iterator<Item = Leg<IpAddr>> {
        let v4 = self.v4.map(Leg::of_any_family);
        v4.into_iter().chain(self.v6.map(Leg::of_any_family))
    }

    /// The interface index that both ends get, each in its own namespace: by the attachment's MAC unlike those of other
    /// attachments, and far above what kernels count up to by themselves. Where it is taken the kernel chooses.
    #[must_use]
    pub fn chosen_index(&self) -> u32 {
        let [_, _, rest @ ..] = self.host_mac.0;
        // The kernel's indexes are positive 32-bit integers.
        u32::from_be_bytes(rest) >> 2 | 1 << 30
    }
}

/// What the wiring depends on beside the pod.
#[derive(Clone, Copy, Debug)]
pub struct WiringFacts<'a> {
    /// First letters of the host end's name.
    pub veth_prefix: &'a str,
    /// Of both ends.
    pub mtu_bytes: u32,
    /// The primary address of the primary ENI.
    pub node_address: Option<Ipv4Addr>,
}

/// The wiring of an attachment that holds these addresses.
///
/// # Errors
/// When the prefix makes no valid device name.
pub fn wiring(
    key: &AttachmentKey,
    pod: &Pod,
    addresses: PodAddresses,
    facts: WiringFacts<'_>,
) -> Result<PodWiring, Malformed> {
    Ok(PodWiring {
        host_name: host_name(key, pod, facts.veth_prefix)?,
        host_mac: host_mac(key),
        pod_name: key.interface.clone(),
        pod_mac: mac(key, "pod"),
        mtu_bytes: facts.mtu_bytes,
        v4: addresses.v4.map(|address| Leg {
            address,
            gateway: GATEWAY,
            node_address: facts.node_address,
        }),
        v6: addresses.v6.map(|address| Leg {
            address,
            gateway: GATEWAY6,
            // The kernel chooses among what the node has: an address that is not there (yet) would be refused.
            node_address: None,
        }),
        table: TableId::PODS,
        rules: Vec::new(),
    })
}

/// The host end's name: the prefix and eleven digits of a SHA-1 over `namespace.name`, as the peer names it; with the
/// interface where that is not the usual one, so that a pod can have several. A runtime that runs no Kubernetes names no
/// pod; there the container names it.
fn host_name(key: &AttachmentKey, pod: &Pod, prefix: &str) -> Result<IfName, Malformed> {
    let subject = match (pod.namespace.as_str(), pod.name.as_str()) {
        ("", "") => format!("{}.{}", key.container, key.interface),
        (namespace, name) if key.interface.as_str() == USUAL_INTERFACE => format!("{namespace}.{name}"),
        (namespace, name) => format!("{namespace}.{name}.{}", key.interface),
    };
    format!("{prefix}{}", name_digits(&subject)).parse()
}

fn name_digits(subject: &str) -> String {
    let digest = Sha1::digest(subject.as_bytes());
    let mut digits: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(11);
    digits
}

/// How the name of a pod's device ends, by which the peer recognises it; a pod that nobody named has none.
#[must_use]
pub fn device_suffix(pod: &Pod) -> Option<String> {
    let Pod { namespace, name } = pod;
    let named = !namespace.as_str().is_empty() && !name.as_str().is_empty();
    named.then(|| name_digits(&format!("{namespace}.{name}")))
}

/// The host end's MAC: it tells whose device bears a name that a re-created pod uses again.
#[must_use]
pub fn host_mac(key: &AttachmentKey) -> Mac {
    mac(key, "host")
}

/// A locally administered unicast MAC (IEEE 802, the two low bits of the first byte) that follows from the attachment,
/// so a repeated ADD gives the same.
fn mac(key: &AttachmentKey, end: &str) -> Mac {
    let digest = Sha1::digest(format!("{key} {end}").as_bytes());
    let mut bytes = [0; 6];
    for (byte, digit) in bytes.iter_mut().zip(digest) {
        *byte = digit;
    }
    bytes[0] = (bytes[0] & 0xfc) | 0x02;
    Mac(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(namespace: &str, name: &str) -> String {
        let key = AttachmentKey {
            container: "c1".parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            network: "aws-cni".parse().unwrap(),
        };
        let pod = Pod {
            namespace: namespace.parse().unwrap(),
            name: name.parse().unwrap(),
        };
        let facts = WiringFacts {
            veth_prefix: "eni",
            mtu_bytes: 9001,
            node_address: Some(Ipv4Addr::new(10, 0, 0, 4)),
        };
        let wiring = wiring(&key, &pod, Ipv4Addr::new(10, 0, 0, 5).into(), facts).unwrap();
        assert_eq!(wiring.host_mac.0[0] & 3, 2);
        assert_ne!(wiring.host_mac, wiring.pod_mac);
        wiring.host_name.to_string()
    }

    #[test]
    fn host_names_are_the_peers() {
        assert_eq!(named("kube-system", "coredns-57ff979f67-qqbdh"), "enib5faff8a083");
        assert_eq!(named("default", "sample-pod"), "enicc21c2d7785");
    }

    #[test]
    fn a_wiring_of_one_family_is_saved_as_ever_and_one_of_both_survives() {
        let json = r#"{"host_name":"enib5faff8a083","host_mac":"02:00:00:00:00:01","pod_name":"eth0",
            "pod_mac":"02:00:00:00:00:02","mtu_bytes":9001,"address":"10.0.0.5","gateway":"169.254.1.1",
            "table":5120,"node_address":"10.0.0.4"}"#;
        let saved: serde_json::Value = serde_json::from_str(json).unwrap();
        let mut wiring: PodWiring = serde_json::from_value(saved.clone()).unwrap();
        assert_eq!(serde_json::to_value(&wiring).unwrap(), saved);
        wiring.v6 = Some(Leg {
            address: "2001:db8::1".parse().unwrap(),
            gateway: GATEWAY6,
            node_address: None,
        });
        for v4 in [wiring.v4, None] {
            wiring.v4 = v4;
            let saved = serde_json::to_string(&wiring).unwrap();
            assert_eq!(
                serde_json::from_str::<PodWiring>(&saved).unwrap(),
                wiring,
                "{saved}"
            );
        }
    }

    #[test]
    fn without_kubernetes_the_container_names_the_device() {
        assert_eq!(named("", "").len(), 14);
    }
}
