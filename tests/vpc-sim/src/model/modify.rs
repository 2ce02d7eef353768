//! `ModifyNetworkInterfaceAttribute` and `CreateTags`.

use std::time::Duration;

use super::Model;
use super::eni::Attributes;
use super::error::Ec2Error;
use super::id::{EniId, SecurityGroupId};
use super::request::{EniChange, Resource, Tags};
use super::response::Response;
use super::timeline::{Facet, Seen};

impl Model {
    pub(crate) fn modify(
        &mut self,
        now: Duration,
        id: &EniId,
        change: &EniChange,
    ) -> Result<Response, Ec2Error> {
        let eni = self.named_eni(now, id)?;
        let before = eni.attributes.truth.last().clone();
        let after = match change {
            EniChange::Description(description) => Attributes {
                description: description.clone(),
                ..before
            },
            EniChange::Groups(groups) => {
                if groups.len() > self.settings.quotas.groups_per_eni {
                    return Err(Ec2Error::GroupQuota);
                }
                Attributes {
                    groups: self.groups_or_default(groups)?,
                    ..before
                }
            }
            EniChange::SourceDestCheck(on) => Attributes {
                source_dest_check: *on,
                ..before
            },
            EniChange::DeleteOnTermination { attachment, delete } => {
                if eni.attached(now).is_none_or(|at| at.id != *attachment) {
                    return Err(Ec2Error::AttachmentNotFound(attachment.clone()));
                }
                Attributes {
                    delete_on_termination: *delete,
                    ..before
                }
            }
        };
        let seen = self.change_seen(now, "modify", id.as_str());
        self.eni_mut(id)?.attributes.set(after, seen);
        Ok(Response::Done)
    }

    /// The groups given, all of which exist; the VPC's default group when none is given.
    pub(crate) fn groups_or_default(
        &self,
        groups: &[SecurityGroupId],
    ) -> Result<Vec<SecurityGroupId>, Ec2Error> {
        if groups.is_empty() {
            return Ok(vec![self.default_group.clone()]);
        }
        match groups.iter().find(|group| !self.groups.contains_key(group)) {
            Some(missing) => Err(Ec2Error::GroupNotFound(missing.clone())),
            None => Ok(groups.to_vec()),
        }
    }

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
        for resource in resources {
            let seen = self.change_seen(now, "tag", &resource.to_string());
            let facet = self.tags_of(now, resource)?;
            let mut all = facet.truth.last().clone();
            all.extend(tags.clone());
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
                .map(|instance| &mut instance.tags)
                .ok_or_else(|| Ec2Error::InstanceNotFound(id.clone())),
            Resource::Subnet(id) => Ok(&mut self.subnet_mut(id)?.tags),
            Resource::Vpc(id) if *id == self.vpc.id => Ok(&mut self.vpc.tags),
            Resource::Vpc(id) => Err(Ec2Error::VpcNotFound(id.clone())),
        }
    }

    fn change_seen(&mut self, now: Duration, operation: &'static str, subject: &str) -> Seen {
        let mut draw = self.chance.draw(operation, subject);
        let delays = &self.settings.delays;
        Seen {
            now,
            api: now + draw.within(delays.api_changed),
            metadata: now + draw.within(delays.metadata_assigned),
            kernel: now + draw.within(delays.packets),
        }
    }
}
