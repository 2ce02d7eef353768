//! Chance without a clock or a shared stream: what is drawn depends on the seed, the operation, its subject and how
//! often that subject was drawn for before, so unrelated requests may arrive in any order and change nothing.
//!
//! Not for secrets: the generator is SplitMix64 (public domain, Sebastiano Vigna) over an FNV-1a hash.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::Span;

/// Hands out one generator per operation and subject.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    seed: u64,
    drawn: BTreeMap<(&'static str, String), u64>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            drawn: BTreeMap::new(),
        }
    }

    /// The generator for the next time that `operation` happens to `subject`.
    pub(crate) fn draw(&mut self, operation: &'static str, subject: &str) -> Draw {
        let count = self.drawn.entry((operation, subject.to_owned())).or_insert(0);
        *count += 1;
        let mut hash = Fnv::new(self.seed);
        hash.add(operation.as_bytes());
        hash.add(&[0]);
        hash.add(subject.as_bytes());
        hash.add(&count.to_be_bytes());
        Draw(hash.0)
    }
}

/// The FNV-1a hash (RFC 9923), started from a seed.
struct Fnv(u64);

impl Fnv {
    fn new(seed: u64) -> Self {
        let mut hash = Self(0xcbf2_9ce4_8422_2325);
        hash.add(&seed.to_be_bytes());
        hash
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// A small generator for one occasion.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when the bound is 0. The bias of the remainder is below 2^-32 for our small bounds.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.bits() % u64::from(bound.max(1))).unwrap_or(0)
    }

    /// A time within the span, both ends included.
    pub(crate) fn within(&mut self, span: Span) -> Duration {
        let width = span.most.saturating_sub(span.least);
        let nanos = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX - 1);
        span.least + Duration::from_nanos(self.bits() % (nanos + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unrelated_draws_change_nothing() {
        let mut alone = Chance::new(7);
        let mut busy = Chance::new(7);
        busy.draw("create", "subnet-b");
        busy.draw("attach", "subnet-a");
        assert_eq!(
            alone.draw("create", "subnet-a").bits(),
            busy.draw("create", "subnet-a").bits()
        );
        assert_ne!(
            alone.draw("create", "subnet-a").bits(),
            alone.draw("create", "subnet-a").bits()
        );
        assert_ne!(
            Chance::new(7).draw("x", "y").bits(),
            Chance::new(8).draw("x", "y").bits()
        );
    }

    #[test]
    fn a_time_stays_within_its_span() {
        let span = Span::millis(20, 30);
        let mut draw = Chance::new(1).draw("delay", "eni");
        for _ in 0..1000 {
            let time = draw.within(span);
            assert!(time >= span.least && time <= span.most, "{time:?}");
        }
        assert_eq!(draw.within(Span::ZERO), Duration::ZERO);
    }
}
