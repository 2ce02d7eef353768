//! Wire to core and back. A message that lacks or mangles something is refused by the field's name.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipamd_core::address::Mac;
use ipamd_core::id::{AttachmentKey, Malformed, Pod};
use ipamd_core::ledger::stale::Known;
use ipamd_core::moment::Moment;
use ipamd_core::net::pod::{Leg, PodWiring};
use ipamd_core::net::{Family, Rule, TableId};

use ipnet::IpNet;

use crate::v1;

/// A message that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field is missing.
    #[error("the field {field} is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A field holds something else than it should.
    #[error("the field {field}")]
    Malformed {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        source: Malformed,
    },
    /// A field has the wrong length.
    #[error("the field {field} has {found} bytes, not {wanted}")]
    Length {
        /// Its name.
        field: &'static str,
        /// How many it should have.
        wanted: usize,
        /// How many it has.
        found: usize,
    },
    /// A field holds no CIDR.
    #[error("the field {field} is {found:?}, not a CIDR")]
    Cidr {
        /// Its name.
        field: &'static str,
        /// What it holds.
        found: String,
    },
}

fn malformed(field: &'static str) -> impl FnOnce(Malformed) -> ConvertError {
    move |source| ConvertError::Malformed { field, source }
}

fn bytes<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    bytes.try_into().map_err(|_| ConvertError::Length {
        field,
        wanted: N,
        found: bytes.len(),
    })
}

