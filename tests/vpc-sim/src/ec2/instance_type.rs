//! Instance types: how they are asked for and written. Only members that the table carries are written; EC2 has more.

use super::action::Shape;
use super::filter;
use super::page::{Bounds, Page};
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::limits::InstanceTypeInfo;
use crate::model::request::Request;

/// EC2 never gives more than 100 types at once, asked for pages or not (AWS documentation of the action).
const PAGES: Bounds = Bounds {
    least: 5,
    most: 100,
    unless_set: Some(100),
};

/// The filters that are served. Types have no tags.
const FILTERS: &[&str] = &[
    "bare-metal",
    "current-generation",
    "hypervisor",
    "instance-type",
    "memory-info.size-in-mib",
    "network-info.efa-supported",
    "network-info.ena-support",
    "network-info.encryption-in-transit-supported",
    "network-info.ipv4-addresses-per-interface",
    "network-info.ipv6-addresses-per-interface",
    "network-info.ipv6-supported",
    "network-info.maximum-network-cards",
    "network-info.maximum-network-interfaces",
    "network-info.network-performance",
    "processor-info.supported-architecture",
    "vcpu-info.default-cores",
    "vcpu-info.default-threads-per-core",
    "vcpu-info.default-vcpus",
];

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let names = params.list("InstanceType");
    let asked = params.text("MaxResults").is_some() || params.text("NextToken").is_some();
    if asked && !names.is_empty() {
        return Err(Ec2Error::InvalidCombination(
            "The parameter instanceTypeSet cannot be used with the parameter maxResults",
        ));
    }
    let shape = Shape {
        filters: filter::parse(params, "DescribeInstanceTypes", FILTERS)?,
        page: Page::parse(params, PAGES)?,
    };
    Ok(shape.describe(names, Request::DescribeInstanceTypes))
}

fn field(info: &&'static InstanceTypeInfo, name: &str) -> Vec<String> {
    let value = match name {
        "bare-metal" => info.bare_metal.to_string(),
        "current-generation" => info.current_generation.to_string(),
        "hypervisor" => return info.hypervisor.clone().into_iter().collect(),
        "instance-type" => info.instance_type.clone(),
        "memory-info.size-in-mib" => info.memory_mib.to_string(),
        "network-info.efa-supported" => info.efa_supported.to_string(),
        "network-info.ena-support" => info.ena_support.clone(),
        "network-info.encryption-in-transit-supported" => info.encryption_in_transit.to_string(),
        "network-info.ipv4-addresses-per-interface" => info.ipv4_per_eni.to_string(),
        "network-info.ipv6-addresses-per-interface" => info.ipv6_per_eni.to_string(),
        "network-info.ipv6-supported" => info.ipv6_supported.to_string(),
        "network-info.maximum-network-cards" => info.max_cards.to_string(),
        "network-info.maximum-network-interfaces" => info.max_enis.to_string(),
        "network-info.network-performance" => info.network_performance.clone(),
        "processor-info.supported-architecture" => return info.architectures.clone(),
        "vcpu-info.default-cores" => info.cores.to_string(),
        "vcpu-info.default-threads-per-core" => info.threads_per_core.to_string(),
        "vcpu-info.default-vcpus" => info.vcpus.to_string(),
        _ => return Vec::new(),
    };
    vec![value]
}

pub(super) fn write_list(xml: &mut Xml, shape: &Shape, list: Vec<&'static InstanceTypeInfo>) {
    let kept = filter::keep(&shape.filters, list, |_| None, field);
    let (page, next) = shape.page.cut(kept, |info| info.instance_type.clone());
    xml.list("instanceTypeSet", page, |xml, info| {
        xml.leaf("instanceType", &info.instance_type);
        xml.leaf("currentGeneration", info.current_generation);
        xml.leaf("bareMetal", info.bare_metal);
        xml.maybe("hypervisor", info.hypervisor.as_ref());
        xml.node("processorInfo", |xml| {
            xml.texts("supportedArchitectures", &info.architectures)
        });
        xml.node("vCpuInfo", |xml| {
            xml.leaf("defaultVCpus", info.vcpus);
            xml.leaf("defaultCores", info.cores);
            xml.leaf("defaultThreadsPerCore", info.threads_per_core);
        });
        xml.node("memoryInfo", |xml| xml.leaf("sizeInMiB", info.memory_mib));
        xml.node("networkInfo", |xml| write_network(xml, info));
    });
    xml.maybe("nextToken", next);
}

fn write_network(xml: &mut Xml, info: &InstanceTypeInfo) {
    xml.leaf("networkPerformance", &info.network_performance);
    xml.leaf("maximumNetworkInterfaces", info.max_enis);
    xml.leaf("maximumNetworkCards", info.max_cards);
    xml.leaf("defaultNetworkCardIndex", info.default_card);
    xml.list("networkCards", &info.cards, |xml, card| {
        xml.leaf("networkCardIndex", card.index);
        xml.leaf("networkPerformance", &card.performance);
        xml.leaf("maximumNetworkInterfaces", card.max_enis);
        xml.texts("interfaceTypeSet", &card.kinds);
    });
    xml.leaf("ipv4AddressesPerInterface", info.ipv4_per_eni);
    xml.leaf("ipv6AddressesPerInterface", info.ipv6_per_eni);
    xml.leaf("ipv6Supported", info.ipv6_supported);
    xml.leaf("enaSupport", &info.ena_support);
    xml.leaf("efaSupported", info.efa_supported);
    if let Some(most) = info.max_efa_enis {
        xml.node("efaInfo", |xml| xml.leaf("maximumEfaInterfaces", most));
    }
    xml.leaf("encryptionInTransitSupported", info.encryption_in_transit);
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
                .all(|name| known::has_filter("DescribeInstanceTypes", name))
        );
    }
}
