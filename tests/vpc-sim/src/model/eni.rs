//! A network interface: what is true of it and what each viewer sees.
//!
//! The record outlives the ENI for as long as some viewer may still see it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use super::id::{AttachmentId, EniId, InstanceId, SecurityGroupId, SubnetId};
use super::mac::Mac;
use super::request::Tags;
use super::response::AttachmentStatus;
use super::timeline::{Facet, Seen, Viewer};

/// A network interface.
#[derive(Clone, Debug)]
pub(crate) struct Eni {
    pub(crate) id: EniId,
    pub(crate) mac: Mac,
    pub(crate) subnet: SubnetId,
    pub(crate) requester: String,
    pub(crate) exists: Facet<bool>,
    pub(crate) attachment: Facet<Option<Attachment>>,
    pub(crate) holdings: Facet<Holdings>,
    pub(crate) attributes: Facet<Attributes>,
    pub(crate) tags: Facet<Tags>,
}

/// Where an ENI is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) id: AttachmentId,
    pub(crate) instance: InstanceId,
    pub(crate) device_index: u32,
    pub(crate) network_card: u32,
    pub(crate) since: Duration,
    pub(crate) status: AttachmentStatus,
}

impl Attachment {
    /// Index 0 of card 0 is the primary ENI of its instance, for life.
    pub(crate) fn is_primary(&self) -> bool {
        self.device_index == 0 && self.network_card == 0
    }

    pub(crate) fn with_status(&self, status: AttachmentStatus) -> Self {
        Self {
            status,
            ..self.clone()
        }
    }
}

/// The addresses of an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) primary: Ipv4Addr,
    pub(crate) secondary: Vec<Ipv4Addr>,
    pub(crate) prefixes: Vec<Ipv4Net>,
    pub(crate) ipv6: Vec<Ipv6Addr>,
    pub(crate) ipv6_prefixes: Vec<Ipv6Net>,
}

impl Holdings {
    /// The primary address alone.
    pub(crate) fn bare(&self) -> Self {
        Self {
            primary: self.primary,
            secondary: Vec::new(),
            prefixes: Vec::new(),
            ipv6: Vec::new(),
            ipv6_prefixes: Vec::new(),
        }
    }

    /// Slots in use: one per address, the primary included, and one per prefix.
    pub(crate) fn slots(&self) -> usize {
        1 + self.secondary.len() + self.prefixes.len()
    }

    /// IPv6 slots in use, which are counted apart.
    pub(crate) fn ipv6_slots(&self) -> usize {
        self.ipv6.len() + self.ipv6_prefixes.len()
    }

    /// Primary first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        std::iter::once(self.primary).chain(self.secondary.iter().copied())
    }

    /// Whether packets from this address may leave here.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                self.addresses().any(|own| own == address)
                    || self.prefixes.iter().any(|prefix| prefix.contains(&address))
            }
            IpAddr::V6(address) => {
                self.ipv6.contains(&address)
                    || self.ipv6_prefixes.iter().any(|prefix| prefix.contains(&address))
            }
        }
    }
}

/// What can be modified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) description: String,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) source_dest_check: bool,
    pub(crate) delete_on_termination: bool,
    pub(crate) public: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

impl Eni {
    /// Whether it exists and a call may name it: a fresh id is not found at first, a deleted one at once.
    pub(crate) fn can_be_named(&self, now: Duration) -> bool {
        *self.exists.seen_by(Viewer::Truth, now) && *self.exists.seen_by(Viewer::Api, now)
    }

    /// Its attachment, as it truly is.
    pub(crate) fn attached(&self, now: Duration) -> Option<&Attachment> {
        self.attachment.truth.at(now).as_ref()
    }

    /// What it truly holds.
    pub(crate) fn held(&self, now: Duration) -> &Holdings {
        self.holdings.truth.at(now)
    }

    /// Pull it out of its instance at once.
    pub(crate) fn unplug(&mut self, seen: Seen) {
        self.attachment.truth.cut(seen.now, None);
        self.attachment.kernel.cut(seen.kernel, None);
        self.attachment.metadata.cut(seen.metadata, None);
        self.attachment.api.push(seen.api, None);
    }

    /// The next moment after `now` at which some viewer sees something new.
    pub(crate) fn next_after(&self, now: Duration) -> Option<Duration> {
        [
            self.exists.next_after(now),
            self.attachment.next_after(now),
            self.holdings.next_after(now),
            self.attributes.next_after(now),
            self.tags.next_after(now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Forget history before `horizon`; false when nobody can see the ENI any more.
    pub(crate) fn keep_after(&mut self, horizon: Duration) -> bool {
        self.exists.forget_before(horizon);
        self.attachment.forget_before(horizon);
        self.holdings.forget_before(horizon);
        self.attributes.forget_before(horizon);
        self.tags.forget_before(horizon);
        let seen = [Viewer::Truth, Viewer::Api, Viewer::Metadata, Viewer::Kernel]
            .into_iter()
            .any(|viewer| self.attachment.seen_by(viewer, horizon).is_some());
        let exists = *self.exists.truth.last() || *self.exists.seen_by(Viewer::Api, horizon);
        exists || seen || self.next_after(horizon).is_some()
    }
}
