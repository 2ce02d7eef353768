//! The SDK's types to ours. What an ENI needs and lacks makes it unreadable, never half-read.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{AttachmentStatus, NetworkInterface, NetworkInterfaceAttachment, Subnet};
use ipamd_core::address::{AddressCount, Block};
use ipamd_core::id::{InstanceId, IntentId};
use ipamd_core::snapshot::{Owner, SeenAttachment, SeenEni, SeenSubnet, Unattached};
use ipamd_core::tag;
use ipnet::Ipv6Net;

/// A count or index as the SDK takes it; ours are far below the limit.
pub(crate) fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The ENI as `instance` sees it.
pub(crate) fn see(eni: &NetworkInterface, instance: &InstanceId) -> Option<SeenEni> {
    let attachment = match eni.attachment() {
        Some(attachment) if attachment.status() != Some(&AttachmentStatus::Detached) => {
            Some(see_attachment(attachment)?)
        }
        Some(_) | None => None,
    };
    Some(SeenEni {
        id: eni.network_interface_id()?.parse().ok()?,
        mac: eni.mac_address()?.parse().ok()?,
        subnet: eni.subnet_id()?.parse().ok()?,
        primary_ip: eni.private_ip_address()?.parse().ok()?,
        blocks: blocks(eni)?,
        prefixes6: prefixes6(eni)?,
        owner: owner(eni, attachment.as_ref(), instance),
        attachment,
    })
}

/// Whose an unattached ENI was.
pub(crate) fn see_unattached(eni: &NetworkInterface) -> Option<Unattached> {
    let tags = eni.tag_set().iter();
    Some(Unattached {
        id: eni.network_interface_id()?.parse().ok()?,
        description: eni.description().unwrap_or_default().to_owned(),
        tags: tags
            .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
            .collect(),
    })
}

/// A subnet, where it has an IPv4 CIDR.
pub(crate) fn see_subnet(subnet: &Subnet) -> Option<SeenSubnet> {
    let tags = subnet.tags().iter();
    Some(SeenSubnet {
        id: subnet.subnet_id()?.parse().ok()?,
        cidr: subnet.cidr_block()?.parse().ok()?,
        free: AddressCount(u32::try_from(subnet.available_ip_address_count()?).ok()?),
        tags: tags
            .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
            .collect(),
    })
}

fn see_attachment(attachment: &NetworkInterfaceAttachment) -> Option<SeenAttachment> {
    Some(SeenAttachment {
        id: attachment.attachment_id()?.parse().ok()?,
        instance: attachment.instance_id()?.parse().ok()?,
        device_index: u32::try_from(attachment.device_index()?).ok()?,
        // Absent on types with a single network card.
        network_card: u32::try_from(attachment.network_card_index().unwrap_or(0)).ok()?,
        delete_on_termination: attachment.delete_on_termination().unwrap_or(false),
        detaching: attachment.status() == Some(&AttachmentStatus::Detaching),
    })
}

fn blocks(eni: &NetworkInterface) -> Option<BTreeSet<Block>> {
    let secondary = eni
        .private_ip_addresses()
        .iter()
        .filter(|address| address.primary() != Some(true));
    let singles =
        secondary.map(|address| Some(Block::Secondary(address.private_ip_address()?.parse().ok()?)));
    let prefixes = eni.ipv4_prefixes().iter();
    let prefixes = prefixes.map(|prefix| Some(Block::Prefix(prefix.ipv4_prefix()?.parse().ok()?)));
    singles.chain(prefixes).collect()
}

fn prefixes6(eni: &NetworkInterface) -> Option<BTreeSet<Ipv6Net>> {
    let prefixes = eni.ipv6_prefixes().iter();
    prefixes
        .map(|prefix| prefix.ipv6_prefix()?.parse().ok())
        .collect()
}

fn owner(eni: &NetworkInterface, attachment: Option<&SeenAttachment>, instance: &InstanceId) -> Owner {
    let value = |key: &str| {
        eni.tag_set()
            .iter()
            .find(|tag| tag.key() == Some(key))
            .and_then(|tag| tag.value())
    };
    let place = attachment.map(|attachment| (attachment.device_index, attachment.network_card));
    if place == Some((0, 0)) {
        Owner::Primary
    } else if value(tag::NO_MANAGE) == Some("true") || value(tag::INSTANCE) != Some(instance.as_str()) {
        Owner::Foreign
    } else {
        let intent = value(tag::INTENT).and_then(|text| u64::from_str_radix(text, 16).ok());
        Owner::Ours(intent.map(IntentId))
    }
}
