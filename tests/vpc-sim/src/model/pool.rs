//! The addresses of one subnet: which are free, and which EC2 would choose.
//!
//! Invariants: a reserved address is never given out; a /28 block is aligned, inside the subnet and overlaps neither an
//! address nor another block; a failed request takes nothing. Fragmentation is real: a block needs sixteen free
//! neighbours, whatever the count of free addresses says.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::chance::Draw;
use super::error::Ec2Error;

/// Network, router, DNS and future use at the start of each subnet (AWS documentation, "Subnet sizing").
const RESERVED_AT_START: u32 = 4;
/// The broadcast address at its end.
const RESERVED_AT_END: u32 = 1;
/// The addresses of a delegated IPv4 prefix, a /28.
pub(crate) const BLOCK: u32 = 16;
const BLOCK_LENGTH: u8 = 28;

/// A part of a subnet set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation<Net = Ipv4Net> {
    /// Which part.
    pub cidr: Net,
    /// For what.
    pub kind: ReservationKind,
}

/// What a subnet CIDR reservation is for (AWS documentation, "Subnet CIDR reservations").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationKind {
    /// Automatic prefixes come from here first; automatic addresses never.
    Prefix,
    /// Nothing automatic comes from here.
    Explicit,
}

impl ReservationKind {
    /// As EC2 writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Explicit => "explicit",
        }
    }
}

/// The addresses of one subnet.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    cidr: Ipv4Net,
    singles: BTreeSet<u32>,
    blocks: BTreeSet<u32>,
    reservations: Vec<Reservation>,
}

impl Pool {
    pub(crate) fn new(cidr: Ipv4Net) -> Self {
        Self {
            cidr,
            singles: BTreeSet::new(),
            blocks: BTreeSet::new(),
            reservations: Vec::new(),
        }
    }

    fn base(&self) -> u32 {
        self.cidr.network().to_bits()
    }

