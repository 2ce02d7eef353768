//! The few EC2 calls that Berth makes, in its own types. One method is one call (a describe is one per page); nothing is
//! retried and nothing is decided here.
//!
//! The SDK's own retries are off: AssignPrivateIpAddresses and AttachNetworkInterface have no client token, so only
//! somebody who reads the ENI in between may repeat them.

mod convert;
pub mod fault;
#[cfg(feature = "replay")]
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Filter, NetworkInterface, NetworkInterfaceAttachmentChanges, ResourceType, Tag, TagSpecification,
};
use ipamd_core::action::{Fault, NewEni};
use ipamd_core::address::{Ask, Block, BlockKind};
use ipamd_core::id::{EniAttachmentId, EniId, InstanceId, VpcId};
use ipamd_core::moment::Moment;
use ipamd_core::snapshot::{Scope, SeenEni, SeenSubnet, Snapshot, Unattached};
use ipamd_core::tag;
use ipnet::Ipv6Net;

use convert::{number, see, see_subnet, see_unattached};
use fault::classify;

/// The SDK's defaults, fixed: an update of the SDK does not change them.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// EC2, as one instance uses it.
#[derive(Clone, Debug)]
pub struct Ec2 {
    client: Client,
    instance: InstanceId,
}

/// How EC2 is reached.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The Region, from instance metadata.
    pub region: String,
    /// The instance that calls.
    pub instance: InstanceId,
    /// How long one call may take (`HTTP_TIMEOUT`).
    pub timeout: Duration,
}

