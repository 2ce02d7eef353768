//! What rules are made of. Each expression reads or writes registers, or ends the rule.
//!
//! Numbers are those of the kernel's include/uapi/linux/netfilter/nf_tables.h.

use super::encode::Encoder;

/// A register by its first of sixteen 4-byte words. An address of IPv6 or an interface name takes four of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u8);

/// What a packet's surroundings are asked for, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MetaKey {
    /// Ethernet protocol, two bytes, big-endian.
    Protocol = 1,
    /// The packet's mark, four bytes, native.
    Mark = 3,
    /// Index of the incoming link, four bytes, native.
    Iif = 4,
    /// Index of the outgoing link, four bytes, native.
    Oif = 5,
    /// Name of the incoming link, sixteen bytes.
    IifName = 6,
    /// Name of the outgoing link, sixteen bytes.
    OifName = 7,
    /// Network protocol as netfilter counts: 2 IPv4, 10 IPv6; one byte.
    NfProto = 15,
    /// Transport protocol, one byte.
    L4Proto = 16,
    /// Group of the incoming link, four bytes, native.
    IifGroup = 21,
    /// Group of the outgoing link, four bytes, native.
    OifGroup = 22,
}

/// What a connection is asked for, or told. Values are native.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CtKey {
    /// Bits: 1 invalid, 2 established, 4 related, 8 new, 64 untracked; four bytes.
    State = 0,
    /// 0 original, 1 reply; one byte.
    Direction = 1,
    /// Bits of `enum ip_conntrack_status`: 8 is confirmed; four bytes.
    Status = 2,
    /// The connection's mark, four bytes.
    Mark = 3,
    /// The zone that tells connections of equal addresses apart, two bytes.
    Zone = 17,
}

/// From where in the packet a payload offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Base {
    /// The Ethernet header.
    Link = 0,
    /// The IP or ARP header.
    Network = 1,
    /// The TCP, UDP or ICMP header.
    Transport = 2,
}

/// How a register is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Comparison {
    /// Equal.
    Is = 0,
    /// Not equal.
    IsNot = 1,
    /// Less, as big-endian numbers.
    Below = 2,
    /// Less or equal.
    AtMost = 3,
    /// Greater.
    Above = 4,
    /// Greater or equal.
    AtLeast = 5,
}

/// What a routing lookup gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FibResult {
    /// The outgoing link's index; with [`FibFlags::PRESENT`] one byte, 1 when there is one.
    Oif = 1,
    /// The outgoing link's name.
    OifName = 2,
    /// The kind of the address as `RTN_*`: 1 unicast, 2 local; four bytes, native.
    AddressType = 3,
}

/// What a routing lookup looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibFlags(pub u32);

/// A routing lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fib {
    /// What it looks at.
    pub flags: FibFlags,
    /// What it gives.
    pub result: FibResult,
}

/// How ports are chosen when translating (kernel, include/uapi/linux/netfilter/nf_nat.h, `NF_NAT_RANGE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatFlags(pub u32);

/// What happens to the packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// This hook's chain is done with it; it goes on.
    Accept,
    /// It is gone.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Into another chain and back.
    Jump(String),
    /// Into another chain for good.
    Goto(String),
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Reads the packet's surroundings.
    Meta(MetaKey, Register),
    /// Changes the packet's surroundings.
    SetMeta(MetaKey, Register),
    /// Reads from the packet: where, at which byte, how many.
    Payload(Base, u32, u32, Register),
    /// Writes into the packet's network header and mends the checksum at a byte of it.
    SetNetworkPayload {
        /// At which byte.
        offset: u32,
        /// How many bytes.
        bytes: u32,
        /// From where.
        from: Register,
        /// Where the header's checksum is.
        checksum_offset: u32,
        /// Whether the checksum of TCP and UDP covers these bytes (addresses).
        pseudo_header: bool,
    },
    /// Writes into the packet's network header where no checksum covers it: the hop limit of IPv6.
    SetPlainNetworkPayload {
        /// At which byte.
        offset: u32,
        /// How many bytes.
        bytes: u32,
        /// From where.
        from: Register,
    },
    /// Goes on only if the register compares. Data shorter than the register compares the beginning, which makes a
    /// match of interface names by prefix.
    Compare(Register, Comparison, Vec<u8>),
    /// Keeps the bits of the mask and flips those of the second: `(register & mask) ^ flip`.
    Bitwise(Register, Vec<u8>, Vec<u8>),
    /// Goes on only if the set holds the register.
    InSet(Register, String),
    /// Goes on only if the set does not hold the register.
    NotInSet(Register, String),
    /// Reads a value from a map, or ends the rule.
    FromMap(Register, String, Register),
    /// Reads a verdict from a map and obeys it, or ends the rule.
    VerdictMap(Register, String),
    /// Puts data into a register.
    Load(Register, Vec<u8>),
    /// Obeys a verdict.
    Verdict(Verdict),
    /// Reads the packet's connection.
    Ct(CtKey, Register),
    /// Changes the packet's connection.
    SetCt(CtKey, Register),
    /// Chooses the zone in which a packet that is not tracked yet is looked up as one of its connection's first
    /// direction; replies are looked up in the default zone. Reads two bytes, native.
    SetOriginalZone(Register),
    /// Asks the routing tables.
    Fib(Fib, Register),
    /// Translates the source to the IPv4 address in the register.
    Snat4(Register, NatFlags),
    /// Translates the source to the IPv6 address in the register.
    Snat6(Register, NatFlags),
    /// Translates the destination to the IPv4 address in the register.
    Dnat4(Register, NatFlags),
    /// Translates the destination to the IPv6 address in the register.
    Dnat6(Register, NatFlags),
    /// Puts a random number below the bound into a register, four bytes, native.
    Random(u32, Register),
    /// Counts, in the rule itself.
    Counter,
    /// Counts, in a named counter.
    NamedCounter(String),
    /// Counts, in the named counter that a map gives for the register, or ends the rule.
    CounterMap(Register, String),
}

