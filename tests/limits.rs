//! The product's table of instance types against the simulator's, which comes from EC2's own descriptions: every
//! difference is listed here with its reason, and nothing else may differ.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};

use ipamd_core::instance::{Hypervisor, Limits, Table};
use vpc_sim::model::limits::{InstanceTypeInfo, table};

/// Types that EC2's present descriptions lack: retired, withdrawn or never public. The product keeps them, since nodes
/// of them may still run.
#[rustfmt::skip]
const RETIRED: [&str; 31] = [
    "bmn-sf1.metal", "c5a.metal", "c5ad.metal", "c7i.32xlarge", "cr1.8xlarge", "dl1.24xlarge",
    "f1.16xlarge", "f1.2xlarge", "f1.4xlarge", "g4ad.16xlarge", "g4ad.2xlarge", "g4ad.4xlarge",
    "g4ad.8xlarge", "g4ad.xlarge", "hs1.8xlarge", "i3.metal", "p2.16xlarge", "p2.8xlarge", "p2.xlarge",
    "p3.16xlarge", "p3.2xlarge", "p3.8xlarge", "u-12tb1.112xlarge", "u-12tb1.metal", "u-18tb1.112xlarge",
    "u-18tb1.metal", "u-24tb1.112xlarge", "u-24tb1.metal", "u-6tb1.metal", "u-9tb1.112xlarge",
    "u-9tb1.metal",
];

/// What both tables say of a type, in one form.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    vcpus: Option<u32>,
    cards: Vec<u32>,
    default_card: usize,
    ipv4_per_eni: u32,
    hypervisor: Option<&'static str>,
}

fn ours(limits: &Limits) -> Row {
    Row {
        vcpus: limits.vcpus,
        cards: limits.enis_per_card.clone(),
        default_card: limits.default_card,
        ipv4_per_eni: limits.ipv4_per_eni,
        hypervisor: match limits.hypervisor {
            Hypervisor::Nitro => Some("nitro"),
            Hypervisor::Xen => Some("xen"),
            Hypervisor::BareMetal => Some("metal"),
            Hypervisor::Unknown => None,
        },
    }
}

fn theirs(info: &InstanceTypeInfo) -> Row {
    Row {
        vcpus: Some(info.vcpus),
        cards: info.cards.iter().map(|card| card.max_enis).collect(),
        default_card: info.default_card as usize,
        ipv4_per_eni: info.ipv4_per_eni,
        hypervisor: if info.bare_metal {
            Some("metal")
        } else {
            info.hypervisor.as_deref().map(known)
        },
    }
}

fn known(hypervisor: &str) -> &'static str {
    match hypervisor {
        "nitro" => "nitro",
        "xen" => "xen",
        other => panic!("EC2 knows a hypervisor {other}"),
    }
}

#[test]
fn the_two_tables_differ_only_as_listed() {
    let product: BTreeMap<&str, Row> = Table::builtin()
        .unwrap()
        .iter()
        .map(|(name, row)| (name, ours(row)))
        .collect();
    let simulator: BTreeMap<&str, Row> = table()
        .unwrap()
        .iter()
        .map(|(name, row)| (name.as_str(), theirs(row)))
        .collect();
    let only = |a: &BTreeMap<&str, Row>, b: &BTreeMap<&str, Row>| -> BTreeSet<String> {
        a.keys()
            .filter(|name| !b.contains_key(*name))
            .map(|name| (*name).to_owned())
            .collect()
    };
    let retired: BTreeSet<String> = RETIRED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        only(&product, &simulator),
        retired,
        "types that only the product knows"
    );
    assert_eq!(
        only(&simulator, &product),
        BTreeSet::new(),
        "types that only the simulator knows"
    );
    let different: Vec<_> = product
        .iter()
        .filter(|(name, row)| simulator.get(*name).is_some_and(|s| s != *row))
        .collect();
    assert!(
        different.is_empty(),
        "types described differently: {different:#?}"
    );
}
