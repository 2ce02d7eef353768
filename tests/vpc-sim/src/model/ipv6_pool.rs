//! The IPv6 addresses of one subnet: which are free, and which EC2 would choose.
//!
//! Invariants: a reserved address is never given out; a /80 block is aligned, inside the subnet's /64 and overlaps neither
//! an address nor another block; a failed request takes nothing. There is no count of free addresses: EC2 shows none.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::chance::Draw;
use super::error::Ec2Error;
use super::pool::{Reservation, ReservationKind, TakeError};

/// The first four addresses and the last one of a subnet are not available (AWS documentation, "Subnet CIDR blocks").
const RESERVED_AT_START: u128 = 4;
const RESERVED_AT_END: u128 = 1;
/// A delegated IPv6 prefix is a /80 (AWS documentation, "Prefix delegation").
const BLOCK_LENGTH: u8 = 80;
const BLOCK: u128 = 1 << (128 - BLOCK_LENGTH);
/// How often a free address is drawn for in a space of 2^64 before the subnet counts as full.
const DRAWS: usize = 1000;

/// The IPv6 addresses of one subnet.
#[derive(Clone, Debug)]
pub(crate) struct Ipv6Pool {
    cidr: Ipv6Net,
    singles: BTreeSet<u128>,
    blocks: BTreeSet<u128>,
    reservations: Vec<Reservation<Ipv6Net>>,
}

impl Ipv6Pool {
    pub(crate) fn new(cidr: Ipv6Net) -> Self {
        Self {
            cidr,
            singles: BTreeSet::new(),
            blocks: BTreeSet::new(),
            reservations: Vec::new(),
        }
    }

    /// A reservation takes nothing away from what is in use.
    pub(crate) fn reserve(&mut self, reservation: Reservation<Ipv6Net>) {
        self.reservations.push(reservation);
    }

    /// Deleting a reservation frees nothing in use.
    pub(crate) fn unreserve(&mut self, cidr: Ipv6Net) {
        self.reservations.retain(|reservation| reservation.cidr != cidr);
    }

    /// Whether the address is one that can be given out at all.
    pub(crate) fn usable(&self, address: Ipv6Addr) -> bool {
        let last = self.cidr.broadcast().to_bits();
        let first = self.cidr.network().to_bits();
        (first + RESERVED_AT_START..=last - RESERVED_AT_END).contains(&address.to_bits())
    }

    fn free(&self, address: u128) -> bool {
        !self.singles.contains(&address) && !self.blocks.contains(&(address & !(BLOCK - 1)))
    }

    fn reserved(&self, address: Ipv6Addr) -> bool {
        self.reservations
            .iter()
            .any(|reservation| reservation.cidr.contains(&address))
    }

    /// So many addresses of EC2's choice, which look random.
    pub(crate) fn take_addresses(&mut self, count: u32, draw: &mut Draw) -> Result<Vec<Ipv6Addr>, Ec2Error> {
        let mut taken = Vec::new();
        for _ in 0..count {
            match self.choose_address(draw) {
                Some(address) => {
                    self.singles.insert(address.to_bits());
                    taken.push(address);
                }
                None => {
                    self.give_back(&taken, &[]);
                    return Err(Ec2Error::NoFreeAddresses);
                }
            }
        }
        Ok(taken)
    }

    fn choose_address(&self, draw: &mut Draw) -> Option<Ipv6Addr> {
        let base = self.cidr.network().to_bits();
        (0..DRAWS)
            .map(|_| Ipv6Addr::from_bits(base | u128::from(draw.bits())))
            .find(|address| self.usable(*address) && self.free(address.to_bits()) && !self.reserved(*address))
    }

    /// Exactly these addresses; the first one that is taken or cannot be given out is named.
    pub(crate) fn take_exactly(&mut self, addresses: &[Ipv6Addr]) -> Result<(), TakeError<Ipv6Addr>> {
        for (index, address) in addresses.iter().enumerate() {
            let repeated = addresses.iter().take(index).any(|earlier| earlier == address);
            if !self.usable(*address) {
                return Err(TakeError::Unusable(*address));
            }
            if repeated || !self.free(address.to_bits()) {
                return Err(TakeError::Taken(*address));
            }
        }
        self.singles
            .extend(addresses.iter().map(|address| address.to_bits()));
        Ok(())
    }

