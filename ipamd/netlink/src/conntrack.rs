//! Connection tracking: forgets the flows of addresses that change hands.
//!
//! Flows are found by a list, of all of them where there are few, and otherwise narrowed by the kernel where it can (5.8 and
//! later); it is checked here in any case,
//! and deleted one by one, by the tuple and the id that the list gave: every kernel understands that.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::Family;
use crate::nft::encode::{Encoder, Header, Message, attributes, messages};

/// `NFNL_SUBSYS_CTNETLINK` (kernel, include/uapi/linux/netfilter/nfnetlink.h), as the high byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
/// Message types and attributes of include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const GET_STATS: u16 = SUBSYSTEM | 5;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// `CTA_FILTER_F_CTA_IP_SRC` (kernel, net/netfilter/nf_internals.h).
const BY_SOURCE: u32 = 1;
/// Set on every nest (kernel, include/uapi/linux/netlink.h, `NLA_F_NESTED`).
const NLA_F_NESTED: u16 = 0x8000;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;

/// Room for one datagram: the kernel fills lists in pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Each acknowledgement is its own datagram, so no more deletions than this are sent before they are read.
const DELETIONS_AT_ONCE: usize = 64;

/// The kernel answers before `send` returns, so an answer that is not there was lost; never wait for ever.
const ANSWER_SECONDS: i64 = 10;

/// Addresses up to which each gets its own narrowed lists. Each list walks the whole hash table, which all namespaces share
/// (4.5 ms for 262,144 buckets, measured), so beyond it one list of everything is cheaper.
const NARROWED: usize = 8;

/// Flows up to which one list of everything is taken: each costs half a microsecond (measured), so it is cheaper than the two
/// walks of a single address up to some nine thousand.
const FEW_FLOWS: u32 = 4096;

/// Why flows could not be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket.
    #[error("open a connection-tracking socket")]
    Open(#[source] io::Error),
    /// The socket failed.
    #[error("{attempt}: speak to connection tracking")]
    Socket {
        /// What was attempted.
        attempt: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("{attempt}")]
    Refused {
        /// What was attempted.
        attempt: &'static str,
        /// Its error number.
        source: Errno,
    },
}

/// A flow, as deleting it needs it.
struct Flow {
    family: Family,
    tuple: Vec<u8>,
    id: Vec<u8>,
}

/// A direction of a flow, in which an address may be the source.
#[derive(Clone, Copy)]
enum Direction {
    Original,
    Reply,
}

/// An open connection-tracking socket of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    datagram: Vec<u8>,
    sequence: u32,
}

impl Conntrack {
    /// A socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: socket().map_err(Error::Open)?,
            datagram: Vec::with_capacity(DATAGRAM_BYTES),
            sequence: 0,
        })
    }

    /// Forgets every flow that one of the addresses began or answers; says how many there were. Already gone is
    /// success.
    ///
    /// # Errors
    /// When the kernel refuses; some flows may be gone by then.
    pub fn forget(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<usize, Error> {
        let flows = self.flows(addresses)?;
        for some in flows.chunks(DELETIONS_AT_ONCE) {
            self.delete(some)?;
        }
        Ok(flows.len())
    }

    /// How many flows one of the addresses began or answers.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn count(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<usize, Error> {
        Ok(self.flows(addresses)?.len())
    }

    fn flows(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<Vec<Flow>, Error> {
        let most = if self.entries()? <= FEW_FLOWS { 0 } else { NARROWED };
        let mut flows = Vec::new();
        for family in [Family::V4, Family::V6] {
            let of_family = addresses.iter().filter(|address| Family::of(**address) == family);
            let addresses: BTreeSet<IpAddr> = of_family.copied().collect();
            if addresses.is_empty() {
                continue;
            }
            if addresses.len() > most {
                flows.extend(self.list(family, &addresses, None)?);
                continue;
            }
            for address in addresses {
                for direction in [Direction::Original, Direction::Reply] {
                    let one = BTreeSet::from([address]);
                    flows.extend(self.list(family, &one, Some((address, direction)))?);
                }
            }
        }
        Ok(flows)
    }

    /// How many flows there are in this namespace.
    fn entries(&mut self) -> Result<u32, Error> {
        const ATTEMPT: &str = "count connections";
        let mut out = Encoder::default();
        let header = self.header(Family::V4, GET_STATS, NLM_F_REQUEST);
        out.message(header, |_| {});
        self.send(&out.bytes, ATTEMPT)?;
        let sequence = self.sequence;
        loop {
            let mut answers = messages(self.receive(ATTEMPT)?);
            let answer = answers.find(|message| message.sequence == sequence);
            // A refusal, and what cannot be read, count as many: then lists are narrowed.
            if let Some(message) = answer {
                return Ok(entries(&message).unwrap_or(u32::MAX));
            }
        }
    }

    /// The flows of one family, of one source or of all.
    fn list(
        &mut self,
        family: Family,
        addresses: &BTreeSet<IpAddr>,
        narrowed: Option<(IpAddr, Direction)>,
    ) -> Result<Vec<Flow>, Error> {
        const ATTEMPT: &str = "list connections";
        let mut out = Encoder::default();
        let header = self.header(family, GET, NLM_F_REQUEST | NLM_F_DUMP);
        out.message(header, |body| {
            if let Some((address, direction)) = narrowed {
                by_source(body, address, direction);
            }
        });
        self.send(&out.bytes, ATTEMPT)?;
        let mut flows = Vec::new();
        loop {
            let sequence = self.sequence;
            for message in messages(self.receive(ATTEMPT)?).filter(|message| message.sequence == sequence) {
                match message.message_type {
                    NLMSG_DONE => return Ok(flows),
                    NLMSG_ERROR => {
                        return refused(&message, ATTEMPT).map_or(Ok(flows), Err);
                    }
                    _ => flows.extend(flow(family, &message, addresses)),
                }
            }
        }
    }

    fn delete(&mut self, flows: &[Flow]) -> Result<(), Error> {
        const ATTEMPT: &str = "delete a connection";
        let mut out = Encoder::default();
        for flow in flows {
            let header = self.header(flow.family, DELETE, NLM_F_REQUEST | NLM_F_ACK);
            out.message(header, |body| {
                body.put(CTA_TUPLE_ORIG | NLA_F_NESTED, &flow.tuple);
                body.put(CTA_ID, &flow.id);
            });
        }
        self.send(&out.bytes, ATTEMPT)?;
        let mut left = flows.len();
        while left > 0 {
            for message in messages(self.receive(ATTEMPT)?) {
                if message.message_type == NLMSG_ERROR {
                    left = left.saturating_sub(1);
                    match refused(&message, ATTEMPT) {
                        None
                        | Some(Error::Refused {
                            source: Errno::ENOENT,
                            ..
                        }) => {}
                        Some(refusal) => return Err(refusal),
                    }
                }
            }
        }
        Ok(())
    }

    fn header(&mut self, family: Family, message_type: u16, flags: u16) -> Header {
        self.sequence = self.sequence.wrapping_add(1);
        Header {
            message_type,
            flags,
            sequence: self.sequence,
            family: family.number().into(),
            resource: 0,
        }
    }

    fn send(&self, datagram: &[u8], attempt: &'static str) -> Result<(), Error> {
        let sent = self.socket.send_to(datagram, &SocketAddr::new(0, 0), 0);
        sent.map(drop).map_err(|source| Error::Socket { attempt, source })
    }

    fn receive(&mut self, attempt: &'static str) -> Result<&[u8], Error> {
        self.datagram.clear();
        let received = self.socket.recv(&mut self.datagram, 0);
        received.map_err(|source| Error::Socket { attempt, source })?;
        Ok(&self.datagram)
    }
}

