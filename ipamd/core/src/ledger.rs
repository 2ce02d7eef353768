//! Who holds what: the only state that decisions change.
//!
//! Methods come in four kinds. *Getters* look. *Requests* (`add`, `release`, `give_up`) come from the shim. `handle_*`
//! note what happened outside. `take_entries` hands over what must be on disk before anybody is told.
//!
//! Kept here: an address has at most one holder (1); only addresses of an ENI that the kernel serves are handed out
//! (2); a freed address rests for the cool-down (3). Left out: why more or less should be held, which is `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Subject};
use crate::address::{AddressCount, Block};
use crate::id::{AttachmentKey, EniId, IntentId, Malformed, Pod, SecurityGroupId, SubnetId};
use crate::moment::{Moment, Stamp};
use crate::net::EniMark;
use crate::net::eni::{Place, Wanted, WantedEni};
use crate::net::pod::{PodWiring, WiringFacts, wiring};
use crate::policy::Policy;
use crate::retry::Backoff;
use crate::snapshot::{Node, Owner, SeenAttachment, SeenEni};

pub mod cooldown;
pub mod journal;
pub mod outcome;
pub mod stale;
pub mod waiting;

use cooldown::Cooldown;
use journal::Entry;
use waiting::{Ticket, Waiting, WaitingAdd};

/// Who holds what on this node.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    node: Option<Node>,
    enis: BTreeMap<EniId, EniRecord>,
    intents: BTreeMap<IntentId, Intent>,
    leases: BTreeMap<AttachmentKey, Lease>,
    holders: BTreeMap<Ipv4Addr, AttachmentKey>,
    /// When this daemon gave a lease; one from the journal is older than any list of a runtime.
    given: BTreeMap<AttachmentKey, Moment>,
    cooldown: Cooldown,
    waiting: Waiting,
    in_flight: BTreeMap<Subject, Action>,
    backoff: Backoff,
    last_mark: Option<EniMark>,
    last_intent: u64,
    surplus_since: Option<Moment>,
    read_all_at: Option<Moment>,
    read_all_wanted: bool,
    /// When EC2 certainly shows what a call did whose answer was lost, or what happened before this daemon started.
    look_again: Option<Moment>,
    /// When a call last changed an ENI: what a read tells of a moment before that is out of date.
    changed: BTreeMap<EniId, Moment>,
    /// When an address was given back: a read may show it still, and a call that nobody heard of may yet arrive.
    given_back: BTreeMap<Ipv4Addr, Moment>,
    /// Since when an attached ENI's device is awaited.
    awaited: BTreeMap<EniId, Moment>,
    unwritten: Vec<Entry>,
}

/// An ENI of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EniRecord {
    /// As EC2 last described it, with what we did since.
    pub seen: SeenEni,
    /// Its number in the mark; none for the primary.
    pub mark: Option<EniMark>,
    /// It is being given back: nothing of it is handed out, and it goes as soon as EC2 lets it.
    pub removing: bool,
    /// Blocks that the kernel serves.
    #[serde(skip)]
    pub served: BTreeSet<Block>,
    /// Nobody knows what the last call did: read it before anything else.
    pub uncertain: bool,
    /// When we created it, if this daemon did: EC2 may not show it to every reader yet.
    #[serde(skip)]
    pub created: Option<Moment>,
}

impl EniRecord {
    /// Whether pods may have addresses of it at all.
    #[must_use]
    pub fn serves(&self) -> bool {
        !self.removing && self.seen.owner != Owner::Foreign && self.seen.attachment.is_some()
    }

    /// Whether pods may get addresses of it from now on: not while EC2 takes it away.
    #[must_use]
    pub fn gives(&self) -> bool {
        let leaves = |attachment: &SeenAttachment| attachment.detaching;
        self.serves() && !self.seen.attachment.as_ref().is_some_and(leaves)
    }

    /// Where it is attached.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let attachment = self.seen.attachment.as_ref()?;
        Some(Place {
            device_index: attachment.device_index,
            network_card: attachment.network_card,
        })
    }

    /// The addresses that it brings, served or not.
    #[must_use]
    pub fn size(&self) -> AddressCount {
        self.seen.blocks.iter().map(|block| block.size()).sum()
    }
}

/// An ENI that was asked for and has no id yet: everything that was said, because a client token demands that a repeat
/// says it word for word, whatever the node and the policy have become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// With how many secondary addresses.
    pub addresses: AddressCount,
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
    /// The ENI that the address belongs to.
    pub eni: EniId,
    /// Everything that the shim was told.
    pub wiring: PodWiring,
}

