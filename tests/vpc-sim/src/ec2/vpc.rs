//! The VPC: how it is asked for and written.

use super::action::Shape;
use super::filter;
use super::page::{Bounds, Page};
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::Request;
use crate::model::response::VpcDescription;

const PAGES: Bounds = Bounds {
    least: 5,
    most: 1000,
    unless_set: None,
};

/// The filters that are served beside tags.
const FILTERS: &[&str] = &[
    "cidr",
    "cidr-block-association.cidr-block",
    "cidr-block-association.state",
    "is-default",
    "owner-id",
    "state",
    "vpc-id",
];

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("VpcId")?;
    let shape = Shape {
        filters: filter::parse(params, "DescribeVpcs", FILTERS)?,
        page: Page::parse(params, PAGES)?,
    };
    Ok(shape.describe(ids, Request::DescribeVpcs))
}

fn field(vpc: &VpcDescription, name: &str) -> Vec<String> {
    match name {
        "cidr" => vpc.cidrs.first().map(ToString::to_string).into_iter().collect(),
        "cidr-block-association.cidr-block" => vpc.cidrs.iter().map(ToString::to_string).collect(),
        "cidr-block-association.state" => vec!["associated".to_owned()],
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
        xml.leaf("instanceTenancy", "default");
        xml.leaf("isDefault", false);
        xml.tags(&vpc.tags);
    });
    xml.maybe("nextToken", next);
}

fn association(vpc: &VpcDescription, index: usize) -> String {
    let digits = vpc.id.as_str().trim_start_matches("vpc-");
    let kept = digits.get(..digits.len().saturating_sub(2)).unwrap_or(digits);
    format!("vpc-cidr-assoc-{kept}{index:02x}")
}

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::FILTERS;

    #[test]
    fn ec2_has_every_filter_that_is_served() {
        assert!(FILTERS.iter().all(|name| known::has_filter("DescribeVpcs", name)));
    }
}
