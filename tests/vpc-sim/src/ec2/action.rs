//! From parameters to a request of the model, and from its answer to a document: one arm per action.

use super::filter::Filter;
use super::page::Page;
use super::query::Params;
use super::xml::Xml;
use super::{
    RequestId, assign, assign_ipv6, cidr_reservation, filter, instance, instance_type, known, launch,
    network_interface, permission, security_group, served, subnet, tag, vpc, zone,
};
use crate::model::error::Ec2Error;
use crate::model::request::{Describe, Operation, Request};
use crate::model::response::Response;
use crate::model::security_group::Direction;

/// The one version of the API.
const VERSION: &str = "2016-11-15";

/// A request with how its answer is wanted.
pub(super) struct Parsed {
    pub(super) dry_run: bool,
    pub(super) request: Request,
    pub(super) shape: Shape,
}

/// What a describe call keeps of the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    pub(super) filters: Vec<Filter>,
    pub(super) page: Page,
}

impl Shape {
    /// The filters and the page that a call asks for.
    pub(super) fn parse(params: &mut Params, operation: Operation) -> Result<Self, Ec2Error> {
        Ok(Self {
            filters: filter::parse(params, operation)?,
            page: match served::of(operation).pages {
                Some(bounds) => Page::parse(params, bounds)?,
                None => Page::default(),
            },
        })
    }

    /// Whether the call draws from the bucket for filtered or paged describes.
    fn narrows(&self) -> bool {
        !self.filters.is_empty() || self.page.asked()
    }

    /// The describe request for these ids, and this shape.
    pub(super) fn describe<Id>(self, ids: Vec<Id>, request: fn(Describe<Id>) -> Request) -> (Request, Self) {
        let narrowed = self.narrows();
        (request(Describe { ids, narrowed }), self)
    }
}

pub(super) fn parse(mut params: Params) -> Result<Parsed, Ec2Error> {
    let name = params.required("Action")?;
    let version = params.required("Version")?;
    if version != VERSION {
        return Err(Ec2Error::InvalidVersion(version));
    }
    let operation = Operation::named(&name).ok_or(Ec2Error::InvalidAction(name))?;
    served::check(operation, &params)?;
    let dry_run = params.flag(known::DRY_RUN)?.unwrap_or(false);
    let (request, shape) = parse_request(operation, &mut params)?;
    params.finish()?;
    Ok(Parsed {
        dry_run,
        request,
        shape,
    })
}

fn parse_request(operation: Operation, params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let request = match operation {
        Operation::AssignIpv6Addresses => assign_ipv6::parse_assign(params)?,
        Operation::UnassignIpv6Addresses => assign_ipv6::parse_unassign(params)?,
        Operation::AssignPrivateIpAddresses => assign::parse_assign(params)?,
        Operation::UnassignPrivateIpAddresses => assign::parse_unassign(params)?,
        Operation::AttachNetworkInterface => network_interface::parse_attach(params)?,
        Operation::DetachNetworkInterface => network_interface::parse_detach(params)?,
        Operation::CreateNetworkInterface => network_interface::parse_create(params)?,
        Operation::DeleteNetworkInterface => network_interface::parse_delete(params)?,
        Operation::ModifyNetworkInterfaceAttribute => network_interface::parse_modify(params)?,
        Operation::RunInstances => launch::parse_run(params)?,
        Operation::TerminateInstances => launch::parse_terminate(params)?,
        Operation::CreateSecurityGroup => security_group::parse_create(params)?,
        Operation::DeleteSecurityGroup => security_group::parse_delete(params)?,
        Operation::AuthorizeSecurityGroupIngress => permission::parse_authorize(params, Direction::Ingress)?,
        Operation::AuthorizeSecurityGroupEgress => permission::parse_authorize(params, Direction::Egress)?,
        Operation::RevokeSecurityGroupIngress => permission::parse_revoke(params, Direction::Ingress)?,
        Operation::RevokeSecurityGroupEgress => permission::parse_revoke(params, Direction::Egress)?,
        Operation::CreateSubnetCidrReservation => cidr_reservation::parse_create(params)?,
        Operation::DeleteSubnetCidrReservation => cidr_reservation::parse_delete(params)?,
        Operation::CreateTags => tag::parse_create(params)?,
        Operation::DeleteTags => tag::parse_delete(params)?,
        Operation::DescribeNetworkInterfaces => return network_interface::parse_describe(params),
        Operation::DescribeInstances => return instance::parse_describe(params),
        Operation::DescribeInstanceTypes => return instance_type::parse_describe(params),
        Operation::DescribeSubnets => return subnet::parse_describe(params),
        Operation::DescribeVpcs => return vpc::parse_describe(params),
        Operation::DescribeSecurityGroups => return security_group::parse_describe(params),
        Operation::DescribeSecurityGroupRules => return permission::parse_describe(params),
        Operation::DescribeAvailabilityZones => return zone::parse_describe(params),
        Operation::DescribeTags => return tag::parse_describe(params),
        Operation::GetSubnetCidrReservations => return cidr_reservation::parse_get(params),
    };
    Ok((request, Shape::default()))
}

/// The document of an answer.
pub(super) fn render(operation: Operation, shape: &Shape, response: Response, id: RequestId) -> String {
    Xml::response(operation.name(), id, |xml| match response {
        Response::Created { eni, client_token } => {
            xml.node("networkInterface", |xml| network_interface::write(xml, &eni));
            xml.maybe("clientToken", client_token);
        }
        Response::Attached {
            attachment,
            network_card,
        } => {
            xml.leaf("attachmentId", attachment);
            xml.leaf("networkCardIndex", network_card);
        }
        Response::Assigned {
            eni,
            addresses,
            prefixes,
        } => assign::write(xml, &eni, &addresses, &prefixes),
        Response::AssignedIpv6 {
            eni,
            addresses,
            prefixes,
        } => assign_ipv6::write_assigned(xml, &eni, &addresses, &prefixes),
        Response::UnassignedIpv6 {
            eni,
            addresses,
            prefixes,
        } => assign_ipv6::write_unassigned(xml, &eni, &addresses, &prefixes),
        Response::Launched(list) => instance::write_launch(xml, &list),
        Response::Terminating(list) => launch::write_terminating(xml, &list),
        Response::GroupCreated { id, arn, tags } => security_group::write_created(xml, &id, &arn, &tags),
        Response::GroupDeleted(id) => security_group::write_deleted(xml, &id),
        Response::Authorized(rules) => permission::write_authorized(xml, &rules),
        Response::Revoked(rules) => permission::write_revoked(xml, &rules),
        Response::ReservationCreated(made) => {
            cidr_reservation::write_one(xml, "subnetCidrReservation", &made)
        }
        Response::ReservationDeleted(gone) => {
            cidr_reservation::write_one(xml, "deletedSubnetCidrReservation", &gone);
        }
        Response::Done => xml.leaf("return", true),
        Response::Enis(list) => network_interface::write_list(xml, shape, list),
        Response::Instances(list) => instance::write_list(xml, shape, list),
        Response::Subnets(list) => subnet::write_list(xml, shape, list),
        Response::Vpcs(list) => vpc::write_list(xml, shape, list),
        Response::InstanceTypes(list) => instance_type::write_list(xml, shape, list),
        Response::Groups(list) => security_group::write_list(xml, shape, list),
        Response::Rules(list) => permission::write_list(xml, shape, list),
        Response::Zones(list) => zone::write_list(xml, shape, list),
        Response::Tags(list) => tag::write_list(xml, shape, list),
        Response::Reservations(list) => cidr_reservation::write_list(xml, shape, list),
    })
}
