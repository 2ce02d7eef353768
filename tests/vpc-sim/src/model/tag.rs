//! `CreateTags`, `DeleteTags` and `DescribeTags`: tags of everything that can have some.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Model;
use super::describe::Look;
use super::error::Ec2Error;
use super::request::{Resource, Tags};
use super::response::{Response, TagDescription};
use super::timeline::{Facet, Viewer};

impl Model {
    /// All resources or none.
    pub(crate) fn create_tags(
        &mut self,
        now: Duration,
        resources: &[Resource],
        tags: &Tags,
    ) -> Result<Response, Ec2Error> {
        let most = self.settings.quotas.tags;
        for resource in resources {
            let mut all = self.tags_of(now, resource)?.truth.last().clone();
            all.extend(tags.clone());
            if all.len() > most {
                return Err(Ec2Error::TagQuota(most));
            }
        }
        self.retag(now, resources, |all| all.extend(tags.clone()))
    }

    /// All resources or none; a tag that is not there is no error. Without tags all of them go, and with a value only the
    /// tag that has it (AWS documentation of the action).
    pub(crate) fn delete_tags(
        &mut self,
        now: Duration,
        resources: &[Resource],
        tags: &BTreeMap<String, Option<String>>,
    ) -> Result<Response, Ec2Error> {
        for resource in resources {
            self.tags_of(now, resource)?;
        }
        self.retag(now, resources, |all| {
            all.retain(|key, value| match tags.get(key) {
                _ if tags.is_empty() => false,
                None => true,
                Some(None) => false,
                Some(Some(only)) => only != value,
            });
        })
    }

    fn retag(
        &mut self,
        now: Duration,
        resources: &[Resource],
        change: impl Fn(&mut Tags),
    ) -> Result<Response, Ec2Error> {
        for resource in resources {
            let seen = self.change_seen(now, "tag", &resource.to_string());
            let facet = self.tags_of(now, resource)?;
            let mut all = facet.truth.last().clone();
            change(&mut all);
            facet.set(all, seen);
        }
        Ok(Response::Done)
    }

    fn tags_of(&mut self, now: Duration, resource: &Resource) -> Result<&mut Facet<Tags>, Ec2Error> {
        match resource {
            Resource::Eni(id) => {
                self.named_eni(now, id)?;
                Ok(&mut self.eni_mut(id)?.tags)
            }
            Resource::Instance(id) => self
                .instances
                .get_mut(id)
                .filter(|instance| instance.listed <= now)
                .map(|instance| &mut instance.tags)
                .ok_or_else(|| Ec2Error::InstanceNotFound(id.clone())),
            Resource::Subnet(id) => Ok(&mut self.subnet_mut(id)?.tags),
            Resource::Vpc(id) if *id == self.vpc.id => Ok(&mut self.vpc.tags),
            Resource::Vpc(id) => Err(Ec2Error::VpcNotFound(id.clone())),
            Resource::Group(id) => {
                self.named_group(now, id)?;
                let group = self.groups.get_mut(id);
                group
                    .map(|group| &mut group.tags)
                    .ok_or_else(|| Ec2Error::GroupNotFound(id.clone()))
            }
            Resource::Reservation(id) => self
                .subnets
                .values_mut()
                .find_map(|subnet| subnet.reservations.get_mut(id))
                .map(|reservation| &mut reservation.tags)
                .ok_or_else(|| Ec2Error::ReservationNotFound(id.clone())),
        }
    }

    pub(crate) fn describe_tags(&self, look: &Look) -> Response {
        let mut all: Vec<TagDescription> = self
            .tagged(look.at)
            .filter(|(resource, _)| !look.hidden.contains(&resource.to_string()))
            .flat_map(|(resource, facet)| {
                let tags = facet.seen_by(Viewer::Api, look.at);
                tags.iter().map(move |(key, value)| TagDescription {
                    resource: resource.clone(),
                    key: key.clone(),
                    value: value.clone(),
                })
            })
            .collect();
        all.sort_by_cached_key(|tag| (tag.resource.to_string(), tag.key.clone()));
        Response::Tags(all)
    }

    /// Everything that describe calls show and that can have tags.
    fn tagged(&self, at: Duration) -> impl Iterator<Item = (Resource, &Facet<Tags>)> {
        let enis = self
            .enis
            .values()
            .filter(move |eni| *eni.exists.seen_by(Viewer::Api, at))
            .map(|eni| (Resource::Eni(eni.id.clone()), &eni.tags));
        let instances = self
            .instances
            .values()
            .filter(move |instance| self.lists(at, instance))
            .map(|instance| (Resource::Instance(instance.id.clone()), &instance.tags));
        let groups = self
            .groups
            .values()
            .filter(move |group| *group.exists.seen_by(Viewer::Api, at))
            .map(|group| (Resource::Group(group.id.clone()), &group.tags));
        let subnets = self.subnets.values();
        let subnets = subnets.map(|subnet| (Resource::Subnet(subnet.id.clone()), &subnet.tags));
        let reservations = self.subnets.values().flat_map(|subnet| &subnet.reservations);
        let reservations =
            reservations.map(|(id, reservation)| (Resource::Reservation(id.clone()), &reservation.tags));
        let vpc = (Resource::Vpc(self.vpc.id.clone()), &self.vpc.tags);
        enis.chain(instances)
            .chain(groups)
            .chain(subnets)
            .chain(reservations)
            .chain(std::iter::once(vpc))
    }
}