impl Register {
    /// The first word.
    pub const FIRST: Self = Self(0);

    fn number(self) -> u32 {
        // NFT_REG32_00 is 8; the verdict register is 0.
        8 + u32::from(self.0)
    }
}

impl FibFlags {
    /// By the packet's source.
    pub const SOURCE: Self = Self(1);
    /// By the packet's destination.
    pub const DESTINATION: Self = Self(2);
    /// With the packet's mark.
    pub const MARK: Self = Self(4);
    /// Only through the incoming link.
    pub const IIF: Self = Self(8);
    /// Only through the outgoing link.
    pub const OIF: Self = Self(16);
    /// Only whether there is one.
    pub const PRESENT: Self = Self(32);
}

impl std::ops::BitOr for FibFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl NatFlags {
    /// Keeps the port where it can.
    pub const NONE: Self = Self(0);
    /// A hash of the endpoints picks the port.
    pub const RANDOM: Self = Self(4);
    /// The same address for the same client.
    pub const PERSISTENT: Self = Self(8);
    /// A random number picks the port.
    pub const FULLY_RANDOM: Self = Self(16);
}

impl Expression {
    /// Whether an interface name begins with `prefix`, or is it when `prefix` ends with a zero byte.
    #[must_use]
    pub fn name_begins(register: Register, comparison: Comparison, prefix: &str) -> Self {
        Self::Compare(register, comparison, prefix.as_bytes().to_vec())
    }

