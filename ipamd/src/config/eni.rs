//! How ENIs and devices are made.

use std::collections::BTreeMap;

use ipamd_core::policy::{DevicePolicy, Families};

use super::value::Values;

/// What a jumbo frame holds inside a VPC, in bytes (EC2 user guide, "Network MTU for your EC2 instance").
const MTU_BYTES: u32 = 9001;

/// The least that every IPv4 host must take (RFC 791), which the peer's entry point demands too.
const LEAST_MTU_BYTES: u32 = 576;

/// The least that every IPv6 link must carry (RFC 8200), which the peer's entry point demands then.
const LEAST_IPV6_MTU_BYTES: u32 = 1280;

/// MTU of ENIs and pods, and the name of veths.
pub(super) fn devices(values: &mut Values<'_>, families: Families) -> DevicePolicy {
    let least = if families.has_v6() {
        LEAST_IPV6_MTU_BYTES
    } else {
        LEAST_MTU_BYTES
    };
    let eni_mtu_bytes = values
        .bounded("AWS_VPC_ENI_MTU", least..=MTU_BYTES)
        .unwrap_or(MTU_BYTES);
    let pod_mtu_bytes = values
        .bounded("POD_MTU", least..=MTU_BYTES)
        .unwrap_or(eni_mtu_bytes);
    DevicePolicy {
        eni_mtu_bytes,
        pod_mtu_bytes,
        veth_prefix: veth_prefix(values),
    }
}

/// `AWS_VPC_K8S_CNI_VETHPREFIX`: what the peer's entry point refuses is refused here.
fn veth_prefix(values: &mut Values<'_>) -> String {
    const VARIABLE: &str = "AWS_VPC_K8S_CNI_VETHPREFIX";
    let prefix = values
        .raw(VARIABLE)
        .filter(|prefix| !prefix.is_empty())
        .unwrap_or("eni");
    let clean = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if prefix.len() > 4 || !clean || ["eth", "lo", "vlan", "gone"].contains(&prefix) {
        values.fault(
            VARIABLE,
            "give one to four letters or digits, other than eth, lo, vlan and gone",
        );
    }
    prefix.to_owned()
}

/// `ADDITIONAL_ENI_TAGS`: a JSON object of strings.
pub(super) fn tags(values: &mut Values<'_>) -> BTreeMap<String, String> {
    const VARIABLE: &str = "ADDITIONAL_ENI_TAGS";
    let Some(text) = values.raw(VARIABLE).filter(|text| !text.is_empty()) else {
        return BTreeMap::new();
    };
    let mut tags: BTreeMap<String, String> = match serde_json::from_str(text) {
        Ok(tags) => tags,
        Err(error) => {
            values.warn(
                VARIABLE,
                format!("is not a JSON object of strings ({error}); no further tags are set"),
            );
            return BTreeMap::new();
        }
    };
    let reserved: Vec<String> = tags
        .keys()
        .filter(|key| key.contains("k8s.amazonaws.com"))
        .cloned()
        .collect();
    for key in reserved {
        values.warn(VARIABLE, format!("the tag {key} is reserved and left out"));
        tags.remove(&key);
    }
    tags
}

/// `CLUSTER_NAME`.
pub(super) fn cluster(values: &mut Values<'_>) -> Option<String> {
    values
        .raw("CLUSTER_NAME")
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}
