//! What an instance has under the names of filters. A name that is not here matches nothing.

use super::super::dns::private_dns_name;
use super::super::network_interface;
use super::super::timestamp::iso8601;
use super::{
    PLATFORM, PROFILE_ID, ROOT_DEVICE, USAGE, boot_mode, profile_arn, state_reason, switch, transition,
};
use crate::model::response::{EniDescription, InstanceDescription};

pub(super) fn field(instance: &InstanceDescription, name: &str) -> Vec<String> {
    if let Some(value) = constant(name) {
        return vec![value.to_owned()];
    }
    if let Some(rest) = name.strip_prefix("network-interface.") {
        let enis = instance.enis.iter();
        return enis.flat_map(|eni| eni_field(eni, rest)).collect();
    }
    match name.strip_prefix("metadata-options.") {
        Some(rest) => metadata_field(instance, rest).into_iter().collect(),
        None => own_field(instance, name),
    }
}

/// What every instance has.
fn constant(name: &str) -> Option<&'static str> {
    match name {
        "capacity-reservation-specification.capacity-reservation-preference" => Some("open"),
        "ebs-optimized"
        | "enclave-options.enabled"
        | "hibernation-options.configured"
        | "operator.managed" => Some("false"),
        "network-interface.deny-all-igw-traffic" | "network-interface.ipv6-native" => Some("false"),
        "private-dns-name-options.enable-resource-name-dns-a-record"
        | "private-dns-name-options.enable-resource-name-dns-aaaa-record" => Some("false"),
        "hypervisor" => Some("xen"),
        "maintenance-options.auto-recovery" | "network-performance-options.bandwidth-weighting" => {
            Some("default")
        }
        "monitoring-state" => Some("disabled"),
        "platform-details" => Some(PLATFORM),
        "private-dns-name-options.hostname-type" => Some("ip-name"),
        "root-device-name" => Some(ROOT_DEVICE),
        "root-device-type" => Some("ebs"),
        "tenancy" => Some("default"),
        "usage-operation" => Some(USAGE),
        "virtualization-type" => Some("hvm"),
        _ => None,
    }
}

fn own_field(instance: &InstanceDescription, name: &str) -> Vec<String> {
    let info = instance.instance_type;
    let value = match name {
        "architecture" => info.architectures.first().cloned(),
        "availability-zone" => Some(instance.zone.name.clone()),
        "availability-zone-id" => Some(instance.zone.id.clone()),
        "client-token" => instance.client_token.clone(),
        "current-instance-boot-mode" => Some(boot_mode(instance).to_owned()),
        "ena-support" => Some((info.ena_support != "unsupported").to_string()),
        "iam-instance-profile.arn" => profile_arn(instance),
        "iam-instance-profile.id" => instance.role.as_ref().map(|_| PROFILE_ID.to_owned()),
        "image-id" => Some(instance.image.clone()),
        "instance-id" => Some(instance.id.to_string()),
        "instance-state-code" => Some(instance.state.code().to_string()),
        "instance-state-name" => Some(instance.state.name().to_owned()),
        "instance-type" => Some(info.instance_type.clone()),
        "launch-index" => Some(instance.launch_index.to_string()),
        "launch-time" | "usage-operation-update-time" => Some(iso8601(instance.launched_at)),
        "owner-id" => Some(instance.owner.clone()),
        "reason" => transition(instance).map(str::to_owned),
        "reservation-id" => Some(instance.reservation.to_string()),
        "state-reason-code" => state_reason(instance).map(|[code, _]| code),
        "state-reason-message" => state_reason(instance).map(|[_, message]| message),
        _ => {
            let primary = instance.enis.first();
            return primary.map(|eni| primary_field(eni, name)).unwrap_or_default();
        }
    };
    value.into_iter().collect()
}

fn metadata_field(instance: &InstanceDescription, name: &str) -> Option<String> {
    let options = instance.metadata;
    match name {
        "http-endpoint" => Some(switch(options.enabled).to_owned()),
        "http-protocol-ipv4" => Some(switch(true).to_owned()),
        "http-protocol-ipv6" => Some(switch(options.over_ipv6).to_owned()),
        "http-put-response-hop-limit" => Some(options.hop_limit.to_string()),
        "http-tokens" => Some("required".to_owned()),
        "instance-metadata-tags" => Some(switch(false).to_owned()),
        "state" => Some("applied".to_owned()),
        _ => None,
    }
}

/// What an instance has from its primary network interface.
fn primary_field(eni: &EniDescription, name: &str) -> Vec<String> {
    match name {
        "instance.group-id" => eni.groups.iter().map(|group| group.id.to_string()).collect(),
        "instance.group-name" => eni.groups.iter().map(|group| group.name.clone()).collect(),
        "ip-address" => {
            let public = eni.public.get(&eni.primary);
            public.map(ToString::to_string).into_iter().collect()
        }
        "ipv6-address" => eni.ipv6.iter().map(ToString::to_string).collect(),
        "private-dns-name" => vec![private_dns_name(&eni.region, eni.primary)],
        "private-ip-address" => vec![eni.primary.to_string()],
        "source-dest-check" => vec![eni.source_dest_check.to_string()],
        "subnet-id" => vec![eni.subnet.to_string()],
        "vpc-id" => vec![eni.vpc.to_string()],
        _ => Vec::new(),
    }
}

/// What it has from any of its network interfaces; most names are those of the network interfaces' own filters.
fn eni_field(eni: &EniDescription, name: &str) -> Vec<String> {
    let addresses = || std::iter::once(eni.primary).chain(eni.secondary.iter().copied());
    match name {
        "addresses.association.ip-owner-id" => {
            network_interface::field(eni, "addresses.association.owner-id")
        }
        "addresses.private-dns-name" => addresses()
            .map(|address| private_dns_name(&eni.region, address))
            .collect(),
        "attachment.network-card-index" => {
            let attachment = eni.attachment.as_ref();
            let card = attachment.map(|attachment| attachment.network_card.to_string());
            card.into_iter().collect()
        }
        "group-name" => eni.groups.iter().map(|group| group.name.clone()).collect(),
        "ipv6-address" => eni.ipv6.iter().map(ToString::to_string).collect(),
        "ipv4-prefixes.ipv4-prefix" => eni.prefixes.iter().map(ToString::to_string).collect(),
        "ipv6-addresses.is-primary-ipv6" => eni.ipv6.iter().map(|_| "false".to_owned()).collect(),
        "ipv6-prefixes.ipv6-prefix" => eni.ipv6_prefixes.iter().map(ToString::to_string).collect(),
        "tag-key" => eni.tags.keys().cloned().collect(),
        "tag-value" => eni.tags.values().cloned().collect(),
        shared => network_interface::field(eni, shared),
    }
}