/// A request for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// The requests that wait.
    #[must_use]
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Addresses that rest.
    #[must_use]
    pub fn cooldown(&self) -> &Cooldown {
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
        let count = self.leases.values().filter(|lease| lease.eni == *eni).count();
        AddressCount(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Since when the device of an attached ENI is awaited, where it is and others are served: the kernel works.
    #[must_use]
    pub fn awaited_since(&self, eni: &EniId) -> Option<Moment> {
        let works = self.enis.values().any(|record| !record.served.is_empty());
        self.awaited.get(eni).copied().filter(|_| works)
    }

    /// Whether an address can be given now.
    #[must_use]
    pub fn has_free(&self, now: Moment) -> bool {
        self.free(now).next().is_some()
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
        now: Moment,
    ) -> Result<Added, NotAdded> {
        if let Some(lease) = self.leases.get(&request.key) {
            return Ok(Added::Again(lease.clone()));
        }
        // Nobody overtakes those who wait.
        let free = self.free(now).next().filter(|_| self.waiting.is_empty());
        if let Some((eni, address)) = free {
            return self.give(request, eni, address, policy, now).map(Added::Given);
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
    pub fn serve(&mut self, policy: &Policy, now: Moment) -> Vec<(Ticket, Result<Added, NotAdded>)> {
        let mut served = Vec::new();
        while !self.waiting.is_empty() {
            let Some((eni, address)) = self.free(now).next() else {
                break;
            };
            let Some(WaitingAdd { ticket, request, .. }) = self.waiting.pop() else {
                break;
            };
            let key = request.key.clone();
            let lease = self.give(request, eni, address, policy, now);
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
        let address = lease.wiring.address;
        self.holders.remove(&address);
        self.cooldown.insert(address, at, policy.cooldown);
        self.unwritten.push(Entry::Released {
            key: key.clone(),
            address,
            at,
        });
        Some(lease)
    }

    /// What must be on disk before anybody is told of the changes since the last call (7).
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.unwritten)
    }

    /// The next moment at which something here changes by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        [self.cooldown.next_deadline(now), self.backoff.next_deadline(now)]
            .into_iter()
            .flatten()
            .min()
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
                })
            });
        let pods = self
            .leases
            .values()
            .map(|lease| (lease.wiring.address, lease.wiring.host_name.clone()));
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
        eni: EniId,
        address: Ipv4Addr,
        policy: &Policy,
        now: Moment,
    ) -> Result<Lease, NotAdded> {
        let node = self.node.as_ref().ok_or(NotAdded::NodeUnknown)?;
        let facts = WiringFacts {
            veth_prefix: &policy.devices.veth_prefix,
            mtu_bytes: policy.devices.pod_mtu_bytes,
            node_address: Some(node.primary_ip),
        };
        let wiring = wiring(&request.key, &request.pod, address, facts).map_err(NotAdded::Name)?;
        let lease = Lease {
            pod: request.pod,
            netns: request.netns,
            eni,
            wiring,
        };
        self.unwritten.push(Entry::Leased {
            key: request.key.clone(),
            lease: lease.clone(),
        });
        self.given.insert(request.key.clone(), now);
        self.insert_lease(request.key, lease.clone());
        Ok(lease)
    }

    fn insert_lease(&mut self, key: AttachmentKey, lease: Lease) {
        self.cooldown.remove(lease.wiring.address);
        self.holders.insert(lease.wiring.address, key.clone());
        self.leases.insert(key, lease);
    }

    /// Addresses that can be given now, best first: the ENI with the most pods, so that others can empty; among equals
    /// the one that was there first.
    fn free(&self, now: Moment) -> impl Iterator<Item = (EniId, Ipv4Addr)> {
        let mut enis: Vec<&EniRecord> = self.enis.values().filter(|record| record.gives()).collect();
        enis.sort_by_cached_key(|record| {
            (std::cmp::Reverse(self.leases_on(&record.seen.id)), record.place())
        });
        enis.into_iter().flat_map(move |record| {
            let addresses = record.served.iter().flat_map(|block| block.addresses());
            addresses
                .filter(move |address| self.is_free(*address, now))
                .map(|address| (record.seen.id.clone(), address))
        })
    }

    /// Whether nobody holds the address and it has rested.
    #[must_use]
    pub fn is_free(&self, address: Ipv4Addr, now: Moment) -> bool {
        !self.holders.contains_key(&address) && !self.cooldown.rests(address, now)
    }
}
