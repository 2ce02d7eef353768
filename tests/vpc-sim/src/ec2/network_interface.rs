//! Network interfaces: their requests, and how they are written.

use std::net::Ipv4Addr;

use super::action::Shape;
use super::assign::{Choice, address, prefix};
use super::filter;
use super::page::{Bounds, Page};
use super::query::Params;
use super::tag;
use super::timestamp::iso8601;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::{AttachEni, CreateEni, EniChange, Request};
use crate::model::response::{AttachmentDescription, EniDescription, Group};

/// The longest client token (AWS documentation, "Ensuring idempotency").
const TOKEN_CHARACTERS: usize = 64;

pub(super) fn parse_create(params: &mut Params) -> Result<Request, Ec2Error> {
    refuse_kinds(params)?;
    let (primary, choice) = read_addresses(params)?;
    let client_token = params.text("ClientToken").filter(|token| !token.is_empty());
    if let Some(token) = client_token
        .as_ref()
        .filter(|token| token.chars().count() > TOKEN_CHARACTERS)
    {
        return Err(Ec2Error::InvalidValue {
            parameter: "ClientToken".to_owned(),
            value: token.clone(),
            reason: "The token is longer than 64 characters.",
        });
    }
    Ok(Request::CreateNetworkInterface(CreateEni {
        subnet: params.id("SubnetId")?,
        description: params.text("Description").unwrap_or_default(),
        groups: params.ids("SecurityGroupId")?,
        primary,
        wanted: choice.wanted()?,
        tags: tag::read_specifications(params, "network-interface")?,
        client_token,
    }))
}

/// Only ordinary interfaces are simulated.
fn refuse_kinds(params: &mut Params) -> Result<(), Ec2Error> {
    match params.text("InterfaceType").as_deref() {
        None | Some("interface") => Ok(()),
        Some(kind @ ("efa" | "efa-only" | "branch" | "trunk")) => {
            Err(Ec2Error::Unsupported(format!("InterfaceType {kind}")))
        }
        Some(other) => Err(Ec2Error::InvalidValue {
            parameter: "InterfaceType".to_owned(),
            value: other.to_owned(),
            reason: "Unknown interface type.",
        }),
    }
}

/// The primary address may be given alone or as the one marked so in the list.
fn read_addresses(params: &mut Params) -> Result<(Option<Ipv4Addr>, Choice), Ec2Error> {
    let mut primary = params
        .text("PrivateIpAddress")
        .map(|text| address("PrivateIpAddress", text))
        .transpose()?;
    let mut choice = Choice {
        count: params.number("SecondaryPrivateIpAddressCount")?,
        prefix_count: params.number("Ipv4PrefixCount")?,
        ..Choice::default()
    };
    for index in params.indexes("PrivateIpAddresses") {
        let name = format!("PrivateIpAddresses.{index}.PrivateIpAddress");
        let text = params
            .text(&name)
            .ok_or(Ec2Error::MissingParameter("PrivateIpAddresses.PrivateIpAddress"))?;
        let given = address(&name, text)?;
        if params.flag(&format!("PrivateIpAddresses.{index}.Primary"))? != Some(true) {
            choice.addresses.push(given);
        } else if primary.replace(given).is_some() {
            return Err(Ec2Error::InvalidCombination(
                "Only one primary private IP address can be specified.",
            ));
        }
    }
    for index in params.indexes("Ipv4Prefix") {
        let name = format!("Ipv4Prefix.{index}.Ipv4Prefix");
        let text = params
            .text(&name)
            .ok_or(Ec2Error::MissingParameter("Ipv4Prefix.Ipv4Prefix"))?;
        choice.prefixes.push(prefix(&name, text)?);
    }
    Ok((primary, choice))
}

pub(super) fn parse_attach(params: &mut Params) -> Result<Request, Ec2Error> {
    Ok(Request::AttachNetworkInterface(AttachEni {
        eni: params.id("NetworkInterfaceId")?,
        instance: params.id("InstanceId")?,
        device_index: params
            .number("DeviceIndex")?
            .ok_or(Ec2Error::MissingParameter("deviceIndex"))?,
        network_card: params.number("NetworkCardIndex")?.unwrap_or(0),
    }))
}

pub(super) fn parse_detach(params: &mut Params) -> Result<Request, Ec2Error> {
    // A forced detach differs only for instances that do not answer, and these always do.
    params.flag("Force")?;
    Ok(Request::DetachNetworkInterface {
        attachment: params.id("AttachmentId")?,
    })
}

