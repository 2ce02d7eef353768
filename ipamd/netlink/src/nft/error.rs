//! What can go wrong between us and nf_tables.

use std::io;

use nix::errno::Errno;

use crate::netns;

/// A failed transaction or list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made or set up (a kernel without nf_tables answers EPROTONOSUPPORT).
    #[error("open an nftables socket")]
    Open(#[source] io::Error),
    /// The namespace that the socket should belong to could not be entered.
    #[error("open an nftables socket in another network namespace")]
    Namespace(#[source] netns::Error),
    /// The kernel refused a message, so nothing of the transaction happened.
    #[error("{attempt}{}{explained}", if explained.is_empty() { "" } else { ": " })]
    Refused {
        /// The message it refused, in words.
        attempt: String,
        /// The kernel's own words (extended acknowledgement), or nothing.
        explained: String,
        /// Its error number.
        #[source]
        errno: Errno,
    },
    /// The socket failed while sending or receiving; whether the transaction happened is unknown.
    #[error("{attempt}: speak to nf_tables")]
    Socket {
        /// What was attempted.
        attempt: String,
        /// Why.
        source: io::Error,
    },
    /// A list changed under every one of our bounded attempts to read it whole.
    #[error("{attempt}: interrupted by changes {attempts} times in a row")]
    Interrupted {
        /// What was being listed.
        attempt: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A message was too long for netlink's 16-bit lengths.
    #[error("encode {what}: longer than netlink allows")]
    TooLong {
        /// Which message, in words.
        what: String,
    },
}

impl Error {
    /// The kernel's error number, where the kernel refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Open(_)
            | Self::Namespace(_)
            | Self::Socket { .. }
            | Self::Interrupted { .. }
            | Self::TooLong { .. } => None,
        }
    }

    /// Whether what should be created is there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    /// Whether what should be changed, deleted or listed is not there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.errno() == Some(Errno::ENOENT)
    }
}
