//! From parameters to a request of the model, and from its answer to a document: one arm per action.

use super::filter::Filter;
use super::page::Page;
use super::query::Params;
use super::xml::Xml;
use super::{RequestId, assign, instance, instance_type, known, network_interface, subnet, tag, vpc};
use crate::model::error::Ec2Error;
use crate::model::request::{Describe, Operation, Request};
use crate::model::response::Response;

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
    /// Whether the call draws from the bucket for filtered or paged describes.
    pub(super) fn narrows(&self) -> bool {
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
    let dry_run = known::has_parameter(operation.name(), "DryRun") && params.flag("DryRun")?.unwrap_or(false);
    let (request, shape) = parse_request(operation, &mut params)?;
    params.finish(operation.name())?;
    Ok(Parsed {
        dry_run,
        request,
        shape,
    })
}

fn parse_request(operation: Operation, params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let request = match operation {
        Operation::AssignPrivateIpAddresses => assign::parse_assign(params)?,
        Operation::UnassignPrivateIpAddresses => assign::parse_unassign(params)?,
        Operation::AttachNetworkInterface => network_interface::parse_attach(params)?,
        Operation::DetachNetworkInterface => network_interface::parse_detach(params)?,
        Operation::CreateNetworkInterface => network_interface::parse_create(params)?,
        Operation::DeleteNetworkInterface => network_interface::parse_delete(params)?,
        Operation::ModifyNetworkInterfaceAttribute => network_interface::parse_modify(params)?,
        Operation::CreateTags => tag::parse_create(params)?,
        Operation::DescribeNetworkInterfaces => return network_interface::parse_describe(params),
        Operation::DescribeInstances => return instance::parse_describe(params),
        Operation::DescribeInstanceTypes => return instance_type::parse_describe(params),
        Operation::DescribeSubnets => return subnet::parse_describe(params),
        Operation::DescribeVpcs => return vpc::parse_describe(params),
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
        Response::Done => xml.leaf("return", true),
        Response::Enis(list) => network_interface::write_list(xml, shape, list),
        Response::Instances(list) => instance::write_list(xml, shape, list),
        Response::Subnets(list) => subnet::write_list(xml, shape, list),
        Response::Vpcs(list) => vpc::write_list(xml, shape, list),
        Response::InstanceTypes(list) => instance_type::write_list(xml, shape, list),
    })
}
