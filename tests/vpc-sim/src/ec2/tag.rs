//! `CreateTags`, and tags in other requests.

use super::query::Params;
use crate::model::error::Ec2Error;
use crate::model::id::{EniId, InstanceId, SubnetId, VpcId};
use crate::model::request::{Request, Resource, Tags};

/// Characters of a key and of a value (AWS documentation, "Tag restrictions").
const KEY_CHARACTERS: usize = 128;
const VALUE_CHARACTERS: usize = 256;

pub(super) fn parse_create(params: &mut Params) -> Result<Request, Ec2Error> {
    let resources = params.list("ResourceId");
    if resources.is_empty() {
        return Err(Ec2Error::MissingParameter("resourceIdSet"));
    }
    let tags = read(params, "Tag")?;
    if tags.is_empty() {
        return Err(Ec2Error::MissingParameter("tagSet"));
    }
    Ok(Request::CreateTags {
        resources: resources
            .iter()
            .map(|id| resource(id))
            .collect::<Result<_, _>>()?,
        tags,
    })
}

fn resource(id: &str) -> Result<Resource, Ec2Error> {
    match id.split_once('-').map(|(prefix, _)| prefix) {
        Some(EniId::PREFIX) => Ok(Resource::Eni(id.parse()?)),
        Some(InstanceId::PREFIX) => Ok(Resource::Instance(id.parse()?)),
        Some(SubnetId::PREFIX) => Ok(Resource::Subnet(id.parse()?)),
        Some(VpcId::PREFIX) => Ok(Resource::Vpc(id.parse()?)),
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
pub(super) fn read_specifications(params: &mut Params, kind: &str) -> Result<Tags, Ec2Error> {
    let mut tags = Tags::new();
    for index in params.indexes("TagSpecification") {
        let resource = params
            .text(&format!("TagSpecification.{index}.ResourceType"))
            .ok_or(Ec2Error::MissingParameter("TagSpecification.ResourceType"))?;
        if resource != kind {
            return Err(Ec2Error::InvalidValue {
                parameter: "TagSpecification.ResourceType".to_owned(),
                value: resource,
                reason: "The resource type is not created by this action.",
            });
        }
        tags.extend(read(params, &format!("TagSpecification.{index}.Tag"))?);
    }
    Ok(tags)
}
