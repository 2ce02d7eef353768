//! Subnet CIDR reservations: their requests, and how they are written.

use ipnet::IpNet;

use super::action::Shape;
use super::filter;
use super::query::{Params, parse_value};
use super::tag;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::pool::ReservationKind;
use crate::model::request::{Operation, Request};
use crate::model::response::CidrReservationDescription;

pub(super) fn parse_create(params: &mut Params) -> Result<Request, Ec2Error> {
    let subnet = params.id("SubnetId")?;
    let cidr = parse_value("Cidr", params.required("Cidr")?, "Invalid CIDR.")?;
    let kind = match params.required("ReservationType")?.as_str() {
        "prefix" => ReservationKind::Prefix,
        "explicit" => ReservationKind::Explicit,
        other => {
            return Err(Ec2Error::InvalidValue {
                parameter: "ReservationType".to_owned(),
                value: other.to_owned(),
                reason: "Expecting prefix or explicit.",
            });
        }
    };
    Ok(Request::CreateSubnetCidrReservation {
        subnet,
        cidr,
        kind,
        description: params.text("Description").unwrap_or_default(),
        tags: tag::read_specifications(params, "subnet-cidr-reservation")?,
    })
}

pub(super) fn parse_delete(params: &mut Params) -> Result<Request, Ec2Error> {
    Ok(Request::DeleteSubnetCidrReservation {
        reservation: params.id("SubnetCidrReservationId")?,
    })
}

pub(super) fn parse_get(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let subnet = params.id("SubnetId")?;
    let shape = Shape::parse(params, Operation::GetSubnetCidrReservations)?;
    Ok(shape.describe(vec![subnet], Request::GetSubnetCidrReservations))
}

fn field(reservation: &CidrReservationDescription, name: &str) -> Vec<String> {
    match name {
        "reservationType" => vec![reservation.kind.name().to_owned()],
        "subnet-id" => vec![reservation.subnet.to_string()],
        _ => Vec::new(),
    }
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<CidrReservationDescription>) {
    let kept = filter::keep(&shape.filters, list, |reservation| Some(&reservation.tags), field);
    let (page, next) = shape.page.cut(kept, |reservation| reservation.id.to_string());
    let is_ipv4 = |reservation: &&CidrReservationDescription| matches!(reservation.cidr, IpNet::V4(_));
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = page.iter().partition(is_ipv4);
    xml.list("subnetIpv4CidrReservationSet", ipv4, write);
    xml.list("subnetIpv6CidrReservationSet", ipv6, write);
    xml.maybe("nextToken", next);
}

pub(super) fn write_one(xml: &mut Xml, name: &str, reservation: &CidrReservationDescription) {
    xml.node(name, |xml| write(xml, reservation));
}

fn write(xml: &mut Xml, reservation: &CidrReservationDescription) {
    xml.leaf("subnetCidrReservationId", &reservation.id);
    xml.leaf("subnetId", &reservation.subnet);
    xml.leaf("cidr", reservation.cidr);
    xml.leaf("reservationType", reservation.kind.name());
    xml.leaf("ownerId", &reservation.owner);
    xml.leaf("description", &reservation.description);
    xml.tags(&reservation.tags);
}
