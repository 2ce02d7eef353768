//! When the kernel is to forget the connections of released addresses: gathered, because each look at them is dear, and
//! at once where a pod waits.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Ledger;
use crate::moment::Moment;
use crate::policy::Policy;

/// Between two looks at the kernel's connections, the least and the most. Each walks the whole table, milliseconds of a
/// CPU that meanwhile serves nobody else, for however few addresses (measured: 4.5 ms for 262,144 buckets).
const BETWEEN_LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// The part of the rest in which addresses are gathered: small, so that nothing rests longer for it.
const PART_OF_REST: u32 = 6;

impl Ledger {
    /// When the kernel is to be told next; not while it is being told.
    #[must_use]
    pub fn forget_at(&self, policy: &Policy) -> Option<Moment> {
        let first = [self.cooldown.settles_at(), self.cooldown6.settles_at()];
        let settled = first.into_iter().flatten().min().filter(|_| !self.forgetting)?;
        // A pod that waits may need what is forgotten next.
        let looked_at = self.looked_at.filter(|_| self.waiting.is_empty());
        let due = looked_at.map(|at| at.after(between_looks(policy.cooldown)));
        Some(due.map_or(settled, |due| settled.max(due)))
    }

    /// Takes the addresses whose connections the kernel is to forget now; [`Self::handle_forgotten`] says that it has.
    pub fn take_settled(&mut self, now: Moment) -> BTreeSet<IpAddr> {
        let four = self.cooldown.take_settled(now).into_iter().map(IpAddr::V4);
        let six = self.cooldown6.take_settled(now).into_iter().map(IpAddr::V6);
        self.forgetting = true;
        self.looked_at = Some(now);
        four.chain(six).collect()
    }

    /// Notes that the connections of these addresses are forgotten.
    pub fn handle_forgotten(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.forgetting = false;
        for address in addresses {
            match address {
                IpAddr::V4(address) => self.cooldown.handle_forgotten(*address),
                IpAddr::V6(address) => self.cooldown6.handle_forgotten(*address),
            }
        }
    }
}

fn between_looks(rest: Duration) -> Duration {
    let (least, most) = BETWEEN_LOOKS;
    (rest / PART_OF_REST).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Stamp;

    fn moment(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn release(ledger: &mut Ledger, last: u8, millis: u64) {
        let at = Stamp {
            moment: moment(millis),
            wall: Duration::ZERO,
        };
        ledger.rest([10, 0, 0, last].into(), at, Duration::from_secs(30));
    }

    #[test]
    fn released_addresses_are_gathered_for_a_part_of_their_rest() {
        for (rest, gathered) in [(0, 1000), (6, 1000), (12, 2000), (30, 5000), (300, 5000)] {
            let policy = Policy {
                cooldown: Duration::from_secs(rest),
                ..Policy::default()
            };
            let mut ledger = Ledger::default();
            assert_eq!(ledger.forget_at(&policy), None);
            release(&mut ledger, 1, 0);
            assert_eq!(
                ledger.forget_at(&policy),
                Some(moment(1000)),
                "the first, at once"
            );
            let settled = ledger.take_settled(moment(1000));
            release(&mut ledger, 2, 1);
            assert_eq!(ledger.forget_at(&policy), None, "one look at a time");
            ledger.handle_forgotten(&settled);
            let next = Some(moment(1000 + gathered));
            assert_eq!(ledger.forget_at(&policy), next, "{rest} s of rest");
        }
    }
}
