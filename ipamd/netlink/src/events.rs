//! Notices that something changed in the kernel: what kind of thing, not what exactly. Whoever listens looks again.
//!
//! Only message types are read, so a burst of changes costs next to nothing.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::errno::Errno;

use crate::error::Error;
use crate::netns;

/// Notices are at most this long; the kernel cuts a datagram to it.
const NOTICE_BYTES: usize = 32 * 1024;

/// Multicast groups of NETLINK_ROUTE (kernel, include/uapi/linux/rtnetlink.h, `RTNLGRP_*`).
const ROUTE_GROUPS: [u32; 8] = [
    1,  // RTNLGRP_LINK
    3,  // RTNLGRP_NEIGH
    5,  // RTNLGRP_IPV4_IFADDR
    7,  // RTNLGRP_IPV4_ROUTE
    8,  // RTNLGRP_IPV4_RULE
    9,  // RTNLGRP_IPV6_IFADDR
    11, // RTNLGRP_IPV6_ROUTE
    19, // RTNLGRP_IPV6_RULE
];

/// The group of nftables changes (kernel, include/uapi/linux/netfilter/nfnetlink.h, `NFNLGRP_NFTABLES`).
const NFTABLES_GROUP: u32 = 7;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// A link came, went or changed.
    Links,
    /// An address came or went.
    Addresses,
    /// A route came or went.
    Routes,
    /// A policy rule came or went.
    Rules,
    /// A neighbour entry came, went or changed its state.
    Neighbours,
    /// Something in nftables.
    Firewall,
    /// So much at once that notices were lost: look at everything.
    Everything,
}

/// A subscription.
pub struct Events {
    routing: TokioSocket,
    firewall: TokioSocket,
    ready: VecDeque<Changed>,
    datagram: Vec<u8>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

impl Events {
    /// Subscribes in the calling thread's namespace.
    ///
    /// # Errors
    /// When the kernel refuses the sockets.
    pub fn open() -> Result<Self, Error> {
        let opened = |what| move |source| Error::Open { what, source };
        Ok(Self {
            routing: subscribe(NETLINK_ROUTE, &ROUTE_GROUPS).map_err(opened("routing notices"))?,
            firewall: subscribe(NETLINK_NETFILTER, &[NFTABLES_GROUP]).map_err(opened("nftables notices"))?,
            ready: VecDeque::new(),
            datagram: Vec::with_capacity(NOTICE_BYTES),
        })
    }

    /// Subscribes in another namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses the sockets.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        netns::inside(namespace, Self::open).map_err(|source| Error::Namespace {
            what: "notices",
            source,
        })?
    }

    /// Waits for the next change. Several changes of one kind in one datagram are one notice. Safe to drop and call
    /// again.
    ///
    /// # Errors
    /// When a socket fails for another reason than an overflow, which is [`Changed::Everything`].
    pub async fn next(&mut self) -> io::Result<Changed> {
        loop {
            if let Some(changed) = self.ready.pop_front() {
                return Ok(changed);
            }
            let notice = poll_fn(|context| self.poll_datagram(context)).await;
            match notice {
                Ok(kinds) => self.ready.extend(kinds),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Ok(Changed::Everything);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn poll_datagram(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Vec<Changed>>> {
        self.datagram.clear();
        if let Poll::Ready(got) = self.routing.poll_recv_from(context, &mut self.datagram) {
            return Poll::Ready(got.map(|_| kinds(&self.datagram, routing_kind)));
        }
        if let Poll::Ready(got) = self.firewall.poll_recv_from(context, &mut self.datagram) {
            return Poll::Ready(got.map(|_| vec![Changed::Firewall]));
        }
        Poll::Pending
    }
}

fn subscribe(protocol: isize, groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    let inner = socket.socket_mut();
    inner.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        inner.add_membership(*group)?;
    }
    Ok(socket)
}

/// The kinds of the messages of one datagram, without repetition.
fn kinds(mut datagram: &[u8], kind: impl Fn(u16) -> Option<Changed>) -> Vec<Changed> {
    let mut kinds = Vec::new();
    while let Some((length, message_type)) = header(datagram) {
        kinds.extend(kind(message_type).filter(|kind| !kinds.contains(kind)));
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    kinds
}

/// Length and type of the first message (kernel, include/uapi/linux/netlink.h, `struct nlmsghdr`).
fn header(datagram: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(datagram.get(0..4)?.try_into().ok()?);
    let message_type = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    (length >= 16).then_some((usize::try_from(length).ok()?, message_type))
}

/// Message types (kernel, include/uapi/linux/rtnetlink.h, `RTM_NEW*` and `RTM_DEL*`).
fn routing_kind(message_type: u16) -> Option<Changed> {
    match message_type {
        16 | 17 => Some(Changed::Links),
        20 | 21 => Some(Changed::Addresses),
        24 | 25 => Some(Changed::Routes),
        28 | 29 => Some(Changed::Neighbours),
        32 | 33 => Some(Changed::Rules),
        _ => None,
    }
}
