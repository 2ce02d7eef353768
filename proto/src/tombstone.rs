//! The name of a file that records a release: it says all, so the file needs no content and cannot be torn.

use ipamd_core::id::AttachmentKey;

/// Neither networks nor containers have it in their names; interfaces may.
const BETWEEN: char = '+';

/// The file's name.
#[must_use]
pub fn tombstone_name(key: &AttachmentKey) -> String {
    let AttachmentKey {
        network,
        container,
        interface,
    } = key;
    format!("{network}{BETWEEN}{container}{BETWEEN}{interface}")
}

/// Whose release a file's name records; `None` when it is no such name.
#[must_use]
pub fn tombstone_key(name: &str) -> Option<AttachmentKey> {
    let mut parts = name.splitn(3, BETWEEN);
    Some(AttachmentKey {
        network: parts.next()?.parse().ok()?,
        container: parts.next()?.parse().ok()?,
        interface: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        for interface in ["eth0", "a+b"] {
            let key = AttachmentKey {
                network: "aws-cni".parse().unwrap(),
                container: "c_1.x-y".parse().unwrap(),
                interface: interface.parse().unwrap(),
            };
            assert_eq!(tombstone_key(&tombstone_name(&key)), Some(key));
        }
        for none in [
            "",
            "aws-cni",
            "aws-cni+c1",
            ".aws-cni+c1+eth0",
            "aws-cni++eth0",
            "aws-cni+c1+",
        ] {
            assert_eq!(tombstone_key(none), None, "{none:?}");
        }
    }
}
