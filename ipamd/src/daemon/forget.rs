//! Lets the kernel forget the connections of addresses that pods no longer have, away from the owner's task: a long
//! table takes a while. One at a time; what settles meanwhile is next.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipamd_core::moment::Moment;
use netlink::conntrack::Conntrack;

use super::{Daemon, chain};
use crate::daemon::Message;

/// Between two looks at the kernel's connections. Each walks the whole table, milliseconds of a CPU for however few
/// addresses; the usual rest of half a minute leaves time to gather them.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

impl Daemon<'_> {
    pub(super) fn forget_connections(&mut self, now: Moment) {
        self.forget_due = self.forget_due.filter(|due| now < *due);
        // A pod that waits may need what is forgotten next.
        let is_early = self.forget_due.is_some() && self.ledger.waiting().is_empty();
        if self.forgetting || is_early {
            return;
        }
        let settled = self.ledger.take_settled(now);
        if settled.is_empty() {
            return;
        }
        self.forgetting = true;
        self.forget_due = Some(now.after(BETWEEN_LOOKS));
        let messages = self.messages.clone();
        tokio::task::spawn_blocking(move || {
            forget(&settled);
            // The owner has ended if this fails; the next daemon lets them be forgotten again.
            let _ = messages.blocking_send(Message::Forgotten(settled));
        });
    }

    pub(super) fn handle_forgotten(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.forgetting = false;
        self.ledger.handle_forgotten(addresses);
    }
}

/// A kernel that cannot forget must not keep addresses from pods: it is said, and the cool-down alone has to do.
fn forget(addresses: &BTreeSet<IpAddr>) {
    let forgotten = Conntrack::open().and_then(|mut conntrack| conntrack.forget(addresses));
    match forgotten {
        Ok(0) => {}
        Ok(connections) => tracing::debug!(connections, addresses = addresses.len(), "connections forgotten"),
        Err(error) => tracing::warn!(
            error = %chain(&error),
            addresses = addresses.len(),
            "connections of released addresses stay on record until they time out"
        ),
    }
}
