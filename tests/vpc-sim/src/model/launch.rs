//! Starting instances: as an operator before anybody asks (`launch`), and by `RunInstances`.
//!
//! An instance is data: whoever plays its machine reads what it has from the views. It leaves out images, volumes and
//! capacity of zones; what limits a launch is room for addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::create::NewEni;
use super::eni::Attachment;
use super::error::Ec2Error;
use super::id::{AttachmentId, EniId, InstanceId, ReservationId};
use super::instance::{Instance, Launch, LaunchEni};
use super::limits::InstanceTypeInfo;
use super::request::{
    CreateEni, EniSource, LaunchedEni, MetadataOptions, RunInstances, Tags, Wanted, WantedIpv6,
};
use super::response::{AttachmentStatus, InstanceState, Response, Zone};
use super::settings::Span;
use super::setup::SetupError;
use super::timeline::{Facet, Seen, Timeline};
use super::{Look, Model};

/// Who makes the ENIs of a launch.
const LAUNCHER: &str = "ec2.amazonaws.com";
/// What operators' instances were started from; nothing reads it.
const NO_IMAGE: &str = "ami-00000000000000000";

/// What one new instance is given; its references are not checked yet.
struct Start<'a> {
    id: InstanceId,
    info: &'static InstanceTypeInfo,
    role: Option<String>,
    metadata: MetadataOptions,
    image: String,
    reservation: ReservationId,
    launch_index: u32,
    client_token: Option<String>,
    /// When it runs, and when describe shows it.
    running: Duration,
    listed: Duration,
    tags: Tags,
    enis: &'a [LaunchedEni],
}

impl Model {
    /// Start an instance; it runs at once, with all its ENIs.
    ///
    /// # Errors
    /// When its type is unknown or EC2 would refuse its ENIs.
    pub fn launch(&mut self, now: Duration, launch: &Launch) -> Result<InstanceId, SetupError> {
        let info = (launch.instance_type.info())
            .ok_or_else(|| SetupError::UnknownType(launch.instance_type.to_string()))?;
        let primary = LaunchEni {
            subnet: launch.subnet.clone(),
            network_card: info.default_card,
            device_index: 0,
            secondary_addresses: launch.secondary_addresses,
        };
        let mut enis = vec![launched(launch, &primary, launch.public)];
        enis.extend(launch.more.iter().map(|eni| launched(launch, eni, false)));
        let id = InstanceId::numbered(self.chance.draw("launch", launch.subnet.as_str()).bits());
        let start = Start {
            reservation: reservation_of(&id),
            id: id.clone(),
            info,
            role: launch.role.clone(),
            metadata: MetadataOptions {
                hop_limit: launch.hop_limit,
                enabled: launch.metadata_enabled,
                over_ipv6: launch.metadata_ipv6,
            },
            image: NO_IMAGE.to_owned(),
            launch_index: 0,
            client_token: None,
            running: now,
            listed: now,
            tags: launch.tags.clone(),
            enis: &enis,
        };
        let before = self.clone();
        if let Err(error) = self.start(now, start) {
            *self = before;
            return Err(error.into());
        }
        self.note_free_counts(now, Span::ZERO);
        Ok(id)
    }

    /// As many as fit, at least as many as must, or none. The same token with the same parameters gives the same ones.
    pub(crate) fn run_instances(&mut self, now: Duration, run: &RunInstances) -> Result<Response, Ec2Error> {
        if let Some((known, ids)) = run
            .client_token
            .as_ref()
            .and_then(|token| self.launches.get(token))
        {
            return if known == run {
                Ok(self.launched(now, &ids.clone()))
            } else {
                Err(Ec2Error::TokenMismatch)
            };
        }
        self.check_run(now, run)?;
        let untouched = self.clone();
        let mut ids: Vec<InstanceId> = Vec::new();
        for index in 0..run.most {
            let before = self.clone();
            match self.run_one(now, run, index, ids.first().map(reservation_of)) {
                Ok(id) => ids.push(id),
                Err(_) if index >= run.least => {
                    *self = before;
                    break;
                }
                Err(error) => {
                    *self = untouched;
                    return Err(error);
                }
            }
        }
        if let Some(token) = &run.client_token {
            self.launches.insert(token.clone(), (run.clone(), ids.clone()));
        }
        Ok(self.launched(now, &ids))
    }

    fn launched(&self, now: Duration, ids: &[InstanceId]) -> Response {
        let instances = ids.iter().filter_map(|id| self.instances.get(id));
        let described = instances.map(|instance| self.describe_launched(now, instance));
        Response::Launched(described.collect())
    }

    fn check_run(&self, now: Duration, run: &RunInstances) -> Result<(), Ec2Error> {
        let quotas = &self.settings.quotas;
        if run.tags.len() > quotas.tags {
            return Err(Ec2Error::TagQuota(quotas.tags));
        }
        let enis = self.enis.values().filter(|eni| *eni.exists.truth.at(now)).count();
        let wanted = run.enis.len().saturating_mul(run.least as usize);
        if enis.saturating_add(wanted) > quotas.enis {
            return Err(Ec2Error::EniQuota);
        }
        let zone = self.zone_of(now, run.enis.first())?;
        if let Some(name) = run.zone.as_ref().filter(|name| **name != zone.name) {
            return Err(Ec2Error::InvalidValue {
                parameter: "availabilityZone".to_owned(),
                value: name.clone(),
                reason: "The requested Availability Zone is not that of the subnet.",
            });
        }
        Ok(())
    }

