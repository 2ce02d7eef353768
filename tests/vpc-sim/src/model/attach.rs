//! `AttachNetworkInterface` and `DetachNetworkInterface`: the slow part of an ENI's life.

use std::time::Duration;

use super::Model;
use super::eni::Attachment;
use super::error::Ec2Error;
use super::id::{AttachmentId, EniId};
use super::instance::Instance;
use super::launch::check_capacity;
use super::request::AttachEni;
use super::response::{AttachmentStatus, InstanceState, Response};
use super::timeline::Seen;

impl Model {
    /// Answers before the device exists; with `device` false it never will.
    pub(crate) fn attach(
        &mut self,
        now: Duration,
        attach: &AttachEni,
        device: bool,
    ) -> Result<Response, Ec2Error> {
        self.check_attach(now, attach)?;
        let delays = self.settings.delays.clone();
        let subject = attach.eni.as_str();
        let attachment = Attachment {
            id: AttachmentId::numbered(self.chance.draw("attach", subject).bits()),
            instance: attach.instance.clone(),
            device_index: attach.device_index,
            network_card: attach.network_card,
            since: now,
            status: AttachmentStatus::Attaching,
        };
        let attached = now + self.lag("attached", subject, delays.attach);
        let seen = now + self.lag("attach-seen", subject, delays.api_changed);
        let listed = now + self.lag("attach-metadata", subject, delays.metadata_attached);
        let complete = listed + self.lag("attach-addresses", subject, delays.metadata_assigned);
        let plugged = now + self.lag("device", subject, delays.device);

        let eni = self.eni_mut(&attach.eni)?;
        let done = Some(attachment.with_status(AttachmentStatus::Attached));
        let lanes = &mut eni.attachment;
        lanes.truth.cut(now, Some(attachment.clone()));
        lanes.truth.push(attached, done.clone());
        lanes.api.push(seen, Some(attachment.clone()));
        lanes.api.push(attached.max(seen), done.clone());
        lanes.metadata.push(listed, done.clone());
        if device {
            lanes.kernel.push(plugged, done);
        }
        let held = eni.held(now).clone();
        eni.holdings.metadata.cut(now, held.bare());
        eni.holdings.metadata.push(complete, held);
        let mut attributes = eni.attributes.truth.last().clone();
        attributes.delete_on_termination = false;
        eni.attributes.set(attributes, Seen::at_once(now));
        Ok(Response::Attached {
            attachment: attachment.id,
            network_card: attach.network_card,
        })
    }

    fn check_attach(&self, now: Duration, attach: &AttachEni) -> Result<(), Ec2Error> {
        let eni = self.named_eni(now, &attach.eni)?;
        let instance = self
            .instances
            .get(&attach.instance)
            .ok_or_else(|| Ec2Error::InstanceNotFound(attach.instance.clone()))?;
        if *instance.state.at(now) != InstanceState::Running {
            return Err(Ec2Error::IncorrectState(instance.id.clone()));
        }
        if eni.attached(now).is_some() {
            return Err(Ec2Error::EniAttached(eni.id.clone()));
        }
        if self.subnet(&eni.subnet)?.zone != instance.zone {
            return Err(Ec2Error::OtherZone);
        }
        self.check_card(now, attach, instance)?;
        check_capacity(instance.info, eni.held(now))
    }

    /// Room on the card, and a free index. An attachment that is ending still takes both.
    fn check_card(&self, now: Duration, attach: &AttachEni, instance: &Instance) -> Result<(), Ec2Error> {
        let card = instance
            .info
            .card(attach.network_card)
            .ok_or_else(|| Ec2Error::InvalidValue {
                parameter: "networkCardIndex".to_owned(),
                value: attach.network_card.to_string(),
                reason: "The instance type has no such network card.",
            })?;
        let indexes: Vec<u32> = self
            .enis
            .values()
            .filter_map(|eni| eni.attached(now))
            .filter(|at| at.instance == instance.id && at.network_card == card.index)
            .map(|at| at.device_index)
            .collect();
        if indexes.len() >= card.max_enis as usize {
            return Err(Ec2Error::AttachmentLimit {
                count: indexes.len() + 1,
                instance_type: instance.info.instance_type.clone(),
            });
        }
        if indexes.contains(&attach.device_index) {
            return Err(Ec2Error::IndexTaken {
                instance: instance.id.clone(),
                index: attach.device_index,
            });
        }
        Ok(())
    }

    /// The device goes soon, the attachment lingers.
    pub(crate) fn detach(&mut self, now: Duration, id: &AttachmentId) -> Result<Response, Ec2Error> {
        let (eni_id, attachment) = self.attachment(now, id)?;
        if attachment.is_primary() {
            return Err(Ec2Error::PrimaryDetach {
                index: attachment.device_index,
                card: attachment.network_card,
            });
        }
        let delays = self.settings.delays.clone();
        let subject = eni_id.as_str();
        let ended = now + self.lag("detach", subject, delays.detach);
        let unplugged = ended.min(now + self.lag("device-gone", subject, delays.device_gone));
        let lag = self.lag("detach-seen", subject, delays.api_changed);
        let forgotten = ended + self.lag("detach-metadata", subject, delays.metadata_detached);

        let lanes = &mut self.eni_mut(&eni_id)?.attachment;
        let ending = Some(attachment.with_status(AttachmentStatus::Detaching));
        lanes.truth.cut(now, ending.clone());
        lanes.truth.push(ended, None);
        lanes.api.push(now + lag, ending);
        lanes.api.push(ended + lag, None);
        lanes.metadata.push(forgotten, None);
        lanes.kernel.push(unplugged, None);
        Ok(Response::Done)
    }

    /// The attachment with this id that is not already ending, and its ENI.
    pub(crate) fn attachment(
        &self,
        now: Duration,
        id: &AttachmentId,
    ) -> Result<(EniId, Attachment), Ec2Error> {
        self.enis
            .values()
            .find_map(|eni| {
                let attachment = eni.attached(now)?;
                let wanted = attachment.id == *id && attachment.status != AttachmentStatus::Detaching;
                wanted.then(|| (eni.id.clone(), attachment.clone()))
            })
            .ok_or_else(|| Ec2Error::AttachmentNotFound(id.clone()))
    }
}
