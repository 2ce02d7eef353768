//! IPv6: each pod gets an address of one /80 prefix on the primary ENI, so nothing is kept warm and nothing is asked of
//! EC2 after the prefix. Left out: prefixes on other ENIs, which no pod needs.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::{EniRecord, Ledger};
use crate::address::PodAddresses;
use crate::moment::Moment;
use crate::policy::{Families, Policy};
use crate::snapshot::{Owner, SeenEni};

impl EniRecord {
    /// The prefix that pods get addresses of: the one that is served, if it is still there; further ones are left alone.
    #[must_use]
    pub fn prefix6(&self) -> Option<Ipv6Net> {
        let prefixes = &self.seen.prefixes6;
        let served = self.served6.filter(|prefix| prefixes.contains(prefix));
        served.or(prefixes.first().copied())
    }

    /// Whether it brings a pod's addresses: the IPv4 one, where there is one.
    pub(super) fn is_home_of(&self, addresses: PodAddresses) -> bool {
        let brings = |address| self.seen.blocks.iter().any(|block| block.holds(address));
        let delegates = |address| self.seen.prefixes6.iter().any(|prefix| prefix.contains(&address));
        addresses
            .v4
            .map_or_else(|| addresses.v6.is_some_and(delegates), brings)
    }
}

impl Ledger {
    /// Whether a pod gets an IPv6 address, once the prefix is there: a subnet without IPv6 leaves pods of both families
    /// with IPv4 alone.
    #[must_use]
    pub fn gives_ipv6(&self, policy: &Policy) -> bool {
        let subnet_has = || self.node.as_ref().is_some_and(|node| node.subnet_cidr6.is_some());
        match policy.families {
            Families::V4 => false,
            Families::V6 => true,
            Families::Both => subnet_has(),
        }
    }

    /// The primary ENI, once EC2 or the journal has told of it.
    #[must_use]
    pub fn primary(&self) -> Option<&EniRecord> {
        self.enis
            .values()
            .find(|record| record.seen.owner == Owner::Primary)
    }

    /// Whether a prefix of an ENI of the node holds the address.
    pub(super) fn is_delegated(&self, address: Ipv6Addr) -> bool {
        let mut prefixes = self.enis.values().flat_map(|record| &record.seen.prefixes6);
        prefixes.any(|prefix| prefix.contains(&address))
    }

    /// Whether a read may show the ENI as it was before its prefix: then what is known of it stays.
    pub(super) fn keep_prefixes6(&self, seen: &mut SeenEni, now: Moment) {
        if self.knows_better(&seen.id, now)
            && let Some(known) = self.enis.get(&seen.id)
        {
            seen.prefixes6.extend(&known.seen.prefixes6);
        }
    }

    /// The next address of the prefix that nobody has and that does not rest. It goes on from the last one given, so what
    /// was released lies fallow for as long as there is anything else.
    pub(super) fn next_ipv6(&self) -> Option<Ipv6Addr> {
        let prefix = self.primary()?.served6?;
        let (first, last) = (u128::from(prefix.network()), u128::from(prefix.broadcast()));
        let begin = self
            .last6
            .filter(|address| prefix.contains(address) && u128::from(*address) < last)
            .map_or(first, |address| u128::from(address) + 1);
        let is_free = |address: &Ipv6Addr| {
            !self.holders.contains_key(&IpAddr::V6(*address)) && !self.cooldown6.contains(*address)
        };
        let candidates = (begin..=last).chain(first..begin).map(Ipv6Addr::from);
        // One more than are taken is enough, and the prefix holds 2^48.
        let most = self.holders.len() + self.cooldown6.held() + 1;
        candidates.take(most).find(is_free)
    }
}