/// One family, by the names of its fields; none where it has no address.
fn leg<const N: usize, A: From<[u8; N]>>(
    [address, gateway, node_address]: [(&'static str, &[u8]); 3],
) -> Result<Option<Leg<A>>, ConvertError> {
    let one = |(field, octets): (&'static str, &[u8])| bytes::<N>(field, octets).map(A::from);
    if address.1.is_empty() {
        return Ok(None);
    }
    let node = (!node_address.1.is_empty()).then(|| one(node_address));
    Ok(Some(Leg {
        address: one(address)?,
        gateway: one(gateway)?,
        node_address: node.transpose()?,
    }))
}

impl TryFrom<v1::Attachment> for AttachmentKey {
    type Error = ConvertError;

    fn try_from(wire: v1::Attachment) -> Result<Self, ConvertError> {
        Ok(Self {
            container: wire
                .container_id
                .parse()
                .map_err(malformed("attachment.container_id"))?,
            interface: wire
                .interface
                .parse()
                .map_err(malformed("attachment.interface"))?,
            network: wire.network.parse().map_err(malformed("attachment.network"))?,
        })
    }
}

impl From<&AttachmentKey> for v1::Attachment {
    fn from(key: &AttachmentKey) -> Self {
        Self {
            container_id: key.container.to_string(),
            interface: key.interface.to_string(),
            network: key.network.to_string(),
        }
    }
}

/// What a runtime says of one network.
///
/// # Errors
/// When a name cannot be one.
pub fn known(wire: v1::GcRequest) -> Result<Known, ConvertError> {
    Ok(Known {
        network: wire.network.parse().map_err(malformed("network"))?,
        valid: wire
            .valid
            .into_iter()
            .map(AttachmentKey::try_from)
            .collect::<Result<_, _>>()?,
        as_of: Moment(Duration::from_nanos(wire.as_of_nanos)),
    })
}

impl TryFrom<v1::Pod> for Pod {
    type Error = ConvertError;

    fn try_from(wire: v1::Pod) -> Result<Self, ConvertError> {
        Ok(Self {
            namespace: wire.namespace.parse().map_err(malformed("pod.namespace"))?,
            name: wire.name.parse().map_err(malformed("pod.name"))?,
        })
    }
}

impl From<&Pod> for v1::Pod {
    fn from(pod: &Pod) -> Self {
        Self {
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
        }
    }
}

impl TryFrom<v1::Wiring> for PodWiring {
    type Error = ConvertError;

    fn try_from(wire: v1::Wiring) -> Result<Self, ConvertError> {
        let v4 = leg::<4, Ipv4Addr>([
            ("wiring.address", &wire.address),
            ("wiring.gateway", &wire.gateway),
            ("wiring.node_address", &wire.node_address),
        ])?;
        let v6 = leg::<16, Ipv6Addr>([
            ("wiring.address6", &wire.address6),
            ("wiring.gateway6", &wire.gateway6),
            ("", &[]),
        ])?;
        if v4.is_none() && v6.is_none() {
            return Err(ConvertError::Missing {
                field: "wiring.address",
            });
        }
        Ok(Self {
            host_name: wire.host_name.parse().map_err(malformed("wiring.host_name"))?,
            host_mac: Mac(bytes("wiring.host_mac", &wire.host_mac)?),
            pod_name: wire.pod_name.parse().map_err(malformed("wiring.pod_name"))?,
            pod_mac: Mac(bytes("wiring.pod_mac", &wire.pod_mac)?),
            mtu_bytes: wire.mtu_bytes,
            v4,
            v6,
            table: TableId(wire.table),
            rules: wire.rules.into_iter().map(rule).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&PodWiring> for v1::Wiring {
    fn from(wiring: &PodWiring) -> Self {
        Self {
            host_name: wiring.host_name.to_string(),
            host_mac: wiring.host_mac.0.to_vec(),
            pod_name: wiring.pod_name.to_string(),
            pod_mac: wiring.pod_mac.0.to_vec(),
            mtu_bytes: wiring.mtu_bytes,
            address: octets(wiring.v4.map(|leg| leg.address.octets())),
            gateway: octets(wiring.v4.map(|leg| leg.gateway.octets())),
            node_address: octets(
                wiring
                    .v4
                    .and_then(|leg| leg.node_address)
                    .map(|address| address.octets()),
            ),
            address6: octets(wiring.v6.map(|leg| leg.address.octets())),
            gateway6: octets(wiring.v6.map(|leg| leg.gateway.octets())),
            table: wiring.table.0,
            rules: wiring.rules.iter().map(v1::Rule::from).collect(),
        }
    }
}

/// Nothing is no bytes.
fn octets<const N: usize>(octets: Option<[u8; N]>) -> Vec<u8> {
    octets.map(Vec::from).unwrap_or_default()
}

/// A rule of the peer's layout: one of its ends tells the family.
fn rule(wire: v1::Rule) -> Result<Rule, ConvertError> {
    let from = cidr("wiring.rules.from", wire.from)?;
    let to = cidr("wiring.rules.to", wire.to)?;
    Ok(Rule {
        family: from.or(to).map_or(Family::V4, |end| Family::of(end.addr())),
        priority: wire.priority,
        from,
        to,
        mark: None,
        table: TableId(wire.table),
    })
}

fn cidr(field: &'static str, text: String) -> Result<Option<IpNet>, ConvertError> {
    match text.as_str() {
        "" => Ok(None),
        cidr => cidr
            .parse()
            .map(Some)
            .map_err(|_| ConvertError::Cidr { field, found: text }),
    }
}

impl From<&Rule> for v1::Rule {
    fn from(rule: &Rule) -> Self {
        let text = |cidr: Option<IpNet>| cidr.map(|cidr| cidr.to_string()).unwrap_or_default();
        Self {
            priority: rule.priority,
            from: text(rule.from),
            to: text(rule.to),
            table: rule.table.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wiring() -> PodWiring {
        PodWiring {
            host_name: "enib5faff8a083".parse().unwrap(),
            host_mac: Mac([2, 0, 0, 0, 0, 1]),
            pod_name: "eth0".parse().unwrap(),
            pod_mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu_bytes: 9001,
            v4: Some(Leg {
                address: Ipv4Addr::new(10, 0, 1, 30),
                gateway: Ipv4Addr::new(169, 254, 1, 1),
                node_address: Some(Ipv4Addr::new(10, 0, 1, 10)),
            }),
            v6: Some(Leg {
                address: "2001:db8::1".parse().unwrap(),
                gateway: "fe80::1".parse().unwrap(),
                node_address: None,
            }),
            table: TableId::PODS,
            rules: vec![Rule {
                family: Family::V4,
                priority: 1536,
                from: Some("10.0.1.30/32".parse().unwrap()),
                to: None,
                mark: None,
                table: TableId(2),
            }],
        }
    }

    #[test]
    fn a_wiring_survives_the_wire() {
        assert_eq!(PodWiring::try_from(v1::Wiring::from(&wiring())), Ok(wiring()));
    }

    /// Field by field as the first plugins and daemons wrote it: those of any age understand one another.
    #[test]
    fn an_ipv4_wiring_is_on_the_wire_as_ever() {
        let only_v4 = PodWiring {
            v6: None,
            rules: Vec::new(),
            ..wiring()
        };
        let ever: &[&[u8]] = &[
            b"\x0a\x0eenib5faff8a083",
            b"\x12\x06\x02\x00\x00\x00\x00\x01",
            b"\x1a\x04eth0",
            b"\x22\x06\x02\x00\x00\x00\x00\x02",
            b"\x28\xa9\x46",
            b"\x32\x04\x0a\x00\x01\x1e",
            b"\x3a\x04\xa9\xfe\x01\x01",
            b"\x40\x80\x28",
            b"\x4a\x04\x0a\x00\x01\x0a",
        ];
        let bytes = prost::Message::encode_to_vec(&v1::Wiring::from(&only_v4));
        assert_eq!(bytes, ever.concat());
    }

    #[test]
    fn a_refusal_names_the_field() {
        let wire = v1::Wiring {
            host_mac: vec![1, 2],
            ..v1::Wiring::from(&wiring())
        };
        let error = PodWiring::try_from(wire).unwrap_err();
        assert_eq!(
            error,
            ConvertError::Length {
                field: "wiring.host_mac",
                wanted: 6,
                found: 2
            }
        );
        let wire = v1::Wiring {
            address: Vec::new(),
            address6: Vec::new(),
            ..v1::Wiring::from(&wiring())
        };
        let error = PodWiring::try_from(wire).unwrap_err();
        assert!(matches!(error, ConvertError::Missing { .. }), "{error}");
        let attachment = v1::Attachment {
            container_id: "../x".to_owned(),
            ..v1::Attachment::default()
        };
        let error = AttachmentKey::try_from(attachment).unwrap_err();
        assert!(error.to_string().contains("attachment.container_id"), "{error}");
    }
}
