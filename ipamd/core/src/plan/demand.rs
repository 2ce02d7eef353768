//! How much should be held: from use and the operator's targets, never from what happens to be idle.
//!
//! In use are leases, requests that wait, and addresses that rest, since a resting address serves nobody. Worked from
//! use, the answer does not move while pods come and go faster than the dwell, and it is reached in one step.
//!
//! Blocks of the kind that the node does not get any more (it ran in the other mode before, or its subnet was
//! fragmented) are *strays*: the pods on them count neither as use nor as held, and they go once nobody uses them.

use std::time::Duration;

use serde::Serialize;

use super::Situation;
use crate::action::{Action, Fault, Subject};
use crate::address::{AddressCount, Block, BlockKind, PrefixCount};
use crate::id::SubnetId;
use crate::instance::Limits;
use crate::ledger::subnets::{Admission, admission};
use crate::ledger::{EniRecord, Ledger};
use crate::moment::Moment;
use crate::policy::{Policy, WarmTarget};
use crate::snapshot::{Owner, SeenSubnet};

/// What is wanted and what there is, in addresses of the blocks that count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// What more is got in.
    pub supply: Supply,
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
    /// Addresses of strays that nobody uses.
    pub strays: AddressCount,
}

/// In what more addresses are got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Supply {
    /// In blocks of the node's kind.
    Regular(BlockKind),
    /// In single addresses, because no subnet has a whole /28: both kinds count.
    InsteadOfPrefixes,
}

impl Supply {
    /// The kind of block that is asked for.
    #[must_use]
    pub fn kind(self) -> BlockKind {
        match self {
            Self::Regular(kind) => kind,
            Self::InsteadOfPrefixes => BlockKind::Secondary,
        }
    }

    /// Whether a block counts as held, and its pods as use.
    #[must_use]
    pub fn counts(self, block: Block) -> bool {
        match self {
            Self::Regular(kind) => block.kind() == kind,
            Self::InsteadOfPrefixes => true,
        }
    }
}

/// ENIs that can serve pods: the limit of the default card or the operator's ceiling, less foreign ones.
#[must_use]
pub fn usable_enis(policy: &Policy, limits: &Limits, foreign_enis: u32) -> u32 {
    let ceiling = policy.max_eni.unwrap_or(u32::MAX);
    limits.enis().min(ceiling).saturating_sub(foreign_enis).max(1)
}

