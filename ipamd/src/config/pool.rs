//! How much is kept ready: the peer's targets, cool-down, and our bound on pods.

use std::time::Duration;

use ipamd_core::address::{AddressCount, BlockKind, PrefixCount};
use ipamd_core::pace;
use ipamd_core::policy::{AddressTarget, Families, WarmTargets};

use super::value::Values;

/// The peer's defaults (its README, "CNI Configuration Variables").
const WARM_ENI_TARGET: u32 = 1;
const WARM_PREFIX_TARGET: u32 = 0;
const COOLDOWN_SECONDS: u32 = 30;

/// Longer than the churn of a deployment's roll-out, so that its second half finds the addresses of the first. Ours.
const DWELL_SECONDS: u32 = 60;

/// A day: nobody means more, and arithmetic stays far from its edges.
const LONGEST_SECONDS: u32 = 86_400;

/// `ENABLE_IPv4` and `ENABLE_IPv6`: the peer wants exactly one; with both, pods get both. Nothing said is IPv4.
pub(super) fn families(values: &mut Values<'_>) -> Families {
    let six = values.boolean("ENABLE_IPv6", false);
    match (values.boolean("ENABLE_IPv4", !six), six) {
        (true, false) => Families::V4,
        (false, true) => Families::V6,
        (true, true) => Families::Both,
        (false, false) => {
            values.fault(
                "ENABLE_IPv4",
                "leaves pods no address; set it or ENABLE_IPv6 to true",
            );
            Families::V4
        }
    }
}

/// The peer's default gives pods of an IPv6 cluster a way to IPv4; said aloud unless it is switched off.
pub(super) fn egress_without_ipv4(values: &mut Values<'_>) {
    if values.boolean("ENABLE_V4_EGRESS", true) {
        values.warn(
            "ENABLE_V4_EGRESS",
            "is not served by this version: pods with IPv6 alone reach no IPv4 address; set it to false",
        );
    }
}

/// Names targets that a node without IPv4 has no use for: one prefix holds more addresses than it runs pods.
pub(super) fn warm_without_ipv4(values: &mut Values<'_>) {
    for variable in [
        "WARM_ENI_TARGET",
        "WARM_PREFIX_TARGET",
        "WARM_IP_TARGET",
        "MINIMUM_IP_TARGET",
    ] {
        let is_default = |value: &str| ["", "0", "1"].contains(&value);
        if values.raw(variable).is_some_and(|value| !is_default(value)) {
            values.warn(
                variable,
                "does not count without IPv4: one IPv6 prefix serves all pods",
            );
        }
    }
}

/// `ENABLE_PREFIX_DELEGATION`.
pub(super) fn kind(values: &mut Values<'_>) -> BlockKind {
    if values.boolean("ENABLE_PREFIX_DELEGATION", false) {
        BlockKind::Prefix
    } else {
        BlockKind::Secondary
    }
}

/// `WARM_ENI_TARGET`, `WARM_PREFIX_TARGET`, `WARM_IP_TARGET` and `MINIMUM_IP_TARGET`: either of the last two turns the
/// others off, and the mode turns one of the first two off. The peer says nothing of that; we name what does not count.
pub(super) fn warm(values: &mut Values<'_>, kind: BlockKind) -> WarmTargets {
    let not_negative = |number: i64| u32::try_from(number).ok();
    let enis = values.tolerated("WARM_ENI_TARGET", not_negative);
    let prefixes = values.tolerated("WARM_PREFIX_TARGET", not_negative);
    let warm = values.tolerated("WARM_IP_TARGET", not_negative).unwrap_or(0);
    let minimum = values.tolerated("MINIMUM_IP_TARGET", not_negative).unwrap_or(0);
    let by_addresses = warm > 0 || minimum > 0;
    let why_not = match (by_addresses, kind) {
        (true, _) => "does not count beside WARM_IP_TARGET or MINIMUM_IP_TARGET",
        (false, BlockKind::Secondary) => "counts only with ENABLE_PREFIX_DELEGATION=true",
        (false, BlockKind::Prefix) => {
            "does not count with ENABLE_PREFIX_DELEGATION=true on a type that can have prefixes; WARM_PREFIX_TARGET does"
        }
    };
    // The peer's manifest sets both to 1; a default that does not count is not worth a word.
    let idle = |value: Option<u32>, counts: bool| value.is_some_and(|value| value != 1) && !counts;
    if idle(enis, !by_addresses && kind == BlockKind::Secondary) {
        values.warn("WARM_ENI_TARGET", why_not);
    }
    if idle(prefixes, !by_addresses && kind == BlockKind::Prefix) {
        values.warn("WARM_PREFIX_TARGET", why_not);
    }
    let addresses = AddressTarget {
        warm: AddressCount(warm),
        minimum: AddressCount(minimum),
    };
    WarmTargets {
        enis: enis.unwrap_or(WARM_ENI_TARGET),
        prefixes: PrefixCount(prefixes.unwrap_or(WARM_PREFIX_TARGET)),
        addresses: by_addresses.then_some(addresses),
    }
}

