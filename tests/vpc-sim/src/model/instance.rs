//! Instances: what they are, and how they end.

use std::time::Duration;

use super::Model;
use super::error::Ec2Error;
use super::id::{EniId, InstanceId, ReservationId, SecurityGroupId, SubnetId};
use super::limits::{InstanceType, InstanceTypeInfo};
use super::request::{MetadataOptions, Tags};
use super::response::{InstanceState, Response, Zone};
use super::settings::Span;
use super::timeline::{Facet, Seen, Timeline};

/// An instance.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) info: &'static InstanceTypeInfo,
    pub(crate) zone: Zone,
    pub(crate) role: Option<String>,
    pub(crate) metadata: MetadataOptions,
    pub(crate) image: String,
    pub(crate) reservation: ReservationId,
    pub(crate) launch_index: u32,
    pub(crate) client_token: Option<String>,
    pub(crate) launched: Duration,
    /// When describe shows it.
    pub(crate) listed: Duration,
    pub(crate) state: Timeline<InstanceState>,
    pub(crate) tags: Facet<Tags>,
}

/// What a new instance is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Which decides what it may have.
    pub instance_type: InstanceType,
    /// The subnet of the primary ENI.
    pub subnet: SubnetId,
    /// Secondary addresses of the primary ENI.
    pub secondary_addresses: u32,
    /// ENIs beside the primary.
    pub more: Vec<LaunchEni>,
    /// The VPC's default group when empty.
    pub groups: Vec<SecurityGroupId>,
    /// Whether the primary address gets a public one.
    pub public: bool,
    /// The role whose credentials metadata hands out.
    pub role: Option<String>,
    /// How many hops the answer to a metadata token request travels. 1 unless set.
    pub hop_limit: u8,
    /// Whether metadata answers at all.
    pub metadata_enabled: bool,
    /// Whether it answers over IPv6 too.
    pub metadata_ipv6: bool,
    /// Its tags.
    pub tags: Tags,
}

/// An ENI that an instance is launched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchEni {
    /// In the zone of the instance.
    pub subnet: SubnetId,
    /// The card.
    pub network_card: u32,
    /// Unique on its card.
    pub device_index: u32,
    /// Its secondary addresses.
    pub secondary_addresses: u32,
}

impl Launch {
    /// An instance with only a primary ENI and nothing special.
    #[must_use]
    pub fn plain(instance_type: InstanceType, subnet: SubnetId) -> Self {
        Self {
            instance_type,
            subnet,
            secondary_addresses: 0,
            more: Vec::new(),
            groups: Vec::new(),
            public: false,
            role: Some("node".to_owned()),
            hop_limit: 1,
            metadata_enabled: true,
            metadata_ipv6: false,
            tags: Tags::new(),
        }
    }
}

impl Model {
    /// End an instance: ENIs marked so are deleted, the others become available. Its devices are gone at once.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn terminate(&mut self, now: Duration, id: &InstanceId) -> Result<(), Ec2Error> {
        self.end(now, id)?;
        self.note_free_counts(now, Span::ZERO);
        Ok(())
    }

    fn end(&mut self, now: Duration, id: &InstanceId) -> Result<(), Ec2Error> {
        let gone = now + self.lag("terminate", id.as_str(), self.settings.delays.terminate);
        let instance = self
            .instances
            .get_mut(id)
            .ok_or_else(|| Ec2Error::InstanceNotFound(id.clone()))?;
        if *instance.state.last() != InstanceState::Running {
            return Ok(());
        }
        instance.state.cut(now, InstanceState::ShuttingDown);
        instance.state.push(gone, InstanceState::Terminated);
        for eni in self.enis_of(now, id) {
            self.unplug(now, gone, &eni);
        }
        Ok(())
    }

    /// `TerminateInstances`: all of them or none; one that ends already is no error (AWS documentation of the action).
    pub(crate) fn terminate_instances(
        &mut self,
        now: Duration,
        ids: &[InstanceId],
    ) -> Result<Response, Ec2Error> {
        let known = |id: &&InstanceId| {
            let instance = self.instances.get(*id);
            !instance.is_some_and(|instance| instance.listed <= now && self.lists(now, instance))
        };
        if let Some(missing) = ids.iter().find(known) {
            return Err(Ec2Error::InstanceNotFound(missing.clone()));
        }
        let mut states = Vec::new();
        for id in ids {
            let before = self.state_of(now, id)?;
            self.end(now, id)?;
            states.push((id.clone(), before, self.state_of(now, id)?));
        }
        Ok(Response::Terminating(states))
    }

    fn state_of(&self, now: Duration, id: &InstanceId) -> Result<InstanceState, Ec2Error> {
        self.instances
            .get(id)
            .map(|instance| *instance.state.at(now))
            .ok_or_else(|| Ec2Error::InstanceNotFound(id.clone()))
    }

    /// The ENIs that are truly attached to an instance.
    pub(crate) fn enis_of(&self, now: Duration, instance: &InstanceId) -> Vec<EniId> {
        self.enis
            .values()
            .filter(|eni| eni.attached(now).is_some_and(|at| at.instance == *instance))
            .map(|eni| eni.id.clone())
            .collect()
    }

    fn unplug(&mut self, now: Duration, seen_at: Duration, id: &EniId) {
        let seen = Seen {
            now,
            api: seen_at,
            metadata: now,
            kernel: now,
        };
        if let Some(eni) = self.enis.get_mut(id) {
            eni.unplug(seen);
            if eni.attributes.truth.last().delete_on_termination {
                self.remove_eni(id, seen);
            }
        }
    }
}
