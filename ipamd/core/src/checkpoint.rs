//! The peer's checkpoint file, `ipam.json`: who has which address. Bytes in, bytes out; the files are `ipamd`'s.
//!
//! Its policy agent and the node monitoring agent read it, the peer itself after a roll-back, and we where the peer ran
//! before. The form is amazon-vpc-cni-k8s v1.23's `vpc-cni-ipam/1`, with a file for each network card. The peer's
//! entries have an address of one family; ours may have both.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use crate::address::{MalformedAddresses, PodAddresses};
use crate::id::{AttachmentKey, Malformed, Pod};
use crate::ledger::Lease;

/// The only form that there is.
pub const VERSION: &str = "vpc-cni-ipam/1";

/// What entries say that come from before the peer kept this file: their network and interface are not known.
const MIGRATED: &str = "_migrated-from-cri";

/// What such a pod's DEL says: the network of the peer's conflist and the interface of every Kubernetes runtime.
const USUAL_NETWORK: &str = "aws-cni";
const USUAL_INTERFACE: &str = "eth0";

/// What identifies a file's content: a SHA-1 in hexadecimal digits. Nobody attacks it; it tells a file of ours from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    /// The digest of a content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let digits = Sha1::digest(content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self(digits)
    }
}

/// One attachment's entry, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    #[serde(rename = "networkName", default)]
    network: String,
    #[serde(rename = "containerID", default)]
    container: String,
    #[serde(rename = "ifName", default)]
    interface: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ipv4: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ipv6: String,
    /// In nanoseconds since 1970.
    #[serde(rename = "allocationTimestamp", default)]
    since_nanos: i64,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    #[serde(rename = "k8sPodNamespace", default, skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(rename = "k8sPodName", default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "interfacesCount", default, skip_serializing_if = "is_zero")]
    interfaces: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Allocation {
    /// The entry of a lease.
    #[must_use]
    pub fn of(key: &AttachmentKey, lease: &Lease) -> Self {
        let [ipv4, ipv6] = lease.wiring.addresses().texts();
        Self {
            network: key.network.to_string(),
            container: key.container.to_string(),
            interface: key.interface.to_string(),
            ipv4,
            ipv6,
            since_nanos: i64::try_from(lease.since.as_nanos()).unwrap_or(i64::MAX),
            metadata: Metadata {
                namespace: lease.pod.namespace.to_string(),
                name: lease.pod.name.to_string(),
                interfaces: 1,
            },
        }
    }
}

/// The content of a file.
#[derive(Serialize)]
struct Written<'a> {
    version: &'static str,
    allocations: Vec<&'a Allocation>,
}

/// The file that says this.
///
/// # Errors
/// Never: the form has nothing that JSON could refuse.
pub fn encode<'a>(allocations: impl Iterator<Item = &'a Allocation>) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Written {
        version: VERSION,
        allocations: allocations.collect(),
    })
}

/// What a file says of one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub key: AttachmentKey,
    /// Its pod; both names are empty where nobody noted them.
    pub pod: Pod,
    /// What it has.
    pub addresses: PodAddresses,
    /// Since when, since 1970.
    pub since: Duration,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Of each attachment.
    pub claims: Vec<Claim>,
    /// Of each entry that cannot be used: why.
    pub faults: Vec<String>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON, or not of this shape.
    #[error("it is not of the form {VERSION}")]
    Json(#[from] serde_json::Error),
    /// It is of another form.
    #[error("it has the form {found:?}, and only {VERSION} is known")]
    Version {
        /// What it says.
        found: String,
    },
}

/// Enough to tell the form.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Read {
    /// Go writes an empty list as null.
    #[serde(default)]
    allocations: Option<Vec<Allocation>>,
}

/// Reads a file. An entry that cannot be used is named and costs no other.
///
/// # Errors
/// [`Unreadable`] when the whole cannot be used.
pub fn decode(content: &[u8]) -> Result<Claims, Unreadable> {
    let Head { version } = serde_json::from_slice(content)?;
    if version != VERSION {
        return Err(Unreadable::Version { found: version });
    }
    let read: Read = serde_json::from_slice(content)?;
    let mut claims = Claims::default();
    for allocation in read.allocations.iter().flatten() {
        match claim(allocation) {
            Ok(claim) => claims.claims.push(claim),
            Err(fault) => claims.faults.push(format!("{allocation}: {fault}")),
        }
    }
    Ok(claims)
}

/// Why an entry cannot be used.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Name(#[from] Malformed),
    #[error("{0}; its pod keeps its network until it is restarted")]
    Addresses(#[from] MalformedAddresses),
}

