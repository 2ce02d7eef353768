//! The socket that speaks to nf_tables: one transaction or list at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::batch::{Batch, SUBSYSTEM};
use super::encode::{Encoder, Header, Message, attributes, messages};
use super::error::Error;
use super::table::Family;
use crate::netns;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The error repeats only our header (`NLM_F_CAPPED`), 16 bytes, before its own attributes.
const ECHOED_HEADER_BYTES: usize = 16;

/// Room for one datagram: the kernel fills lists in pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// What a transaction may be long: the default of 208 KiB holds some 2,000 elements.
const SEND_BYTES: usize = 8 * 1024 * 1024;

/// Room for errors: each message of a transaction may bring one.
const RECEIVE_BYTES: usize = 1024 * 1024;

/// The kernel answers before `send` returns, so an answer that is not there was lost; never wait for ever.
const ANSWER_SECONDS: i64 = 10;

/// How often an interrupted list is tried.
const LIST_ATTEMPTS: u32 = 8;

/// An open nftables socket, and by it the owner of the tables that it created as owned.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
    datagram: Vec<u8>,
    sequence: u32,
}

impl Nftables {
    /// A socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        let socket = socket().map_err(Error::Open)?;
        Ok(Self {
            socket,
            datagram: Vec::with_capacity(DATAGRAM_BYTES),
            sequence: 0,
        })
    }

    /// A socket in `namespace`; the calling thread is back in its own when this returns.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses the socket.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        netns::inside(namespace, Self::open).map_err(Error::Namespace)?
    }

    /// Makes the transaction happen, whole or not at all. An empty one is nothing.
    ///
    /// # Errors
    /// When the kernel refuses a message (the error names it), or the socket fails.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let attempt = || batch.describe(0);
        self.send(&batch.datagram()?, &attempt)?;
        loop {
            let answer = messages(self.receive(&attempt)?)
                .find(|message| message.message_type == NLMSG_ERROR)
                .map(|message| refusal(&message));
            // Refusals come in the order of their messages, and the only acknowledgement asked for is the last's.
            match answer {
                None => {}
                Some(None) => return Ok(()),
                Some(Some(refusal)) => {
                    self.drain();
                    return Err(Error::Refused {
                        attempt: batch.describe(refusal.sequence),
                        explained: refusal.explained,
                        errno: refusal.errno,
                    });
                }
            }
        }
    }

    /// Asks for a list and gives each message's body to `decode`.
    pub(super) fn list<T>(
        &mut self,
        request: &Request<'_>,
        decode: impl Fn(Family, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..LIST_ATTEMPTS {
            if let Some(found) = self.list_once(request, &decode)? {
                return Ok(found);
            }
        }
        Err(Error::Interrupted {
            attempt: request.attempt.to_owned(),
            attempts: LIST_ATTEMPTS,
        })
    }

    /// The list, or none when it changed meanwhile.
    fn list_once<T>(
        &mut self,
        request: &Request<'_>,
        decode: &impl Fn(Family, &[u8]) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let attempt = || request.attempt.to_owned();
        self.send(&request.encode(sequence), &attempt)?;
        let (mut found, mut whole) = (Vec::new(), true);
        loop {
            let datagram = self.receive(&attempt)?;
            for message in messages(datagram).filter(|message| message.sequence == sequence) {
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.message_type {
                    NLMSG_DONE => return Ok(whole.then_some(found)),
                    NLMSG_ERROR => {
                        return refusal(&message).map_or(Ok(Some(Vec::new())), |refusal| {
                            Err(Error::Refused {
                                attempt: attempt(),
                                explained: refusal.explained,
                                errno: refusal.errno,
                            })
                        });
                    }
                    _ => found.extend(body(&message).and_then(|(family, body)| decode(family, body))),
                }
            }
        }
    }

    fn send(&self, datagram: &[u8], attempt: &impl Fn() -> String) -> Result<(), Error> {
        self.socket
            .send_to(datagram, &SocketAddr::new(0, 0), 0)
            .map(drop)
            .map_err(|source| Error::Socket {
                attempt: attempt(),
                source,
            })
    }

    fn receive(&mut self, attempt: &impl Fn() -> String) -> Result<&[u8], Error> {
        self.datagram.clear();
        self.socket
            .recv(&mut self.datagram, 0)
            .map_err(|source| Error::Socket {
                attempt: attempt(),
                source,
            })?;
        Ok(&self.datagram)
    }

    /// Throws away what is left of the answers to a refused transaction.
    fn drain(&mut self) {
        let now = nix::sys::socket::MsgFlags::MSG_DONTWAIT.bits();
        loop {
            self.datagram.clear();
            if self.socket.recv(&mut self.datagram, now).is_err() {
                return;
            }
        }
    }
}

/// A request for a list.
pub(super) struct Request<'a> {
    pub(super) attempt: &'a str,
    /// `NFT_MSG_GET*`.
    pub(super) kind: u16,
    /// All families when none.
    pub(super) family: Option<Family>,
    /// Text attributes that narrow it.
    pub(super) names: &'a [(u16, &'a str)],
}

impl Request<'_> {
    fn encode(&self, sequence: u32) -> Vec<u8> {
        let header = Header {
            message_type: SUBSYSTEM << 8 | self.kind,
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            sequence,
            family: self.family.map_or(0, |family| family as u8),
            resource: 0,
        };
        let mut out = Encoder::default();
        out.message(header, |body| {
            for (kind, name) in self.names {
                body.text(*kind, name);
            }
        });
        out.bytes
    }
}

struct Refusal {
    sequence: u32,
    errno: Errno,
    explained: String,
}

/// What an error message says; an acknowledgement is an error of 0.
fn refusal(message: &Message<'_>) -> Option<Refusal> {
    let code = i32::from_ne_bytes(message.body.get(0..4)?.try_into().ok()?);
    if code == 0 {
        return None;
    }
    let details = message.body.get(4 + ECHOED_HEADER_BYTES..).unwrap_or_default();
    let explained = attributes(details).find(|(kind, _)| *kind == 1);
    Some(Refusal {
        sequence: message.sequence,
        errno: Errno::from_raw(code.saturating_neg()),
        explained: explained
            .map_or("", |(_, words)| super::decode::text(words))
            .to_owned(),
    })
}

/// A listed thing's family and attributes, behind nfnetlink's header of four bytes.
fn body<'a>(message: &Message<'a>) -> Option<(Family, &'a [u8])> {
    let family = match message.body.first()? {
        1 => Family::Inet,
        2 => Family::Ip,
        3 => Family::Arp,
        10 => Family::Ip6,
        _ => return None,
    };
    Some((family, message.body.get(4..)?))
}

fn socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    let descriptor = socket.as_fd();
    if setsockopt(&descriptor, sockopt::SndBufForce, &SEND_BYTES).is_err() {
        // Without the privilege the kernel's own limit holds, and so a transaction may be refused as too long.
        setsockopt(&descriptor, sockopt::SndBuf, &SEND_BYTES)?;
    }
    setsockopt(&descriptor, sockopt::RcvBuf, &RECEIVE_BYTES)?;
    setsockopt(
        &descriptor,
        sockopt::ReceiveTimeout,
        &TimeVal::new(ANSWER_SECONDS, 0),
    )?;
    Ok(socket)
}
