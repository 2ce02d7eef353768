//! Network interfaces: their requests, and how they are written.

use std::net::Ipv4Addr;

use super::action::Shape;
use super::assign::{Choice, address, prefix as prefix_value};
use super::assign_ipv6::Ipv6Choice;
use super::dns::private_dns_name;
use super::filter;
use super::query::Params;
use super::tag;
use super::timestamp::iso8601;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::{AttachEni, CreateEni, EniChange, Operation, Request};
use crate::model::response::{AttachmentDescription, EniDescription, Group};

/// The longest client token (AWS documentation, "Ensuring idempotency").
const TOKEN_CHARACTERS: usize = 64;
/// Who owns public addresses that are not Elastic ones.
const ADDRESS_OWNER: &str = "amazon";

pub(super) fn parse_create(params: &mut Params) -> Result<Request, Ec2Error> {
    refuse_kinds(params, "")?;
    let (primary, choice) = read_addresses(params, "")?;
    Ok(Request::CreateNetworkInterface(CreateEni {
        subnet: params.id("SubnetId")?,
        description: params.text("Description").unwrap_or_default(),
        groups: params.ids("SecurityGroupId")?,
        primary,
        wanted: choice.wanted()?,
        wanted_ipv6: Ipv6Choice::read(params, "", "Ipv6Addresses")?.wanted()?,
        tags: tag::read_specifications(params, "network-interface")?,
        client_token: client_token(params)?,
    }))
}

pub(super) fn client_token(params: &mut Params) -> Result<Option<String>, Ec2Error> {
    let token = params.text("ClientToken").filter(|token| !token.is_empty());
    match token {
        Some(token) if token.chars().count() > TOKEN_CHARACTERS => Err(Ec2Error::InvalidValue {
            parameter: "ClientToken".to_owned(),
            value: token,
            reason: "The token is longer than 64 characters.",
        }),
        token => Ok(token),
    }
}

/// Only ordinary interfaces are simulated. Names are below `prefix`, here and in the next function.
pub(super) fn refuse_kinds(params: &mut Params, prefix: &str) -> Result<(), Ec2Error> {
    let name = format!("{prefix}InterfaceType");
    match params.text(&name).as_deref() {
        None | Some("interface") => Ok(()),
        Some(kind @ ("efa" | "efa-only" | "branch" | "trunk")) => {
            Err(Ec2Error::Unsupported(format!("{name} {kind}")))
        }
        Some(other) => Err(Ec2Error::InvalidValue {
            parameter: name,
            value: other.to_owned(),
            reason: "Unknown interface type.",
        }),
    }
}

/// The primary address may be given alone or as the one marked so in the list.
pub(super) fn read_addresses(
    params: &mut Params,
    prefix: &str,
) -> Result<(Option<Ipv4Addr>, Choice), Ec2Error> {
    let at = |name: &str| format!("{prefix}{name}");
    let mut primary = params
        .text(&at("PrivateIpAddress"))
        .map(|text| address("PrivateIpAddress", text))
        .transpose()?;
    let mut choice = Choice {
        count: params.number(&at("SecondaryPrivateIpAddressCount"))?,
        prefix_count: params.number(&at("Ipv4PrefixCount"))?,
        ..Choice::default()
    };
    for index in params.indexes(&at("PrivateIpAddresses")) {
        let name = at(&format!("PrivateIpAddresses.{index}.PrivateIpAddress"));
        let text = params
            .text(&name)
            .ok_or(Ec2Error::MissingParameter("PrivateIpAddresses.PrivateIpAddress"))?;
        let given = address(&name, text)?;
        if params.flag(&at(&format!("PrivateIpAddresses.{index}.Primary")))? != Some(true) {
            choice.addresses.push(given);
        } else if primary.replace(given).is_some() {
            return Err(Ec2Error::InvalidCombination(
                "Only one primary private IP address can be specified.",
            ));
        }
    }
    for text in params.members(&at("Ipv4Prefix"), "Ipv4Prefix")? {
        choice.prefixes.push(prefix_value("Ipv4Prefix", text)?);
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
    let attachment = match (delete, params.text("Attachment.AttachmentId")) {
        (Some(_), None) => return Err(Ec2Error::MissingParameter("Attachment.AttachmentId")),
        (Some(delete), Some(id)) => Some(EniChange::DeleteOnTermination {
            attachment: id.parse()?,
            delete,
        }),
        (None, _) => None,
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

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("NetworkInterfaceId")?;
    let shape = Shape::parse(params, Operation::DescribeNetworkInterfaces)?;
    if !ids.is_empty() && shape.page.asked() {
        return Err(Ec2Error::InvalidCombination(
            "The parameter networkInterfaceIdSet cannot be used with the parameter maxResults",
        ));
    }
    // Nothing here is managed by a service.
    params.flag("IncludeManagedResources")?;
    Ok(shape.describe(ids, Request::DescribeNetworkInterfaces))
}

/// What a network interface has under the name of a filter.
pub(super) fn field(eni: &EniDescription, name: &str) -> Vec<String> {
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
        "addresses.association.owner-id" => eni.public.values().map(|_| ADDRESS_OWNER.to_owned()).collect(),
        "association.ip-owner-id" => {
            let public = eni.public.get(&eni.primary);
            public.map(|_| ADDRESS_OWNER.to_owned()).into_iter().collect()
        }
        "ipv6-addresses.ipv6-address" => eni.ipv6.iter().map(ToString::to_string).collect(),
        "operator.managed" => vec!["false".to_owned()],
        "private-dns-name" => vec![private_dns_name(&eni.region, eni.primary)],
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
    xml.leaf("privateDnsName", private_dns_name(&eni.region, eni.primary));
    xml.leaf("sourceDestCheck", eni.source_dest_check);
    write_groups(xml, &eni.groups);
    write_association(xml, eni, eni.primary);
    xml.list("privateIpAddressesSet", addresses(eni), |xml, address| {
        xml.leaf("privateIpAddress", address);
        xml.leaf("privateDnsName", private_dns_name(&eni.region, address));
        xml.leaf("primary", address == eni.primary);
        write_association(xml, eni, address);
    });
    xml.list("ipv6AddressesSet", &eni.ipv6, |xml, address| {
        xml.leaf("ipv6Address", address);
        xml.leaf("isPrimaryIpv6", false);
    });
    if !eni.ipv6_prefixes.is_empty() {
        xml.list("ipv6PrefixSet", &eni.ipv6_prefixes, |xml, prefix| {
            xml.leaf("ipv6Prefix", prefix);
        });
    }
    if !eni.prefixes.is_empty() {
        xml.list("ipv4PrefixSet", &eni.prefixes, |xml, prefix| {
            xml.leaf("ipv4Prefix", prefix);
        });
    }
    xml.leaf("interfaceType", "interface");
    xml.node("operator", |xml| xml.leaf("managed", false));
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
            xml.leaf("ipOwnerId", ADDRESS_OWNER);
        });
    }
}
