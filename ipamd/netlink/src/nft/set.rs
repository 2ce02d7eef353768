//! Sets, maps and their elements.
//!
//! A range set keeps intervals by their two ends, as the kernel does: a start, and an end that is not part of it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::encode::Encoder;
use super::expression::{self, Verdict};

/// What keys or values are: how long, and how `nft list` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A hardware address.
    Ether,
    /// An interface name.
    IfName,
    /// A mark, native.
    Mark,
    /// A number of one byte.
    Byte,
}

/// A set or map to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// Its name in its table.
    pub name: &'a str,
    /// The parts of its keys; more than one is a concatenation.
    pub key: &'a [Datatype],
    /// Whether keys are ranges.
    pub ranges: bool,
    /// What it maps to.
    pub maps_to: MapsTo,
}

/// What a set maps its keys to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapsTo {
    /// Nothing: it is a set.
    Nothing,
    /// Verdicts.
    Verdicts,
    /// Values.
    Data(Datatype),
    /// Named counters.
    Counters,
}

/// An element to add or delete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// The key, or the start of a range.
    pub key: Vec<u8>,
    /// In a range set the first key behind the range.
    pub end: Option<Vec<u8>>,
    /// What the key maps to; not needed to delete it.
    pub value: Value,
}

/// What a key maps to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Nothing.
    Nothing,
    /// A verdict.
    Verdict(Verdict),
    /// A value.
    Data(Vec<u8>),
    /// The named counter.
    Counter(String),
}

/// An interface name as the kernel compares it: sixteen bytes, padded with zeros.
#[must_use]
pub fn ifname(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    bytes
}

impl Element {
    /// A single key.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            end: None,
            value: Value::Nothing,
        }
    }

    /// A concatenation; each part is padded to whole words.
    #[must_use]
    pub fn concat(parts: &[&[u8]]) -> Self {
        let mut key = Vec::new();
        for part in parts {
            key.extend(*part);
            key.resize(key.len().next_multiple_of(4), 0);
        }
        Self::new(key)
    }

    /// A single address.
    #[must_use]
    pub fn ip(ip: IpAddr) -> Self {
        Self::new(octets(ip))
    }

    /// The range of a network.
    #[must_use]
    pub fn net(net: IpNet) -> Self {
        let end = match net {
            IpNet::V4(net) => u32::from(net.broadcast())
                .checked_add(1)
                .map(|end| end.to_be_bytes().to_vec()),
            IpNet::V6(net) => u128::from(net.broadcast())
                .checked_add(1)
                .map(|end| end.to_be_bytes().to_vec()),
        };
        Self {
            key: octets(net.network()),
            end,
            value: Value::Nothing,
        }
    }

    /// The element of a map.
    #[must_use]
    pub fn to(mut self, value: Value) -> Self {
        self.value = value;
        self
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.nest(1, |element| {
            expression::value(element, 1, &self.key);
            match &self.value {
                Value::Nothing => {}
                Value::Verdict(verdict) => verdict.encode(element, 2),
                Value::Data(data) => expression::value(element, 2, data),
                Value::Counter(name) => element.text(9, name),
            }
        });
        if let Some(end) = &self.end {
            out.nest(1, |element| {
                expression::value(element, 1, end);
                element.number(3, INTERVAL_END);
            });
        }
    }
}

/// `NFT_SET_ELEM_INTERVAL_END`.
pub(super) const INTERVAL_END: u32 = 1;

impl Set<'_> {
    /// Writes the set, with a number that is its own in the transaction.
    pub(super) fn encode(&self, table: &str, id: u32, out: &mut Encoder) {
        out.text(1, table);
        out.text(2, self.name);
        out.number(3, self.flags());
        out.number(4, self.key.iter().fold(0, |all, part| all << 6 | part.number()));
        out.number(
            5,
            self.key
                .iter()
                .map(|part| part.words() * 4)
                .sum::<u32>()
                .min(self.exact()),
        );
        self.encode_values(out);
        out.number(10, id);
        out.put(13, &self.byte_orders());
        if self.key.len() > 1 {
            out.nest(9, |description| {
                description.nest(2, |parts| {
                    for part in self.key {
                        parts.nest(1, |field| field.number(1, part.bytes()));
                    }
                });
            });
        }
    }

    /// A single key is as long as it is; the parts of a concatenation are padded.
    fn exact(&self) -> u32 {
        match self.key {
            [only] => only.bytes(),
            _ => u32::MAX,
        }
    }

    fn flags(&self) -> u32 {
        let ranges = if self.ranges { 0x4 } else { 0 };
        let concatenation = if self.key.len() > 1 { 0x80 } else { 0 };
        let map = match self.maps_to {
            MapsTo::Nothing => 0,
            MapsTo::Verdicts | MapsTo::Data(_) => 0x8,
            MapsTo::Counters => 0x40,
        };
        ranges | concatenation | map
    }

    /// What `nft list` needs to show keys and values: a note of their byte order (libnftnl, udata.h, types 0 and 1).
    fn byte_orders(&self) -> Vec<u8> {
        let value = match self.maps_to {
            MapsTo::Data(datatype) => Some(datatype),
            MapsTo::Nothing | MapsTo::Verdicts | MapsTo::Counters => None,
        };
        let mut notes = Vec::with_capacity(12);
        for (kind, datatype) in [(0, self.key.first().copied()), (1, value)] {
            if let Some(datatype) = datatype {
                notes.extend([kind, 4]);
                notes.extend(datatype.byte_order().to_ne_bytes());
            }
        }
        notes
    }

    fn encode_values(&self, out: &mut Encoder) {
        match self.maps_to {
            MapsTo::Nothing => {}
            MapsTo::Verdicts => {
                out.number(6, 0xffff_ff00);
                out.number(7, 16);
            }
            MapsTo::Data(datatype) => {
                out.number(6, datatype.number());
                out.number(7, datatype.bytes());
            }
            MapsTo::Counters => out.number(15, super::batch::COUNTER_OBJECT),
        }
    }
}

impl Datatype {
    /// How nft numbers the type (nftables, include/datatype.h).
    fn number(self) -> u32 {
        match self {
            Self::Byte => 4,
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Ether => 9,
            Self::Mark => 19,
            Self::IfName => 41,
        }
    }

    fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Ipv4 | Self::Mark => 4,
            Self::Ether => 6,
            Self::Ipv6 | Self::IfName => 16,
        }
    }

    /// 1 as the machine has it, 2 big-endian (nftables, include/datatype.h, `enum byteorder`).
    fn byte_order(self) -> u32 {
        match self {
            Self::Mark | Self::IfName | Self::Byte => 1,
            Self::Ipv4 | Self::Ipv6 | Self::Ether => 2,
        }
    }

    fn words(self) -> u32 {
        self.bytes().div_ceil(4)
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_ends_where_the_next_begins_and_the_last_never() {
        let rows = [
            ("10.0.1.0/24", vec![10, 0, 1, 0], Some(vec![10, 0, 2, 0])),
            ("0.0.0.0/0", vec![0; 4], None),
            ("255.255.255.0/24", vec![255, 255, 255, 0], None),
        ];
        for (net, key, end) in rows {
            let element = Element::net(net.parse().unwrap());
            assert_eq!((element.key, element.end), (key, end), "{net}");
        }
    }

    #[test]
    fn parts_of_a_concatenation_are_padded() {
        assert_eq!(
            Element::concat(&[&[1; 6], &[2]]).key,
            [1, 1, 1, 1, 1, 1, 0, 0, 2, 0, 0, 0]
        );
    }
}
