//! Lets the kernel forget the connections of addresses that pods no longer have, away from the owner's task: a long
//! table takes a while. One at a time; what settles meanwhile is next.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipamd_core::moment::Moment;
use netlink::conntrack::Conntrack;

use super::{Daemon, chain};
use crate::daemon::Message;

impl Daemon<'_> {
    pub(super) fn forget_connections(&mut self, now: Moment) {
        let due = self.ledger.forget_at(&self.config.policy);
        if due.is_none_or(|at| now < at) {
            return;
        }
        let settled = self.ledger.take_settled(now);
        let messages = self.messages.clone();
        tokio::task::spawn_blocking(move || {
            forget(&settled);
            // The owner has ended if this fails; the next daemon lets them be forgotten again.
            let _ = messages.blocking_send(Message::Forgotten(settled));
        });
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
