//! What can go wrong between us and the kernel.

use std::io;
use std::path::PathBuf;

use ipamd_core::id::IfName;

/// A failed look or change. The kernel's own words are the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A look or change over routing netlink.
    #[error("{attempt}")]
    Netlink {
        /// What was attempted, on what.
        attempt: String,
        /// The kernel's answer.
        source: netlink::Error,
    },
    /// A look or change of nftables.
    #[error("{attempt}")]
    Nftables {
        /// What was attempted.
        attempt: &'static str,
        /// The kernel's answer.
        source: netlink::nft::Error,
    },
    /// Another process owns our nftables table: a second daemon on this node.
    #[error("nftables table berth belongs to another process; is another ipamd running on this node?")]
    TableOwned,
    /// The pod's namespace cannot be opened.
    #[error("open the network namespace {path}")]
    Namespace {
        /// Its path, as the runtime gave it.
        path: PathBuf,
        /// Why.
        source: netlink::netns::Error,
    },
    /// The pod has an interface of that name which is not the one that we made.
    #[error("the pod's namespace has an interface {name} already, and it is not wired as asked")]
    InterfaceExists {
        /// Its name.
        name: IfName,
    },
    /// The node has a device of that name which is no pod's.
    #[error("the node has a device {name} already, and it is no pod's")]
    NotAPods {
        /// Its name.
        name: IfName,
    },
    /// A device that was just made is not there.
    #[error("the device {name} vanished while it was being set up")]
    Vanished {
        /// Its name.
        name: IfName,
    },
    /// A pod's IPv6 address stayed unusable.
    #[error("the pod's address {address} is not usable: no packet to it would be taken")]
    NotUsable {
        /// Which.
        address: std::net::Ipv6Addr,
    },
    /// A setting cannot be read.
    #[error("read {path}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A setting cannot be made.
    #[error("write {path}: is /proc/sys read-only, or IPv6 switched off? set it on the node")]
    SetSetting {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Puts words to a netlink failure.
pub(crate) fn attempt(attempt: impl Into<String>) -> impl FnOnce(netlink::Error) -> Error {
    move |source| Error::Netlink {
        attempt: attempt.into(),
        source,
    }
}