/// `MAX_ENI`: below one it counts as not set.
pub(super) fn max_eni(values: &mut Values<'_>) -> Option<u32> {
    values
        .tolerated("MAX_ENI", |number| u32::try_from(number.max(0)).ok())
        .filter(|enis| *enis >= 1)
}

/// `BERTH_MAX_PODS`: the pods that the node can run.
pub(super) fn max_pods(values: &mut Values<'_>) -> Option<AddressCount> {
    values
        .bounded("BERTH_MAX_PODS", 1..=u32::from(u16::MAX))
        .map(AddressCount)
}

/// `IP_COOLDOWN_PERIOD`, seconds. The peer's entry point refuses what is no number from zero on.
pub(super) fn cooldown(values: &mut Values<'_>) -> Duration {
    seconds(values, "IP_COOLDOWN_PERIOD", COOLDOWN_SECONDS)
}

/// `BERTH_RELEASE_DWELL_SECONDS`: how long a surplus must last before it is given back.
pub(super) fn dwell(values: &mut Values<'_>) -> Duration {
    seconds(values, "BERTH_RELEASE_DWELL_SECONDS", DWELL_SECONDS)
}

/// More calls per second and operation than any account's bucket refills with; a ceiling beyond is none.
const MOST_CALLS_PER_SECOND: u32 = 100;

/// An hour: a fleet so large that it needs more boots in parts.
const LONGEST_SPREAD_SECONDS: u32 = 3600;

/// `BERTH_EC2_CALLS_PER_SECOND`: the ceiling of the pace that is learned for each EC2 operation.
pub(super) fn calls_per_second(values: &mut Values<'_>) -> u32 {
    let calls = values.bounded("BERTH_EC2_CALLS_PER_SECOND", 1..=MOST_CALLS_PER_SECOND);
    calls.unwrap_or(pace::DEFAULT_CEILING)
}

/// `BERTH_EC2_START_SPREAD_SECONDS`: within how long a fresh node makes its first call.
pub(super) fn start_spread(values: &mut Values<'_>) -> Duration {
    let seconds = values.bounded("BERTH_EC2_START_SPREAD_SECONDS", 0..=LONGEST_SPREAD_SECONDS);
    seconds.map_or(pace::DEFAULT_SPREAD, |seconds| {
        Duration::from_secs(seconds.into())
    })
}

fn seconds(values: &mut Values<'_>, variable: &str, default: u32) -> Duration {
    let seconds = values.bounded(variable, 0..=LONGEST_SECONDS).unwrap_or(default);
    Duration::from_secs(seconds.into())
}

/// Modes of the peer that this version does not serve: said aloud instead of silently ignored.
const UNSERVED: [&str; 6] = [
    "ENABLE_V6_EGRESS",
    "ENABLE_POD_ENI",
    "ENABLE_MULTI_NIC",
    "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
    "ENABLE_IMDS_ONLY_MODE",
    "ANNOTATE_POD_IP",
];

/// Warns of modes that are asked for and not served.
pub(super) fn unserved(values: &mut Values<'_>) {
    for variable in UNSERVED {
        if values.boolean(variable, false) {
            values.warn(
                variable,
                "is not served by this version; the node runs without it",
            );
        }
    }
    if values
        .raw("AWS_MANAGE_ENIS_NON_SCHEDULABLE")
        .is_some_and(|value| !value.is_empty())
    {
        values.warn(
            "AWS_MANAGE_ENIS_NON_SCHEDULABLE",
            "does not count in this version: it does not know yet whether its node is cordoned",
        );
    }
    // The peer's default is true. What somebody else attached is somebody else's: invariant 6.
    if values.boolean("MANAGE_UNTAGGED_ENI", false) {
        values.warn(
            "MANAGE_UNTAGGED_ENI",
            "is not served: an ENI without this node's tag is left alone; to hand one over, tag it \
             node.k8s.amazonaws.com/instance_id with the instance's id",
        );
    }
    if values
        .raw("AWS_VPC_K8S_CNI_CONNMARK")
        .is_some_and(|mark| !["", "0x80", "128"].contains(&mark))
    {
        values.warn(
            "AWS_VPC_K8S_CNI_CONNMARK",
            "is not served by this version; 0x80 is used",
        );
    }
}
