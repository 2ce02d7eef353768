//! Availability zones: those that the subnets are in, all open to everybody.

use super::action::Shape;
use super::filter;
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::request::{Operation, Request};
use crate::model::response::ZoneDescription;

/// How a Region names its own group of zones (AWS documentation, "Regions and Zones"); which zones share one is not told.
const GROUP_SUFFIX: &str = "-zg-1";

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let mut wanted = params.list("ZoneName");
    let ids = params.list("ZoneId");
    if !wanted.is_empty() && !ids.is_empty() {
        return Err(Ec2Error::InvalidValue {
            parameter: "ZoneId".to_owned(),
            value: ids.join(", "),
            reason: "Give zones by name or by id.",
        });
    }
    wanted.extend(ids);
    // There are no zones that one must opt into.
    params.flag("AllAvailabilityZones")?;
    let shape = Shape::parse(params, Operation::DescribeAvailabilityZones)?;
    Ok(shape.describe(wanted, Request::DescribeAvailabilityZones))
}

fn field(zone: &ZoneDescription, name: &str) -> Vec<String> {
    let value = match name {
        "group-name" => group(zone),
        "opt-in-status" => "opt-in-not-required".to_owned(),
        "region-name" => zone.region.clone(),
        "state" => "available".to_owned(),
        "zone-id" => zone.zone.id.clone(),
        "zone-name" => zone.zone.name.clone(),
        "zone-type" => "availability-zone".to_owned(),
        _ => return Vec::new(),
    };
    vec![value]
}

fn group(zone: &ZoneDescription) -> String {
    format!("{}{GROUP_SUFFIX}", zone.region)
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<ZoneDescription>) {
    let kept = filter::keep(&shape.filters, list, |_| None, field);
    xml.list("availabilityZoneInfo", &kept, |xml, zone| {
        xml.leaf("optInStatus", "opt-in-not-required");
        xml.node("messageSet", |_| {});
        xml.leaf("regionName", &zone.region);
        xml.leaf("zoneName", &zone.zone.name);
        xml.leaf("zoneId", &zone.zone.id);
        xml.leaf("groupName", group(zone));
        xml.leaf("networkBorderGroup", &zone.region);
        xml.leaf("zoneType", "availability-zone");
        xml.leaf("zoneState", "available");
    });
}