    /// So many blocks of EC2's choice: from prefix reservations first, then from free space.
    pub(crate) fn take_blocks(&mut self, count: u32, draw: &mut Draw) -> Result<Vec<Ipv6Net>, Ec2Error> {
        let mut taken: Vec<Ipv6Net> = Vec::new();
        for _ in 0..count {
            match self.choose_block(draw) {
                Some(block) => {
                    self.blocks.insert(block.network().to_bits());
                    taken.push(block);
                }
                None => {
                    self.give_back(&[], &taken);
                    return Err(Ec2Error::NoFreeBlocks);
                }
            }
        }
        Ok(taken)
    }

    fn choose_block(&self, draw: &mut Draw) -> Option<Ipv6Net> {
        let set_aside: Vec<Ipv6Net> = self
            .reservations
            .iter()
            .filter(|reservation| reservation.kind == ReservationKind::Prefix)
            .map(|reservation| reservation.cidr)
            .collect();
        let count = u32::try_from(set_aside.len()).unwrap_or(u32::MAX);
        let first = draw.below(count) as usize;
        for part in set_aside.iter().cycle().skip(first).take(set_aside.len()) {
            if let Some(block) = self.choose_block_in(*part, draw, |_| true) {
                return Some(block);
            }
        }
        self.choose_block_in(self.cidr, draw, |block| !self.touches_reservation(block))
    }

    /// From a start that looks random to the end of the part and round again: at most 2^16 blocks of a /64.
    fn choose_block_in(
        &self,
        part: Ipv6Net,
        draw: &mut Draw,
        good: impl Fn(Ipv6Net) -> bool,
    ) -> Option<Ipv6Net> {
        let length = u32::from(BLOCK_LENGTH.checked_sub(part.prefix_len())?);
        let choices = 1u32.checked_shl(length)?;
        let (base, start) = (part.network().to_bits(), draw.below(choices));
        (0..choices)
            .filter_map(|step| block_at(base + u128::from((start + step) % choices) * BLOCK))
            .find(|block| self.block_free(*block) && good(*block))
    }

    fn block_free(&self, block: Ipv6Net) -> bool {
        let base = block.network().to_bits();
        let usable = self.usable(block.network()) && self.usable(block.broadcast());
        usable
            && !self.blocks.contains(&base)
            && self
                .singles
                .range(base..=block.broadcast().to_bits())
                .next()
                .is_none()
    }

    fn touches_reservation(&self, block: Ipv6Net) -> bool {
        self.reservations
            .iter()
            .any(|reservation| reservation.cidr.contains(&block) || block.contains(&reservation.cidr))
    }

    /// Exactly these blocks.
    pub(crate) fn take_exact_blocks(&mut self, blocks: &[Ipv6Net]) -> Result<(), TakeError<Ipv6Addr>> {
        for (index, block) in blocks.iter().enumerate() {
            let repeated = blocks.iter().take(index).any(|earlier| earlier == block);
            let aligned = block.prefix_len() == BLOCK_LENGTH && block.trunc() == *block;
            let inside = self.usable(block.network()) && self.usable(block.broadcast());
            if !aligned || !inside {
                return Err(TakeError::Unusable(block.network()));
            }
            if repeated || !self.block_free(*block) {
                return Err(TakeError::Taken(block.network()));
            }
        }
        self.blocks
            .extend(blocks.iter().map(|block| block.network().to_bits()));
        Ok(())
    }

    /// Free at once, and for anybody.
    pub(crate) fn give_back(&mut self, addresses: &[Ipv6Addr], blocks: &[Ipv6Net]) {
        for address in addresses {
            self.singles.remove(&address.to_bits());
        }
        for block in blocks {
            self.blocks.remove(&block.network().to_bits());
        }
    }
}

