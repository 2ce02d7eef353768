//! `CreateTags`, `DeleteTags`, `DescribeTags`, and tags in other requests.

use std::collections::BTreeMap;

use super::action::Shape;
use super::filter;
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::id::{CidrReservationId, EniId, InstanceId, SecurityGroupId, SubnetId, VpcId};
use crate::model::request::{Operation, Request, Resource, Tags};
use crate::model::response::TagDescription;

/// Characters of a key and of a value (AWS documentation, "Tag restrictions").
const KEY_CHARACTERS: usize = 128;
const VALUE_CHARACTERS: usize = 256;

pub(super) fn parse_create(params: &mut Params) -> Result<Request, Ec2Error> {
    let resources = resources(params)?;
    let tags = read(params, "Tag")?;
    if tags.is_empty() {
        return Err(Ec2Error::MissingParameter("tagSet"));
    }
    Ok(Request::CreateTags { resources, tags })
}

pub(super) fn parse_delete(params: &mut Params) -> Result<Request, Ec2Error> {
    let resources = resources(params)?;
    let mut tags = BTreeMap::new();
    for index in params.indexes("Tag") {
        let key = params
            .text(&format!("Tag.{index}.Key"))
            .filter(|key| !key.is_empty())
            .ok_or(Ec2Error::MissingParameter("Tag.Key"))?;
        check("Tag.Key", &key, KEY_CHARACTERS)?;
        tags.insert(key, params.text(&format!("Tag.{index}.Value")));
    }
    Ok(Request::DeleteTags { resources, tags })
}

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let shape = Shape::parse(params, Operation::DescribeTags)?;
    Ok(shape.describe(Vec::new(), Request::DescribeTags))
}

fn resources(params: &mut Params) -> Result<Vec<Resource>, Ec2Error> {
    let resources = params.list("ResourceId");
    if resources.is_empty() {
        return Err(Ec2Error::MissingParameter("resourceIdSet"));
    }
    resources.iter().map(|id| resource(id)).collect()
}

fn resource(id: &str) -> Result<Resource, Ec2Error> {
    match id.split_once('-').map(|(prefix, _)| prefix) {
        Some(EniId::PREFIX) => Ok(Resource::Eni(id.parse()?)),
        Some(InstanceId::PREFIX) => Ok(Resource::Instance(id.parse()?)),
        Some(SubnetId::PREFIX) => Ok(Resource::Subnet(id.parse()?)),
        Some(VpcId::PREFIX) => Ok(Resource::Vpc(id.parse()?)),
        Some(SecurityGroupId::PREFIX) => Ok(Resource::Group(id.parse()?)),
        Some(CidrReservationId::PREFIX) => Ok(Resource::Reservation(id.parse()?)),
        _ => Err(Ec2Error::InvalidId(id.to_owned())),
    }
}

/// `prefix.N.Key` and `prefix.N.Value`.
fn read(params: &mut Params, prefix: &str) -> Result<Tags, Ec2Error> {
    let mut tags = Tags::new();
    for index in params.indexes(prefix) {
        let key = params
            .text(&format!("{prefix}.{index}.Key"))
            .filter(|key| !key.is_empty())
            .ok_or(Ec2Error::MissingParameter("Tag.Key"))?;
        let value = params
            .text(&format!("{prefix}.{index}.Value"))
            .unwrap_or_default();
        check("Tag.Key", &key, KEY_CHARACTERS)?;
        check("Tag.Value", &value, VALUE_CHARACTERS)?;
        if tags.insert(key.clone(), value).is_some() {
            return Err(Ec2Error::InvalidValue {
                parameter: "Tag.Key".to_owned(),
                value: key,
                reason: "Tag keys must be unique.",
            });
        }
    }
    Ok(tags)
}

fn check(parameter: &str, value: &str, most: usize) -> Result<(), Ec2Error> {
    let reason = if value.chars().count() > most {
        "The text is too long."
    } else if parameter == "Tag.Key" && value.to_ascii_lowercase().starts_with("aws:") {
        "Tag keys starting with 'aws:' are reserved for internal use"
    } else {
        return Ok(());
    };
    Err(Ec2Error::InvalidValue {
        parameter: parameter.to_owned(),
        value: value.to_owned(),
        reason,
    })
}

/// `TagSpecification.N`, all of which must be for this kind of resource.
pub(super) fn read_specifications(params: &mut Params, kind: &'static str) -> Result<Tags, Ec2Error> {
    let mut tags = read_by_kind(params, &[kind])?;
    Ok(tags.remove(kind).unwrap_or_default())
}

/// `TagSpecification.N` by the kind of resource, each of which must be one of these.
pub(super) fn read_by_kind(
    params: &mut Params,
    kinds: &[&'static str],
) -> Result<BTreeMap<&'static str, Tags>, Ec2Error> {
    let mut tags: BTreeMap<&'static str, Tags> = BTreeMap::new();
    for index in params.indexes("TagSpecification") {
        let resource = params
            .text(&format!("TagSpecification.{index}.ResourceType"))
            .ok_or(Ec2Error::MissingParameter("TagSpecification.ResourceType"))?;
        let kind = kinds.iter().find(|kind| **kind == resource);
        let kind = kind.ok_or_else(|| Ec2Error::InvalidValue {
            parameter: "TagSpecification.ResourceType".to_owned(),
            value: resource,
            reason: "The resource type is not created by this action.",
        })?;
        let more = read(params, &format!("TagSpecification.{index}.Tag"))?;
        tags.entry(*kind).or_default().extend(more);
    }
    Ok(tags)
}

/// How EC2 calls the kinds of resources.
fn kind(resource: &Resource) -> &'static str {
    match resource {
        Resource::Eni(_) => "network-interface",
        Resource::Instance(_) => "instance",
        Resource::Subnet(_) => "subnet",
        Resource::Vpc(_) => "vpc",
        Resource::Group(_) => "security-group",
        Resource::Reservation(_) => "subnet-cidr-reservation",
    }
}

fn field(tag: &TagDescription, name: &str) -> Vec<String> {
    match name {
        "key" => vec![tag.key.clone()],
        "resource-id" => vec![tag.resource.to_string()],
        "resource-type" => vec![kind(&tag.resource).to_owned()],
        "value" => vec![tag.value.clone()],
        // `tag:KEY` is about this one tag, not about the resource's other ones.
        other => match other.strip_prefix("tag:") {
            Some(key) if key == tag.key => vec![tag.value.clone()],
            _ => Vec::new(),
        },
    }
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<TagDescription>) {
    let kept = filter::keep(&shape.filters, list, |_| None, field);
    let (page, next) = (shape.page).cut(kept, |tag| format!("{} {}", tag.resource, tag.key));
    xml.list("tagSet", &page, |xml, tag| {
        xml.leaf("resourceId", &tag.resource);
        xml.leaf("resourceType", kind(&tag.resource));
        xml.leaf("key", &tag.key);
        xml.leaf("value", &tag.value);
    });
    xml.maybe("nextToken", next);
}