    fn size(&self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.cidr.prefix_len()))
            .unwrap_or(u32::MAX)
    }

    /// `AvailableIpAddressCount`: one less per address, sixteen less per block.
    pub(crate) fn available(&self) -> u32 {
        let used = self.singles.len() + self.blocks.len() * BLOCK as usize;
        (self.size() - RESERVED_AT_START - RESERVED_AT_END)
            .saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// A reservation takes nothing away from what is in use.
    pub(crate) fn reserve(&mut self, reservation: Reservation) {
        self.reservations.push(reservation);
    }

    /// Deleting a reservation frees nothing in use.
    pub(crate) fn unreserve(&mut self, cidr: Ipv4Net) {
        self.reservations.retain(|reservation| reservation.cidr != cidr);
    }

    /// Whether the address is one that can be given out at all.
    pub(crate) fn usable(&self, address: Ipv4Addr) -> bool {
        let offset = address.to_bits().wrapping_sub(self.base());
        self.cidr.contains(&address) && (RESERVED_AT_START..self.size() - RESERVED_AT_END).contains(&offset)
    }

    fn free(&self, address: u32) -> bool {
        !self.singles.contains(&address) && !self.blocks.contains(&(address & !(BLOCK - 1)))
    }

    fn reserved(&self, address: u32) -> bool {
        let address = Ipv4Addr::from_bits(address);
        self.reservations
            .iter()
            .any(|reservation| reservation.cidr.contains(&address))
    }

    /// So many addresses of EC2's choice, which look random.
    pub(crate) fn take_addresses(&mut self, count: u32, draw: &mut Draw) -> Result<Vec<Ipv4Addr>, Ec2Error> {
        let mut taken = Vec::new();
        for _ in 0..count {
            match self.choose_address(draw) {
                Some(address) => {
                    self.singles.insert(address);
                    taken.push(Ipv4Addr::from_bits(address));
                }
                None => {
                    self.give_back(&taken, &[]);
                    return Err(Ec2Error::NoFreeAddresses);
                }
            }
        }
        Ok(taken)
    }

    fn choose_address(&self, draw: &mut Draw) -> Option<u32> {
        if self.available() == 0 {
            return None;
        }
        let choices = self.size() - RESERVED_AT_START - RESERVED_AT_END;
        let start = draw.below(choices);
        (0..choices)
            .map(|step| self.base() + RESERVED_AT_START + (start + step) % choices)
            .find(|address| self.free(*address) && !self.reserved(*address))
    }

    /// Exactly these addresses; the first one that is taken or cannot be given out is named.
    pub(crate) fn take_exactly(&mut self, addresses: &[Ipv4Addr]) -> Result<(), TakeError> {
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
    pub(crate) fn take_blocks(&mut self, count: u32, draw: &mut Draw) -> Result<Vec<Ipv4Net>, Ec2Error> {
        let mut taken: Vec<Ipv4Net> = Vec::new();
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

    fn choose_block(&self, draw: &mut Draw) -> Option<Ipv4Net> {
        let (inside, outside): (Vec<Ipv4Net>, Vec<Ipv4Net>) = self
            .free_blocks()
            .partition(|block| self.reserved_for_prefixes(*block));
        let choices = if inside.is_empty() {
            outside
                .into_iter()
                .filter(|block| !self.touches_reservation(*block))
                .collect()
        } else {
            inside
        };
        let count = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        choices.get(draw.below(count) as usize).copied()
    }

    fn free_blocks(&self) -> impl Iterator<Item = Ipv4Net> {
        (0..self.size() / BLOCK)
            .filter_map(|index| block_at(self.base() + index * BLOCK))
            .filter(|block| self.block_free(*block))
    }

    fn block_free(&self, block: Ipv4Net) -> bool {
        let base = block.network().to_bits();
        let usable = self.usable(block.network()) && self.usable(block.broadcast());
        usable && !self.blocks.contains(&base) && self.singles.range(base..base + BLOCK).next().is_none()
    }

    fn reserved_for_prefixes(&self, block: Ipv4Net) -> bool {
        self.reservations.iter().any(|reservation| {
            reservation.kind == ReservationKind::Prefix && reservation.cidr.contains(&block)
        })
    }

    fn touches_reservation(&self, block: Ipv4Net) -> bool {
        self.reservations
            .iter()
            .any(|reservation| reservation.cidr.contains(&block) || block.contains(&reservation.cidr))
    }

    /// Exactly these blocks.
    pub(crate) fn take_exact_blocks(&mut self, blocks: &[Ipv4Net]) -> Result<(), TakeError> {
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
    pub(crate) fn give_back(&mut self, addresses: &[Ipv4Addr], blocks: &[Ipv4Net]) {
        for address in addresses {
            self.singles.remove(&address.to_bits());
        }
        for block in blocks {
            self.blocks.remove(&block.network().to_bits());
        }
    }
}

fn block_at(base: u32) -> Option<Ipv4Net> {
    Ipv4Net::new(Ipv4Addr::from_bits(base), BLOCK_LENGTH).ok()
}

/// Why an explicit choice cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeError<Address = Ipv4Addr> {
    /// Outside the subnet, reserved by AWS, or not aligned.
    Unusable(Address),
    /// Somebody has it.
    Taken(Address),
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    fn pool(cidr: &str) -> Pool {
        Pool::new(cidr.parse().expect("a CIDR"))
    }

    fn draw() -> Draw {
        Chance::new(1).draw("test", "pool")
    }

    #[test]
    fn a1_five_addresses_of_each_subnet_are_reserved() {
        assert_eq!(pool("10.0.1.0/24").available(), 251);
        assert_eq!(pool("10.0.1.0/28").available(), 11);
        let mut small = pool("10.0.1.0/28");
        let all = small.take_addresses(11, &mut draw()).expect("eleven are free");
        let wanted: BTreeSet<Ipv4Addr> = (4..15).map(|last| Ipv4Addr::new(10, 0, 1, last)).collect();
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(
            small.take_addresses(1, &mut draw()),
            Err(Ec2Error::NoFreeAddresses)
        );
    }

    #[test]
    fn a2_the_count_falls_by_one_per_address_and_sixteen_per_prefix_and_says_nothing_of_fragmentation() {
        let mut pool = pool("10.0.1.0/24");
        pool.take_addresses(3, &mut draw()).expect("free");
        assert_eq!(pool.available(), 248);
        let mut broken = super::Pool::new("10.0.2.0/24".parse().expect("a CIDR"));
        let one_each: Vec<Ipv4Addr> = (0..16)
            .map(|block| Ipv4Addr::new(10, 0, 2, block * 16 + 5))
            .collect();
        broken.take_exactly(&one_each).expect("free");
        assert_eq!(broken.available(), 235);
        assert_eq!(broken.take_blocks(1, &mut draw()), Err(Ec2Error::NoFreeBlocks));
        let mut whole = super::Pool::new("10.0.3.0/24".parse().expect("a CIDR"));
        whole.take_blocks(1, &mut draw()).expect("free");
        assert_eq!(whole.available(), 235);
    }

    #[test]
    fn a3_an_empty_24_yields_fourteen_aligned_prefixes() {
        let mut pool = pool("10.0.1.0/24");
        let blocks = pool.take_blocks(14, &mut draw()).expect("fourteen");
        assert!(
            blocks
                .iter()
                .all(|block| block.trunc() == *block && block.prefix_len() == 28)
        );
        assert_eq!(pool.take_blocks(1, &mut draw()), Err(Ec2Error::NoFreeBlocks));
        assert_eq!(
            pool.take_exact_blocks(&["10.0.1.0/28".parse().expect("a CIDR")]),
            Err(TakeError::Unusable(Ipv4Addr::new(10, 0, 1, 0)))
        );
    }

    #[test]
    fn a_failed_request_for_several_takes_nothing() {
        let mut pool = pool("10.0.1.0/24");
        assert_eq!(pool.take_blocks(15, &mut draw()), Err(Ec2Error::NoFreeBlocks));
        assert_eq!(
            pool.take_addresses(252, &mut draw()),
            Err(Ec2Error::NoFreeAddresses)
        );
        assert_eq!(pool.available(), 251);
    }

    #[test]
    fn a7_prefixes_come_from_reservations_first_and_explicit_ones_are_never_used() {
        let mut pool = pool("10.0.1.0/24");
        let reserve = |cidr: &str, kind| Reservation {
            cidr: cidr.parse().expect("a CIDR"),
            kind,
        };
        pool.reserve(reserve("10.0.1.64/27", ReservationKind::Prefix));
        pool.reserve(reserve("10.0.1.128/25", ReservationKind::Explicit));
        let first: BTreeSet<String> = (pool.take_blocks(2, &mut draw()).expect("free"))
            .iter()
            .map(Ipv4Net::to_string)
            .collect();
        assert_eq!(
            first,
            BTreeSet::from(["10.0.1.64/28".to_owned(), "10.0.1.80/28".to_owned()])
        );
        let rest = pool.take_blocks(5, &mut draw()).expect("five are left");
        assert!(
            rest.iter()
                .all(|block| block.network() < Ipv4Addr::new(10, 0, 1, 128))
        );
        assert_eq!(pool.take_blocks(1, &mut draw()), Err(Ec2Error::NoFreeBlocks));
        pool.unreserve("10.0.1.128/25".parse().expect("a CIDR"));
        assert!(pool.take_blocks(7, &mut draw()).is_ok());
    }

    #[test]
    fn a8_chosen_addresses_look_random() {
        let mut pool = pool("10.0.0.0/16");
        let chosen = pool.take_addresses(20, &mut draw()).expect("free");
        let mut sorted = chosen.clone();
        sorted.sort();
        assert_ne!(chosen, sorted);
        assert!(
            sorted
                .windows(2)
                .any(|pair| pair[1].to_bits() - pair[0].to_bits() > 1)
        );
    }

    #[test]
    fn a10_a_freed_address_may_be_given_to_somebody_else_at_once() {
        let mut pool = pool("10.0.1.0/28");
        let all = pool.take_addresses(11, &mut draw()).expect("eleven");
        pool.give_back(&all[..1], &[]);
        assert_eq!(pool.take_addresses(1, &mut draw()), Ok(vec![all[0]]));
    }
}
