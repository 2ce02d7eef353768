//! Who holds what: the only state that decisions change.
//!
//! Methods come in four kinds. *Getters* look. *Requests* (`add`, `release`, `give_up`) come from the shim. `handle_*`
//! note what happened outside. `take_entries` hands over what must be on disk before anybody is told.
//!
//! Kept here: an address has at most one holder (1); only addresses of an ENI that the kernel serves are handed out
//! (2); a freed address rests for the cool-down (3). Left out: why more or less should be held, which is `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Subject};
use crate::address::{AddressCount, Ask, Block, PodAddresses};
use crate::checkpoint::Digest;
use crate::id::{AttachmentKey, EniId, IntentId, Malformed, Pod, SecurityGroupId, SubnetId};
use crate::moment::{Moment, Stamp};
use crate::net::EniMark;
use crate::net::eni::{Wanted, WantedEni};
use crate::net::pod::{PodWiring, WiringFacts, wiring};
use crate::pace::Pace;
use crate::policy::Policy;
use crate::retry::Backoff;
use crate::snapshot::{Node, Owner};

pub mod cooldown;
mod forget;
pub mod hint;
mod ipv6;
pub mod journal;
pub mod leak;
pub mod outcome;
mod pool;
mod record;
pub mod stale;
pub mod subnets;
pub mod takeover;
pub mod waiting;

use cooldown::Cooldown;
use journal::Entry;
use pool::{Pool, Use};
pub use record::EniRecord;
use subnets::Subnets;
use takeover::Quiet;
use waiting::{Ticket, Waiting, WaitingAdd};

/// Who holds what on this node. What a saved one lacks, because an older version wrote it, is as in a new ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    node: Option<Node>,
    enis: BTreeMap<EniId, EniRecord>,
    intents: BTreeMap<IntentId, Intent>,
    #[serde(with = "crate::pairs")]
    leases: BTreeMap<AttachmentKey, Lease>,
    holders: BTreeMap<IpAddr, AttachmentKey>,
    /// When this daemon gave a lease; one from the journal is older than any list of a runtime.
    #[serde(with = "crate::pairs")]
    given: BTreeMap<AttachmentKey, Moment>,
    cooldown: Cooldown<Ipv4Addr>,
    cooldown6: Cooldown<Ipv6Addr>,
    /// The last IPv6 address that was given.
    last6: Option<Ipv6Addr>,
    /// Derived from the rest.
    #[serde(skip)]
    pool: Pool,
    waiting: Waiting,
    #[serde(with = "crate::pairs")]
    in_flight: BTreeMap<Subject, Action>,
    backoff: Backoff,
    pace: Pace,
    leaks: leak::Leaks,
    subnets: Subnets,
    /// Blocks that an ENI of the node's type holds.
    #[serde(skip)]
    slots_per_eni: Option<u32>,
    /// Whether the kernel is being told to forget connections, and when it last was.
    #[serde(skip)]
    forgetting: bool,
    #[serde(skip)]
    looked_at: Option<Moment>,
    last_mark: Option<EniMark>,
    last_intent: u64,
    surplus_since: Option<Moment>,
    read_all_at: Option<Moment>,
    read_all_wanted: bool,
    asked: hint::Asked,
    /// ENIs that metadata shows otherwise.
    doubted: BTreeSet<EniId>,
    /// When EC2 certainly shows what a call did whose answer was lost, or what happened before this daemon started.
    look_again: Option<Moment>,
    /// When a call last changed an ENI: what a read tells of a moment before that is out of date.
    changed: BTreeMap<EniId, Moment>,
    /// When a block was given back: a read may show it still, and a call that nobody heard of may yet arrive.
    #[serde(with = "crate::pairs")]
    given_back: BTreeMap<Block, Moment>,
    /// What the peer's files may hold of ours: any other content is somebody else's.
    checkpoints: BTreeSet<Digest>,
    quiet: Option<Quiet>,
    #[serde(skip)]
    unwritten: Vec<Entry>,
}

/// An ENI that was asked for and has no id yet: everything that was said, because a client token demands that a repeat
/// says it word for word, whatever the node and the policy have become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// With what to begin with.
    pub ask: Ask,
    /// Where.
    pub subnet: SubnetId,
    /// With which security groups.
    pub groups: BTreeSet<SecurityGroupId>,
    /// With which tags.
    pub tags: BTreeMap<String, String>,
    /// When it was intended, since 1970.
    pub wall: Duration,
}