    fn run_one(
        &mut self,
        now: Duration,
        run: &RunInstances,
        index: u32,
        reservation: Option<ReservationId>,
    ) -> Result<InstanceId, Ec2Error> {
        let info = run.instance_type.info().ok_or(Ec2Error::Internal)?;
        let subject = run.subjects().into_iter().next().unwrap_or_default();
        let id = InstanceId::numbered(self.chance.draw("launch", &subject).bits());
        let start = Start {
            reservation: reservation.unwrap_or_else(|| reservation_of(&id)),
            id: id.clone(),
            info,
            role: run.role.clone(),
            metadata: run.metadata,
            image: run.image.clone(),
            launch_index: index,
            client_token: run.client_token.clone(),
            running: now + self.lag("running", id.as_str(), self.settings.delays.launch),
            listed: now + self.lag("launched", id.as_str(), self.settings.delays.api_created),
            tags: run.tags.clone(),
            enis: &run.enis,
        };
        self.start(now, start)?;
        Ok(id)
    }

    /// Leaves a half-made instance behind when it fails: the caller goes back to the model before.
    fn start(&mut self, now: Duration, start: Start<'_>) -> Result<(), Ec2Error> {
        check_places(start.info, start.enis)?;
        let zone = self.zone_of(now, start.enis.first())?;
        let mut state = Timeline::new(InstanceState::Pending);
        state.push(start.running, InstanceState::Running);
        let instance = Instance {
            id: start.id.clone(),
            info: start.info,
            zone: zone.clone(),
            role: start.role,
            metadata: start.metadata,
            image: start.image,
            reservation: start.reservation,
            launch_index: start.launch_index,
            client_token: start.client_token,
            launched: now,
            listed: start.listed,
            state,
            tags: Facet::new(start.tags),
        };
        self.instances.insert(start.id.clone(), instance);
        for eni in start.enis {
            let id = self.plug(now, &start.id, eni)?;
            self.check_launched(now, start.info, &zone, &id)?;
        }
        Ok(())
    }

    fn zone_of(&self, now: Duration, eni: Option<&LaunchedEni>) -> Result<Zone, Ec2Error> {
        let subnet = match eni.map(|eni| &eni.source) {
            Some(EniSource::New { eni, .. }) => &eni.subnet,
            Some(EniSource::Existing(id)) => &self.named_eni(now, id)?.subnet,
            None => return Err(Ec2Error::NoDefaultVpc),
        };
        Ok(self.subnet(subnet)?.zone.clone())
    }

    /// Attach one ENI of a launch, which is there at once.
    fn plug(&mut self, now: Duration, instance: &InstanceId, eni: &LaunchedEni) -> Result<EniId, Ec2Error> {
        let id = match &eni.source {
            EniSource::New { eni: create, .. } => self.make_launched(now, instance, create)?,
            EniSource::Existing(id) => {
                if self.named_eni(now, id)?.attached(now).is_some() {
                    return Err(Ec2Error::EniAttached(id.clone()));
                }
                id.clone()
            }
        };
        let attachment = Attachment {
            id: AttachmentId::numbered(self.chance.draw("launch-attach", id.as_str()).bits()),
            instance: instance.clone(),
            device_index: eni.device_index,
            network_card: eni.network_card,
            since: now,
            status: AttachmentStatus::Attached,
        };
        let record = self.eni_mut(&id)?;
        record.attachment.set(Some(attachment), Seen::at_once(now));
        let attributes = super::eni::Attributes {
            delete_on_termination: eni.delete_on_termination,
            ..record.attributes.truth.last().clone()
        };
        record.attributes.set(attributes, Seen::at_once(now));
        if self.wants_public(eni) {
            self.give_public_address(now, &id).map_err(refused)?;
        }
        Ok(id)
    }

    fn make_launched(
        &mut self,
        now: Duration,
        instance: &InstanceId,
        create: &CreateEni,
    ) -> Result<EniId, Ec2Error> {
        if create.groups.len() > self.settings.quotas.groups_per_eni {
            return Err(Ec2Error::GroupQuota);
        }
        let new = NewEni {
            subnet: create.subnet.clone(),
            description: create.description.clone(),
            groups: self.groups_or_default(now, &create.groups)?,
            primary: create.primary,
            wanted: create.wanted.clone(),
            wanted_ipv6: create.wanted_ipv6.clone(),
            tags: create.tags.clone(),
            requester: LAUNCHER.to_owned(),
        };
        let draw = self.chance.draw("launch-eni", instance.as_str());
        let id = self.make_eni(now, new, draw)?;
        self.eni_mut(&id)?.exists.set(true, Seen::at_once(now));
        Ok(id)
    }

