//! Lets the kernel forget the connections of addresses that pods no longer have, away from the owner's task: a long
//! table takes a while. One at a time; what settles meanwhile is next.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipamd_core::moment::Moment;
use netlink::conntrack::Conntrack;

use super::{Daemon, chain};
use crate::daemon::Message;

/// Between two looks at the kernel's connections, the least and the most. Each walks the whole table, milliseconds of a
/// CPU that meanwhile serves nobody else, for however few addresses.
const BETWEEN_LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

impl Daemon<'_> {
    pub(super) fn forget_connections(&mut self, now: Moment) {
        if self.forget_at().is_none_or(|at| now < at) {
            return;
        }
        let settled = self.ledger.take_settled(now);
        self.forgetting = true;
        self.looked_at = Some(now);
        let messages = self.messages.clone();
        tokio::task::spawn_blocking(move || {
            forget(&settled);
            // The owner has ended if this fails; the next daemon lets them be forgotten again.
            let _ = messages.blocking_send(Message::Forgotten(settled));
        });
    }

    /// When the kernel is to be told next.
    pub(super) fn forget_at(&self) -> Option<Moment> {
        let settled = self.ledger.settles_at().filter(|_| !self.forgetting)?;
        // A pod that waits may need what is forgotten next.
        let looked_at = self.looked_at.filter(|_| self.ledger.waiting().is_empty());
        let due = looked_at.map(|at| at.after(between_looks(self.config.policy.cooldown)));
        Some(due.map_or(settled, |due| settled.max(due)))
    }

    pub(super) fn handle_forgotten(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.forgetting = false;
        self.ledger.handle_forgotten(addresses);
    }
}

/// A small part of the rest, in which to gather addresses.
fn between_looks(rest: Duration) -> Duration {
    let (least, most) = BETWEEN_LOOKS;
    (rest / 6).clamp(least, most)
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
