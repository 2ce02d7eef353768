//! Leases that their runtime no longer knows (CNI 1.1.0, GC).

use std::collections::BTreeSet;

use super::Ledger;
use crate::id::{AttachmentKey, NetworkName};
use crate::moment::Moment;

/// What a runtime says of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The network; attachments of others are not in the list.
    pub network: NetworkName,
    /// Every attachment that is valid.
    pub valid: BTreeSet<AttachmentKey>,
    /// How old the list is: what was given later cannot be in it.
    pub as_of: Moment,
}

impl Ledger {
    /// The attachments that the runtime forgot.
    #[must_use]
    pub fn stale(&self, known: &Known) -> Vec<AttachmentKey> {
        let is_younger = |key| self.given.get(key).is_some_and(|given| *given > known.as_of);
        let of_network = self.leases.keys().filter(|key| key.network == known.network);
        of_network
            .filter(|key| !known.valid.contains(*key) && !is_younger(*key))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Lease;
    use crate::ledger::journal::{Entry, Present};
    use crate::moment::Stamp;
    use crate::net::TableId;
    use crate::net::pod::PodWiring;
    use std::time::Duration;

    fn key(container: &str, network: &str) -> AttachmentKey {
        AttachmentKey {
            container: container.parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            network: network.parse().unwrap(),
        }
    }

    fn lease(last: u8) -> Lease {
        Lease {
            pod: crate::id::Pod {
                namespace: "default".parse().unwrap(),
                name: format!("web-{last}").parse().unwrap(),
            },
            netns: String::new(),
            eni: None,
            since: Duration::ZERO,
            wiring: PodWiring {
                host_name: format!("eni{last}").parse().unwrap(),
                host_mac: crate::address::Mac([2, 0, 0, 0, 0, last]),
                pod_name: "eth0".parse().unwrap(),
                pod_mac: crate::address::Mac([2, 0, 0, 0, 1, last]),
                mtu_bytes: 9001,
                v4: Some(crate::net::pod::Leg {
                    address: [10, 0, 1, last].into(),
                    gateway: crate::net::pod::GATEWAY,
                    node_address: None,
                }),
                v6: None,
                table: TableId::PODS,
                rules: Vec::new(),
            },
        }
    }

    /// CNI: GC-2, GC-8, GC-9.
    #[test]
    fn only_older_attachments_of_the_network_that_are_not_in_the_list_are_stale() {
        let now = Moment(std::time::Duration::from_secs(100));
        let leased = |key, last| Entry::Leased {
            key,
            lease: lease(last),
        };
        let present = Present {
            boot_id: "this".to_owned(),
            at: Stamp {
                moment: now,
                wall: now.0,
            },
            cooldown: std::time::Duration::from_secs(30),
        };
        let boot = Entry::Boot {
            id: "this".to_owned(),
        };
        let entries = vec![
            boot,
            leased(key("known", "a"), 1),
            leased(key("lost", "a"), 2),
            leased(key("other", "b"), 3),
        ];
        let mut ledger = Ledger::restore(entries, &present);
        ledger.insert_lease(key("young", "a"), lease(4));
        ledger.given.insert(key("young", "a"), now);
        let known = |as_of| Known {
            network: "a".parse().unwrap(),
            valid: [key("known", "a")].into(),
            as_of: Moment(std::time::Duration::from_secs(as_of)),
        };
        assert_eq!(ledger.stale(&known(99)), [key("lost", "a")]);
        assert_eq!(ledger.stale(&known(100)), [key("lost", "a"), key("young", "a")]);
    }
}