fn block_at(base: u128) -> Option<Ipv6Net> {
    Ipv6Net::new(Ipv6Addr::from_bits(base), BLOCK_LENGTH).ok()
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    fn net(text: &str) -> Ipv6Net {
        text.parse().expect("a CIDR")
    }

    fn pool() -> Ipv6Pool {
        Ipv6Pool::new(net("2001:db8:0:1::/64"))
    }

    fn draw() -> Draw {
        Chance::new(1).draw("test", "pool")
    }

    #[test]
    fn a4_prefixes_are_aligned_80s_inside_the_subnet_and_disjoint() {
        let mut pool = pool();
        let blocks = pool.take_blocks(200, &mut draw()).expect("free");
        let distinct: BTreeSet<&Ipv6Net> = blocks.iter().collect();
        assert_eq!(distinct.len(), 200);
        for block in blocks {
            assert_eq!((block.prefix_len(), block.trunc()), (80, block));
            assert!(net("2001:db8:0:1::/64").contains(&block));
        }
        let mut sorted = pool.blocks.iter().copied().collect::<Vec<_>>();
        sorted.sort_unstable();
        assert!(
            sorted.windows(2).any(|pair| pair[1] - pair[0] > BLOCK),
            "in a row"
        );
    }

    #[test]
    fn reserved_addresses_and_the_blocks_around_them_are_never_given_out() {
        let rows = [
            ("2001:db8:0:1::", false),
            ("2001:db8:0:1::3", false),
            ("2001:db8:0:1::4", true),
            ("2001:db8:0:1:ffff:ffff:ffff:fffe", true),
            ("2001:db8:0:1:ffff:ffff:ffff:ffff", false),
            ("2001:db8:0:2::9", false),
        ];
        for (text, good) in rows {
            let address: Ipv6Addr = text.parse().expect("an address");
            assert_eq!(pool().take_exactly(&[address]).is_ok(), good, "{text}");
        }
        for text in [
            "2001:db8:0:1::/80",
            "2001:db8:0:1:ffff::/80",
            "2001:db8:0:1:1::/96",
        ] {
            assert!(
                matches!(
                    pool().take_exact_blocks(&[net(text)]),
                    Err(TakeError::Unusable(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_and_a_block_around_it_exclude_each_other() {
        let mut pool = pool();
        let inside: Ipv6Addr = "2001:db8:0:1:7::5".parse().expect("an address");
        let block = net("2001:db8:0:1:7::/80");
        pool.take_exactly(&[inside]).expect("free");
        assert!(matches!(
            pool.take_exact_blocks(&[block]),
            Err(TakeError::Taken(_))
        ));
        pool.give_back(&[inside], &[]);
        pool.take_exact_blocks(&[block]).expect("free again");
        assert_eq!(pool.take_exactly(&[inside]), Err(TakeError::Taken(inside)));
    }

    #[test]
    fn a7_prefixes_come_from_reservations_first_and_explicit_ones_are_never_used() {
        let mut pool = pool();
        let reserve = |cidr: &str, kind| Reservation {
            cidr: net(cidr),
            kind,
        };
        pool.reserve(reserve("2001:db8:0:1:8000::/79", ReservationKind::Prefix));
        pool.reserve(reserve("2001:db8:0:1::/65", ReservationKind::Explicit));
        let first = pool.take_blocks(2, &mut draw()).expect("free");
        let reserved = net("2001:db8:0:1:8000::/79");
        assert!(first.iter().all(|block| reserved.contains(block)), "{first:?}");
        let next = pool.take_blocks(3, &mut draw()).expect("free");
        let never = net("2001:db8:0:1::/65");
        assert!(
            next.iter()
                .all(|block| !reserved.contains(block) && !never.contains(block))
        );
        let addresses = pool.take_addresses(20, &mut draw()).expect("free");
        assert!(addresses.iter().all(|address| !never.contains(address)));
    }

    #[test]
    fn a_failed_request_for_several_takes_nothing() {
        let mut pool = pool();
        pool.reserve(Reservation {
            cidr: net("2001:db8:0:1::/64"),
            kind: ReservationKind::Explicit,
        });
        assert_eq!(pool.take_blocks(1, &mut draw()), Err(Ec2Error::NoFreeBlocks));
        assert_eq!(
            pool.take_addresses(1, &mut draw()),
            Err(Ec2Error::NoFreeAddresses)
        );
        pool.unreserve(net("2001:db8:0:1::/64"));
        assert!(pool.take_addresses(1, &mut draw()).is_ok());
    }
}
