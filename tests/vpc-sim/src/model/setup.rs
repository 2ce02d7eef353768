//! Building a VPC: what an operator makes before any client of ours asks for anything.
//!
//! Everything made here is seen by everybody at once. It leaves out who made it: these are not API calls.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::Model;
use super::create::NewEni;
use super::eni::Attachment;
use super::error::Ec2Error;
use super::id::{AttachmentId, EniId, InstanceId, SecurityGroupId, SubnetId};
use super::instance::{Instance, Launch, LaunchEni};
use super::limits::InstanceTypeInfo;
use super::pool::{Pool, Reservation};
use super::request::{Tags, Wanted};
use super::response::{AttachmentStatus, InstanceState};
use super::subnet::{NewSubnet, Subnet};
use super::timeline::{Facet, Seen, Timeline};

/// Why a VPC cannot be built so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Subnets are between /16 and /28 (AWS documentation, "Subnet sizing").
    #[error("subnet {0}: the prefix length must be between 16 and 28 and the host bits zero")]
    SubnetSize(Ipv4Net),
    /// Subnets lie inside the VPC.
    #[error("subnet {0} is inside no CIDR of the VPC")]
    SubnetOutside(Ipv4Net),
    /// Subnets are disjoint.
    #[error("subnet {subnet} overlaps {other}")]
    SubnetOverlap {
        /// The new one.
        subnet: Ipv4Net,
        /// The one that is there.
        other: Ipv4Net,
    },
    /// A reservation lies inside its subnet.
    #[error("reservation {0} is not inside its subnet")]
    ReservationOutside(Ipv4Net),
    /// The table lacks the type.
    #[error("the table of instance types has no {0}")]
    UnknownType(String),
    /// More public addresses than the documentation ranges have.
    #[error("no public address is left")]
    NoPublicAddress,
    /// EC2 would refuse it.
    #[error("EC2 refuses it")]
    Refused(#[from] Ec2Error),
}

impl Model {
    /// Add a subnet.
    ///
    /// # Errors
    /// When its CIDR is impossible.
    pub fn add_subnet(&mut self, new: NewSubnet) -> Result<SubnetId, SetupError> {
        let cidr = new.cidr;
        if !(16..=28).contains(&cidr.prefix_len()) || cidr.trunc() != cidr {
            return Err(SetupError::SubnetSize(cidr));
        }
        if !self.vpc.cidrs.iter().any(|vpc| vpc.contains(&cidr)) {
            return Err(SetupError::SubnetOutside(cidr));
        }
        let overlaps = |other: &&Subnet| other.cidr.contains(&cidr) || cidr.contains(&other.cidr);
        if let Some(other) = self.subnets.values().find(overlaps) {
            return Err(SetupError::SubnetOverlap {
                subnet: cidr,
                other: other.cidr,
            });
        }
        let mut draw = self.chance.draw("subnet", &cidr.to_string());
        let id = SubnetId::numbered(draw.bits());
        let subnet = Subnet {
            id: id.clone(),
            cidr,
            zone: new.zone,
            internet: new.internet,
            router_mac: self.fresh_mac(&mut draw),
            pool: Pool::new(cidr),
            tags: Facet::new(new.tags),
        };
        self.subnets.insert(id.clone(), subnet);
        Ok(id)
    }

    /// Associate one more CIDR with the VPC.
    pub fn add_cidr(&mut self, cidr: Ipv4Net) {
        if !self.vpc.cidrs.contains(&cidr) {
            self.vpc.cidrs.push(cidr);
        }
    }

    /// Add a security group.
    pub fn add_group(&mut self, name: &str) -> SecurityGroupId {
        let id = SecurityGroupId::numbered(self.chance.draw("group", name).bits());
        self.groups.insert(id.clone(), name.to_owned());
        id
    }

    /// Set a part of a subnet aside.
    ///
    /// # Errors
    /// When there is no such subnet or the part is not inside it.
    pub fn reserve(&mut self, subnet: &SubnetId, reservation: Reservation) -> Result<(), SetupError> {
        let subnet = self.subnet_mut(subnet)?;
        if !subnet.cidr.contains(&reservation.cidr) {
            return Err(SetupError::ReservationOutside(reservation.cidr));
        }
        subnet.pool.reserve(reservation);
        Ok(())
    }

