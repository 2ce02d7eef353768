//! The pods of the node and the container runtime's part: whoever gets no address asks again, a DEL that nobody hears
//! leaves a tombstone.
//!
//! Pods with an even number ask again for the same container; those with an odd one get a new container each time, and
//! the old one is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipamd_core::id::{AttachmentKey, Pod};
use ipamd_core::ledger::AddRequest;

/// Every pod, with or without an address.
#[derive(Default)]
pub(crate) struct Pods {
    pub(crate) all: BTreeMap<u32, PodState>,
    containers: u64,
    asked: u64,
}

/// One pod.
pub(crate) struct PodState {
    pub(crate) key: AttachmentKey,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) address6: Option<Ipv6Addr>,
    /// Its requests that have no answer, first first.
    pub(crate) asks: BTreeSet<u64>,
}

/// One request of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) pod: u32,
    pub(crate) number: u64,
    pub(crate) key: AttachmentKey,
}

impl Pods {
    /// Whether somebody still waits for the answer to this request.
    pub(crate) fn asks(&self, ask: &Ask) -> bool {
        let pod = self.all.get(&ask.pod);
        pod.is_some_and(|pod| pod.key == ask.key && pod.asks.contains(&ask.number))
    }

    /// A pod asks, once more if it did before.
    pub(crate) fn ask(&mut self, number: u32) -> Ask {
        if !self.all.contains_key(&number) {
            let key = self.container();
            let pod = PodState {
                key,
                address: None,
                address6: None,
                asks: BTreeSet::new(),
            };
            self.all.insert(number, pod);
        }
        self.asked += 1;
        let pod = self.all.get_mut(&number).unwrap();
        pod.asks.insert(self.asked);
        Ask {
            pod: number,
            number: self.asked,
            key: pod.key.clone(),
        }
    }

    /// A request came to nothing. Says whether the pod must ask anew, and what is to be deleted before.
    pub(crate) fn fail(&mut self, ask: &Ask) -> (bool, Option<AttachmentKey>) {
        let Some(pod) = self.all.get_mut(&ask.pod).filter(|pod| pod.key == ask.key) else {
            return (false, None);
        };
        if !pod.asks.remove(&ask.number) || !pod.asks.is_empty() || pod.address.is_some() {
            return (false, None);
        }
        if ask.pod.is_multiple_of(2) {
            return (true, None);
        }
        let fresh = self.container();
        let pod = self.all.get_mut(&ask.pod).unwrap();
        (true, Some(std::mem::replace(&mut pod.key, fresh)))
    }

    /// Every request without an answer, the longest waiting first.
    pub(crate) fn unanswered(&self) -> Vec<Ask> {
        let asks = self.all.iter().flat_map(|(number, pod)| {
            pod.asks.iter().map(|ask| Ask {
                pod: *number,
                number: *ask,
                key: pod.key.clone(),
            })
        });
        let mut asks: Vec<Ask> = asks.collect();
        asks.sort_by_key(|ask| ask.number);
        asks
    }

    /// A key that nobody ever had.
    pub(crate) fn container(&mut self) -> AttachmentKey {
        self.containers += 1;
        AttachmentKey {
            container: format!("c{}", self.containers).parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            network: "aws-cni".parse().unwrap(),
        }
    }
}

/// What the plugin sends for a pod.
pub(crate) fn request(ask: &Ask) -> AddRequest {
    AddRequest {
        key: ask.key.clone(),
        pod: Pod {
            namespace: "default".parse().unwrap(),
            name: format!("pod-{}", ask.pod).parse().unwrap(),
        },
        netns: format!("/run/netns/{}", ask.key.container),
    }
}
