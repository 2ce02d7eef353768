//! The daemon's side towards the kernel: when to look, what to do with what was found, and the slow pass that catches
//! whatever no event told of.

use std::path::Path;
use std::time::Duration;

use hostnet::failpoint::{self, Step};
use ipamd_core::ledger::EniRecord;
use ipamd_core::moment::Moment;
use ipamd_core::net::eni::Place;
use ipamd_core::net::notice::{self, Notice};
use ipamd_core::net::{Route, TableId};

use super::{Daemon, SLOW_PASS, clock};
use crate::kernel::Pass;
use crate::kernel::keeper::Wish;
use crate::tombstones::{self, Tombstone};

/// Between a kernel event and the look: a burst is one look, and repair stays within a second.
const KERNEL_DELAY: Duration = Duration::from_millis(300);

/// While an ENI's device is awaited: events do the waking, this catches one that was lost.
const DEVICE_DELAY: Duration = Duration::from_secs(2);

impl Daemon<'_> {
    pub(super) fn handle_kernel_change(&mut self, notice: &Notice) {
        let now = clock::now();
        let strange = |route: &Route, came| {
            let holder = self.ledger.holder(route.to.addr());
            notice::is_strange(route, came, holder.map(|lease| &lease.wiring))
        };
        match notice {
            Notice::RouteCame(route) if !strange(route, true) => return,
            Notice::RouteWent(route) if !strange(route, false) => return,
            Notice::Firewall | Notice::Everything => self.kernel.doubt_firewall(),
            Notice::RouteCame(_) | Notice::RouteWent(_) | Notice::Link(_) | Notice::Other => {}
        }
        let awaited = self
            .ledger
            .enis()
            .values()
            .any(|record| record.serves() && record.served.is_empty() && !record.seen.blocks.is_empty());
        let delay = if awaited && matches!(notice, Notice::Link(_)) {
            Duration::ZERO
        } else {
            KERNEL_DELAY
        };
        self.look_again(now.after(delay));
    }

    pub(super) fn slow_pass(&mut self, now: Moment) {
        if now < self.slow_due {
            return;
        }
        self.slow_due = now.after(SLOW_PASS);
        self.kernel_due = Some(now);
        self.drain_tombstones();
        self.kernel.reap_too();
    }

    /// Releases what DELs recorded while nobody listened; the records go once the journal holds the releases.
    pub(super) fn drain_tombstones(&mut self) {
        let tombstones = tombstones::read(Path::new(proto::RELEASED));
        for tombstone in &tombstones {
            let known = self
                .ledger
                .release(&tombstone.key, &self.config.policy, clock::stamp())
                .is_some();
            tracing::info!(attachment = %tombstone.key, known, "released, as recorded");
        }
        if self.write() {
            if !tombstones.is_empty() {
                failpoint::reach(Step::ReleasesDone);
            }
            tombstones.iter().for_each(Tombstone::remove);
        }
    }

    /// Has the kernel looked at and mended, by its own task: whoever asks for an address does not wait for that. A wish
    /// that comes meanwhile stays due.
    pub(super) fn make_kernel(&mut self, now: Moment) {
        if self.kernel_due.is_none_or(|due| due > now) || !self.kernel.is_free() {
            return;
        }
        self.kernel_due = None;
        if self.ledger.node().is_none() {
            return;
        }
        let marked = self.ledger.enis().values().filter(|record| record.mark.is_some());
        let places = marked.filter_map(EniRecord::place);
        let tables = places.map(Place::table).chain([TableId::PODS]);
        if !self.kernel.begin_pass(tables.collect()) {
            self.kernel_due = Some(now.after(KERNEL_DELAY));
        }
    }

    /// What the kernel should be like at this moment.
    pub(super) fn wish(&self) -> Option<Wish> {
        Some(Wish {
            wanted: self.ledger.wanted(&self.config.policy)?,
            node: self.ledger.node()?.clone(),
        })
    }

    pub(super) fn handle_kernel_made(&mut self, pass: Result<Pass, hostnet::Error>) {
        self.kernel.end_pass();
        let now = clock::now();
        match pass {
            Ok(mut pass) => {
                // What EC2 took away or moved while the pass ran waits for the next one.
                pass.served.enis.retain(|eni| {
                    let record = self.ledger.enis().get(&eni.id);
                    record.is_some_and(|record| {
                        record.serves() && record.place() == Some(eni.place) && record.mark == eni.mark
                    })
                });
                self.ledger.handle_served(&pass.served);
                self.ledger
                    .handle_deviceless(&pass.deviceless, &self.config.policy, clock::stamp());
                self.handle_pass(&pass, now);
            }
            Err(error) => {
                self.note_trouble(&error);
                let due = now.after(self.next_kernel_pause());
                self.look_again(due);
            }
        }
    }

    /// A wish that came while the pass ran may be due earlier.
    fn look_again(&mut self, due: Moment) {
        self.kernel_due = Some(self.kernel_due.map_or(due, |already| already.min(due)));
    }

    fn handle_pass(&mut self, pass: &Pass, now: Moment) {
        self.trouble = None;
        pass.refused.iter().for_each(|error| self.note_trouble(error));
        if !pass.refused.is_empty() {
            let due = now.after(self.next_kernel_pause());
            self.look_again(due);
            return;
        }
        self.kernel_failures = 0;
        if pass.changes > 0 {
            tracing::info!(changes = pass.changes, "kernel made as wanted");
            // Looked at once more: what did not stick shows as another change.
            self.look_again(now.after(KERNEL_DELAY));
        } else if pass.incomplete {
            self.look_again(now.after(DEVICE_DELAY));
        }
    }

    /// Doubles with each failure in a row, up to the slow pass.
    fn next_kernel_pause(&mut self) -> Duration {
        self.kernel_failures = self.kernel_failures.saturating_add(1);
        KERNEL_DELAY
            .saturating_mul(1 << self.kernel_failures.min(16))
            .min(SLOW_PASS)
    }

    pub(super) fn note_trouble(&mut self, error: &hostnet::Error) {
        let cause = std::error::Error::source(error)
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        tracing::error!(%error, cause, "the kernel refused");
        self.trouble = Some(format!("{error}{cause}"));
    }
}
