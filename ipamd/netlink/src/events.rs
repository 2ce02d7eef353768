//! Notices that something changed in the kernel. Of links and routes they say which, because those of pods come and go
//! all the time and whoever listens may know them; of the rest only what kind of thing. Whoever listens looks again.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::errno::Errno;

use crate::error::Error;
use crate::netns;
use crate::routing::link::{self, Link};
use crate::routing::route::{self, Route};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// This happened to a link.
    Link(Link, LinkStep),
    /// An address came or went, other than an IPv6 one that the kernel gives a link by itself.
    Addresses,
    /// A route came, or took the place of another.
    RouteCame(Route),
    /// A route went. Those that go with their device are not told of in IPv4.
    RouteWent(Route),
    /// A policy rule came or went.
    Rules,
    /// A neighbour entry came, went or changed its state.
    Neighbours,
    /// Something in nftables.
    Firewall,
    /// So much at once that notices were lost: look at everything.
    Everything,
}

/// What happened to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStep {
    /// It is new.
    Created,
    /// It was set up.
    WentUp,
    /// It was set down.
    WentDown,
    /// It is gone.
    Deleted,
    /// Something else of it changed.
    Other,
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

    /// Waits for the next change. Safe to drop and call again.
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
            return Poll::Ready(got.map(|_| changes(&self.datagram)));
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

/// What the messages of one datagram say. What cannot be read may be about anything.
fn changes(mut datagram: &[u8]) -> Vec<Changed> {
    let mut changes = Vec::new();
    while let Some(length) = length(datagram) {
        let message = datagram.get(..length).unwrap_or(datagram);
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => changes.extend(change(message)),
            Ok(_) => {}
            Err(_) => changes.push(Changed::Everything),
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    changes
}

/// The length of the first message (kernel, include/uapi/linux/netlink.h, `struct nlmsghdr`).
fn length(datagram: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(datagram.get(0..4)?.try_into().ok()?);
    (length >= 16).then_some(usize::try_from(length).ok()?)
}

/// Every link with IPv6 gets one of these, and loses it with its state.
fn is_link_local6(message: &AddressMessage) -> bool {
    message.header.family == AddressFamily::Inet6 && message.header.scope == AddressScope::Link
}

fn change(message: RouteNetlinkMessage) -> Option<Changed> {
    use RouteNetlinkMessage as M;
    match message {
        M::NewLink(message) => Some(of_link(message, step)),
        M::DelLink(message) => Some(of_link(message, |_| LinkStep::Deleted)),
        M::NewAddress(message) | M::DelAddress(message) => {
            (!is_link_local6(&message)).then_some(Changed::Addresses)
        }
        M::NewRoute(message) => route::decode(message).map(Changed::RouteCame),
        M::DelRoute(message) => route::decode(message).map(Changed::RouteWent),
        M::NewNeighbour(_) | M::DelNeighbour(_) => Some(Changed::Neighbours),
        M::NewRule(_) | M::DelRule(_) => Some(Changed::Rules),
        _ => None,
    }
}

fn of_link(message: LinkMessage, step: impl Fn(&LinkHeader) -> LinkStep) -> Changed {
    let step = step(&message.header);
    Changed::Link(link::decode(message), step)
}

/// A new link's notice says that all its flags changed (kernel, net/core/rtnetlink.c, `rtnl_configure_link`).
fn step(header: &LinkHeader) -> LinkStep {
    let is_up = header.flags.contains(LinkFlags::Up);
    match header.change_mask {
        changed if changed.bits() == u32::MAX => LinkStep::Created,
        changed if changed.contains(LinkFlags::Up) && is_up => LinkStep::WentUp,
        changed if changed.contains(LinkFlags::Up) => LinkStep::WentDown,
        _ => LinkStep::Other,
    }
}