pub(super) fn parse_delete(params: &mut Params) -> Result<Request, Ec2Error> {
    Ok(Request::DeleteNetworkInterface {
        eni: params.id("NetworkInterfaceId")?,
    })
}

pub(super) fn parse_modify(params: &mut Params) -> Result<Request, Ec2Error> {
    let eni = params.id("NetworkInterfaceId")?;
    let groups = params.ids("SecurityGroupId")?;
    let delete = params.flag("Attachment.DeleteOnTermination")?;
    let attachment = match delete {
        Some(delete) => Some(EniChange::DeleteOnTermination {
            attachment: params.id("Attachment.AttachmentId")?,
            delete,
        }),
        None => None,
    };
    let given = [
        params.text("Description.Value").map(EniChange::Description),
        params
            .flag("SourceDestCheck.Value")?
            .map(EniChange::SourceDestCheck),
        Some(EniChange::Groups(groups)).filter(|change| *change != EniChange::Groups(Vec::new())),
        attachment,
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(change), None) => Ok(Request::ModifyNetworkInterfaceAttribute { eni, change }),
        (None, _) => Err(Ec2Error::InvalidCombination("No attributes specified.")),
        (Some(_), Some(_)) => Err(Ec2Error::InvalidCombination(
            "Fields for multiple attribute types specified.",
        )),
    }
}

const PAGES: Bounds = Bounds {
    least: 5,
    most: 1000,
    unless_set: None,
};

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("NetworkInterfaceId")?;
    let shape = Shape {
        filters: filter::parse(params, "DescribeNetworkInterfaces", FILTERS)?,
        page: Page::parse(params, PAGES)?,
    };
    if !ids.is_empty() && shape.page.asked() {
        return Err(Ec2Error::InvalidCombination(
            "The parameter networkInterfaceIdSet cannot be used with the parameter maxResults",
        ));
    }
    // Nothing here is managed by a service.
    params.flag("IncludeManagedResources")?;
    Ok(shape.describe(ids, Request::DescribeNetworkInterfaces))
}

/// The filters that are served beside tags.
const FILTERS: &[&str] = &[
    "addresses.association.public-ip",
    "addresses.primary",
    "addresses.private-ip-address",
    "association.public-ip",
    "attachment.attach-time",
    "attachment.attachment-id",
    "attachment.delete-on-termination",
    "attachment.device-index",
    "attachment.instance-id",
    "attachment.instance-owner-id",
    "attachment.status",
    "availability-zone",
    "availability-zone-id",
    "description",
    "group-id",
    "interface-type",
    "mac-address",
    "network-interface-id",
    "owner-id",
    "private-ip-address",
    "requester-id",
    "requester-managed",
    "source-dest-check",
    "status",
    "subnet-id",
    "vpc-id",
];

fn field(eni: &EniDescription, name: &str) -> Vec<String> {
    match name.strip_prefix("attachment.") {
        Some(rest) => eni
            .attachment
            .as_ref()
            .map(|attachment| attachment_field(eni, attachment, rest))
            .unwrap_or_default(),
        None => eni_field(eni, name),
    }
}

fn attachment_field(eni: &EniDescription, attachment: &AttachmentDescription, name: &str) -> Vec<String> {
    match name {
        "attach-time" => vec![iso8601(attachment.attached_at)],
        "attachment-id" => vec![attachment.id.to_string()],
        "delete-on-termination" => vec![attachment.delete_on_termination.to_string()],
        "device-index" => vec![attachment.device_index.to_string()],
        "instance-id" => vec![attachment.instance.to_string()],
        "instance-owner-id" => vec![eni.owner.clone()],
        "status" => vec![attachment.status.name().to_owned()],
        _ => Vec::new(),
    }
}

fn eni_field(eni: &EniDescription, name: &str) -> Vec<String> {
    match name {
        "addresses.association.public-ip" => eni.public.values().map(Ipv4Addr::to_string).collect(),
        "addresses.primary" => ["true", "false"]
            .into_iter()
            .take(1 + usize::from(!eni.secondary.is_empty()))
            .map(str::to_owned)
            .collect(),
        "addresses.private-ip-address" => addresses(eni).map(|address| address.to_string()).collect(),
        "association.public-ip" => eni
            .public
            .get(&eni.primary)
            .map(Ipv4Addr::to_string)
            .into_iter()
            .collect(),
        "availability-zone" => vec![eni.zone.name.clone()],
        "availability-zone-id" => vec![eni.zone.id.clone()],
        "description" => vec![eni.description.clone()],
        "group-id" => eni.groups.iter().map(|group| group.id.to_string()).collect(),
        "interface-type" => vec!["interface".to_owned()],
        "mac-address" => vec![eni.mac.to_string()],
        "network-interface-id" => vec![eni.id.to_string()],
        "owner-id" => vec![eni.owner.clone()],
        "private-ip-address" => vec![eni.primary.to_string()],
        "requester-id" => vec![eni.requester.clone()],
        "requester-managed" => vec!["false".to_owned()],
        "source-dest-check" => vec![eni.source_dest_check.to_string()],
        "status" => vec![eni.status.name().to_owned()],
        "subnet-id" => vec![eni.subnet.to_string()],
        "vpc-id" => vec![eni.vpc.to_string()],
        _ => Vec::new(),
    }
}