    fn wants_public(&self, eni: &LaunchedEni) -> bool {
        match &eni.source {
            EniSource::Existing(_) => false,
            EniSource::New { eni: create, public } => public.unwrap_or_else(|| {
                let subnet = self.subnets.get(&create.subnet);
                eni.device_index == 0 && subnet.is_some_and(|subnet| subnet.internet)
            }),
        }
    }

    /// What the instance type allows, once it is known what the ENI has.
    fn check_launched(
        &self,
        now: Duration,
        info: &InstanceTypeInfo,
        zone: &Zone,
        id: &EniId,
    ) -> Result<(), Ec2Error> {
        let eni = self.named_eni(now, id)?;
        if self.subnet(&eni.subnet)?.zone != *zone {
            return Err(Ec2Error::OtherZone);
        }
        check_capacity(info, eni.held(now))
    }

    /// Give the primary address of an ENI a public address of the ranges for documentation (RFC 5737).
    ///
    /// # Errors
    /// When there is no such ENI or the ranges are used up.
    pub fn give_public_address(&mut self, now: Duration, id: &EniId) -> Result<Ipv4Addr, SetupError> {
        let public = [[203, 0, 113], [192, 0, 2]]
            .into_iter()
            .flat_map(|[a, b, c]| (1..255).map(move |d| Ipv4Addr::new(a, b, c, d)))
            .nth(self.public_given)
            .ok_or(SetupError::NoPublicAddress)?;
        let eni = self.eni_mut(id)?;
        let mut attributes = eni.attributes.truth.last().clone();
        attributes.public.insert(eni.held(now).primary, public);
        eni.attributes.set(attributes, Seen::at_once(now));
        self.public_given += 1;
        Ok(public)
    }

    /// A fresh instance as its launch answers: with everything, however late describe shows it.
    fn describe_launched(&self, now: Duration, instance: &Instance) -> super::response::InstanceDescription {
        let look = Look::back(now, Duration::ZERO);
        self.describe_instance(look.at, instance)
    }
}

/// Whether an instance of this type can have an ENI that holds this.
pub(crate) fn check_capacity(info: &InstanceTypeInfo, held: &super::eni::Holdings) -> Result<(), Ec2Error> {
    if held.slots() > info.ipv4_per_eni as usize {
        return Err(Ec2Error::AddressLimit);
    }
    if held.ipv6_slots() > 0 && !info.ipv6_supported {
        return Err(Ec2Error::Ipv6Unsupported(info.instance_type.clone()));
    }
    if held.ipv6_slots() > info.ipv6_per_eni as usize {
        return Err(Ec2Error::Ipv6Limit);
    }
    let prefixes = !held.prefixes.is_empty() || !held.ipv6_prefixes.is_empty();
    if prefixes && !info.holds_prefixes() {
        return Err(Ec2Error::PrefixesUnsupported(info.instance_type.clone()));
    }
    Ok(())
}

fn refused(error: SetupError) -> Ec2Error {
    match error {
        SetupError::Refused(error) => error,
        _ => Ec2Error::PublicAddressQuota,
    }
}

/// EC2's reservation has an id of its own; here it is that of the launch's first instance.
fn reservation_of(first: &InstanceId) -> ReservationId {
    let digits = first.as_str().trim_start_matches("i-");
    ReservationId::numbered(u64::from_str_radix(digits, 16).unwrap_or_default())
}

fn launched(launch: &Launch, eni: &LaunchEni, public: bool) -> LaunchedEni {
    let wanted_ipv6: WantedIpv6 = Wanted::Nothing;
    LaunchedEni {
        device_index: eni.device_index,
        network_card: eni.network_card,
        delete_on_termination: true,
        source: EniSource::New {
            eni: Box::new(CreateEni {
                groups: launch.groups.clone(),
                wanted: Wanted::Addresses(eni.secondary_addresses),
                wanted_ipv6,
                ..CreateEni::plain(eni.subnet.clone())
            }),
            public: Some(public),
        },
    }
}

/// The cards and indexes of a launch, as an attach would check them.
fn check_places(info: &InstanceTypeInfo, enis: &[LaunchedEni]) -> Result<(), Ec2Error> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for (index, eni) in enis.iter().enumerate() {
        let place = |eni: &LaunchedEni| (eni.network_card, eni.device_index);
        let taken = enis
            .iter()
            .take(index)
            .any(|earlier| place(earlier) == place(eni));
        if taken || info.card(eni.network_card).is_none() {
            return Err(Ec2Error::InvalidCombination(
                "Each network interface requires a unique device index.",
            ));
        }
        *counts.entry(eni.network_card).or_default() += 1;
    }
    for card in &info.cards {
        let count = counts.get(&card.index).copied().unwrap_or(0);
        if count > card.max_enis as usize {
            return Err(Ec2Error::AttachmentLimit {
                count,
                instance_type: info.instance_type.clone(),
            });
        }
    }
    let is_primary = |eni: &LaunchedEni| (eni.network_card, eni.device_index) == (info.default_card, 0);
    if enis.iter().any(is_primary) {
        Ok(())
    } else {
        Err(Ec2Error::InvalidCombination(
            "A network interface with device index 0 is required.",
        ))
    }
}