/// Asks for flows with this source in this direction only.
fn by_source(body: &mut Encoder, address: IpAddr, direction: Direction) {
    let (tuple, flags) = match direction {
        Direction::Original => (CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS),
        Direction::Reply => (CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS),
    };
    body.nest(tuple, |tuple| {
        tuple.nest(CTA_TUPLE_IP, |ip| match address {
            IpAddr::V4(address) => ip.put(CTA_IP_V4_SRC, &address.octets()),
            IpAddr::V6(address) => ip.put(CTA_IP_V6_SRC, &address.octets()),
        });
    });
    body.nest(CTA_FILTER, |filter| {
        for each in [CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS] {
            let chosen = if each == flags { BY_SOURCE } else { 0 };
            filter.put(each, &chosen.to_ne_bytes());
        }
    });
}

/// The number in an answer to [`GET_STATS`], in network byte order.
fn entries(message: &Message<'_>) -> Option<u32> {
    (message.message_type == GET_STATS).then_some(())?;
    let body = message.body.get(4..)?;
    let (_, count) = attributes(body).find(|(kind, _)| *kind == CTA_STATS_GLOBAL_ENTRIES)?;
    Some(u32::from_be_bytes(count.try_into().ok()?))
}

/// The flow of a listed message, if one of the addresses is a source in it.
fn flow(family: Family, message: &Message<'_>, addresses: &BTreeSet<IpAddr>) -> Option<Flow> {
    let body = message.body.get(4..)?;
    let value = |wanted| {
        attributes(body)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let original = value(CTA_TUPLE_ORIG)?;
    let sources = [Some(original), value(CTA_TUPLE_REPLY)].into_iter().flatten();
    let mut sources = sources.filter_map(source);
    sources.any(|source| addresses.contains(&source)).then_some(())?;
    Some(Flow {
        family,
        tuple: original.to_vec(),
        id: value(CTA_ID)?.to_vec(),
    })
}

fn source(tuple: &[u8]) -> Option<IpAddr> {
    let (_, ip) = attributes(tuple).find(|(kind, _)| *kind == CTA_TUPLE_IP)?;
    attributes(ip).find_map(|(kind, source)| match kind {
        CTA_IP_V4_SRC => <[u8; 4]>::try_from(source).ok().map(IpAddr::from),
        CTA_IP_V6_SRC => <[u8; 16]>::try_from(source).ok().map(IpAddr::from),
        _ => None,
    })
}

/// What an error message says; an acknowledgement is an error of 0.
fn refused(message: &Message<'_>, attempt: &'static str) -> Option<Error> {
    let code = i32::from_ne_bytes(message.body.get(0..4)?.try_into().ok()?);
    (code != 0).then(|| Error::Refused {
        attempt,
        source: Errno::from_raw(code.saturating_neg()),
    })
}

fn socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS, 0))?;
    Ok(socket)
}
