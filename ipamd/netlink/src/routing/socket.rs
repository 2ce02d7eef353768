//! The socket beneath [`super::Routing`]: one request at a time, each answered before the next is sent.
//!
//! The kernel does all of a request's work within `send`, and of a list's within `recv`, so waiting for a socket to become
//! readable would only add system calls: the answer is there. The socket blocks, with a bound for an answer that was lost.

use std::io;

use netlink_packet_core::{NetlinkHeader, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::sys::time::TimeVal;

/// Room for one datagram: the kernel fills lists in pieces of at most 32 KiB.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// The kernel answers before `send` returns, so an answer that is not there was lost; never wait for ever.
const ANSWER_SECONDS: i64 = 10;

/// Messages of a datagram begin at multiples of this (kernel, include/uapi/linux/netlink.h, `NLMSG_ALIGNTO`).
const ALIGNMENT: usize = 4;

#[derive(Debug)]
pub(super) struct RoutingSocket {
    socket: Socket,
    datagram: Vec<u8>,
    sequence: u32,
}

impl RoutingSocket {
    /// Makes the socket say why it refuses (extended acknowledgement) without echoing our own bytes (capped), and check
    /// dump requests strictly.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_SECONDS, 0))?;
        Ok(Self {
            socket,
            datagram: Vec::with_capacity(DATAGRAM_BYTES),
            sequence: 0,
        })
    }

    /// Sends a request and hands every message of its answer to `hear`, until that is content.
    pub(super) fn ask(
        &mut self,
        mut request: NetlinkMessage<RouteNetlinkMessage>,
        mut hear: impl FnMut(NetlinkMessage<RouteNetlinkMessage>) -> Hearing,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        request.header.sequence_number = self.sequence;
        request.finalize();
        self.datagram.clear();
        self.datagram.resize(request.buffer_len(), 0);
        request.serialize(&mut self.datagram);
        self.socket.send(&self.datagram, 0)?;
        loop {
            self.receive()?;
            for message in messages(&self.datagram) {
                let message = message?;
                // Whatever is left of an earlier request that was given up is nobody's.
                if message.header.sequence_number == self.sequence && hear(message) == Hearing::Done {
                    return Ok(());
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        self.datagram.clear();
        let length = loop {
            match self.socket.recv(&mut self.datagram, MsgFlags::MSG_TRUNC.bits()) {
                // The kernel does not try a socket with a bound again after a signal.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        if length > self.datagram.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a datagram longer than the kernel should send",
            ));
        }
        Ok(())
    }
}

/// Whether an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// That was all.
    Done,
    /// More will come.
    More,
}

/// The messages of a datagram.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = io::Result<NetlinkMessage<RouteNetlinkMessage>>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = NetlinkMessage::deserialize(rest);
        let length = message.as_ref().map_or(0, |message| length(&message.header));
        // What cannot be read ends the datagram: nobody knows where the next message begins.
        rest = rest
            .get(length.next_multiple_of(ALIGNMENT)..)
            .filter(|_| length > 0)
            .unwrap_or_default();
        Some(message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)))
    })
}

fn length(header: &NetlinkHeader) -> usize {
    usize::try_from(header.length).unwrap_or(usize::MAX / 2)
}
