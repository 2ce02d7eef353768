//! Addresses that rest between two holders, so that late packets and caches do not reach the wrong pod.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::moment::{Moment, Stamp};

/// Addresses with the end of their rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cooldown(BTreeMap<Ipv4Addr, (Stamp, Moment)>);

impl Cooldown {
    /// Lets an address rest from `at` on.
    pub fn insert(&mut self, address: Ipv4Addr, at: Stamp, rest: Duration) {
        self.0.insert(address, (at, at.moment.after(rest)));
    }

    /// Ends the rest of an address at once: it is held again by whom the journal says.
    pub fn remove(&mut self, address: Ipv4Addr) {
        self.0.remove(&address);
    }

    /// Whether the address still rests.
    #[must_use]
    pub fn rests(&self, address: Ipv4Addr, now: Moment) -> bool {
        self.0.get(&address).is_some_and(|(_, until)| now < *until)
    }

    /// Everything that still rests, and since when.
    pub fn iter(&self, now: Moment) -> impl Iterator<Item = (Ipv4Addr, Stamp)> {
        self.0
            .iter()
            .filter(move |(_, (_, until))| now < *until)
            .map(|(address, (at, _))| (*address, *at))
    }

    /// How many rest.
    #[must_use]
    pub fn len(&self, now: Moment) -> usize {
        self.iter(now).count()
    }

    /// When the next rest ends.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        self.0
            .values()
            .map(|(_, until)| *until)
            .filter(|until| now < *until)
            .min()
    }

    /// Forgets what has rested.
    pub fn handle_time(&mut self, now: Moment) {
        self.0.retain(|_, (_, until)| now < *until);
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
        cooldown.handle_time(moment(130));
        assert_eq!(cooldown, Cooldown::default());
    }
}
