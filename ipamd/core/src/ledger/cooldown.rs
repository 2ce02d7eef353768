//! Addresses that rest between two holders, so that late packets and caches do not reach the wrong pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::moment::{Moment, Stamp};

/// Addresses with the end of their rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cooldown {
    resting: BTreeMap<Ipv4Addr, (Stamp, Moment)>,
    ends: BTreeSet<(Moment, Ipv4Addr)>,
}

impl Cooldown {
    /// Lets an address rest from `at` on.
    pub fn insert(&mut self, address: Ipv4Addr, at: Stamp, rest: Duration) {
        self.remove(address);
        let until = at.moment.after(rest);
        self.resting.insert(address, (at, until));
        self.ends.insert((until, address));
    }

    /// Ends the rest of an address at once: it is held again by whom the journal says.
    pub fn remove(&mut self, address: Ipv4Addr) {
        if let Some((_, until)) = self.resting.remove(&address) {
            self.ends.remove(&(until, address));
        }
    }

    /// Whether the address rests, or has rested and nobody has been told yet.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.resting.contains_key(&address)
    }

    /// Whether the address still rests.
    #[must_use]
    pub fn rests(&self, address: Ipv4Addr, now: Moment) -> bool {
        self.resting.get(&address).is_some_and(|(_, until)| now < *until)
    }

    /// Everything that still rests, and since when.
    pub fn iter(&self, now: Moment) -> impl Iterator<Item = (Ipv4Addr, Stamp)> {
        self.resting
            .iter()
            .filter(move |(_, (_, until))| now < *until)
            .map(|(address, (at, _))| (*address, *at))
    }

    /// How many rest.
    #[must_use]
    pub fn len(&self, now: Moment) -> usize {
        let over = self.ends.iter().take_while(|(until, _)| *until <= now).count();
        self.ends.len() - over
    }

    /// When the next rest ends.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let mut ends = self.ends.iter().map(|(until, _)| *until);
        ends.find(|until| now < *until)
    }

    /// Takes out an address that has rested, and since when it did; to be called until there is none.
    pub fn poll_rested(&mut self, now: Moment) -> Option<(Ipv4Addr, Moment)> {
        let (_, address) = *self.ends.first().filter(|(until, _)| *until <= now)?;
        let since = self.resting.get(&address).map(|(at, _)| at.moment);
        self.remove(address);
        Some((address, since.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariant_3_an_address_rests_for_exactly_the_cool_down() {
        let mut cooldown = Cooldown::default();
        let address = Ipv4Addr::new(10, 0, 0, 9);
        let at = Stamp {
            moment: Moment(Duration::from_secs(100)),
            wall: Duration::ZERO,
        };
        cooldown.insert(address, at, Duration::from_secs(30));
        let moment = |seconds| Moment(Duration::from_secs(seconds));
        assert!(cooldown.rests(address, moment(129)));
        assert_eq!(cooldown.next_deadline(moment(129)), Some(moment(130)));
        assert!(!cooldown.rests(address, moment(130)));
        assert_eq!(cooldown.poll_rested(moment(129)), None);
        assert_eq!(cooldown.poll_rested(moment(130)), Some((address, moment(100))));
        assert_eq!(cooldown, Cooldown::default());
    }
}