/// An address with its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The pod.
    pub pod: Pod,
    /// Its network namespace, as the runtime named it.
    pub netns: String,
    /// The ENI that the address belongs to, the IPv4 address of a pod that has both; none where the lease was taken over and
    /// no ENI of the node has the address.
    pub eni: Option<EniId>,
    /// Since when, since 1970.
    #[serde(default)]
    pub since: Duration,
    /// Everything that the shim was told.
    pub wiring: PodWiring,
}

/// What a pod can be given.
#[derive(Clone, Debug)]
struct Offer {
    eni: EniId,
    addresses: PodAddresses,
}

/// A request for an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddRequest {
    /// The attachment.
    pub key: AttachmentKey,
    /// The pod.
    pub pod: Pod,
    /// Its network namespace.
    pub netns: String,
}

/// What became of a request for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// The attachment has this lease from now on.
    Given(Lease),
    /// The attachment has this lease since an earlier request.
    Again(Lease),
    /// It waits in line and is demand.
    Queued(Ticket),
}

/// Why a request cannot even wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// The daemon has not met the node yet.
    #[error("the node's own addresses are not known yet")]
    NodeUnknown,
    /// As many wait as the node could ever serve.
    #[error("{waiting} requests wait for an address already, as many as the node can serve")]
    QueueFull {
        /// How many.
        waiting: usize,
    },
    /// The name prefix and the pod make no device name.
    #[error("naming the pod's host device")]
    Name(#[source] Malformed),
}

impl Ledger {
    /// The facts of the node, once known.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Every ENI on record.
    #[must_use]
    pub fn enis(&self) -> &BTreeMap<EniId, EniRecord> {
        &self.enis
    }

    /// Every ENI that was asked for and has no id yet.
    #[must_use]
    pub fn intents(&self) -> &BTreeMap<IntentId, Intent> {
        &self.intents
    }

    /// Every lease.
    #[must_use]
    pub fn leases(&self) -> &BTreeMap<AttachmentKey, Lease> {
        &self.leases
    }

