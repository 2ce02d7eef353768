//! Subnet CIDR reservations by the API: `CreateSubnetCidrReservation`, `DeleteSubnetCidrReservation`,
//! `GetSubnetCidrReservations`.
//!
//! A reservation may be made over addresses in use and takes nothing away; deleting it frees nothing in use (AWS
//! documentation, "Subnet CIDR reservations"). What it does to choices is the pools' business.

use std::time::Duration;

use ipnet::IpNet;

use super::Model;
use super::describe::Look;
use super::error::Ec2Error;
use super::id::{CidrReservationId, SubnetId};
use super::pool::{Reservation, ReservationKind};
use super::request::{Describe, Tags};
use super::response::{CidrReservationDescription, Response};
use super::subnet::{CidrReservation, Subnet};
use super::timeline::{Facet, Viewer};

/// What a new reservation is given.
pub(crate) struct NewReservation {
    pub(crate) cidr: IpNet,
    pub(crate) kind: ReservationKind,
    pub(crate) description: String,
    pub(crate) tags: Tags,
}

impl Model {
    pub(crate) fn create_reservation(
        &mut self,
        subnet: &SubnetId,
        new: NewReservation,
    ) -> Result<Response, Ec2Error> {
        let most = self.settings.quotas.tags;
        if new.tags.len() > most {
            return Err(Ec2Error::TagQuota(most));
        }
        check(self.subnet(subnet)?, new.cidr)?;
        let subject = format!("{subnet} {}", new.cidr);
        let id = CidrReservationId::numbered(self.chance.draw("reservation", &subject).bits());
        let record = self.subnet_mut(subnet)?;
        match (new.cidr, &mut record.ipv6) {
            (IpNet::V4(cidr), _) => record.pool.reserve(Reservation { cidr, kind: new.kind }),
            (IpNet::V6(cidr), Some(ipv6)) => ipv6.pool.reserve(Reservation { cidr, kind: new.kind }),
            (IpNet::V6(_), None) => return Err(Ec2Error::NoIpv6(subnet.clone())),
        }
        let reservation = CidrReservation {
            cidr: new.cidr,
            kind: new.kind,
            description: new.description,
            tags: Facet::new(new.tags),
        };
        record.reservations.insert(id.clone(), reservation.clone());
        Ok(Response::ReservationCreated(self.describe_reservation(
            Duration::ZERO,
            subnet,
            &id,
            &reservation,
        )))
    }

    pub(crate) fn delete_reservation(
        &mut self,
        now: Duration,
        id: &CidrReservationId,
    ) -> Result<Response, Ec2Error> {
        let subnet = self
            .subnets
            .values_mut()
            .find(|subnet| subnet.reservations.contains_key(id))
            .ok_or_else(|| Ec2Error::ReservationNotFound(id.clone()))?;
        let gone =
            (subnet.reservations.remove(id)).ok_or_else(|| Ec2Error::ReservationNotFound(id.clone()))?;
        match (gone.cidr, &mut subnet.ipv6) {
            (IpNet::V4(cidr), _) => subnet.pool.unreserve(cidr),
            (IpNet::V6(cidr), Some(ipv6)) => ipv6.pool.unreserve(cidr),
            (IpNet::V6(_), None) => {}
        }
        let subnet = subnet.id.clone();
        Ok(Response::ReservationDeleted(
            self.describe_reservation(now, &subnet, id, &gone),
        ))
    }

    pub(crate) fn describe_reservations(
        &self,
        look: &Look,
        ask: &Describe<SubnetId>,
    ) -> Result<Response, Ec2Error> {
        let mut all = Vec::new();
        for id in &ask.ids {
            let subnet = self.subnet(id)?;
            let described = subnet.reservations.iter().map(|(reservation_id, reservation)| {
                self.describe_reservation(look.at, id, reservation_id, reservation)
            });
            all.extend(described.filter(|reservation| !look.hidden.contains(reservation.id.as_str())));
        }
        all.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Response::Reservations(all))
    }

    fn describe_reservation(
        &self,
        at: Duration,
        subnet: &SubnetId,
        id: &CidrReservationId,
        reservation: &CidrReservation,
    ) -> CidrReservationDescription {
        CidrReservationDescription {
            id: id.clone(),
            subnet: subnet.clone(),
            cidr: reservation.cidr,
            kind: reservation.kind,
            owner: self.settings.account.clone(),
            description: reservation.description.clone(),
            tags: reservation.tags.seen_by(Viewer::Api, at).clone(),
        }
    }
}

/// Inside the subnet, and apart from every other reservation.
fn check(subnet: &Subnet, cidr: IpNet) -> Result<(), Ec2Error> {
    let inside = match (cidr, &subnet.ipv6) {
        (IpNet::V4(cidr), _) => subnet.cidr.contains(&cidr),
        (IpNet::V6(cidr), Some(ipv6)) => ipv6.cidr.contains(&cidr),
        (IpNet::V6(_), None) => return Err(Ec2Error::NoIpv6(subnet.id.clone())),
    };
    if !inside || cidr.trunc() != cidr {
        return Err(Ec2Error::InvalidValue {
            parameter: "cidr".to_owned(),
            value: cidr.to_string(),
            reason: "The CIDR must be inside the subnet, and its host bits zero.",
        });
    }
    let overlaps = |other: &IpNet| other.contains(&cidr) || cidr.contains(other);
    match subnet
        .reservations
        .values()
        .map(|reservation| &reservation.cidr)
        .find(|other| overlaps(other))
    {
        Some(_) => Err(Ec2Error::ReservationConflict(cidr.to_string())),
        None => Ok(()),
    }
}
