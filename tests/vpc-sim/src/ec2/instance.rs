//! Instances: how they are asked for and written. What filters see: `instance/field.rs`.

mod field;

use std::collections::BTreeMap;

use super::action::Shape;
use super::dns::private_dns_name;
use super::filter;
use super::network_interface;
use super::query::Params;
use super::timestamp::iso8601;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::id::ReservationId;
use crate::model::request::{Operation, Request};
use crate::model::response::{EniDescription, InstanceDescription, InstanceState};

/// What Linux on demand is called, and what it is billed as.
const PLATFORM: &str = "Linux/UNIX";
const USAGE: &str = "RunInstances";
const ROOT_DEVICE: &str = "/dev/xvda";
/// Why an instance ends that somebody ended by the API.
const USER_SHUTDOWN: &str = "Client.UserInitiatedShutdown";

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let ids = params.ids("InstanceId")?;
    let shape = Shape::parse(params, Operation::DescribeInstances)?;
    if !ids.is_empty() && shape.page.asked() {
        return Err(Ec2Error::InvalidCombination(
            "The parameter instancesSet cannot be used with the parameter maxResults",
        ));
    }
    // Nothing here is managed by a service.
    params.flag("IncludeManagedResources")?;
    Ok(shape.describe(ids, Request::DescribeInstances))
}

/// Instances of one launch that are on one page are in one reservation.
pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<InstanceDescription>) {
    let kept = filter::keep(
        &shape.filters,
        list,
        |instance| Some(&instance.tags),
        field::field,
    );
    let (page, next) = shape.page.cut(kept, |instance| instance.id.to_string());
    let mut launches: BTreeMap<&ReservationId, Vec<&InstanceDescription>> = BTreeMap::new();
    for instance in &page {
        launches.entry(&instance.reservation).or_default().push(instance);
    }
    xml.list("reservationSet", launches.into_values(), |xml, instances| {
        write_reservation(xml, &instances);
    });
    xml.maybe("nextToken", next);
}

/// The answer of a launch is its reservation.
pub(super) fn write_launch(xml: &mut Xml, list: &[InstanceDescription]) {
    let instances: Vec<&InstanceDescription> = list.iter().collect();
    write_reservation(xml, &instances);
}

fn write_reservation(xml: &mut Xml, instances: &[&InstanceDescription]) {
    if let Some(first) = instances.first() {
        xml.leaf("reservationId", &first.reservation);
        xml.leaf("ownerId", &first.owner);
    }
    xml.node("groupSet", |_| {});
    xml.list("instancesSet", instances, |xml, instance| write(xml, instance));
}

fn write(xml: &mut Xml, instance: &InstanceDescription) {
    let info = instance.instance_type;
    xml.leaf("instanceId", &instance.id);
    xml.leaf("imageId", &instance.image);
    write_state(xml, instance);
    xml.leaf("reason", transition(instance).unwrap_or_default());
    xml.leaf("amiLaunchIndex", instance.launch_index);
    xml.maybe("clientToken", instance.client_token.as_ref());
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
    xml.leaf("ebsOptimized", false);
    xml.leaf("enaSupport", info.ena_support != "unsupported");
    // EC2 says so for Nitro too (AWS documentation, `Instance`).
    xml.leaf("hypervisor", "xen");
    xml.leaf("virtualizationType", "hvm");
    xml.leaf("rootDeviceName", ROOT_DEVICE);
    xml.leaf("rootDeviceType", "ebs");
    xml.node("cpuOptions", |xml| {
        xml.leaf("coreCount", info.cores);
        xml.leaf("threadsPerCore", info.threads_per_core);
    });
    write_role(xml, instance);
    write_metadata_options(xml, instance);
    write_unset_options(xml, instance);
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

fn write_state(xml: &mut Xml, instance: &InstanceDescription) {
    xml.node("instanceState", |xml| {
        xml.leaf("code", instance.state.code());
        xml.leaf("name", instance.state.name());
    });
    if let Some([code, message]) = state_reason(instance) {
        xml.node("stateReason", |xml| {
            xml.leaf("code", code);
            xml.leaf("message", message);
        });
    }
}

/// The code and the text of why an instance is in its state.
fn state_reason(instance: &InstanceDescription) -> Option<[String; 2]> {
    match instance.state {
        InstanceState::Pending => Some(["pending".to_owned(), "pending".to_owned()]),
        InstanceState::Running => None,
        InstanceState::ShuttingDown | InstanceState::Terminated => Some([
            USER_SHUTDOWN.to_owned(),
            format!("{USER_SHUTDOWN}: User initiated shutdown"),
        ]),
    }
}

/// Why an instance changed its state last, as people read it.
fn transition(instance: &InstanceDescription) -> Option<&'static str> {
    match instance.state {
        InstanceState::Pending | InstanceState::Running => None,
        InstanceState::ShuttingDown | InstanceState::Terminated => Some("User initiated"),
    }
}