    /// The lease that an address is held by.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Option<&Lease> {
        self.leases.get(self.holders.get(&address)?)
    }

    /// The requests that wait.
    #[must_use]
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// IPv4 addresses that rest.
    #[must_use]
    pub fn cooldown(&self) -> &Cooldown<Ipv4Addr> {
        &self.cooldown
    }

    /// Calls that are under way.
    #[must_use]
    pub fn in_flight(&self) -> &BTreeMap<Subject, Action> {
        &self.in_flight
    }

    /// What failed lately.
    #[must_use]
    pub fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// How fast EC2 may be called.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What is known of subnets.
    #[must_use]
    pub fn subnets(&self) -> &Subnets {
        &self.subnets
    }

    /// Since when more is held than wanted.
    #[must_use]
    pub fn surplus_since(&self) -> Option<Moment> {
        self.surplus_since
    }

    /// When EC2 last described everything.
    #[must_use]
    pub fn read_all_at(&self) -> Option<Moment> {
        self.read_all_at
    }

    /// When a call last changed an ENI, for as long as EC2 may not show it.
    #[must_use]
    pub fn changed_at(&self, eni: &EniId) -> Option<Moment> {
        self.changed.get(eni).copied()
    }

    /// Whether nothing is known of the node: it is new, or its journal is lost.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.enis.is_empty() && self.leases.is_empty() && self.intents.is_empty()
    }

    /// Whether something happened that only a look at everything explains.
    #[must_use]
    pub fn read_all_wanted(&self) -> bool {
        self.read_all_wanted
    }

    /// When everything is to be looked at once more, because the last look may have shown the past.
    #[must_use]
    pub fn look_again_at(&self) -> Option<Moment> {
        self.look_again
    }

    /// The number of the next intent: microseconds since 1970, so that a node whose journal went with a reboot does
    /// not repeat the client tokens of its past.
    #[must_use]
    pub fn next_intent(&self, wall: Duration) -> IntentId {
        let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        IntentId(self.last_intent.saturating_add(1).max(micros))
    }

    /// Leases on an ENI.
    #[must_use]
    pub fn leases_on(&self, eni: &EniId) -> AddressCount {
        self.pool.pods(eni)
    }

    /// Whether a pod can be given what it needs, as far as time is known to have passed.
    #[must_use]
    pub fn has_free(&self, policy: &Policy) -> bool {
        (!policy.families.has_v4() || self.pool.has_free())
            && (!self.gives_ipv6(policy) || self.next_ipv6().is_some())
    }

    /// Addresses of a block that pods have or that rest.
    #[must_use]
    pub fn used_in(&self, block: Block, now: Moment) -> AddressCount {
        let used = block.addresses().filter(|address| !self.is_free(*address, now));
        AddressCount(u32::try_from(used.count()).unwrap_or(u32::MAX))
    }

    /// Asks for an address. The same attachment gets the same answer again; before the node is known, requests wait.
    ///
    /// # Errors
    /// [`NotAdded`]: nothing changed.
    pub fn add(
        &mut self,
        request: AddRequest,
        policy: &Policy,
        capacity: AddressCount,
        at: Stamp,
    ) -> Result<Added, NotAdded> {
        if let Some(lease) = self.leases.get(&request.key) {
            return Ok(Added::Again(lease.clone()));
        }
        let now = at.moment;
        self.handle_rested(now);
        // Nobody overtakes those who wait.
        let free = self.best(policy, now).filter(|_| self.waiting.is_empty());
        if let Some(offer) = free {
            return self.give(request, offer, policy, at).map(Added::Given);
        }
        let bound = usize::try_from(capacity.0).unwrap_or(usize::MAX).max(1);
        if self.waiting.len() >= bound {
            return Err(NotAdded::QueueFull {
                waiting: self.waiting.len(),
            });
        }
        Ok(Added::Queued(self.waiting.push(request, now)))
    }

    /// Gives addresses to those that wait, first come first served. Several requests of one attachment are answered
    /// together: the first is given the address, the others have it again.
    pub fn serve(&mut self, policy: &Policy, at: Stamp) -> Vec<(Ticket, Result<Added, NotAdded>)> {
        self.handle_rested(at.moment);
        let mut served = Vec::new();
        while !self.waiting.is_empty() {
            let Some(offer) = self.best(policy, at.moment) else {
                break;
            };
            let Some(WaitingAdd { ticket, request, .. }) = self.waiting.pop() else {
                break;
            };
            let key = request.key.clone();
            let lease = self.give(request, offer, policy, at);
            if let Ok(lease) = &lease {
                let others = self.waiting.take(&key).into_iter();
                served.extend(others.map(|other| (other.ticket, Ok(Added::Again(lease.clone())))));
            }
            served.push((ticket, lease.map(Added::Given)));
        }
        served
    }

    /// Takes a request out of the line: whoever asked went away.
    pub fn give_up(&mut self, ticket: Ticket) {
        self.waiting.remove(ticket);
    }

    /// Takes an attachment's address back and lets it rest. What was not held is not an error: deleting is persistent.
    pub fn release(&mut self, key: &AttachmentKey, policy: &Policy, at: Stamp) -> Option<Lease> {
        self.waiting.forget(key);
        let lease = self.leases.remove(key)?;
        self.given.remove(key);
        self.let_go(&lease);
        let addresses = lease.wiring.addresses();
        for address in addresses.iter() {
            self.take_from(key, address);
            self.rest(address, at, policy.cooldown);
        }
        self.unwritten.push(Entry::Released {
            key: key.clone(),
            address: addresses.v4,
            address6: addresses.v6,
            at,
        });
        if let Some(eni) = &lease.eni {
            self.bury(eni);
        }
        Some(lease)
    }

    /// What must be on disk before anybody is told of the changes since the last call (7).
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.unwritten)
    }

    /// The next moment at which something here changes by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let deadlines = [
            self.cooldown.next_deadline(now),
            self.cooldown6.next_deadline(now),
            self.backoff.next_deadline(now),
            self.quiet_until(now),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// What the host's network should be like; `None` until the node is known.
    #[must_use]
    pub fn wanted(&self, policy: &Policy) -> Option<Wanted> {
        let node = self.node.as_ref()?;
        let enis = self
            .enis
            .values()
            .filter(|record| record.serves())
            .filter_map(|record| {
                Some(WantedEni {
                    id: record.seen.id.clone(),
                    mac: record.seen.mac,
                    primary_ip: record.seen.primary_ip,
                    subnet: *node.subnet_cidrs.get(&record.seen.subnet)?,
                    place: record.place()?,
                    mark: record.mark,
                    blocks: record.seen.blocks.clone(),
                    prefix6: record
                        .prefix6()
                        .filter(|_| record.seen.owner == Owner::Primary && self.gives_ipv6(policy)),
                })
            });
        let pods = self.leases.values().flat_map(|lease| {
            let addresses = lease.wiring.addresses().iter();
            addresses.map(|address| (address, lease.wiring.host_name.clone()))
        });
        Some(Wanted {
            enis: enis.collect(),
            pods: pods.collect(),
            eni_mtu_bytes: policy.devices.eni_mtu_bytes,
            node_address: node.primary_ip,
            external_services: policy.snat.external_services.clone(),
        })
    }

    fn give(
        &mut self,
        request: AddRequest,
        offer: Offer,
        policy: &Policy,
        at: Stamp,
    ) -> Result<Lease, NotAdded> {
        let node = self.node.as_ref().ok_or(NotAdded::NodeUnknown)?;
        let facts = WiringFacts {
            veth_prefix: &policy.devices.veth_prefix,
            mtu_bytes: policy.devices.pod_mtu_bytes,
            node_address: Some(node.primary_ip),
        };
        let wiring = wiring(&request.key, &request.pod, offer.addresses, facts).map_err(NotAdded::Name)?;
        let lease = Lease {
            pod: request.pod,
            netns: request.netns,
            eni: Some(offer.eni),
            since: at.wall,
            wiring,
        };
        self.last6 = offer.addresses.v6.or(self.last6);
        self.unwritten.push(Entry::Leased {
            key: request.key.clone(),
            lease: lease.clone(),
        });
        self.given.insert(request.key.clone(), at.moment);
        self.insert_lease(request.key, lease.clone());
        Ok(lease)
    }

    fn insert_lease(&mut self, key: AttachmentKey, lease: Lease) {
        let addresses = lease.wiring.addresses();
        if let Some(address) = addresses.v4 {
            self.cooldown.remove(address);
        }
        if let Some(address) = addresses.v6 {
            self.cooldown6.remove(address);
        }
        match (&lease.eni, addresses.v4) {
            (Some(eni), Some(address)) => self.pool.take(eni, address),
            (Some(eni), None) => self.pool.count(eni),
            (None, _) => {}
        }
        let holders = addresses.iter().map(|address| (address, key.clone()));
        self.holders.extend(holders);
        if let Some(old) = self.leases.insert(key, lease) {
            self.let_go(&old);
        }
    }

    fn let_go(&mut self, lease: &Lease) {
        match (&lease.eni, lease.wiring.v4) {
            (Some(eni), Some(leg)) => self.pool.let_go(eni, leg.address),
            (Some(eni), None) => self.pool.discount(eni),
            (None, _) => {}
        }
    }

    /// The attachment holds the address no more; another that does goes on.
    fn take_from(&mut self, key: &AttachmentKey, address: IpAddr) {
        if self.holders.get(&address) == Some(key) {
            self.holders.remove(&address);
        }
    }

    fn rest(&mut self, address: IpAddr, at: Stamp, rest: Duration) {
        match address {
            IpAddr::V4(address) => self.cooldown.insert(address, at, rest),
            IpAddr::V6(address) => self.cooldown6.insert(address, at, rest),
        }
    }

    /// What is given next: an address of every family that a pod gets, or nothing.
    fn best(&self, policy: &Policy, now: Moment) -> Option<Offer> {
        if self.quiet_until(now).is_some() {
            return None;
        }
        let v4 = match policy.families.has_v4() {
            true => Some(self.pool.best(policy.kind)?),
            false => None,
        };
        let v6 = match self.gives_ipv6(policy) {
            true => Some(self.next_ipv6()?),
            false => None,
        };
        let (eni, v4) = match v4 {
            Some((eni, address)) => (eni, Some(address)),
            None => (self.primary()?.seen.id.clone(), None),
        };
        Some(Offer {
            eni,
            addresses: PodAddresses { v4, v6 },
        })
    }

    /// Addresses whose rest is over can be given again.
    fn handle_rested(&mut self, now: Moment) {
        while let Some((address, since)) = self.cooldown.poll_rested(now) {
            self.pool.free(address, since);
        }
        while self.cooldown6.poll_rested(now).is_some() {}
    }

    /// Takes what can be given of an ENI as its record now says.
    fn reindex(&mut self, id: &EniId) {
        let Some(record) = self.enis.get(id).filter(|record| record.gives()) else {
            self.pool.remove(id);
            return;
        };
        let (holders, cooldown) = (&self.holders, &self.cooldown);
        self.pool.set(
            id,
            record.place(),
            record.served.difference(&record.lost),
            |address| {
                if holders.contains_key(&IpAddr::V4(address)) {
                    Use::Held
                } else if cooldown.contains(address) {
                    Use::Resting
                } else {
                    Use::Free
                }
            },
        );
    }

    /// Whether nobody holds the address and it has rested.
    #[must_use]
    pub fn is_free(&self, address: Ipv4Addr, now: Moment) -> bool {
        !self.holders.contains_key(&IpAddr::V4(address)) && !self.cooldown.rests(address, now)
    }
}
