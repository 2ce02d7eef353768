//! Instance types: how they are asked for and written. Only members that the table carries are written; EC2 has more.

use super::action::Shape;
use super::filter;
use super::query::Params;
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::limits::InstanceTypeInfo;
use crate::model::request::{Operation, Request};

pub(super) fn parse_describe(params: &mut Params) -> Result<(Request, Shape), Ec2Error> {
    let names = params.list("InstanceType");
    let asked = params.text("MaxResults").is_some() || params.text("NextToken").is_some();
    if asked && !names.is_empty() {
        return Err(Ec2Error::InvalidCombination(
            "The parameter instanceTypeSet cannot be used with the parameter maxResults",
        ));
    }
    let shape = Shape::parse(params, Operation::DescribeInstanceTypes)?;
    Ok(shape.describe(names, Request::DescribeInstanceTypes))
}

fn field(info: &&'static InstanceTypeInfo, name: &str) -> Vec<String> {
    let value = match name {
        "bare-metal" => info.bare_metal.to_string(),
        "current-generation" => info.current_generation.to_string(),
        "hypervisor" => return info.hypervisor.clone().into_iter().collect(),
        "instance-type" => info.instance_type.clone(),
        "memory-info.size-in-mib" => info.memory_mib.to_string(),
        "network-info.efa-info.maximum-efa-interfaces" => {
            return info
                .max_efa_enis
                .map(|most| most.to_string())
                .into_iter()
                .collect();
        }
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
