//! Subnets: how they are asked for and written.

use ipnet::Ipv6Net;

use super::action::Shape;
use super::filter;
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::{Operation, Request};
use crate::model::response::SubnetDescription;

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("SubnetId")?;
    let shape = Shape::parse(params, Operation::DescribeSubnets)?;
    Ok(shape.describe(ids, Request::DescribeSubnets))
}

fn field(subnet: &SubnetDescription, name: &str) -> Vec<String> {
    if let Some(rest) = name.strip_prefix("ipv6-cidr-block-association.") {
        return subnet
            .ipv6_cidr
            .map(|cidr| ipv6_field(subnet, cidr, rest))
            .into_iter()
            .collect();
    }
    let value = match name {
        "availability-zone" => subnet.zone.name.clone(),
        "availability-zone-id" => subnet.zone.id.clone(),
        "available-ip-address-count" => subnet.available.to_string(),
        "cidr-block" => subnet.cidr.to_string(),
        "default-for-az"
        | "enable-dns64"
        | "ipv6-native"
        | "map-customer-owned-ip-on-launch"
        | "private-dns-name-options-on-launch.enable-resource-name-dns-a-record"
        | "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record" => "false".to_owned(),
        "private-dns-name-options-on-launch.hostname-type" => "ip-name".to_owned(),
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

fn ipv6_field(subnet: &SubnetDescription, cidr: Ipv6Net, name: &str) -> String {
    match name {
        "association-id" => association(subnet),
        "ipv6-cidr-block" => cidr.to_string(),
        _ => "associated".to_owned(),
    }
}

/// A subnet has at most one IPv6 CIDR here, so its association has the subnet's number.
fn association(subnet: &SubnetDescription) -> String {
    subnet.id.as_str().replacen("subnet-", "subnet-cidr-assoc-", 1)
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
        xml.list("ipv6CidrBlockAssociationSet", subnet.ipv6_cidr, |xml, cidr| {
            xml.leaf("associationId", association(subnet));
            xml.leaf("ipv6CidrBlock", cidr);
            xml.node("ipv6CidrBlockState", |xml| xml.leaf("state", "associated"));
            xml.leaf("ipSource", "amazon");
            xml.leaf("ipv6AddressAttribute", "public");
        });
        xml.leaf("availableIpAddressCount", subnet.available);
        xml.leaf("availabilityZone", &subnet.zone.name);
        xml.leaf("availabilityZoneId", &subnet.zone.id);
        xml.leaf("defaultForAz", false);
        xml.leaf("mapPublicIpOnLaunch", subnet.public);
        xml.leaf("assignIpv6AddressOnCreation", subnet.ipv6_on_creation);
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
