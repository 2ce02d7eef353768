//! The VPC: how it is asked for and written.

use super::action::Shape;
use super::filter;
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::{Operation, Request};
use crate::model::response::VpcDescription;

/// A VPC without DHCP options of its own.
const DHCP_OPTIONS: &str = "default";
/// Where Amazon's own IPv6 CIDRs come from.
const IPV6_POOL: &str = "Amazon";

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("VpcId")?;
    let shape = Shape::parse(params, Operation::DescribeVpcs)?;
    Ok(shape.describe(ids, Request::DescribeVpcs))
}

fn field(vpc: &VpcDescription, name: &str) -> Vec<String> {
    match name {
        "cidr" => vpc.cidrs.first().map(ToString::to_string).into_iter().collect(),
        "cidr-block-association.cidr-block" => vpc.cidrs.iter().map(ToString::to_string).collect(),
        "cidr-block-association.association-id" => {
            let indexes = 0..vpc.cidrs.len();
            indexes.map(|index| association(vpc, index)).collect()
        }
        "cidr-block-association.state" => vec!["associated".to_owned()],
        "dhcp-options-id" => vec![DHCP_OPTIONS.to_owned()],
        "ipv6-cidr-block-association.association-id" => {
            let indexes = 0..vpc.ipv6_cidrs.len();
            indexes.map(|index| ipv6_association(vpc, index)).collect()
        }
        "ipv6-cidr-block-association.ipv6-cidr-block" => {
            vpc.ipv6_cidrs.iter().map(ToString::to_string).collect()
        }
        "ipv6-cidr-block-association.ipv6-pool" => {
            vpc.ipv6_cidrs.iter().map(|_| IPV6_POOL.to_owned()).collect()
        }
        "ipv6-cidr-block-association.state" => {
            vpc.ipv6_cidrs.iter().map(|_| "associated".to_owned()).collect()
        }
        "is-default" => vec!["false".to_owned()],
        "owner-id" => vec![vpc.owner.clone()],
        "state" => vec!["available".to_owned()],
        "vpc-id" => vec![vpc.id.to_string()],
        _ => Vec::new(),
    }
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<VpcDescription>) {
    let kept = filter::keep(&shape.filters, list, |vpc| Some(&vpc.tags), field);
    let (page, next) = shape.page.cut(kept, |vpc| vpc.id.to_string());
    xml.list("vpcSet", &page, |xml, vpc| {
        xml.leaf("vpcId", &vpc.id);
        xml.leaf("ownerId", &vpc.owner);
        xml.leaf("state", "available");
        xml.maybe("cidrBlock", vpc.cidrs.first());
        xml.list(
            "cidrBlockAssociationSet",
            vpc.cidrs.iter().enumerate(),
            |xml, (index, cidr)| {
                xml.leaf("associationId", association(vpc, index));
                xml.leaf("cidrBlock", cidr);
                xml.node("cidrBlockState", |xml| xml.leaf("state", "associated"));
            },
        );
        if !vpc.ipv6_cidrs.is_empty() {
            write_ipv6(xml, vpc);
        }
        xml.leaf("dhcpOptionsId", DHCP_OPTIONS);
        xml.leaf("instanceTenancy", "default");
        xml.leaf("isDefault", false);
        xml.tags(&vpc.tags);
    });
    xml.maybe("nextToken", next);
}

fn write_ipv6(xml: &mut Xml, vpc: &VpcDescription) {
    let all = vpc.ipv6_cidrs.iter().enumerate();
    xml.list("ipv6CidrBlockAssociationSet", all, |xml, (index, cidr)| {
        xml.leaf("associationId", ipv6_association(vpc, index));
        xml.leaf("ipv6CidrBlock", cidr);
        xml.node("ipv6CidrBlockState", |xml| xml.leaf("state", "associated"));
        xml.leaf("ipv6Pool", IPV6_POOL);
        xml.leaf("ipSource", "amazon");
        xml.leaf("ipv6AddressAttribute", "public");
    });
}

/// Numbered after those of IPv4, which are at most five by default.
fn ipv6_association(vpc: &VpcDescription, index: usize) -> String {
    association(vpc, 0x80 + index)
}

fn association(vpc: &VpcDescription, index: usize) -> String {
    let digits = vpc.id.as_str().trim_start_matches("vpc-");
    let kept = digits.get(..digits.len().saturating_sub(2)).unwrap_or(digits);
    format!("vpc-cidr-assoc-{kept}{index:02x}")
}