/// ENIs on the default card that take room there and serve no pod: those of others and of excluded subnets.
#[must_use]
pub fn foreign_enis(ledger: &Ledger, limits: &Limits) -> u32 {
    let foreign = ledger.enis().values().filter(|record| {
        let place = record.place();
        let card = place.and_then(|place| usize::try_from(place.network_card).ok());
        (record.seen.owner == Owner::Foreign || record.excluded) && card == Some(limits.default_card)
    });
    u32::try_from(foreign.count()).unwrap_or(u32::MAX)
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
        let supply = supply(situation);
        let strays = Strays::of(situation, supply);
        let pods = ledger.leases().values().filter(|lease| lease.wiring.v4.is_some());
        let waiting = match policy.families.has_v4() {
            true => count(ledger.waiting().len()),
            false => AddressCount::ZERO,
        };
        let all = count(pods.count()) + waiting + count(ledger.cooldown().len(*now));
        let in_use = all.less(strays.used);
        let capacity = situation.capacity();
        let shape = Shape {
            kind: supply.kind(),
            slots_per_eni: limits.pod_slots_per_eni().max(1),
            most_enis: usable_enis(policy, limits, foreign_enis(ledger, limits)),
            // Pods on strays need nothing of what counts.
            capacity: capacity.less(strays.used),
        };
        let (wanted, wanted_enis) = if situation.is_idle_by_order() || !policy.families.has_v4() {
            shape.needed(in_use)
        } else {
            shape.wanted(policy.warm.of(situation.kind()), in_use)
        };
        Self {
            supply,
            in_use,
            waiting,
            wanted,
            wanted_enis,
            held: held(situation, supply),
            capacity,
            strays: strays.free,
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

/// Prefixes, unless every subnet that could give one said that it has none and has not given one since: what stands in
/// for them is not let go because another try is due.
fn supply(situation: &Situation<'_>) -> Supply {
    match situation.kind() {
        BlockKind::Secondary => Supply::Regular(BlockKind::Secondary),
        BlockKind::Prefix if situation.has_source_of_prefixes() => Supply::Regular(BlockKind::Prefix),
        BlockKind::Prefix => Supply::InsteadOfPrefixes,
    }
}

impl Situation<'_> {
    /// In what addresses come on this node.
    #[must_use]
    pub fn kind(&self) -> BlockKind {
        self.policy.kind_on(self.limits)
    }

    /// Whether only pods that are there or wait count: the node is cordoned and the operator wants it left alone.
    #[must_use]
    pub fn is_idle_by_order(&self) -> bool {
        self.cordoned && !self.policy.manages_cordoned
    }

    /// Whether blocks of a kind may be asked for in this subnet now.
    #[must_use]
    pub fn may_ask(&self, subnet: &SubnetId, kind: BlockKind) -> bool {
        let backoff = self.ledger.backoff();
        let allows = |kind| backoff.allows(&Subject::Subnet(subnet.clone(), kind), self.now);
        let subnets = self.ledger.subnets();
        // Who may not look whether there is something again has to try.
        let has = |kind| !subnets.is_empty_of(subnet, kind) || !self.can_read_subnets();
        // Where there is no single address there is no prefix either.
        [BlockKind::Secondary, kind]
            .into_iter()
            .all(|kind| allows(kind) && has(kind))
    }

    fn can_read_subnets(&self) -> bool {
        let reason = self.ledger.backoff().reason(&Subject::Subnets);
        !matches!(reason, Some((Fault::Forbidden { .. }, _)))
    }

    fn has_source_of_prefixes(&self) -> bool {
        let enis = self.ledger.enis().values().filter(|record| record.gives());
        let of_enis = enis.map(|record| &record.seen.subnet);
        let subnets = self.subnets();
        let mut all = of_enis.chain(subnets.iter());
        all.any(|subnet| {
            let refused = Subject::Subnet(subnet.clone(), BlockKind::Prefix);
            self.ledger.backoff().reason(&refused).is_none() && self.may_ask(subnet, BlockKind::Prefix)
        })
    }

    /// Subnets that new ENIs may go to, the one with the most room first, what is under way taken off.
    #[must_use]
    pub fn subnets(&self) -> Vec<SubnetId> {
        let Some(node) = self.ledger.node() else {
            return Vec::new();
        };
        let seen = self.ledger.subnets().seen().values();
        let admitted = seen.filter(|subnet| {
            let verdict = admission(subnet, self.policy, &node.subnet);
            self.policy.discovers_subnets && verdict == Admission::Admitted
        });
        let mut admitted: Vec<&SeenSubnet> = admitted.collect();
        admitted.sort_by_key(|subnet| std::cmp::Reverse(subnet.free.less(self.promised(&subnet.id))));
        if self.ledger.subnets().read_at().is_none() || !self.policy.discovers_subnets {
            return vec![node.subnet.clone()];
        }
        admitted.into_iter().map(|subnet| subnet.id.clone()).collect()
    }

    /// Addresses of a subnet that calls under way will take.
    fn promised(&self, subnet: &SubnetId) -> AddressCount {
        let intents = self
            .ledger
            .intents()
            .values()
            .filter(|intent| intent.subnet == *subnet);
        // An ENI takes one for itself.
        let intents = intents.map(|intent| intent.ask.size() + AddressCount(1));
        let enis = self.ledger.enis();
        let asked = self
            .ledger
            .in_flight()
            .values()
            .filter_map(|action| match action {
                Action::Assign { eni, ask } if enis.get(eni)?.seen.subnet == *subnet => Some(ask.size()),
                _ => None,
            });
        intents.chain(asked).sum()
    }
}

/// What the blocks that do not count hold.
struct Strays {
    used: AddressCount,
    free: AddressCount,
}

impl Strays {
    fn of(situation: &Situation<'_>, supply: Supply) -> Self {
        let (mut used, mut free) = (AddressCount::ZERO, AddressCount::ZERO);
        let records = situation.ledger.enis().values();
        let blocks = records.flat_map(|record| record.seen.blocks.iter().map(move |block| (record, block)));
        for (record, block) in blocks {
            // Pods may have addresses of what is not ours any more, or not there.
            let gone = !is_ours(record) || record.vanished || record.lost.contains(block);
            if record.excluded || gone || !supply.counts(*block) {
                let in_block = situation.ledger.used_in(*block, situation.now);
                used = used + in_block;
                if in_block == AddressCount::ZERO && !gone {
                    free = free + block.size();
                }
            }
        }
        Self { used, free }
    }
}

/// A device usually shows within three seconds and within ten at most (EC2 documents); from then on others are got.
pub(super) const DEVICE_LATE: Duration = Duration::from_secs(30);

/// Whether an attached ENI has had no device for so long that its addresses are got elsewhere.
pub(super) fn is_late(record: &EniRecord, now: Moment) -> bool {
    let waited = |limit| record.attached.is_some_and(|at| now.since(at) >= limit);
    record.served.is_empty() && !record.seen.blocks.is_empty() && waited(DEVICE_LATE)
}

/// Whether what an ENI brings is ours to count.
pub(super) fn holds(record: &EniRecord) -> bool {
    is_ours(record) && !record.excluded && !record.vanished
}

fn is_ours(record: &EniRecord) -> bool {
    !record.removing && record.seen.owner != Owner::Foreign
}

fn held(situation: &Situation<'_>, supply: Supply) -> AddressCount {
    let ledger = situation.ledger;
    let records = ledger
        .enis()
        .values()
        .filter(|record| holds(record) && !is_late(record, situation.now));
    let blocks = records.flat_map(|record| record.seen.blocks.difference(&record.lost));
    let there = blocks
        .filter(|block| supply.counts(**block))
        .map(|block| block.size());
    let asked = ledger.in_flight().values().filter_map(|action| match action {
        Action::Assign { ask, .. } => Some(*ask),
        _ => None,
    });
    let promised = ledger.intents().values().map(|intent| intent.ask);
    // A prefix that is only tried for is not on its way.
    let coming = asked.chain(promised).filter(|ask| ask.kind() == supply.kind());
    there.sum::<AddressCount>() + coming.map(|ask| ask.size()).sum()
}

fn count(number: usize) -> AddressCount {
    AddressCount(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What the node's ENIs can hold.
struct Shape {
    kind: BlockKind,
    slots_per_eni: u32,
    most_enis: u32,
    capacity: AddressCount,
}

impl Shape {
    /// Addresses and ENIs to hold.
    fn wanted(&self, warm: WarmTarget, in_use: AddressCount) -> (AddressCount, u32) {
        let in_use = in_use.min(self.capacity);
        match warm {
            // With a target of zero the peer still gets the next ENI when the last address goes.
            WarmTarget::Enis(0) => self.whole_enis(in_use.0 / self.per_eni() + 1, in_use),
            WarmTarget::Enis(target) => {
                self.whole_enis(in_use.0.div_ceil(self.per_eni()).saturating_add(target), in_use)
            }
            // So it is with prefixes.
            WarmTarget::Prefixes(PrefixCount(0)) => self.fitting(in_use + AddressCount(1)),
            WarmTarget::Prefixes(target) if self.kind == BlockKind::Prefix => {
                self.fitting(PrefixCount::covering(in_use).addresses() + target.addresses())
            }
            WarmTarget::Prefixes(target) => self.fitting(in_use + target.addresses()),
            WarmTarget::Addresses(target) => self.fitting((in_use + target.warm).max(target.minimum)),
        }
    }

    /// What pods and requests need and nothing beyond.
    fn needed(&self, in_use: AddressCount) -> (AddressCount, u32) {
        self.fitting(in_use)
    }

    fn per_eni(&self) -> u32 {
        self.slots_per_eni
            .saturating_mul(self.kind.addresses_each().0)
            .max(1)
    }

    /// So many addresses in whole blocks, as far as the node can use them, on as few ENIs as hold them.
    fn fitting(&self, addresses: AddressCount) -> (AddressCount, u32) {
        let addresses = self.kind.covering(addresses.min(self.capacity)).size();
        let enis = addresses.0.div_ceil(self.per_eni());
        (addresses, enis.clamp(1, self.most_enis))
    }

    fn whole_enis(&self, enis: u32, in_use: AddressCount) -> (AddressCount, u32) {
        let useful = self.capacity.0.div_ceil(self.per_eni()).max(1);
        let enis = enis.clamp(1, self.most_enis.min(useful));
        let addresses = AddressCount(enis.saturating_mul(self.per_eni()))
            .min(self.capacity)
            .max(in_use);
        (addresses, enis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AddressTarget;

    fn addresses(warm: u32, minimum: u32) -> WarmTarget {
        WarmTarget::Addresses(AddressTarget {
            warm: AddressCount(warm),
            minimum: AddressCount(minimum),
        })
    }

    fn prefixes(count: u32) -> WarmTarget {
        WarmTarget::Prefixes(PrefixCount(count))
    }

    /// The worked numbers of the peer's documentation (docs/eni-and-ip-target.md) and more: t3.small, 3 ENIs of 3
    /// addresses.
    #[test]
    fn the_peers_worked_numbers() {
        let shape = Shape {
            kind: BlockKind::Secondary,
            slots_per_eni: 3,
            most_enis: 3,
            capacity: AddressCount(9),
        };
        for (warm, in_use, enis, held) in [
            (WarmTarget::Enis(1), 0, 1, 3),
            (WarmTarget::Enis(1), 1, 2, 6),
            (WarmTarget::Enis(1), 3, 2, 6),
            (WarmTarget::Enis(1), 4, 3, 9),
            (WarmTarget::Enis(1), 5, 3, 9),
            (WarmTarget::Enis(1), 9, 3, 9),
            (WarmTarget::Enis(0), 0, 1, 3),
            (WarmTarget::Enis(0), 2, 1, 3),
            (WarmTarget::Enis(0), 3, 2, 6),
            (addresses(1, 1), 0, 1, 1),
            (addresses(1, 1), 5, 2, 6),
            (addresses(2, 5), 0, 2, 5),
            (addresses(2, 5), 5, 3, 7),
            (addresses(0, 0), 0, 1, 0),
            (addresses(0, 5), 3, 2, 5),
            (addresses(0, 5), 7, 3, 7),
            (addresses(9, 0), 5, 3, 9),
        ] {
            let wanted = shape.wanted(warm, AddressCount(in_use));
            assert_eq!(
                wanted,
                (AddressCount(held), enis),
                "{warm:?} with {in_use} in use"
            );
        }
    }

    /// The same page's prefixes: 3 ENIs of 3 prefixes.
    #[test]
    fn the_peers_worked_numbers_with_prefixes() {
        let shape = Shape {
            kind: BlockKind::Prefix,
            slots_per_eni: 3,
            most_enis: 3,
            capacity: AddressCount(110),
        };
        for (warm, in_use, enis, held) in [
            (prefixes(1), 0, 1, 1),
            (prefixes(1), 5, 1, 2),
            (prefixes(1), 16, 1, 2),
            (prefixes(1), 17, 1, 3),
            (prefixes(1), 58, 2, 5),
            (prefixes(1), 110, 3, 7),
            (prefixes(0), 0, 1, 1),
            (prefixes(0), 15, 1, 1),
            (prefixes(0), 16, 1, 2),
            (addresses(1, 1), 5, 1, 1),
            (addresses(1, 1), 58, 2, 4),
            (addresses(7, 20), 5, 1, 2),
            (addresses(0, 33), 5, 1, 3),
        ] {
            let wanted = shape.wanted(warm, AddressCount(in_use));
            let held = PrefixCount(held).addresses();
            assert_eq!(wanted, (held, enis), "{warm:?} with {in_use} in use");
        }
    }

    #[test]
    fn nothing_is_held_beyond_the_pods_that_the_node_can_run() {
        let shape = Shape {
            kind: BlockKind::Secondary,
            slots_per_eni: 49,
            most_enis: 15,
            capacity: AddressCount(110),
        };
        assert_eq!(
            shape.wanted(WarmTarget::Enis(1), AddressCount(100)),
            (AddressCount(110), 3)
        );
    }

    #[test]
    fn while_subnets_are_fragmented_single_addresses_stand_in_for_prefixes() {
        let shape = Shape {
            kind: BlockKind::Secondary,
            slots_per_eni: 9,
            most_enis: 3,
            capacity: AddressCount(110),
        };
        assert_eq!(shape.wanted(prefixes(1), AddressCount(5)), (AddressCount(21), 3));
        assert_eq!(shape.wanted(prefixes(0), AddressCount(5)), (AddressCount(6), 1));
    }
}
