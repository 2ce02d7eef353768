//! `RunInstances` and `TerminateInstances`.
//!
//! The parameters of an instance without a list of network interfaces describe its primary one; with such a list they are
//! refused, as EC2 does.

use super::assign_ipv6::Ipv6Choice;
use super::network_interface::{client_token, read_addresses, refuse_kinds};
use super::query::Params;
use super::tag;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::id::InstanceId;
use crate::model::limits::InstanceType;
use crate::model::request::{
    CreateEni, EniSource, LaunchedEni, MetadataOptions, Request, RunInstances, Tags,
};
use crate::model::response::InstanceState;

/// What EC2 starts when no type is given (AWS documentation of the action).
const DEFAULT_TYPE: &str = "m1.small";

pub(super) fn parse_run(params: &mut Params) -> Result<Request, Ec2Error> {
    let (least, most) = counts(params)?;
    let tags = tag::read_by_kind(params, &["instance", "network-interface"])?;
    let of = |kind: &str| tags.get(kind).cloned().unwrap_or_default();
    Ok(Request::RunInstances(Box::new(RunInstances {
        least,
        most,
        image: params.required("ImageId")?,
        instance_type: instance_type(params)?,
        zone: params.text("Placement.AvailabilityZone"),
        role: role(params),
        metadata: metadata(params)?,
        enis: enis(params, &of("network-interface"))?,
        tags: of("instance"),
        client_token: client_token(params)?,
    })))
}

fn counts(params: &mut Params) -> Result<(u32, u32), Ec2Error> {
    let mut count = |name: &'static str| match params.number(name)? {
        None => Err(Ec2Error::MissingParameter(name)),
        Some(0) => Err(super::assign::zero(name)),
        Some(count) => Ok(count),
    };
    let (least, most) = (count("MinCount")?, count("MaxCount")?);
    if least > most {
        return Err(Ec2Error::InvalidCombination(
            "The minimum count may not be greater than the maximum count",
        ));
    }
    Ok((least, most))
}

fn instance_type(params: &mut Params) -> Result<InstanceType, Ec2Error> {
    let text = params
        .text("InstanceType")
        .unwrap_or_else(|| DEFAULT_TYPE.to_owned());
    text.parse().map_err(|_| Ec2Error::InvalidValue {
        parameter: "InstanceType".to_owned(),
        value: text,
        reason: "Invalid instance type.",
    })
}

/// An instance profile has the name of its role here.
fn role(params: &mut Params) -> Option<String> {
    let named = params.text("IamInstanceProfile.Name");
    let by_arn = params.text("IamInstanceProfile.Arn");
    named.or_else(|| Some(by_arn?.rsplit('/').next()?.to_owned()))
}

fn metadata(params: &mut Params) -> Result<MetadataOptions, Ec2Error> {
    if let Some(tokens) = params
        .text("MetadataOptions.HttpTokens")
        .filter(|text| text != "required")
    {
        // Without tokens it is version 1, which is not served.
        return Err(Ec2Error::Unsupported(format!(
            "MetadataOptions.HttpTokens {tokens}"
        )));
    }
    let usual = MetadataOptions::default();
    let hops = params.number("MetadataOptions.HttpPutResponseHopLimit")?;
    let hop_limit = match hops {
        None => usual.hop_limit,
        Some(hops @ 1..=64) => u8::try_from(hops).unwrap_or(usual.hop_limit),
        Some(hops) => {
            return Err(Ec2Error::InvalidValue {
                parameter: "MetadataOptions.HttpPutResponseHopLimit".to_owned(),
                value: hops.to_string(),
                reason: "Expecting a value between 1 and 64.",
            });
        }
    };
    Ok(MetadataOptions {
        hop_limit,
        enabled: switch(params, "MetadataOptions.HttpEndpoint", usual.enabled)?,
        over_ipv6: switch(params, "MetadataOptions.HttpProtocolIpv6", usual.over_ipv6)?,
    })
}

fn switch(params: &mut Params, name: &str, usual: bool) -> Result<bool, Ec2Error> {
    match params.text(name).as_deref() {
        None => Ok(usual),
        Some("enabled") => Ok(true),
        Some("disabled") => Ok(false),
        Some(other) => Err(Ec2Error::InvalidValue {
            parameter: name.to_owned(),
            value: other.to_owned(),
            reason: "Expecting enabled or disabled.",
        }),
    }
}

