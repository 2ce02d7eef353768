//! Addresses and what they come in: single secondary IPs and delegated prefixes; counts with their unit.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The MAC address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// A text that is not a MAC address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address: six bytes in hexadecimal with colons between")]
pub struct MalformedMac(String);

impl FromStr for Mac {
    type Err = MalformedMac;

    fn from_str(text: &str) -> Result<Self, MalformedMac> {
        let byte = |part: &str| {
            (part.len() == 2)
                .then(|| u8::from_str_radix(part, 16).ok())
                .flatten()
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| MalformedMac(text.to_owned()))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for Mac {
    type Error = MalformedMac;

    fn try_from(text: String) -> Result<Self, MalformedMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// What a pod is given: an address of one family, or of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodAddresses {
    /// Of a block.
    pub v4: Option<Ipv4Addr>,
    /// Of the primary ENI's /80 prefix.
    pub v6: Option<Ipv6Addr>,
}

/// Texts that are no pod's addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAddresses {
    /// One is no address of its family.
    #[error("{0:?} is no address of its family")]
    Address(String),
    /// Both are empty.
    #[error("there is no address")]
    Nothing,
}

impl PodAddresses {
    /// From one text for each family; empty where there is none of it. At least one must be there.
    ///
    /// # Errors
    /// Which text is no address.
    pub fn parse(ipv4: &str, ipv6: &str) -> Result<Self, MalformedAddresses> {
        fn one<A: FromStr>(text: &str) -> Result<Option<A>, MalformedAddresses> {
            let malformed = |_| MalformedAddresses::Address(text.to_owned());
            let there = (!text.is_empty()).then_some(text);
            there.map(|text| text.parse().map_err(malformed)).transpose()
        }
        let addresses = Self {
            v4: one(ipv4)?,
            v6: one(ipv6)?,
        };
        match addresses {
            Self { v4: None, v6: None } => Err(MalformedAddresses::Nothing),
            addresses => Ok(addresses),
        }
    }

    /// As [`Self::parse`] reads them.
    #[must_use]
    pub fn texts(self) -> [String; 2] {
        let v4 = self.v4.map(|address| address.to_string());
        let v6 = self.v6.map(|address| address.to_string());
        [v4, v6].map(Option::unwrap_or_default)
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }
}

impl From<Ipv4Addr> for PodAddresses {
    fn from(address: Ipv4Addr) -> Self {
        Self {
            v4: Some(address),
            v6: None,
        }
    }
}

impl fmt::Display for PodAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => write!(f, "{v4} and {v6}"),
            (Some(v4), None) => fmt::Display::fmt(&v4, f),
            (None, Some(v6)) => fmt::Display::fmt(&v6, f),
            (None, None) => f.write_str("no address"),
        }
    }
}

/// What EC2 assigns to an ENI for pods to use. Takes one address slot of the ENI either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// One secondary private IP.
    Secondary(Ipv4Addr),
    /// A delegated /28 prefix; all its sixteen addresses serve pods (EC2 user guide, "Prefix delegation").
    Prefix(Ipv4Net),
}

impl Block {
    /// The block as a network.
    #[must_use]
    pub fn net(self) -> Ipv4Net {
        match self {
            Self::Secondary(address) => Ipv4Net::from(address),
            Self::Prefix(net) => net,
        }
    }

    /// Every address of the block, lowest first.
    pub fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        let net = self.net();
        let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
        (first..=last).map(Ipv4Addr::from)
    }

    /// Of which kind it is.
    #[must_use]
    pub fn kind(self) -> BlockKind {
        match self {
            Self::Secondary(_) => BlockKind::Secondary,
            Self::Prefix(_) => BlockKind::Prefix,
        }
    }

    /// Whether an address belongs to it.
    #[must_use]
    pub fn holds(self, address: Ipv4Addr) -> bool {
        self.net().contains(&address)
    }

    /// How many pods the block can serve.
    #[must_use]
    pub fn size(self) -> AddressCount {
        AddressCount(1 << (32 - self.net().prefix_len()))
    }
}

/// What a block is: the two kinds are asked for, counted and given back apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// Single secondary addresses.
    Secondary,
    /// Delegated /28 prefixes.
    Prefix,
}

