//! Sockets inside the fabric, for whoever serves there: instance metadata, the EC2 API, an API server, DNS.
//!
//! A socket stays in the namespace it was opened in, so its server needs no network of its own. The peer address of a
//! connection names the ENI, and so the instance, because the source check already holds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ipnet::IpNet;
use netlink::events::Events;
use netlink::{Address, Family, Route, RouteKind, Routing};

use super::error::{ignore_exists, kernel};
use super::{Error, LOOPBACK};

/// Instance metadata (AWS documentation, "Access instance metadata").
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The same over IPv6, for instances that ask for it (the same documentation).
pub const METADATA_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Amazon's time service (AWS documentation, "Precision clock and time synchronization").
pub const TIME: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 123)), 123);

/// How long the kernel may take to deliver to a new address; it takes milliseconds.
const DELIVERED_WITHIN: Duration = Duration::from_secs(10);

/// The table of what is delivered here (kernel, include/uapi/linux/rtnetlink.h, `RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;

/// Gives the fabric an address of its own to serve at; returns when packets to it are delivered.
pub(super) async fn own(namespace: BorrowedFd<'_>, routing: &Routing, ip: IpAddr) -> Result<(), Error> {
    let mut address = Address::new(LOOPBACK, IpNet::from(ip));
    // Otherwise the kernel lets nobody listen there until it has looked for duplicates, also on a loopback.
    address.no_dad = true;
    let mut events = Events::open_in(namespace).map_err(kernel)?;
    ignore_exists(routing.add_address(&address).await)?;
    let delivered = async {
        // The kernel makes the route of a new IPv6 address in a task of its own, after it has answered.
        while ip.is_ipv6() && !is_delivered(routing, ip).await? {
            events.next().await.map_err(|source| Error::Notices { source })?;
        }
        Ok(())
    };
    let in_time = tokio::time::timeout(DELIVERED_WITHIN, delivered).await;
    in_time.unwrap_or(Err(Error::NotDelivered { ip }))
}

async fn is_delivered(routing: &Routing, ip: IpAddr) -> Result<bool, Error> {
    let routes = routing
        .routes(Family::of(ip), LOCAL_TABLE)
        .await
        .map_err(kernel)?;
    let here = |route: &Route| route.kind == RouteKind::Local && route.destination == IpNet::from(ip);
    Ok(routes.iter().any(here))
}

/// A listening TCP socket in a namespace, ready for an asynchronous runtime.
pub(super) fn listen(namespace: BorrowedFd<'_>, address: SocketAddr) -> Result<TcpListener, Error> {
    open(namespace, address, || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })
}

/// A bound UDP socket in a namespace, ready for an asynchronous runtime.
pub(super) fn bind(namespace: BorrowedFd<'_>, address: SocketAddr) -> Result<UdpSocket, Error> {
    open(namespace, address, || {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })
}

fn open<T>(
    namespace: BorrowedFd<'_>,
    address: SocketAddr,
    bind: impl FnOnce() -> io::Result<T>,
) -> Result<T, Error> {
    netlink::netns::inside(namespace, bind)
        .map_err(|source| Error::Namespace { source })?
        .map_err(|source| Error::Listen { address, source })
}