fn profile_arn(instance: &InstanceDescription) -> Option<String> {
    let role = instance.role.as_ref()?;
    Some(format!("arn:aws:iam::{}:instance-profile/{role}", instance.owner))
}

/// One id for every instance profile: nothing here looks into IAM.
const PROFILE_ID: &str = "AIPAEXAMPLEEXAMPLE000";

fn write_role(xml: &mut Xml, instance: &InstanceDescription) {
    if let Some(arn) = profile_arn(instance) {
        xml.node("iamInstanceProfile", |xml| {
            xml.leaf("arn", arn);
            xml.leaf("id", PROFILE_ID);
        });
    }
}

fn switch(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

fn write_metadata_options(xml: &mut Xml, instance: &InstanceDescription) {
    let options = instance.metadata;
    xml.node("metadataOptions", |xml| {
        xml.leaf("state", "applied");
        xml.leaf("httpTokens", "required");
        xml.leaf("httpPutResponseHopLimit", options.hop_limit);
        xml.leaf("httpEndpoint", switch(options.enabled));
        xml.leaf("httpProtocolIpv6", switch(options.over_ipv6));
        xml.leaf("instanceMetadataTags", "disabled");
    });
}

/// Options of every instance that nobody set.
fn write_unset_options(xml: &mut Xml, instance: &InstanceDescription) {
    xml.node("capacityReservationSpecification", |xml| {
        xml.leaf("capacityReservationPreference", "open");
    });
    xml.node("enclaveOptions", |xml| xml.leaf("enabled", false));
    xml.node("hibernationOptions", |xml| xml.leaf("configured", false));
    xml.node("maintenanceOptions", |xml| {
        xml.leaf("autoRecovery", "default");
        xml.leaf("rebootMigration", "default");
    });
    xml.node("networkPerformanceOptions", |xml| {
        xml.leaf("bandwidthWeighting", "default");
    });
    xml.node("operator", |xml| xml.leaf("managed", false));
    xml.node("privateDnsNameOptions", |xml| {
        xml.leaf("hostnameType", "ip-name");
        xml.leaf("enableResourceNameDnsARecord", false);
        xml.leaf("enableResourceNameDnsAAAARecord", false);
    });
    xml.leaf("currentInstanceBootMode", boot_mode(instance));
    xml.leaf("platformDetails", PLATFORM);
    xml.leaf("usageOperation", USAGE);
    xml.leaf("usageOperationUpdateTime", iso8601(instance.launched_at));
}

/// Graviton boots by UEFI, others by BIOS unless their image says otherwise (AWS documentation, "Boot modes").
fn boot_mode(instance: &InstanceDescription) -> &'static str {
    let architectures = &instance.instance_type.architectures;
    if architectures.iter().any(|name| name == "arm64") {
        "uefi"
    } else {
        "legacy-bios"
    }
}

fn write_primary(xml: &mut Xml, primary: &EniDescription) {
    xml.leaf("subnetId", &primary.subnet);
    xml.leaf("vpcId", &primary.vpc);
    xml.leaf("privateIpAddress", primary.primary);
    xml.leaf(
        "privateDnsName",
        private_dns_name(&primary.region, primary.primary),
    );
    // The VPC gives out no public names.
    xml.leaf("dnsName", "");
    xml.maybe("ipAddress", primary.public.get(&primary.primary));
    xml.maybe("ipv6Address", primary.ipv6.first());
    xml.leaf("sourceDestCheck", primary.source_dest_check);
    network_interface::write_groups(xml, &primary.groups);
}