impl BlockKind {
    /// Addresses that one block of the kind brings.
    #[must_use]
    pub fn addresses_each(self) -> AddressCount {
        match self {
            Self::Secondary => AddressCount(1),
            Self::Prefix => PrefixCount(1).addresses(),
        }
    }

    /// Blocks of the kind, at least as many addresses as these.
    #[must_use]
    pub fn covering(self, addresses: AddressCount) -> Ask {
        match self {
            Self::Secondary => Ask::Addresses(addresses),
            Self::Prefix => Ask::Prefixes(PrefixCount::covering(addresses)),
        }
    }
}

/// What EC2 is asked for in one call: blocks of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// So many secondary addresses.
    Addresses(AddressCount),
    /// So many prefixes.
    Prefixes(PrefixCount),
}

impl Ask {
    /// Of which kind.
    #[must_use]
    pub fn kind(self) -> BlockKind {
        match self {
            Self::Addresses(_) => BlockKind::Secondary,
            Self::Prefixes(_) => BlockKind::Prefix,
        }
    }

    /// How many pods the answer can serve.
    #[must_use]
    pub fn size(self) -> AddressCount {
        match self {
            Self::Addresses(count) => count,
            Self::Prefixes(count) => count.addresses(),
        }
    }

    /// How many address slots of an ENI the answer takes.
    #[must_use]
    pub fn slots(self) -> u32 {
        match self {
            Self::Addresses(AddressCount(count)) | Self::Prefixes(PrefixCount(count)) => count,
        }
    }

    /// As much of it as fits into so many slots.
    #[must_use]
    pub fn within(self, slots: u32) -> Self {
        match self {
            Self::Addresses(AddressCount(count)) => Self::Addresses(AddressCount(count.min(slots))),
            Self::Prefixes(PrefixCount(count)) => Self::Prefixes(PrefixCount(count.min(slots))),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(AddressCount(1)) => f.write_str("1 secondary address"),
            Self::Addresses(count) => write!(f, "{count} secondary addresses"),
            Self::Prefixes(PrefixCount(1)) => f.write_str("1 prefix"),
            Self::Prefixes(count) => write!(f, "{count} prefixes"),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.net(), f)
    }
}

/// A number of pod addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressCount(pub u32);

impl AddressCount {
    /// No address.
    pub const ZERO: Self = Self(0);

    /// The difference, or zero where the other is larger.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::ops::Add for AddressCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for AddressCount {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::ZERO, |sum, count| sum + count)
    }
}

impl fmt::Display for AddressCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A number of delegated prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PrefixCount(pub u32);

impl PrefixCount {
    /// Addresses of a /28, all of which serve pods (EC2 user guide, "Prefix delegation").
    const ADDRESSES_EACH: u32 = 16;

    /// The fewest prefixes that bring at least so many addresses.
    #[must_use]
    pub fn covering(addresses: AddressCount) -> Self {
        Self(addresses.0.div_ceil(Self::ADDRESSES_EACH))
    }

    /// The addresses that they bring.
    #[must_use]
    pub fn addresses(self) -> AddressCount {
        AddressCount(self.0.saturating_mul(Self::ADDRESSES_EACH))
    }
}

impl fmt::Display for PrefixCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_serves_all_its_sixteen_addresses() {
        let prefix = Block::Prefix("10.0.1.16/28".parse().unwrap());
        assert_eq!(prefix.size(), AddressCount(16));
        let addresses: Vec<Ipv4Addr> = prefix.addresses().collect();
        assert_eq!(
            (addresses[0], addresses[15]),
            ([10, 0, 1, 16].into(), [10, 0, 1, 31].into())
        );
        let single = Block::Secondary([10, 0, 1, 7].into());
        assert_eq!(
            single.addresses().collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 0, 1, 7)]
        );
    }

    #[test]
    fn macs_parse_and_show() {
        let mac = Mac([2, 0, 0xff, 1, 2, 3]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in [
            "",
            "02:00:ff:01:02",
            "02:00:ff:01:02:03:04",
            "2:0:ff:1:2:3",
            "02-00-ff-01-02-03",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