fn enis(params: &mut Params, tags: &Tags) -> Result<Vec<LaunchedEni>, Ec2Error> {
    let indexes = params.indexes("NetworkInterface");
    if indexes.is_empty() {
        return Ok(vec![primary(params, tags)?]);
    }
    let of_instance = ["SubnetId", "PrivateIpAddress", "Ipv6AddressCount"];
    let given = of_instance.iter().any(|name| params.has(name))
        || !params.indexes("SecurityGroupId").is_empty()
        || !params.indexes("Ipv6Address").is_empty();
    if given {
        return Err(Ec2Error::InvalidCombination(
            "Network interfaces and an instance-level subnet ID, address or security group may not be specified on the same request",
        ));
    }
    indexes
        .into_iter()
        .map(|index| listed(params, &format!("NetworkInterface.{index}."), tags))
        .collect()
}

fn primary(params: &mut Params, tags: &Tags) -> Result<LaunchedEni, Ec2Error> {
    if !params.has("SubnetId") {
        return Err(Ec2Error::NoDefaultVpc);
    }
    let (address, _) = read_addresses(params, "")?;
    let eni = CreateEni {
        groups: params.ids("SecurityGroupId")?,
        primary: address,
        wanted_ipv6: Ipv6Choice::read(params, "", "Ipv6Address")?.wanted()?,
        tags: tags.clone(),
        ..CreateEni::plain(params.id("SubnetId")?)
    };
    Ok(LaunchedEni {
        device_index: 0,
        network_card: 0,
        delete_on_termination: true,
        source: EniSource::New {
            eni: Box::new(eni),
            public: None,
        },
    })
}

/// One of the list: an ENI that is there, or what to make.
fn listed(params: &mut Params, prefix: &str, tags: &Tags) -> Result<LaunchedEni, Ec2Error> {
    let at = |name: &str| format!("{prefix}{name}");
    let device_index = params
        .number(&at("DeviceIndex"))?
        .ok_or(Ec2Error::MissingParameter("NetworkInterface.DeviceIndex"))?;
    let network_card = params.number(&at("NetworkCardIndex"))?.unwrap_or(0);
    let delete = params.flag(&at("DeleteOnTermination"))?;
    if let Some(text) = params.text(&at("NetworkInterfaceId")) {
        if delete == Some(true) {
            return Err(Ec2Error::InvalidCombination(
                "A network interface that is there already may not be specified with deleteOnTermination",
            ));
        }
        return Ok(LaunchedEni {
            device_index,
            network_card,
            delete_on_termination: false,
            source: EniSource::Existing(text.parse()?),
        });
    }
    refuse_kinds(params, prefix)?;
    let (address, choice) = read_addresses(params, prefix)?;
    let subnet = params.text(&at("SubnetId")).ok_or(Ec2Error::NoDefaultVpc)?;
    let eni = CreateEni {
        description: params.text(&at("Description")).unwrap_or_default(),
        groups: params.ids(&at("SecurityGroupId"))?,
        primary: address,
        wanted: choice.wanted()?,
        wanted_ipv6: Ipv6Choice::read(params, prefix, "Ipv6Addresses")?.wanted()?,
        tags: tags.clone(),
        ..CreateEni::plain(subnet.parse()?)
    };
    Ok(LaunchedEni {
        device_index,
        network_card,
        delete_on_termination: delete.unwrap_or(true),
        source: EniSource::New {
            eni: Box::new(eni),
            public: params.flag(&at("AssociatePublicIpAddress"))?,
        },
    })
}

pub(super) fn parse_terminate(params: &mut Params) -> Result<Request, Ec2Error> {
    let instances = params.ids("InstanceId")?;
    if instances.is_empty() {
        return Err(Ec2Error::MissingParameter("InstanceId"));
    }
    // Both differ only for guests that must be shut down, and there are none.
    params.flag("Force")?;
    params.flag("SkipOsShutdown")?;
    Ok(Request::TerminateInstances { instances })
}

pub(super) fn write_terminating(xml: &mut Xml, list: &[(InstanceId, InstanceState, InstanceState)]) {
    xml.list("instancesSet", list, |xml, (id, before, now)| {
        xml.leaf("instanceId", id);
        for (name, state) in [("currentState", now), ("previousState", before)] {
            xml.node(name, |xml| {
                xml.leaf("code", state.code());
                xml.leaf("name", state.name());
            });
        }
    });
}