fn addresses(eni: &EniDescription) -> impl Iterator<Item = Ipv4Addr> {
    std::iter::once(eni.primary).chain(eni.secondary.iter().copied())
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<EniDescription>) {
    let kept = filter::keep(&shape.filters, list, |eni| Some(&eni.tags), field);
    let (page, next) = shape.page.cut(kept, |eni| eni.id.to_string());
    xml.list("networkInterfaceSet", &page, write);
    xml.maybe("nextToken", next);
}

/// A network interface as it is written everywhere but inside an instance.
pub(super) fn write(xml: &mut Xml, eni: &EniDescription) {
    xml.leaf("availabilityZone", &eni.zone.name);
    xml.leaf("availabilityZoneId", &eni.zone.id);
    xml.leaf("requesterId", &eni.requester);
    xml.leaf("requesterManaged", false);
    xml.tags(&eni.tags);
    xml.node("operator", |xml| xml.leaf("managed", false));
    if let Some(attachment) = &eni.attachment {
        xml.node("attachment", |xml| {
            write_attachment(xml, attachment);
            xml.leaf("instanceId", &attachment.instance);
            xml.leaf("instanceOwnerId", &eni.owner);
        });
    }
    write_shared(xml, eni);
}

/// What an instance shows of its network interface.
pub(super) fn write_in_instance(xml: &mut Xml, eni: &EniDescription) {
    if let Some(attachment) = &eni.attachment {
        xml.node("attachment", |xml| write_attachment(xml, attachment));
    }
    write_shared(xml, eni);
}

fn write_attachment(xml: &mut Xml, attachment: &AttachmentDescription) {
    xml.leaf("attachmentId", &attachment.id);
    xml.leaf("deviceIndex", attachment.device_index);
    xml.leaf("networkCardIndex", attachment.network_card);
    xml.leaf("status", attachment.status.name());
    xml.leaf("attachTime", iso8601(attachment.attached_at));
    xml.leaf("deleteOnTermination", attachment.delete_on_termination);
}

fn write_shared(xml: &mut Xml, eni: &EniDescription) {
    xml.leaf("networkInterfaceId", &eni.id);
    xml.leaf("subnetId", &eni.subnet);
    xml.leaf("vpcId", &eni.vpc);
    xml.leaf("description", &eni.description);
    xml.leaf("ownerId", &eni.owner);
    xml.leaf("status", eni.status.name());
    xml.leaf("macAddress", eni.mac);
    xml.leaf("privateIpAddress", eni.primary);
    xml.leaf("sourceDestCheck", eni.source_dest_check);
    write_groups(xml, &eni.groups);
    write_association(xml, eni, eni.primary);
    xml.list("privateIpAddressesSet", addresses(eni), |xml, address| {
        xml.leaf("privateIpAddress", address);
        xml.leaf("primary", address == eni.primary);
        write_association(xml, eni, address);
    });
    xml.node("ipv6AddressesSet", |_| {});
    if !eni.prefixes.is_empty() {
        xml.list("ipv4PrefixSet", &eni.prefixes, |xml, prefix| {
            xml.leaf("ipv4Prefix", prefix);
        });
    }
    xml.leaf("interfaceType", "interface");
}

pub(super) fn write_groups(xml: &mut Xml, groups: &[Group]) {
    xml.list("groupSet", groups, |xml, group| {
        xml.leaf("groupId", &group.id);
        xml.leaf("groupName", &group.name);
    });
}

fn write_association(xml: &mut Xml, eni: &EniDescription, address: Ipv4Addr) {
    if let Some(public) = eni.public.get(&address) {
        xml.node("association", |xml| {
            xml.leaf("publicIp", public);
            xml.leaf("ipOwnerId", "amazon");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::FILTERS;

    #[test]
    fn ec2_has_every_filter_that_is_served() {
        assert!(
            FILTERS
                .iter()
                .all(|name| known::has_filter("DescribeNetworkInterfaces", name))
        );
    }
}
