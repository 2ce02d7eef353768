//! Identifiers of EC2 resources: made only by parsing or by the model's own counter, so a bad one cannot travel.
//!
//! The shape is EC2's: a prefix that names the kind, a dash, then 8 or 17 hexadecimal digits (AWS documentation,
//! "Resource IDs"; longer ids since 2016).

use std::fmt;
use std::str::FromStr;

/// A text that is not an identifier of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid id: \"{text}\" (expecting \"{prefix}-...\")")]
pub struct MalformedId {
    /// What was given.
    pub text: String,
    /// The prefix that was wanted.
    pub prefix: &'static str,
}

fn check(text: &str, prefix: &'static str) -> Result<(), MalformedId> {
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    match digits {
        Some(hex) if matches!(hex.len(), 8 | 17) && hex.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(()),
        _ => Err(MalformedId {
            text: text.to_owned(),
            prefix,
        }),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The prefix that names this kind of resource.
            pub const PREFIX: &'static str = $prefix;

            /// The identifier with this number, in EC2's long form.
            #[must_use]
            pub fn numbered(number: u64) -> Self {
                Self(format!(concat!($prefix, "-{:017x}"), number))
            }

            /// The identifier as EC2 writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                check(text, $prefix).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A network interface: `eni-…`.
    EniId = "eni";
    /// The attachment of a network interface to an instance: `eni-attach-…`.
    AttachmentId = "eni-attach";
    /// An instance: `i-…`.
    InstanceId = "i";
    /// A subnet: `subnet-…`.
    SubnetId = "subnet";
    /// A VPC: `vpc-…`.
    VpcId = "vpc";
    /// A security group: `sg-…`.
    SecurityGroupId = "sg";
    /// A rule of a security group: `sgr-…`.
    SecurityGroupRuleId = "sgr";
    /// A subnet CIDR reservation: `scr-…`.
    CidrReservationId = "scr";
    /// The launch that instances came from, which EC2 calls their reservation: `r-…`.
    ReservationId = "r";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_prefix_and_eight_or_seventeen_hex_digits_parse() {
        let rows = [
            ("eni-0123456789abcdef0", true),
            ("eni-01234567", true),
            ("eni-attach-01234567", false),
            ("eni-0123", false),
            ("eni-0123456g", false),
            ("i-01234567", false),
            ("", false),
        ];
        for (text, good) in rows {
            assert_eq!(text.parse::<EniId>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_numbered_id_parses_back() {
        let id = InstanceId::numbered(42);
        assert_eq!(id.as_str().parse::<InstanceId>(), Ok(id.clone()));
    }
}