    /// Whether there is a route, as a pair of expressions: a lookup and a comparison with "none".
    #[must_use]
    pub fn no_route(flags: FibFlags, scratch: Register) -> [Self; 2] {
        let fib = Fib {
            flags: flags | FibFlags::PRESENT,
            result: FibResult::Oif,
        };
        [
            Self::Fib(fib, scratch),
            Self::Compare(scratch, Comparison::Is, vec![0; 4]),
        ]
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.text(1, self.name());
        out.nest(2, |data| self.data(data));
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta(..) | Self::SetMeta(..) => "meta",
            Self::Payload(..) | Self::SetNetworkPayload { .. } | Self::SetPlainNetworkPayload { .. } => {
                "payload"
            }
            Self::Compare(..) => "cmp",
            Self::Bitwise(..) => "bitwise",
            Self::InSet(..) | Self::NotInSet(..) | Self::FromMap(..) | Self::VerdictMap(..) => "lookup",
            Self::Load(..) | Self::Verdict(_) => "immediate",
            Self::Ct(..) | Self::SetCt(..) | Self::SetOriginalZone(_) => "ct",
            Self::Fib(..) => "fib",
            Self::Snat4(..) | Self::Snat6(..) | Self::Dnat4(..) | Self::Dnat6(..) => "nat",
            Self::Random(..) => "numgen",
            Self::Counter => "counter",
            Self::NamedCounter(_) | Self::CounterMap(..) => "objref",
        }
    }

    fn data(&self, out: &mut Encoder) {
        match self {
            Self::Meta(key, to) => pairs(out, &[(1, to.number()), (2, *key as u32)]),
            Self::SetMeta(key, from) => pairs(out, &[(2, *key as u32), (3, from.number())]),
            Self::Ct(key, to) => pairs(out, &[(1, to.number()), (2, *key as u32)]),
            Self::SetCt(key, from) => pairs(out, &[(2, *key as u32), (4, from.number())]),
            Self::SetOriginalZone(from) => {
                pairs(out, &[(2, CtKey::Zone as u32), (4, from.number())]);
                out.put(3, &[0]); // IP_CT_DIR_ORIGINAL
            }
            Self::Fib(fib, to) => pairs(out, &[(1, to.number()), (2, fib.result as u32), (3, fib.flags.0)]),
            Self::Random(bound, to) => pairs(out, &[(1, to.number()), (2, *bound), (3, 1)]),
            Self::Snat4(address, flags) => nat(out, 0, 2, *address, *flags),
            Self::Snat6(address, flags) => nat(out, 0, 10, *address, *flags),
            Self::Dnat4(address, flags) => nat(out, 1, 2, *address, *flags),
            Self::Dnat6(address, flags) => nat(out, 1, 10, *address, *flags),
            Self::Payload(base, offset, bytes, to) => pairs(
                out,
                &[(1, to.number()), (2, *base as u32), (3, *offset), (4, *bytes)],
            ),
            Self::SetNetworkPayload {
                offset,
                bytes,
                from,
                checksum_offset,
                pseudo_header,
            } => {
                write_payload(out, *offset, *bytes, *from);
                pairs(
                    out,
                    &[
                        (6, 1), // NFT_PAYLOAD_CSUM_INET
                        (7, *checksum_offset),
                        (8, u32::from(*pseudo_header)), // NFT_PAYLOAD_L4CSUM_PSEUDOHDR
                    ],
                );
            }
            Self::SetPlainNetworkPayload { offset, bytes, from } => {
                write_payload(out, *offset, *bytes, *from);
                out.number(6, 0); // NFT_PAYLOAD_CSUM_NONE
            }
            Self::Compare(register, comparison, data) => {
                pairs(out, &[(1, register.number()), (2, *comparison as u32)]);
                value(out, 3, data);
            }
            Self::Bitwise(register, mask, flip) => bitwise(out, *register, mask, flip),
            Self::InSet(key, set) => lookup(out, *key, set, &[]),
            Self::NotInSet(key, set) => lookup(out, *key, set, &[(5, 1)]),
            Self::FromMap(key, map, to) => lookup(out, *key, map, &[(3, to.number())]),
            Self::VerdictMap(key, map) => lookup(out, *key, map, &[(3, 0)]),
            Self::Load(to, data) => {
                out.number(1, to.number());
                value(out, 2, data);
            }
            Self::Verdict(verdict) => {
                out.number(1, 0);
                verdict.encode(out, 2);
            }
            Self::Counter => {}
            Self::NamedCounter(name) => {
                out.number(1, super::batch::COUNTER_OBJECT);
                out.text(2, name);
            }
            Self::CounterMap(key, map) => {
                out.number(3, key.number());
                out.text(4, map);
            }
        }
    }
}

impl Verdict {
    /// Writes the verdict as data under an attribute of this kind.
    pub(super) fn encode(&self, out: &mut Encoder, kind: u16) {
        let (code, chain) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5_i32, None),
        };
        out.nest(kind, |data| {
            data.nest(2, |verdict| {
                verdict.put(1, &code.to_be_bytes());
                if let Some(chain) = chain {
                    verdict.text(2, chain);
                }
            });
        });
    }
}

/// Writes a value as data under an attribute of this kind.
pub(super) fn value(out: &mut Encoder, kind: u16, bytes: &[u8]) {
    out.nest(kind, |data| data.put(1, bytes));
}

fn pairs(out: &mut Encoder, numbers: &[(u16, u32)]) {
    for (kind, number) in numbers {
        out.number(*kind, *number);
    }
}

/// Where a payload is written in the network header, and from where.
fn write_payload(out: &mut Encoder, offset: u32, bytes: u32, from: Register) {
    let place = [
        (2, Base::Network as u32),
        (3, offset),
        (4, bytes),
        (5, from.number()),
    ];
    pairs(out, &place);
}

fn nat(out: &mut Encoder, direction: u32, family: u32, address: Register, flags: NatFlags) {
    pairs(out, &[(1, direction), (2, family), (3, address.number())]);
    if flags != NatFlags::NONE {
        out.number(7, flags.0);
    }
}

fn lookup(out: &mut Encoder, key: Register, set: &str, more: &[(u16, u32)]) {
    out.text(1, set);
    out.number(2, key.number());
    pairs(out, more);
}

fn bitwise(out: &mut Encoder, register: Register, mask: &[u8], flip: &[u8]) {
    let bytes = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    pairs(out, &[(1, register.number()), (2, register.number()), (3, bytes)]);
    value(out, 4, mask);
    value(out, 5, flip);
}
