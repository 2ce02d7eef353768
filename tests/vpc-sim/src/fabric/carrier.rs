//! Waiting until a device that is up can pass packets.
//!
//! A veth end that was set up before its peer gets its queue only when the kernel's link watcher comes round to it,
//! which waits behind whatever holds the kernel's network lock: removing the namespaces of an earlier run takes it for
//! some tenths of a second. Until then what is sent there is lost.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use netlink::Routing;
use netlink::events::Events;

use super::{Error, kernel};

/// Far longer than the kernel needs under any load seen.
const LIMIT: Duration = Duration::from_secs(10);

/// Returns when the device of this index runs, for which both ends of a veth must be up. `routing` is a socket of the
/// same namespace.
///
/// # Errors
/// When it does not within ten seconds, or the kernel cannot be asked.
pub async fn until_running(namespace: BorrowedFd<'_>, routing: &Routing, index: u32) -> Result<(), Error> {
    let mut events = Events::open_in(namespace).map_err(kernel)?;
    let wait = async {
        loop {
            let link = routing.link_by_index(index).await.map_err(kernel)?;
            if link.is_some_and(|link| link.running) {
                return Ok(());
            }
            events.next().await.map_err(|source| Error::Notices { source })?;
        }
    };
    let silent = || Error::NoCarrier { index };
    tokio::time::timeout(LIMIT, wait).await.map_err(|_| silent())?
}
