//! The truth about every ENI, without any viewer's lag: for whoever checks that nothing leaked.

use std::time::Duration;

use super::Model;
use super::id::{EniId, InstanceId};
use super::response::EniDescription;
use super::timeline::Viewer;

/// An ENI as it truly is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Which.
    pub id: EniId,
    /// The instance that it is attached to.
    pub instance: Option<InstanceId>,
    /// Whether it goes with that instance.
    pub delete_on_termination: bool,
    /// How many secondary addresses it has.
    pub secondary: usize,
    /// How many prefixes.
    pub prefixes: usize,
    /// How many IPv6 addresses.
    pub ipv6: usize,
    /// How many IPv6 prefixes.
    pub ipv6_prefixes: usize,
}

impl Model {
    /// Every ENI that exists.
    #[must_use]
    pub fn audit(&self, now: Duration) -> Vec<Audited> {
        let there = self.enis.values().filter(|eni| *eni.exists.truth.at(now));
        there
            .map(|eni| Audited {
                id: eni.id.clone(),
                instance: eni.attached(now).map(|attachment| attachment.instance.clone()),
                delete_on_termination: eni.attributes.truth.at(now).delete_on_termination,
                secondary: eni.held(now).secondary.len(),
                prefixes: eni.held(now).prefixes.len(),
                ipv6: eni.held(now).ipv6.len(),
                ipv6_prefixes: eni.held(now).ipv6_prefixes.len(),
            })
            .collect()
    }

    /// Every ENI that exists, described as it truly is.
    #[must_use]
    pub fn truth(&self, now: Duration) -> Vec<EniDescription> {
        let there = self.enis.values().filter(|eni| *eni.exists.truth.at(now));
        there
            .filter_map(|eni| self.describe_eni(Viewer::Truth, now, eni))
            .collect()
    }
}