impl Ec2 {
    /// A client with credentials and endpoint from the standard chain and variables. Makes no call.
    pub async fn connect(connection: Connection) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(connection.timeout)
            .operation_attempt_timeout(connection.timeout)
            .build();
        let config = aws_config::defaults(behavior())
            .region(Region::new(connection.region))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .load()
            .await;
        Self::over(&config, connection.instance)
    }

    fn over(config: &SdkConfig, instance: InstanceId) -> Self {
        Self {
            client: Client::new(config),
            instance,
        }
    }

    /// Creates an ENI; the client token makes a repeat give the same one.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn create_eni(&self, new: &NewEni) -> Result<SeenEni, Fault> {
        let token = format!("berth-{}-{}", new.instance, new.intent);
        let (addresses, prefixes) = counts(new.ask);
        let call = self
            .client
            .create_network_interface()
            .subnet_id(new.subnet.as_str())
            .description(format!("aws-K8S-{}", new.instance))
            .set_groups(Some(new.groups.iter().map(ToString::to_string).collect()))
            .set_secondary_private_ip_address_count(addresses)
            .set_ipv4_prefix_count(prefixes)
            .client_token(token)
            .tag_specifications(tag_specification(&new.tags));
        let answer = call
            .send()
            .await
            .map_err(|error| classify(error, "CreateNetworkInterface", new.subnet.as_str()))?;
        let created = answer
            .network_interface
            .ok_or_else(|| empty("CreateNetworkInterface"))?;
        let mut eni = see(&created, &self.instance).ok_or_else(|| unreadable(&created))?;
        // A create's answer may lack the tags; that it is ours is known.
        eni.owner = ipamd_core::snapshot::Owner::Ours(Some(new.intent));
        Ok(eni)
    }

    /// Attaches an ENI at a device index of card 0.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn attach(&self, eni: &EniId, device_index: u32) -> Result<EniAttachmentId, Fault> {
        let call = self
            .client
            .attach_network_interface()
            .network_interface_id(eni.as_str())
            .instance_id(self.instance.as_str())
            .device_index(number(device_index));
        let answer = call
            .send()
            .await
            .map_err(|error| classify(error, "AttachNetworkInterface", eni.as_str()))?;
        let id = answer
            .attachment_id
            .ok_or_else(|| empty("AttachNetworkInterface"))?;
        id.parse().map_err(|_| empty("AttachNetworkInterface"))
    }

    /// Lets an attached ENI go with the instance.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn delete_on_termination(
        &self,
        eni: &EniId,
        attachment: &EniAttachmentId,
    ) -> Result<(), Fault> {
        let changes = NetworkInterfaceAttachmentChanges::builder()
            .attachment_id(attachment.as_str())
            .delete_on_termination(true)
            .build();
        let call = self
            .client
            .modify_network_interface_attribute()
            .network_interface_id(eni.as_str())
            .attachment(changes);
        let answer = call.send().await;
        answer
            .map(drop)
            .map_err(|error| classify(error, "ModifyNetworkInterfaceAttribute", eni.as_str()))
    }

    /// Assigns blocks; gives those that EC2 chose.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn assign(&self, eni: &EniId, ask: Ask) -> Result<BTreeSet<Block>, Fault> {
        let (addresses, prefixes) = counts(ask);
        let call = self
            .client
            .assign_private_ip_addresses()
            .network_interface_id(eni.as_str())
            .set_secondary_private_ip_address_count(addresses)
            .set_ipv4_prefix_count(prefixes);
        let answer = call
            .send()
            .await
            .map_err(|error| classify(error, "AssignPrivateIpAddresses", eni.as_str()))?;
        let addresses = answer.assigned_private_ip_addresses().iter();
        let singles = addresses
            .filter_map(|address| address.private_ip_address())
            .map(|text| text.parse().map(Block::Secondary).ok());
        let prefixes = answer
            .assigned_ipv4_prefixes()
            .iter()
            .filter_map(|prefix| prefix.ipv4_prefix())
            .map(|text| text.parse().map(Block::Prefix).ok());
        let blocks: Option<BTreeSet<Block>> = singles.chain(prefixes).collect();
        blocks.ok_or_else(|| empty("AssignPrivateIpAddresses"))
    }

    /// Assigns an IPv6 prefix; gives what EC2 chose.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn assign_prefix6(&self, eni: &EniId) -> Result<BTreeSet<Ipv6Net>, Fault> {
        let call = self
            .client
            .assign_ipv6_addresses()
            .network_interface_id(eni.as_str())
            .ipv6_prefix_count(1);
        let answer = call
            .send()
            .await
            .map_err(|error| classify(error, "AssignIpv6Addresses", eni.as_str()))?;
        let prefixes = answer.assigned_ipv6_prefixes().iter();
        let prefixes: Result<BTreeSet<Ipv6Net>, _> = prefixes.map(|prefix| prefix.parse()).collect();
        let prefixes = prefixes.ok().filter(|prefixes| !prefixes.is_empty());
        prefixes.ok_or_else(|| empty("AssignIpv6Addresses"))
    }

    /// Unassigns blocks.
    ///
    /// # Errors
    /// What to do about it; [`Fault::Gone`] when some were not assigned any more, and then none was unassigned.
    pub async fn unassign(&self, eni: &EniId, blocks: &BTreeSet<Block>) -> Result<(), Fault> {
        let (singles, prefixes): (Vec<Block>, Vec<Block>) = blocks
            .iter()
            .partition(|block| block.kind() == BlockKind::Secondary);
        let singles: Vec<String> = singles
            .iter()
            .map(|block| block.net().addr().to_string())
            .collect();
        let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        let call = self
            .client
            .unassign_private_ip_addresses()
            .network_interface_id(eni.as_str())
            .set_private_ip_addresses((!singles.is_empty()).then_some(singles))
            .set_ipv4_prefixes((!prefixes.is_empty()).then_some(prefixes));
        let answer = call.send().await;
        answer
            .map(drop)
            .map_err(|error| classify(error, "UnassignPrivateIpAddresses", eni.as_str()))
    }

    /// Detaches an ENI.
    ///
    /// # Errors
    /// What to do about it; [`Fault::Gone`] when it is detached already.
    pub async fn detach(&self, eni: &EniId, attachment: &EniAttachmentId) -> Result<(), Fault> {
        let answer = self
            .client
            .detach_network_interface()
            .attachment_id(attachment.as_str())
            .send()
            .await;
        answer
            .map(drop)
            .map_err(|error| classify(error, "DetachNetworkInterface", eni.as_str()))
    }

    /// Deletes an ENI.
    ///
    /// # Errors
    /// What to do about it; [`Fault::Gone`] when it is deleted already, [`Fault::Busy`] while a detach lingers.
    pub async fn delete(&self, eni: &EniId) -> Result<(), Fault> {
        let answer = self
            .client
            .delete_network_interface()
            .network_interface_id(eni.as_str())
            .send()
            .await;
        answer
            .map(drop)
            .map_err(|error| classify(error, "DeleteNetworkInterface", eni.as_str()))
    }

    /// Reads one ENI; `None` when EC2 does not show it.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn read(&self, eni: &EniId) -> Result<Option<SeenEni>, Fault> {
        let filter = Filter::builder()
            .name("network-interface-id")
            .values(eni.as_str())
            .build();
        let found = self.describe(vec![filter]).await?;
        found
            .iter()
            .map(|eni| see(eni, &self.instance).ok_or_else(|| unreadable(eni)))
            .next()
            .transpose()
    }

    /// Reads everything on the instance, and where the scope says so everything that carries its tag wherever it is.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn read_all(&self, scope: Scope, at: Moment) -> Result<Snapshot, Fault> {
        let instance = self.instance.as_str();
        let attached = Filter::builder()
            .name("attachment.instance-id")
            .values(instance)
            .build();
        let tagged = Filter::builder()
            .name(format!("tag:{}", tag::INSTANCE))
            .values(instance)
            .build();
        let mut enis = BTreeMap::new();
        let tagged = (scope == Scope::Everything).then_some(tagged);
        for filter in std::iter::once(attached).chain(tagged) {
            for found in self.describe(vec![filter]).await? {
                let eni = see(&found, &self.instance).ok_or_else(|| unreadable(&found))?;
                let elsewhere = eni
                    .attachment
                    .as_ref()
                    .is_some_and(|a| a.instance != self.instance);
                if !elsewhere {
                    enis.insert(eni.id.clone(), eni);
                }
            }
        }
        Ok(Snapshot { at, scope, enis })
    }

    /// Reads the subnets of a zone, as of `at`.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn read_subnets(&self, vpc: &VpcId, zone: &str) -> Result<Vec<SeenSubnet>, Fault> {
        let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let pages = self
            .client
            .describe_subnets()
            .filters(filter("vpc-id", vpc.as_str()))
            .filters(filter("availability-zone", zone))
            .max_results(PAGE);
        let all: Result<Vec<_>, _> = pages.into_paginator().items().send().collect().await;
        let all = all.map_err(|error| classify(error, "DescribeSubnets", vpc.as_str()))?;
        // One without an IPv4 CIDR cannot hold our ENIs.
        Ok(all.iter().filter_map(see_subnet).collect())
    }

    /// Reads what carries some instance's tag and is attached nowhere: in a VPC, of a cluster where one is named, all of it
    /// or one.
    ///
    /// # Errors
    /// What to do about it.
    pub async fn read_unattached(
        &self,
        vpc: &VpcId,
        cluster: Option<&str>,
        only: Option<&EniId>,
    ) -> Result<Vec<Unattached>, Fault> {
        let always = [
            ("vpc-id", vpc.as_str()),
            ("status", "available"),
            ("tag-key", tag::INSTANCE),
        ];
        let of_cluster = format!("tag:{}", tag::CLUSTER);
        let filters = always
            .into_iter()
            .chain(cluster.map(|name| (of_cluster.as_str(), name)))
            .chain(only.map(|eni| ("network-interface-id", eni.as_str())));
        let filters = filters.map(|(name, value)| Filter::builder().name(name).values(value).build());
        let found = self.describe(filters.collect()).await?;
        let seen = found
            .iter()
            .map(|eni| see_unattached(eni).ok_or_else(|| unreadable(eni)));
        seen.collect()
    }

    async fn describe(&self, filters: Vec<Filter>) -> Result<Vec<NetworkInterface>, Fault> {
        let pages = self
            .client
            .describe_network_interfaces()
            .set_filters(Some(filters))
            .max_results(PAGE);
        let all: Result<Vec<_>, _> = pages.into_paginator().items().send().collect().await;
        all.map_err(|error| classify(error, "DescribeNetworkInterfaces", self.instance.as_str()))
    }
}

/// The most that one page may hold (EC2 API reference, DescribeNetworkInterfaces, MaxResults).
const PAGE: i32 = 1000;

/// Secondary addresses and prefixes to ask for; asking for none of a kind leaves the parameter out.
fn counts(ask: Ask) -> (Option<i32>, Option<i32>) {
    let count = (ask.slots() > 0).then(|| number(ask.slots()));
    match ask.kind() {
        BlockKind::Secondary => (count, None),
        BlockKind::Prefix => (None, count),
    }
}

fn tag_specification(tags: &BTreeMap<String, String>) -> TagSpecification {
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder()
        .resource_type(ResourceType::NetworkInterface)
        .set_tags(Some(tags.collect()))
        .build()
}

/// An answer that lacks what it must have: the call may well have worked.
fn empty(operation: &str) -> Fault {
    Fault::Unknown {
        reason: format!("{operation} answered without a readable result"),
    }
}

fn unreadable(eni: &NetworkInterface) -> Fault {
    let id = eni.network_interface_id().unwrap_or("without an id");
    Fault::Unknown {
        reason: format!("EC2 described the ENI {id} with something missing"),
    }
}
