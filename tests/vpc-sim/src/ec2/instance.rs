//! Instances: how they are asked for and written.

use super::action::Shape;
use super::filter;
use super::network_interface;
use super::page::{Bounds, Page};
use super::query::Params;
use super::timestamp::iso8601;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::Request;
use crate::model::response::{EniDescription, InstanceDescription};

/// The smallest page is that of the action's documentation; the model of the SDKs states none.
const PAGES: Bounds = Bounds {
    least: 5,
    most: 1000,
    unless_set: None,
};

/// The filters that are served beside tags.
const FILTERS: &[&str] = &[
    "architecture",
    "availability-zone",
    "availability-zone-id",
    "instance-id",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "instance.group-id",
    "ip-address",
    "launch-time",
    "network-interface.addresses.private-ip-address",
    "network-interface.attachment.attachment-id",
    "network-interface.mac-address",
    "network-interface.network-interface-id",
    "network-interface.subnet-id",
    "owner-id",
    "private-ip-address",
    "reservation-id",
    "subnet-id",
    "vpc-id",
];

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("InstanceId")?;
    let shape = Shape {
        filters: filter::parse(params, "DescribeInstances", FILTERS)?,
        page: Page::parse(params, PAGES)?,
    };
    if !ids.is_empty() && shape.page.asked() {
        return Err(Ec2Error::InvalidCombination(
            "The parameter instancesSet cannot be used with the parameter maxResults",
        ));
    }
    // Nothing here is managed by a service.
    params.flag("IncludeManagedResources")?;
    Ok(shape.describe(ids, Request::DescribeInstances))
}

fn field(instance: &InstanceDescription, name: &str) -> Vec<String> {
    let of_enis = |of: fn(&EniDescription) -> Vec<String>| instance.enis.iter().flat_map(of).collect();
    match name {
        "architecture" => instance
            .instance_type
            .architectures
            .iter()
            .take(1)
            .cloned()
            .collect(),
        "availability-zone" => vec![instance.zone.name.clone()],
        "availability-zone-id" => vec![instance.zone.id.clone()],
        "instance-id" => vec![instance.id.to_string()],
        "instance-state-code" => vec![instance.state.code().to_string()],
        "instance-state-name" => vec![instance.state.name().to_owned()],
        "instance-type" => vec![instance.instance_type.instance_type.clone()],
        "launch-time" => vec![iso8601(instance.launched_at)],
        "network-interface.addresses.private-ip-address" => of_enis(|eni| {
            let all = std::iter::once(&eni.primary).chain(&eni.secondary);
            all.map(ToString::to_string).collect()
        }),
        "network-interface.attachment.attachment-id" => of_enis(|eni| {
            let attachment = eni.attachment.as_ref();
            attachment
                .map(|attachment| attachment.id.to_string())
                .into_iter()
                .collect()
        }),
        "network-interface.mac-address" => of_enis(|eni| vec![eni.mac.to_string()]),
        "network-interface.network-interface-id" => of_enis(|eni| vec![eni.id.to_string()]),
        "network-interface.subnet-id" => of_enis(|eni| vec![eni.subnet.to_string()]),
        "owner-id" => vec![instance.owner.clone()],
        "reservation-id" => vec![reservation(instance)],
        _ => instance
            .enis
            .first()
            .map(|eni| primary_field(eni, name))
            .unwrap_or_default(),
    }
}

/// What an instance has from its primary network interface.
fn primary_field(eni: &EniDescription, name: &str) -> Vec<String> {
    match name {
        "instance.group-id" => eni.groups.iter().map(|group| group.id.to_string()).collect(),
        "ip-address" => eni
            .public
            .get(&eni.primary)
            .map(ToString::to_string)
            .into_iter()
            .collect(),
        "private-ip-address" => vec![eni.primary.to_string()],
        "subnet-id" => vec![eni.subnet.to_string()],
        "vpc-id" => vec![eni.vpc.to_string()],
        _ => Vec::new(),
    }
}

