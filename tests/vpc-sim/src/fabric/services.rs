//! Sockets inside the fabric, for whoever serves there: instance metadata, the EC2 API, an API server, DNS.
//!
//! A socket stays in the namespace it was opened in, so its server needs no network of its own. The peer address of a
//! connection names the ENI, and so the instance, because the source check already holds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;

use ipnet::IpNet;
use netlink::{Address, Routing};

use super::{Error, LOOPBACK, kernel};

/// Instance metadata (AWS documentation, "Access instance metadata").
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Gives the fabric an address of its own to serve at.
pub(super) async fn own(routing: &Routing, ip: IpAddr) -> Result<(), Error> {
    match routing
        .add_address(&Address::new(LOOPBACK, IpNet::from(ip)))
        .await
    {
        Ok(()) => Ok(()),
        Err(error) if error.is_exists() => Ok(()),
        Err(error) => Err(kernel(error)),
    }
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
