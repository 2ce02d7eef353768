//! What can go wrong while the fabric is made to look like the model's view.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use nix::errno::Errno;

use crate::model::id::{EniId, SubnetId};

/// The fabric could not be made to look like the view.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namespace could not be made.
    #[error("make a network namespace for the fabric; is this inside a world?")]
    Unshare {
        /// Why.
        source: Errno,
    },
    /// A namespace could not be entered.
    #[error("use a network namespace of the fabric")]
    Namespace {
        /// Why.
        source: netlink::netns::Error,
    },
    /// A setting was refused.
    #[error("write the setting {path}", path = path.display())]
    Setting {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An ENI could not be attached.
    #[error("attach {eni}")]
    Attach {
        /// Which.
        eni: EniId,
        /// Why.
        source: netlink::Error,
    },
    /// A link, address, route, rule or neighbour was refused.
    #[error("change the fabric's network")]
    Kernel {
        /// Why.
        source: netlink::Error,
    },
    /// A check was refused.
    #[error("change the fabric's checks")]
    Firewall(#[source] netlink::nft::Error),
    /// A device that should be there is not.
    #[error("device {device} is not there")]
    Lost {
        /// Which.
        device: String,
    },
    /// Notices of changes could not be read.
    #[error("wait for a device of the fabric")]
    Notices {
        /// Why.
        source: io::Error,
    },
    /// A device never came to pass packets: the guest's end is down.
    #[error("device {index} of the fabric has no carrier: is the guest's end up?")]
    NoCarrier {
        /// The device's index in the fabric.
        index: u32,
    },
    /// Packets to an address of the fabric's own are not delivered.
    #[error("the kernel does not deliver to {ip}, though the fabric has it")]
    NotDelivered {
        /// Which address.
        ip: IpAddr,
    },
    /// The ENI is not attached to a running node.
    #[error("{eni} is not attached to a running node")]
    NotAttached {
        /// Which.
        eni: EniId,
    },
    /// The view names a subnet that it does not describe.
    #[error("{eni} is in {subnet}, which the view does not describe")]
    UnknownSubnet {
        /// The ENI.
        eni: EniId,
        /// Its subnet.
        subnet: SubnetId,
    },
    /// A service could not listen.
    #[error("listen at {address} inside the fabric")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A refused link, address, route, rule or neighbour.
pub(super) fn kernel(source: netlink::Error) -> Error {
    Error::Kernel { source }
}

/// What should go is gone: by us or before us.
pub(super) fn ignore_gone(result: Result<(), netlink::Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_gone() => Err(kernel(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What should be there is there: by us or before us.
pub(super) fn ignore_exists(result: Result<(), netlink::Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_exists() => Err(kernel(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
