//! `ModifyNetworkInterfaceAttribute`, and when a change is seen.

use std::time::Duration;

use super::Model;
use super::eni::Attributes;
use super::error::Ec2Error;
use super::id::{EniId, SecurityGroupId};
use super::request::EniChange;
use super::response::Response;
use super::timeline::Seen;

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
                    groups: self.groups_or_default(now, groups)?,
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
        now: Duration,
        groups: &[SecurityGroupId],
    ) -> Result<Vec<SecurityGroupId>, Ec2Error> {
        if groups.is_empty() {
            return Ok(vec![self.default_group.clone()]);
        }
        for group in groups {
            self.named_group(now, group)?;
        }
        Ok(groups.to_vec())
    }

    /// When each viewer learns of a change that is made now.
    pub(crate) fn change_seen(&mut self, now: Duration, operation: &'static str, subject: &str) -> Seen {
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
