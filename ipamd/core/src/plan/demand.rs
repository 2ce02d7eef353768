//! How much should be held: from use and the operator's targets, never from what happens to be idle.
//!
//! In use are leases, requests that wait, and addresses that rest, since a resting address serves nobody. Worked from
//! use, the answer does not move while pods come and go faster than the dwell, and it is reached in one step.

use super::Situation;
use crate::address::AddressCount;
use crate::instance::Limits;
use crate::policy::{Policy, WarmTarget};
use crate::snapshot::Owner;

/// What is wanted and what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Leases, requests that wait, and addresses that rest.
    pub in_use: AddressCount,
    /// Of those, requests that wait.
    pub waiting: AddressCount,
    /// The total to hold.
    pub wanted: AddressCount,
    /// The ENIs to hold, the primary included.
    pub wanted_enis: u32,
    /// The total held, what is on its way included.
    pub held: AddressCount,
    /// The most that the node can use.
    pub capacity: AddressCount,
}

/// ENIs that can serve pods: the type's limit on the default card or the operator's ceiling, less foreign ones.
#[must_use]
pub fn usable_enis(policy: &Policy, limits: &Limits, foreign_enis: u32) -> u32 {
    let ceiling = policy.max_eni.unwrap_or(u32::MAX);
    limits.enis().min(ceiling).saturating_sub(foreign_enis).max(1)
}

impl Demand {
    /// Works it out.
    #[must_use]
    pub fn of(situation: &Situation<'_>) -> Self {
        let Situation {
            policy,
            limits,
            ledger,
            now,
            ..
        } = situation;
        let waiting = count(ledger.waiting().len());
        let in_use = count(ledger.leases().len()) + waiting + count(ledger.cooldown().len(*now));
        let foreign = ledger
            .enis()
            .values()
            .filter(|record| record.seen.owner == Owner::Foreign)
            .count();
        let foreign = u32::try_from(foreign).unwrap_or(u32::MAX);
        let capacity = super::capacity(policy, limits, foreign);
        let shape = Shape {
            per_eni: limits.pod_slots_per_eni().max(1),
            most_enis: usable_enis(policy, limits, foreign),
            capacity,
        };
        let (wanted, wanted_enis) = shape.wanted(policy.warm, in_use);
        let on_enis = ledger
            .enis()
            .values()
            .filter(|record| counts(record))
            .map(|record| record.size());
        let promised = ledger.intents().values().map(|intent| intent.addresses);
        let held = on_enis.chain(promised).sum::<AddressCount>() + in_flight(situation);
        Self {
            in_use,
            waiting,
            wanted,
            wanted_enis,
            held,
            capacity,
        }
    }

    /// How many addresses are missing.
    #[must_use]
    pub fn missing(&self) -> AddressCount {
        self.wanted.less(self.held)
    }

    /// How many addresses are too many.
    #[must_use]
    pub fn surplus(&self) -> AddressCount {
        self.held.less(self.wanted)
    }
}

fn counts(record: &crate::ledger::EniRecord) -> bool {
    !record.removing && record.seen.owner != Owner::Foreign
}

fn in_flight(situation: &Situation<'_>) -> AddressCount {
    use crate::action::Action;
    let asked = situation.ledger.in_flight().values().map(|action| match action {
        Action::AssignAddresses { count, .. } => *count,
        _ => AddressCount::ZERO,
    });
    asked.sum()
}

fn count(number: usize) -> AddressCount {
    AddressCount(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What the node's ENIs can hold.
struct Shape {
    per_eni: u32,
    most_enis: u32,
    capacity: AddressCount,
}

impl Shape {
    /// Addresses and ENIs to hold.
    fn wanted(&self, warm: WarmTarget, in_use: AddressCount) -> (AddressCount, u32) {
        let in_use = in_use.min(self.capacity);
        match warm {
            // With a target of zero the peer still gets the next ENI when the last address goes.
            WarmTarget::Enis(0) => self.whole_enis(in_use.0 / self.per_eni + 1, in_use),
            WarmTarget::Enis(target) => {
                self.whole_enis(in_use.0.div_ceil(self.per_eni).saturating_add(target), in_use)
            }
            WarmTarget::Addresses { warm, minimum } => {
                let addresses = (in_use + warm).max(minimum).min(self.capacity);
                (
                    addresses,
                    addresses.0.div_ceil(self.per_eni).clamp(1, self.most_enis),
                )
            }
        }
    }

    fn whole_enis(&self, enis: u32, in_use: AddressCount) -> (AddressCount, u32) {
        let useful = self.capacity.0.div_ceil(self.per_eni).max(1);
        let enis = enis.clamp(1, self.most_enis.min(useful));
        let addresses = AddressCount(enis.saturating_mul(self.per_eni))
            .min(self.capacity)
            .max(in_use);
        (addresses, enis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked numbers of the peer's documentation (docs/eni-and-ip-target.md): t3.small, 3 ENIs of 3 addresses.
    #[test]
    fn the_peers_worked_numbers() {
        let shape = Shape {
            per_eni: 3,
            most_enis: 3,
            capacity: AddressCount(9),
        };
        let ips = |warm, minimum| WarmTarget::Addresses {
            warm: AddressCount(warm),
            minimum: AddressCount(minimum),
        };
        for (warm, in_use, enis, addresses) in [
            (WarmTarget::Enis(1), 0, 1, 3),
            (WarmTarget::Enis(1), 1, 2, 6),
            (WarmTarget::Enis(1), 3, 2, 6),
            (WarmTarget::Enis(1), 4, 3, 9),
            (WarmTarget::Enis(1), 5, 3, 9),
            (WarmTarget::Enis(1), 9, 3, 9),
            (WarmTarget::Enis(0), 0, 1, 3),
            (WarmTarget::Enis(0), 2, 1, 3),
            (WarmTarget::Enis(0), 3, 2, 6),
            (ips(1, 1), 0, 1, 1),
            (ips(1, 1), 5, 2, 6),
            (ips(2, 5), 0, 2, 5),
            (ips(2, 5), 5, 3, 7),
            (ips(0, 0), 0, 1, 0),
            (ips(9, 0), 5, 3, 9),
        ] {
            let wanted = shape.wanted(warm, AddressCount(in_use));
            assert_eq!(
                wanted,
                (AddressCount(addresses), enis),
                "{warm:?} with {in_use} in use"
            );
        }
    }

    #[test]
    fn nothing_is_held_beyond_the_pods_that_the_node_can_run() {
        let shape = Shape {
            per_eni: 49,
            most_enis: 15,
            capacity: AddressCount(110),
        };
        assert_eq!(
            shape.wanted(WarmTarget::Enis(1), AddressCount(100)),
            (AddressCount(110), 3)
        );
    }
}