fn claim(allocation: &Allocation) -> Result<Claim, Fault> {
    let migrated = allocation.network == MIGRATED;
    let (network, interface) = if migrated {
        (USUAL_NETWORK, USUAL_INTERFACE)
    } else {
        (allocation.network.as_str(), allocation.interface.as_str())
    };
    Ok(Claim {
        key: AttachmentKey {
            container: allocation.container.parse()?,
            interface: interface.parse()?,
            network: network.parse()?,
        },
        pod: Pod {
            namespace: allocation.metadata.namespace.parse()?,
            name: allocation.metadata.name.parse()?,
        },
        addresses: PodAddresses::parse(&allocation.ipv4, &allocation.ipv6)?,
        since: Duration::from_nanos(u64::try_from(allocation.since_nanos).unwrap_or_default()),
    })
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network,
            container,
            interface,
            ..
        } = self;
        write!(f, "{network}/{container}/{interface}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"version":"vpc-cni-ipam/1","allocations":[
        {"networkName":"aws-cni","containerID":"5f0c1d9e7a","ifName":"eth0","ipv4":"10.20.3.41",
         "allocationTimestamp":1767225600000000000,
         "metadata":{"k8sPodNamespace":"shop","k8sPodName":"cart-0","interfacesCount":1}},
        {"networkName":"_migrated-from-cri","containerID":"9b77aa01c2","ifName":"unknown","ipv4":"10.20.3.52",
         "allocationTimestamp":1640995200000000000,"metadata":{}},
        {"networkName":"aws-cni","containerID":"5f0c1d9e7b","ifName":"eth0","ipv6":"2001:db8::1","metadata":{}},
        {"networkName":"aws-cni","containerID":"5f0c1d9e7c","ifName":"eth0","ipv4":"10.20.3.43","ipv6":"2001:db8::2"},
        {"networkName":"aws-cni","containerID":"5f0c1d9e7d","ifName":"eth0","metadata":{}},
        {"networkName":"aws-cni","containerID":"../x","ifName":"eth0","ipv4":"10.20.3.42","metadata":{}}]}"#;

    #[test]
    fn the_peers_file_is_read_entry_by_entry() {
        let Claims { claims, faults } = decode(EXAMPLE.as_bytes()).unwrap();
        let told: Vec<String> = claims
            .iter()
            .map(|claim| {
                format!(
                    "{} {} {} {}",
                    claim.key,
                    claim.pod,
                    claim.addresses,
                    claim.since.as_secs()
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "aws-cni/5f0c1d9e7a/eth0 shop/cart-0 10.20.3.41 1767225600",
                "aws-cni/9b77aa01c2/eth0 / 10.20.3.52 1640995200",
                "aws-cni/5f0c1d9e7b/eth0 / 2001:db8::1 0",
                "aws-cni/5f0c1d9e7c/eth0 / 10.20.3.43 and 2001:db8::2 0",
            ]
        );
        let [nothing, name] = &faults[..] else {
            panic!("{faults:?}")
        };
        assert!(
            nothing.contains("no address") && nothing.contains("restarted"),
            "{nothing}"
        );
        assert!(name.contains("../x"), "{name}");
    }

    #[test]
    fn what_is_no_checkpoint_says_so() {
        for (content, told) in [
            ("", "not of the form"),
            ("[]", "the form \"\""),
            (
                r#"{"version":"vpc-cni-ipam/2","allocations":7}"#,
                "vpc-cni-ipam/2",
            ),
            (r#"{"allocations":[]}"#, "the form \"\""),
            (
                r#"{"version":"vpc-cni-ipam/1","allocations":7}"#,
                "not of the form",
            ),
        ] {
            let error = decode(content.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(told), "{content}: {error}");
        }
        for empty in [
            r#"{"version":"vpc-cni-ipam/1","allocations":null}"#,
            r#"{"version":"vpc-cni-ipam/1"}"#,
        ] {
            assert_eq!(decode(empty.as_bytes()).unwrap(), Claims::default());
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let Claims { claims, .. } = decode(EXAMPLE.as_bytes()).unwrap();
        let read: Read = serde_json::from_str(EXAMPLE).unwrap();
        let written = encode(read.allocations.iter().flatten()).unwrap();
        assert_eq!(decode(&written).unwrap().claims, claims);
        let text = String::from_utf8(written).unwrap();
        assert!(text.starts_with(r#"{"version":"vpc-cni-ipam/1","allocations":[{"networkName":"aws-cni","containerID":"5f0c1d9e7a","ifName":"eth0","ipv4":"10.20.3.41","allocationTimestamp":1767225600000000000,"metadata":{"k8sPodNamespace":"shop","k8sPodName":"cart-0","interfacesCount":1}},"#), "{text}");
    }
}
