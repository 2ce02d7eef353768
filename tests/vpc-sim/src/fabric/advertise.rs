//! Router advertisements (RFC 4861): by them an instance learns its IPv6 default route. Addresses come by DHCPv6 on EC2, so
//! no prefix is advertised and the managed flag is set.
//!
//! Each solicitation is answered on the link it came from, and every link hears one now and then. Links of subnets without
//! IPv6 have no router and hear nothing. Left out: DHCPv6 itself, which the harness plays.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink::{Address, Mac, Routing};
use nix::libc::{in6_addr, in6_pktinfo};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, recvmsg, sendmsg,
    socket,
};
use tokio::net::UdpSocket;

use super::Error;
use super::eni::{MTU_BYTES, ROUTER_IPV6};
use super::error::kernel;

/// All nodes of a link (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Types of ICMPv6 (RFC 4861, section 4).
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// Neighbour discovery believes only packets that crossed no router (RFC 4861, section 6.1).
const HOP_LIMIT: i32 = 255;
/// What hosts put into their own packets (RFC 4861, section 4.2; 64 is IANA's).
const HOST_HOP_LIMIT: u8 = 64;
/// Addresses are given by DHCPv6.
const MANAGED: u8 = 0x80;
/// How long the route holds, in seconds (RFC 4861, AdvDefaultLifetime).
const LIFETIME_SECONDS: u16 = 1800;
/// Between two that nobody asked for (RFC 4861, MinRtrAdvInterval's default).
const INTERVAL: Duration = Duration::from_secs(198);

/// The router's voice on every link of a fabric.
#[derive(Debug)]
pub struct Advertiser {
    socket: UdpSocket,
    routing: Routing,
}

impl Advertiser {
    /// Opens the socket in the fabric's namespace.
    ///
    /// # Errors
    /// When the namespace or the kernel refuses it.
    pub(super) fn open(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let open = || -> std::io::Result<UdpSocket> {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let raw = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
            // The standard library has no raw sockets; what it does with this one are the calls that all sockets know.
            UdpSocket::from_std(raw.into())
        };
        let opened = netlink::netns::inside(namespace, open).map_err(|source| Error::Namespace { source })?;
        Ok(Self {
            socket: opened.map_err(|source| Error::Listen {
                address: SocketAddrV6::new(ROUTER_IPV6, 0, 0, 0).into(),
                source,
            })?,
            routing: Routing::open_in(namespace).map_err(kernel)?,
        })
    }

    /// Advertises until dropped.
    pub async fn advertise(self) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = interval.tick() => {
                    let links = self.routing.links().await;
                    for link in links.unwrap_or_default() {
                        self.tell(link.index).await;
                    }
                }
                index = self.solicitation() => self.tell(index).await,
            }
        }
    }

    /// The MAC of the router, on a link that has it.
    async fn router(&self, index: u32) -> Option<Mac> {
        let addresses = self.routing.addresses(Some(index)).await.ok()?;
        let is_router = |address: &Address| address.address.addr() == IpAddr::V6(ROUTER_IPV6);
        if !addresses.iter().any(is_router) {
            return None;
        }
        self.routing.link_by_index(index).await.ok()??.mac
    }

    /// The link that the next solicitation comes from.
    async fn solicitation(&self) -> u32 {
        loop {
            let received = self.socket.async_io(tokio::io::Interest::READABLE, || {
                let mut message = [0; 1500];
                let mut parts = [IoSliceMut::new(&mut message)];
                let received =
                    recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut parts, None, MsgFlags::empty())?;
                let from = received.address;
                Ok((message.first().copied(), from))
            });
            if let Ok((Some(SOLICITATION), Some(from))) = received.await {
                return from.scope_id();
            }
        }
    }

    /// One advertisement on one link, if it has the router. A link that goes meanwhile hears nothing, and that is right.
    async fn tell(&self, index: u32) {
        let Some(mac) = self.router(index).await else {
            return;
        };
        let message = advertisement(mac);
        let to = SockaddrIn6::from(SocketAddrV6::new(ALL_NODES, 0, 0, index));
        let from = in6_pktinfo {
            ipi6_addr: in6_addr {
                s6_addr: ROUTER_IPV6.octets(),
            },
            ipi6_ifindex: index,
        };
        let sent = self.socket.async_io(tokio::io::Interest::WRITABLE, || {
            let words = [
                ControlMessage::Ipv6PacketInfo(&from),
                ControlMessage::Ipv6HopLimit(&HOP_LIMIT),
            ];
            let parts = [IoSlice::new(&message)];
            Ok(sendmsg(
                self.socket.as_raw_fd(),
                &parts,
                &words,
                MsgFlags::empty(),
                Some(&to),
            )?)
        });
        drop(sent.await);
    }
}

/// The message, but for its checksum, which the kernel fills in (RFC 4861, sections 4.2, 4.6.1 and 4.6.4).
fn advertisement(mac: Mac) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, HOST_HOP_LIMIT, MANAGED];
    message.extend(LIFETIME_SECONDS.to_be_bytes());
    // Reachable time and retransmission timer: left to the host.
    message.extend([0; 8]);
    // The router's MAC, then the link's MTU; lengths count eight bytes.
    message.extend([1, 1]);
    message.extend(mac.0);
    message.extend([5, 1, 0, 0]);
    message.extend(MTU_BYTES.to_be_bytes());
    message
}
