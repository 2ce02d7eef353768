//! Subnets: how they are asked for and written.

use super::action::Shape;
use super::filter;
use super::page::{Bounds, Page};
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::Request;
use crate::model::response::SubnetDescription;

const PAGES: Bounds = Bounds {
    least: 5,
    most: 1000,
    unless_set: None,
};

/// The filters that are served beside tags.
const FILTERS: &[&str] = &[
    "availability-zone",
    "availability-zone-id",
    "available-ip-address-count",
    "cidr-block",
    "default-for-az",
    "map-public-ip-on-launch",
    "owner-id",
    "state",
    "subnet-arn",
    "subnet-id",
    "vpc-id",
];

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("SubnetId")?;
    let shape = Shape {
        filters: filter::parse(params, "DescribeSubnets", FILTERS)?,
        page: Page::parse(params, PAGES)?,
    };
    Ok(shape.describe(ids, Request::DescribeSubnets))
}

fn field(subnet: &SubnetDescription, name: &str) -> Vec<String> {
    let value = match name {
        "availability-zone" => subnet.zone.name.clone(),
        "availability-zone-id" => subnet.zone.id.clone(),
        "available-ip-address-count" => subnet.available.to_string(),
        "cidr-block" => subnet.cidr.to_string(),
        "default-for-az" => "false".to_owned(),
        "map-public-ip-on-launch" => subnet.public.to_string(),
        "owner-id" => subnet.owner.clone(),
        "state" => "available".to_owned(),
        "subnet-arn" => arn(subnet),
        "subnet-id" => subnet.id.to_string(),
        "vpc-id" => subnet.vpc.to_string(),
        _ => return Vec::new(),
    };
    vec![value]
}

fn arn(subnet: &SubnetDescription) -> String {
    format!(
        "arn:aws:ec2:{}:{}:subnet/{}",
        subnet.region, subnet.owner, subnet.id
    )
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<SubnetDescription>) {
    let kept = filter::keep(&shape.filters, list, |subnet| Some(&subnet.tags), field);
    let (page, next) = shape.page.cut(kept, |subnet| subnet.id.to_string());
    xml.list("subnetSet", &page, |xml, subnet| {
        xml.leaf("subnetId", &subnet.id);
        xml.leaf("subnetArn", arn(subnet));
        xml.leaf("state", "available");
        xml.leaf("ownerId", &subnet.owner);
        xml.leaf("vpcId", &subnet.vpc);
        xml.leaf("cidrBlock", subnet.cidr);
        xml.node("ipv6CidrBlockAssociationSet", |_| {});
        xml.leaf("availableIpAddressCount", subnet.available);
        xml.leaf("availabilityZone", &subnet.zone.name);
        xml.leaf("availabilityZoneId", &subnet.zone.id);
        xml.leaf("defaultForAz", false);
        xml.leaf("mapPublicIpOnLaunch", subnet.public);
        xml.leaf("assignIpv6AddressOnCreation", false);
        xml.leaf("mapCustomerOwnedIpOnLaunch", false);
        xml.leaf("enableDns64", false);
        xml.leaf("ipv6Native", false);
        xml.node("privateDnsNameOptionsOnLaunch", |xml| {
            xml.leaf("hostnameType", "ip-name");
            xml.leaf("enableResourceNameDnsARecord", false);
            xml.leaf("enableResourceNameDnsAAAARecord", false);
        });
        xml.tags(&subnet.tags);
    });
    xml.maybe("nextToken", next);
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
                .all(|name| known::has_filter("DescribeSubnets", name))
        );
    }
}
