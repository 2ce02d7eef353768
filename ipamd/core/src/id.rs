//! Names of things: parsed once, compared and shown ever after.
//!
//! EC2's identifiers keep EC2's shape. What the container runtime names is checked by the rules of the CNI
//! specification and its library, because it reaches file names and queries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not a name of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {rule}")]
pub struct Malformed {
    /// What was given.
    pub text: String,
    /// What was wanted, with its article.
    pub kind: &'static str,
    /// What such a name looks like.
    pub rule: &'static str,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Malformed { text: text.to_owned(), kind: $kind, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;

            fn try_from(text: String) -> Result<Self, Malformed> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

/// EC2's shape: a prefix, a dash, 8 or 17 hexadecimal digits (EC2 user guide, "Resource IDs").
fn ec2(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// CNI specification 1.1.0, "Parameters": alphanumeric first, then alphanumeric, `_`, `.` or `-`.
fn cni(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(rest)
}

/// libcni's rules for an interface name; 15 characters is IFNAMSIZ - 1 in the kernel's `uapi/linux/if.h`.
fn interface(text: &str) -> bool {
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace();
    (1..=15).contains(&text.len()) && text != "." && text != ".." && !text.contains(forbidden)
}

/// Kubernetes names are DNS names, but a runtime without Kubernetes may send anything printable.
fn kubernetes(text: &str) -> bool {
    text.len() <= 253 && text.chars().all(|c| !c.is_control() && !c.is_whitespace())
}

names! {
    /// A network interface: `eni-…`.
    EniId, "the id of a network interface", "eni- and 8 or 17 hexadecimal digits", |text| ec2(text, "eni-");
    /// The attachment of a network interface to an instance: `eni-attach-…`.
    EniAttachmentId, "the id of an ENI's attachment", "eni-attach- and 8 or 17 hexadecimal digits",
        |text| ec2(text, "eni-attach-");
    /// An instance: `i-…`.
    InstanceId, "the id of an instance", "i- and 8 or 17 hexadecimal digits", |text| ec2(text, "i-");
    /// A subnet: `subnet-…`.
    SubnetId, "the id of a subnet", "subnet- and 8 or 17 hexadecimal digits", |text| ec2(text, "subnet-");
    /// A VPC: `vpc-…`.
    VpcId, "the id of a VPC", "vpc- and 8 or 17 hexadecimal digits", |text| ec2(text, "vpc-");
    /// A security group: `sg-…`.
    SecurityGroupId, "the id of a security group", "sg- and 8 or 17 hexadecimal digits", |text| ec2(text, "sg-");
    /// A container, as its runtime names it.
    ContainerId, "a container id", "a letter or digit, then letters, digits, _, . or -", cni;
    /// A CNI network, the conflist's `name`.
    NetworkName, "a network name", "a letter or digit, then letters, digits, _, . or -", cni;
    /// The name of a network device.
    IfName, "an interface name", "1 to 15 characters without /, : or white space, not . or ..", interface;
    /// A Kubernetes namespace; empty where the runtime runs no Kubernetes.
    PodNamespace, "a pod's namespace", "at most 253 characters without white space", kubernetes;
    /// A Kubernetes pod's name; empty where the runtime runs no Kubernetes.
    PodName, "a pod's name", "at most 253 characters without white space", kubernetes;
}

/// One interface of one container in one network: what an ADD makes and a DEL removes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttachmentKey {
    /// The container.
    pub container: ContainerId,
    /// Its interface.
    pub interface: IfName,
    /// The network that it joins.
    pub network: NetworkName,
}

impl fmt::Display for AttachmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.interface)
    }
}

/// The pod that an attachment belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pod {
    /// Its namespace.
    pub namespace: PodNamespace,
    /// Its name.
    pub name: PodName,
}

impl Pod {
    /// A pod that nobody named.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            namespace: PodNamespace(String::new()),
            name: PodName(String::new()),
        }
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An intent to create an ENI: a number that this node never uses twice. The client token and a tag come from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IntentId(pub u64);

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_obey_their_rules() {
        for (text, good) in [
            ("eni-0123456789abcdef0", true),
            ("eni-01234567", true),
            ("eni-0123", false),
            ("i-01234567", false),
        ] {
            assert_eq!(text.parse::<EniId>().is_ok(), good, "{text}");
        }
        for (text, good) in [
            ("abc_1.-", true),
            ("_abc", false),
            ("", false),
            ("a/b", false),
            ("../x", false),
        ] {
            assert_eq!(text.parse::<ContainerId>().is_ok(), good, "{text}");
        }
        for (text, good) in [
            ("eth0", true),
            ("", false),
            ("0123456789abcdef", false),
            ("a:b", false),
            ("..", false),
            ("a b", false),
        ] {
            assert_eq!(text.parse::<IfName>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_wanted() {
        let error = "x".parse::<EniId>().unwrap_err();
        assert!(error.to_string().contains("eni- and 8 or 17"), "{error}");
    }
}
