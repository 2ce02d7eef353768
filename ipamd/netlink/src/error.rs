//! What can go wrong between us and the kernel's routing sockets.

use std::io;

use nix::errno::Errno;

use crate::netns;

/// A failed request: what was attempted on what; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made or set up.
    #[error("open a {what} socket")]
    Open {
        /// Which socket.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The namespace that the socket should belong to could not be entered.
    #[error("open a {what} socket in another network namespace")]
    Namespace {
        /// Which socket.
        what: &'static str,
        /// Why.
        source: netns::Error,
    },
    /// The kernel said no.
    #[error("{attempt}{}{explained}", if explained.is_empty() { "" } else { ": " })]
    Refused {
        /// What was asked of it.
        attempt: String,
        /// The kernel's own words (extended acknowledgement), or nothing.
        explained: String,
        /// Its error number.
        #[source]
        errno: Errno,
    },
    /// A list changed under every one of our bounded attempts to read it whole.
    #[error("{attempt}: interrupted by changes {attempts} times in a row")]
    Interrupted {
        /// What was being listed.
        attempt: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The task that owns the socket is gone, or an answer never came.
    #[error("{attempt}: the netlink connection ended before the answer")]
    Closed {
        /// What was asked.
        attempt: String,
    },
}

impl Error {
    /// The kernel's error number, where the kernel refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Open { .. } | Self::Namespace { .. } | Self::Interrupted { .. } | Self::Closed { .. } => {
                None
            }
        }
    }

    /// Whether what should be added is there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    /// Whether what should be changed or deleted is not there (any more).
    ///
    /// Rules and neighbours answer ENOENT, routes ESRCH, links ENODEV, addresses EADDRNOTAVAIL.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::ENOENT | Errno::ESRCH | Errno::ENODEV | Errno::ENXIO | Errno::EADDRNOTAVAIL)
        )
    }
}