fn reservation(instance: &InstanceDescription) -> String {
    instance.id.as_str().replacen("i-", "r-", 1)
}

/// Each instance was launched by a reservation of its own.
pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<InstanceDescription>) {
    let kept = filter::keep(&shape.filters, list, |instance| Some(&instance.tags), field);
    let (page, next) = shape.page.cut(kept, |instance| instance.id.to_string());
    xml.list("reservationSet", &page, |xml, instance| {
        xml.leaf("reservationId", reservation(instance));
        xml.leaf("ownerId", &instance.owner);
        xml.node("groupSet", |_| {});
        xml.list("instancesSet", [instance], write);
    });
    xml.maybe("nextToken", next);
}

fn write(xml: &mut Xml, instance: &InstanceDescription) {
    let info = instance.instance_type;
    xml.leaf("instanceId", &instance.id);
    xml.leaf("imageId", "ami-00000000000000000");
    xml.node("instanceState", |xml| {
        xml.leaf("code", instance.state.code());
        xml.leaf("name", instance.state.name());
    });
    xml.leaf("amiLaunchIndex", 0);
    xml.leaf("instanceType", &info.instance_type);
    xml.leaf("launchTime", iso8601(instance.launched_at));
    xml.node("placement", |xml| {
        xml.leaf("availabilityZone", &instance.zone.name);
        xml.leaf("availabilityZoneId", &instance.zone.id);
        xml.leaf("groupName", "");
        xml.leaf("tenancy", "default");
    });
    xml.node("monitoring", |xml| xml.leaf("state", "disabled"));
    xml.maybe("architecture", info.architectures.first());
    xml.leaf("enaSupport", info.ena_support != "unsupported");
    // EC2 says so for Nitro too (AWS documentation, `Instance`).
    xml.leaf("hypervisor", "xen");
    xml.leaf("virtualizationType", "hvm");
    xml.leaf("rootDeviceName", "/dev/xvda");
    xml.leaf("rootDeviceType", "ebs");
    write_role(xml, instance);
    write_metadata_options(xml, instance);
    if let Some(primary) = instance.enis.first() {
        write_primary(xml, primary);
    }
    xml.list(
        "networkInterfaceSet",
        &instance.enis,
        network_interface::write_in_instance,
    );
    xml.tags(&instance.tags);
}

fn write_role(xml: &mut Xml, instance: &InstanceDescription) {
    if let Some(role) = &instance.role {
        xml.node("iamInstanceProfile", |xml| {
            xml.leaf(
                "arn",
                format!("arn:aws:iam::{}:instance-profile/{role}", instance.owner),
            );
            xml.leaf("id", "AIPAEXAMPLEEXAMPLE000");
        });
    }
}

fn write_metadata_options(xml: &mut Xml, instance: &InstanceDescription) {
    xml.node("metadataOptions", |xml| {
        xml.leaf("state", "applied");
        xml.leaf("httpTokens", "required");
        xml.leaf("httpPutResponseHopLimit", instance.hop_limit);
        let endpoint = if instance.metadata_enabled {
            "enabled"
        } else {
            "disabled"
        };
        xml.leaf("httpEndpoint", endpoint);
        xml.leaf("httpProtocolIpv6", "disabled");
        xml.leaf("instanceMetadataTags", "disabled");
    });
}

fn write_primary(xml: &mut Xml, primary: &EniDescription) {
    xml.leaf("subnetId", &primary.subnet);
    xml.leaf("vpcId", &primary.vpc);
    xml.leaf("privateIpAddress", primary.primary);
    xml.maybe("ipAddress", primary.public.get(&primary.primary));
    xml.leaf("sourceDestCheck", primary.source_dest_check);
    network_interface::write_groups(xml, &primary.groups);
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
                .all(|name| known::has_filter("DescribeInstances", name))
        );
    }
}
