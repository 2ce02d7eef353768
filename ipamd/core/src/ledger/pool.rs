//! Which free address is given next, known without looking at all of them.
//!
//! Holds what is derived from the ledger and nothing else: free addresses by block and ENI, and the pods of each ENI.
//! The order packs: prefixes that are fullest first, then the ENI with the most pods, so that others can empty; within
//! that the address that has been idle longest, so that late packets of its last holder find nobody for long.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::address::{AddressCount, Block, BlockKind};
use crate::id::EniId;
use crate::moment::Moment;
use crate::net::eni::Place;

/// What an address of a served block is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A pod has it.
    Held,
    /// It rests.
    Resting,
    /// It can be given.
    Free,
}

/// Free addresses, and how many pods each ENI has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool {
    pods: BTreeMap<EniId, u32>,
    enis: BTreeMap<EniId, EniPool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct EniPool {
    place: Option<Place>,
    blocks: BTreeMap<Block, BlockPool>,
    /// Since when addresses that had a holder have none; what is not here never had one.
    idle: BTreeMap<Ipv4Addr, Moment>,
    /// Blocks that have a free address, best first, of each kind.
    secondary: BTreeSet<Rank>,
    prefix: BTreeSet<Rank>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct BlockPool {
    held: u32,
    free: BTreeSet<(Moment, Ipv4Addr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    held: Reverse<u32>,
    idle_since: Moment,
    block: Block,
}

impl Pool {
    /// The best free address, of this kind of block if there is one.
    pub(super) fn best(&self, kind: BlockKind) -> Option<(EniId, Ipv4Addr)> {
        let other = match kind {
            BlockKind::Secondary => BlockKind::Prefix,
            BlockKind::Prefix => BlockKind::Secondary,
        };
        self.best_of(kind).or_else(|| self.best_of(other))
    }

    fn best_of(&self, kind: BlockKind) -> Option<(EniId, Ipv4Addr)> {
        let candidates = self.enis.iter().filter_map(|(id, eni)| {
            let rank = eni.ranks(kind).first()?;
            Some(((rank.held, Reverse(self.pods(id)), eni.place, *rank), id))
        });
        let (&(_, _, _, rank), id) = candidates.min().as_ref().map(|(key, id)| (key, *id))?;
        let block = self.enis.get(id)?.blocks.get(&rank.block)?;
        let (_, address) = block.free.first()?;
        Some((id.clone(), *address))
    }

    /// Whether any address can be given.
    pub(super) fn has_free(&self) -> bool {
        let any = |eni: &EniPool| !eni.secondary.is_empty() || !eni.prefix.is_empty();
        self.enis.values().any(any)
    }

    /// Pods on an ENI.
    pub(super) fn pods(&self, eni: &EniId) -> AddressCount {
        AddressCount(self.pods.get(eni).copied().unwrap_or(0))
    }

    /// Notes that a pod has the address from now on.
    pub(super) fn take(&mut self, eni: &EniId, address: Ipv4Addr) {
        self.count(eni);
        self.at(address, |block, _| {
            block.free.retain(|(_, free)| *free != address);
            block.held += 1;
        });
    }

    /// Notes one pod more on an ENI, which has none of the addresses that are given here.
    pub(super) fn count(&mut self, eni: &EniId) {
        *self.pods.entry(eni.clone()).or_default() += 1;
    }

    /// Notes one pod less.
    pub(super) fn discount(&mut self, eni: &EniId) {
        if let Some(pods) = self.pods.get_mut(eni) {
            *pods = pods.saturating_sub(1);
        }
        self.pods.retain(|_, pods| *pods > 0);
    }

    /// Notes that the pod that had the address is gone; the address is not free yet.
    pub(super) fn let_go(&mut self, eni: &EniId, address: Ipv4Addr) {
        self.discount(eni);
        self.at(address, |block, _| block.held = block.held.saturating_sub(1));
    }

    /// Notes that the address has rested since this moment and can be given.
    pub(super) fn free(&mut self, address: Ipv4Addr, idle_since: Moment) {
        self.at(address, |block, idle| {
            idle.insert(address, idle_since);
            block.free.insert((idle_since, address));
        });
    }

    /// Takes an ENI's served blocks as they now are.
    pub(super) fn set<'b>(
        &mut self,
        id: &EniId,
        place: Option<Place>,
        blocks: impl Iterator<Item = &'b Block>,
        of: impl Fn(Ipv4Addr) -> Use,
    ) {
        let idle = self.enis.remove(id).map(|eni| eni.idle).unwrap_or_default();
        let mut eni = EniPool {
            place,
            ..EniPool::default()
        };
        for block in blocks {
            let mut pool = BlockPool::default();
            for address in block.addresses() {
                if let Some(since) = idle.get(&address) {
                    eni.idle.insert(address, *since);
                }
                match of(address) {
                    Use::Held => pool.held += 1,
                    Use::Resting => {}
                    Use::Free => {
                        let since = idle.get(&address).copied().unwrap_or_default();
                        pool.free.insert((since, address));
                    }
                }
            }
            eni.blocks.insert(*block, pool);
            eni.rank(*block);
        }
        self.enis.insert(id.clone(), eni);
    }

    /// Forgets an ENI: nothing of it is given any more.
    pub(super) fn remove(&mut self, id: &EniId) {
        self.enis.remove(id);
    }

    /// Changes the block that an address belongs to, where it is served.
    fn at(
        &mut self,
        address: Ipv4Addr,
        change: impl FnOnce(&mut BlockPool, &mut BTreeMap<Ipv4Addr, Moment>),
    ) {
        let single = Block::Secondary(address);
        let prefix = Ipv4Net::new(address, 28).map_or(single, |net| Block::Prefix(net.trunc()));
        for eni in self.enis.values_mut() {
            let block = [single, prefix]
                .into_iter()
                .find(|block| eni.blocks.contains_key(block));
            let Some(block) = block else { continue };
            eni.unrank(block);
            if let Some(pool) = eni.blocks.get_mut(&block) {
                change(pool, &mut eni.idle);
            }
            eni.rank(block);
            return;
        }
    }
}

impl EniPool {
    fn ranks(&self, kind: BlockKind) -> &BTreeSet<Rank> {
        match kind {
            BlockKind::Secondary => &self.secondary,
            BlockKind::Prefix => &self.prefix,
        }
    }

    fn ranks_mut(&mut self, kind: BlockKind) -> &mut BTreeSet<Rank> {
        match kind {
            BlockKind::Secondary => &mut self.secondary,
            BlockKind::Prefix => &mut self.prefix,
        }
    }

    fn rank_of(&self, block: Block) -> Option<Rank> {
        let pool = self.blocks.get(&block)?;
        let (idle_since, _) = *pool.free.first()?;
        Some(Rank {
            held: Reverse(pool.held),
            idle_since,
            block,
        })
    }

    fn rank(&mut self, block: Block) {
        if let Some(rank) = self.rank_of(block) {
            self.ranks_mut(block.kind()).insert(rank);
        }
    }

    fn unrank(&mut self, block: Block) {
        if let Some(rank) = self.rank_of(block) {
            self.ranks_mut(block.kind()).remove(&rank);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn eni(last: u32) -> EniId {
        format!("eni-{last:08x}").parse().unwrap()
    }

    fn place(device_index: u32) -> Option<Place> {
        Some(Place {
            device_index,
            network_card: 0,
        })
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn prefix(last: u8) -> Block {
        Block::Prefix(Ipv4Net::new(address(last), 28).unwrap())
    }

    fn give(pool: &mut Pool, kind: BlockKind) -> Option<Ipv4Addr> {
        let (eni, address) = pool.best(kind)?;
        pool.take(&eni, address);
        Some(address)
    }

    #[test]
    fn the_fullest_prefix_is_filled_before_another_is_begun() {
        let mut pool = Pool::default();
        pool.set(&eni(1), place(0), [prefix(16)].iter(), |_| Use::Free);
        pool.set(&eni(2), place(1), [prefix(32), prefix(48)].iter(), |address| {
            if address.octets()[3] < 35 {
                Use::Held
            } else {
                Use::Free
            }
        });
        let given: Vec<u8> = (0..14)
            .filter_map(|_| give(&mut pool, BlockKind::Prefix))
            .map(|address| address.octets()[3])
            .collect();
        assert_eq!(given[..13], (35..48).collect::<Vec<u8>>());
        assert_eq!(given[13], 48, "the ENI with pods before the empty one");
    }

    #[test]
    fn the_address_that_was_idle_longest_comes_first() {
        let mut pool = Pool::default();
        let singles: Vec<Block> = (5..8).map(|last| Block::Secondary(address(last))).collect();
        pool.set(&eni(1), place(0), singles.iter(), |_| Use::Free);
        let first = give(&mut pool, BlockKind::Secondary).unwrap();
        pool.let_go(&eni(1), first);
        assert_eq!(give(&mut pool, BlockKind::Secondary), Some(address(6)));
        pool.free(first, Moment(Duration::from_secs(9)));
        assert_eq!(give(&mut pool, BlockKind::Secondary), Some(address(7)));
        assert_eq!(give(&mut pool, BlockKind::Secondary), Some(first));
        assert!(!pool.has_free());
    }

    #[test]
    fn the_other_kind_is_better_than_none() {
        let mut pool = Pool::default();
        let blocks = [Block::Secondary(address(5)), prefix(16)];
        pool.set(&eni(1), place(0), blocks.iter(), |_| Use::Free);
        assert_eq!(give(&mut pool, BlockKind::Secondary), Some(address(5)));
        assert_eq!(give(&mut pool, BlockKind::Secondary), Some(address(16)));
        pool.remove(&eni(1));
        assert_eq!(
            (give(&mut pool, BlockKind::Secondary), pool.pods(&eni(1))),
            (None, AddressCount(2))
        );
    }
}