    /// Delete a reservation; nothing in use is freed.
    ///
    /// # Errors
    /// When there is no such subnet.
    pub fn unreserve(&mut self, subnet: &SubnetId, cidr: Ipv4Net) -> Result<(), SetupError> {
        self.subnet_mut(subnet)?.pool.unreserve(cidr);
        Ok(())
    }

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
        check_launch(info, &primary, &launch.more)?;
        let id = InstanceId::numbered(self.chance.draw("launch", launch.subnet.as_str()).bits());
        self.instances.insert(
            id.clone(),
            Instance {
                id: id.clone(),
                info,
                zone: self.subnet(&launch.subnet)?.zone.clone(),
                role: launch.role.clone(),
                hop_limit: launch.hop_limit,
                metadata_enabled: launch.metadata_enabled,
                launched: now,
                state: Timeline::new(InstanceState::Running),
                tags: Facet::new(launch.tags.clone()),
            },
        );
        for eni in std::iter::once(&primary).chain(&launch.more) {
            let eni_id = self.launch_eni(now, &id, eni, &launch.groups)?;
            if launch.public && eni == &primary {
                self.give_public_address(now, &eni_id)?;
            }
        }
        Ok(id)
    }

    fn launch_eni(
        &mut self,
        now: Duration,
        instance: &InstanceId,
        spec: &LaunchEni,
        groups: &[SecurityGroupId],
    ) -> Result<EniId, SetupError> {
        let new = NewEni {
            subnet: spec.subnet.clone(),
            description: String::new(),
            groups: self.groups_or_default(groups)?,
            primary: None,
            wanted: Wanted::Addresses(spec.secondary_addresses),
            tags: Tags::new(),
            requester: "ec2.amazonaws.com".to_owned(),
        };
        let draw = self.chance.draw("launch-eni", instance.as_str());
        let id = self.make_eni(now, new, draw)?;
        let attachment = Attachment {
            id: AttachmentId::numbered(self.chance.draw("launch-attach", id.as_str()).bits()),
            instance: instance.clone(),
            device_index: spec.device_index,
            network_card: spec.network_card,
            since: now,
            status: AttachmentStatus::Attached,
        };
        let eni = self.eni_mut(&id)?;
        eni.exists.set(true, Seen::at_once(now));
        eni.attachment.set(Some(attachment), Seen::at_once(now));
        let attributes = super::eni::Attributes {
            delete_on_termination: true,
            ..eni.attributes.truth.last().clone()
        };
        eni.attributes.set(attributes, Seen::at_once(now));
        Ok(id)
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
}

/// The cards, indexes and slots of a launch, as an attach would check them.
fn check_launch(info: &InstanceTypeInfo, primary: &LaunchEni, more: &[LaunchEni]) -> Result<(), Ec2Error> {
    for card in &info.cards {
        let count = 1 + more.iter().filter(|eni| eni.network_card == card.index).count();
        let count = count - usize::from(card.index != primary.network_card);
        if count > card.max_enis as usize {
            return Err(Ec2Error::AttachmentLimit {
                count,
                instance_type: info.instance_type.clone(),
            });
        }
    }
    let most = info.ipv4_per_eni.saturating_sub(1);
    for (index, eni) in more.iter().enumerate() {
        let place = (eni.network_card, eni.device_index);
        let earlier = more.iter().take(index).chain(std::iter::once(primary));
        let taken = earlier
            .into_iter()
            .any(|e| (e.network_card, e.device_index) == place);
        if taken || info.card(eni.network_card).is_none() {
            return Err(Ec2Error::InvalidCombination(
                "Each network interface requires a unique device index.",
            ));
        }
    }
    if more
        .iter()
        .chain(std::iter::once(primary))
        .any(|eni| eni.secondary_addresses > most)
    {
        return Err(Ec2Error::AddressLimit);
    }
    Ok(())
}
