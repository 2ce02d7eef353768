//! Addresses that rest between two holders, so that late packets and caches do not reach the wrong pod, and whose
//! connections are forgotten meanwhile. Both must be over before an address is given again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::{Moment, Stamp};

/// Between a release and the end of its pod's routes, after which no packet of it makes another connection: the plugin
/// takes them away in milliseconds, and this is for a busy node. Assumed.
const SETTLED: Duration = Duration::from_secs(1);

/// Addresses of one family that rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown<A: Ord> {
    resting: BTreeMap<A, Rest>,
    /// The ends of all rests.
    ends: BTreeSet<(Moment, A)>,
    /// When connections are to be forgotten, of those whose were not.
    settles: BTreeSet<(Moment, A)>,
}

impl<A: Ord> Default for Cooldown<A> {
    fn default() -> Self {
        Self {
            resting: BTreeMap::new(),
            ends: BTreeSet::new(),
            settles: BTreeSet::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rest {
    at: Stamp,
    until: Moment,
    /// Whether connections of the address may be on record.
    connected: bool,
}

impl<A: Copy + Ord> Cooldown<A> {
    /// Lets an address rest from `at` on.
    pub fn insert(&mut self, address: A, at: Stamp, rest: Duration) {
        self.remove(address);
        let until = at.moment.after(rest);
        let rest = Rest {
            at,
            until,
            connected: true,
        };
        self.resting.insert(address, rest);
        self.ends.insert((until, address));
        self.settles.insert((settled(&rest), address));
    }

    /// Ends the rest of an address at once: it is held again by whom the journal says.
    pub fn remove(&mut self, address: A) {
        if let Some(rest) = self.resting.remove(&address) {
            self.ends.remove(&(rest.until, address));
            self.settles.remove(&(settled(&rest), address));
        }
    }

    /// Whether the address rests, or has rested and nobody has been told yet.
    #[must_use]
    pub fn contains(&self, address: A) -> bool {
        self.resting.contains_key(&address)
    }

    /// Whether the address still rests.
    #[must_use]
    pub fn rests(&self, address: A, now: Moment) -> bool {
        self.resting
            .get(&address)
            .is_some_and(|rest| now < rest.until || rest.connected)
    }

    /// Everything that still rests, and since when.
    pub fn iter(&self, now: Moment) -> impl Iterator<Item = (A, Stamp)> {
        self.resting
            .iter()
            .filter(move |(_, rest)| now < rest.until || rest.connected)
            .map(|(address, rest)| (*address, rest.at))
    }

    /// How many are not free, those included whose rest is over and nobody has been told.
    #[must_use]
    pub fn held(&self) -> usize {
        self.resting.len()
    }

    /// How many rest.
    #[must_use]
    pub fn len(&self, now: Moment) -> usize {
        let over = self.ends.iter().take_while(|(until, _)| *until <= now);
        let free = over.filter(|(_, address)| !self.rests(*address, now)).count();
        self.ends.len() - free
    }

    /// When the next rest ends.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let mut ends = self.ends.iter().map(|(until, _)| *until);
        ends.find(|until| now < *until)
    }

    /// When the first connections are to be forgotten, or were.
    #[must_use]
    pub fn settles_at(&self) -> Option<Moment> {
        self.settles.first().map(|(at, _)| *at)
    }

    /// Takes the addresses whose connections are to be forgotten now; [`Self::handle_forgotten`] follows.
    pub fn take_settled(&mut self, now: Moment) -> BTreeSet<A> {
        let mut taken = BTreeSet::new();
        while let Some((_, address)) = self.settles.first().copied().filter(|(at, _)| *at <= now) {
            self.settles.pop_first();
            taken.insert(address);
        }
        taken
    }

    /// Notes that the connections of an address are forgotten.
    pub fn handle_forgotten(&mut self, address: A) {
        if let Some(rest) = self.resting.get_mut(&address) {
            // One that was held and released meanwhile is due again.
            rest.connected = self.settles.contains(&(settled(rest), address));
        }
    }

    /// Takes out an address that has rested, and since when it did; to be called until there is none.
    pub fn poll_rested(&mut self, now: Moment) -> Option<(A, Moment)> {
        let over = self.ends.iter().take_while(|(until, _)| *until <= now);
        let (_, address) = *over.clone().find(|(_, address)| !self.rests(*address, now))?;
        let since = self.resting.get(&address).map(|rest| rest.at.moment);
        self.remove(address);
        Some((address, since.unwrap_or_default()))
    }
}

/// When the routes of the last holder are gone for sure; an address without cool-down does not wait for that.
fn settled(rest: &Rest) -> Moment {
    rest.at.moment.after(SETTLED).min(rest.until)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn moment(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn stamp(seconds: u64) -> Stamp {
        Stamp {
            moment: moment(seconds),
            wall: Duration::ZERO,
        }
    }

    #[test]
    fn invariant_3_an_address_rests_for_exactly_the_cool_down() {
        let mut cooldown = Cooldown::default();
        let address = Ipv4Addr::new(10, 0, 0, 9);
        cooldown.insert(address, stamp(100), Duration::from_secs(30));
        assert_eq!(cooldown.settles_at(), Some(moment(101)));
        let settled = cooldown.take_settled(moment(101));
        settled
            .into_iter()
            .for_each(|address| cooldown.handle_forgotten(address));
        assert!(cooldown.rests(address, moment(129)));
        assert_eq!(cooldown.next_deadline(moment(129)), Some(moment(130)));
        assert_eq!(cooldown.settles_at(), None);
        assert!(!cooldown.rests(address, moment(130)));
        assert_eq!(cooldown.poll_rested(moment(129)), None);
        assert_eq!(cooldown.poll_rested(moment(130)), Some((address, moment(100))));
        assert_eq!(cooldown, Cooldown::default());
    }

    #[test]
    fn nothing_is_free_before_its_connections_are_forgotten() {
        let mut cooldown = Cooldown::default();
        let address = Ipv4Addr::new(10, 0, 0, 9);
        cooldown.insert(address, stamp(100), Duration::ZERO);
        assert_eq!(
            (cooldown.len(moment(100)), cooldown.poll_rested(moment(200))),
            (1, None)
        );
        let settled = cooldown.take_settled(moment(100));
        assert_eq!(settled, [address].into());
        assert!(cooldown.take_settled(moment(200)).is_empty());
        cooldown.insert(address, stamp(200), Duration::ZERO);
        settled
            .into_iter()
            .for_each(|address| cooldown.handle_forgotten(address));
        assert_eq!(
            cooldown.poll_rested(moment(200)),
            None,
            "what was forgotten was another's"
        );
        let settled = cooldown.take_settled(moment(200));
        settled
            .into_iter()
            .for_each(|address| cooldown.handle_forgotten(address));
        assert_eq!(cooldown.poll_rested(moment(200)), Some((address, moment(200))));
    }
}
