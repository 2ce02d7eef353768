//! Sockets inside the fabric, for whoever serves there: instance metadata, the EC2 API, an API server, DNS.
//!
//! A socket stays in the namespace it was opened in, so its server needs no network of its own. The peer address of a
//! connection names the ENI, and so the instance, because the source check already holds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;

use ipnet::IpNet;
use netlink::{Address, Routing};

use super::error::ignore_exists;
use super::{Error, LOOPBACK};

/// Instance metadata (AWS documentation, "Access instance metadata").
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The same over IPv6, for instances that ask for it (the same documentation).
pub const METADATA_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Amazon's time service (AWS documentation, "Precision clock and time synchronization").
pub const TIME: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 123)), 123);

/// Gives the fabric an address of its own to serve at.
pub(super) async fn own(routing: &Routing, ip: IpAddr) -> Result<(), Error> {
    let mut address = Address::new(LOOPBACK, IpNet::from(ip));
    // Otherwise the kernel lets nobody listen there until it has looked for duplicates, also on a loopback.
    address.no_dad = true;
    ignore_exists(routing.add_address(&address).await)
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
