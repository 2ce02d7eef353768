//! What the operator wants, parsed and checked once at start.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::{AddressCount, BlockKind, PrefixCount};
use crate::instance::Limits;
use crate::pace;
use crate::snat::SnatPolicy;

/// Everything that the planner and the ledger obey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Of which families pods get an address (`ENABLE_IPv4`, `ENABLE_IPv6`).
    #[serde(default)]
    pub families: Families,
    /// In what addresses come, where the instance type can (`ENABLE_PREFIX_DELEGATION`).
    pub kind: BlockKind,
    /// How much is kept ready beyond use.
    pub warm: WarmTargets,
    /// The operator's ceiling on ENIs per network card, the primary included (`MAX_ENI`); `None` is the type's limit.
    pub max_eni: Option<u32>,
    /// The pods that the node can run, where the operator says so (`BERTH_MAX_PODS`).
    pub max_pods: Option<AddressCount>,
    /// How long a freed address rests before its next holder (`IP_COOLDOWN_PERIOD`).
    pub cooldown: Duration,
    /// How long something must be surplus before it is given back (`BERTH_RELEASE_DWELL_SECONDS`).
    pub dwell: Duration,
    /// Whether EC2 is changed at all, or only read (`DISABLE_NETWORK_RESOURCE_PROVISIONING` is the opposite).
    pub provisions: bool,
    /// Whether what other nodes left behind is deleted (`DISABLE_LEAKED_ENI_CLEANUP` is the opposite).
    pub sweeps: bool,
    /// Calls per second and EC2 operation, at most (`BERTH_EC2_CALLS_PER_SECOND`).
    pub calls_per_second: u32,
    /// Within how long a fresh node's first call begins (`BERTH_EC2_START_SPREAD_SECONDS`).
    pub start_spread: Duration,
    /// Whether the pool is kept up and given back on a cordoned node, too (`AWS_MANAGE_ENIS_NON_SCHEDULABLE`).
    pub manages_cordoned: bool,
    /// Whether new ENIs may go to other subnets of the zone, as their tags say (`ENABLE_SUBNET_DISCOVERY`).
    pub discovers_subnets: bool,
    /// Tags on every ENI that we create, beside our own (`ADDITIONAL_ENI_TAGS`).
    pub tags: BTreeMap<String, String>,
    /// The cluster's name, a tag on our ENIs (`CLUSTER_NAME`).
    pub cluster: Option<String>,
    /// What is translated when it leaves the VPC.
    pub snat: SnatPolicy,
    /// How devices are made.
    pub devices: DevicePolicy,
}

/// Of which families pods get an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Families {
    /// IPv4 alone.
    #[default]
    V4,
    /// IPv6 alone.
    V6,
    /// Both, where the node's subnet has both.
    Both,
}

impl Families {
    /// Whether IPv4 is one of them.
    #[must_use]
    pub fn has_v4(self) -> bool {
        self != Self::V6
    }

    /// Whether IPv6 is one of them.
    #[must_use]
    pub fn has_v6(self) -> bool {
        self != Self::V4
    }
}

/// The peer's defaults, and ours where it has none; the environment changes them.
impl Default for Policy {
    fn default() -> Self {
        Self {
            families: Families::V4,
            kind: BlockKind::Secondary,
            warm: WarmTargets::default(),
            max_eni: None,
            max_pods: None,
            cooldown: Duration::from_secs(30),
            dwell: Duration::from_secs(60),
            provisions: true,
            sweeps: true,
            calls_per_second: pace::DEFAULT_CEILING,
            start_spread: pace::DEFAULT_SPREAD,
            manages_cordoned: false,
            discovers_subnets: true,
            tags: BTreeMap::new(),
            cluster: None,
            snat: SnatPolicy::default(),
            devices: DevicePolicy::default(),
        }
    }
}

/// How devices are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePolicy {
    /// Of ENIs, in bytes (`AWS_VPC_ENI_MTU`).
    pub eni_mtu_bytes: u32,
    /// Of pods, in bytes (`POD_MTU`).
    pub pod_mtu_bytes: u32,
    /// First letters of the host end's name (`AWS_VPC_K8S_CNI_VETHPREFIX`), at most four.
    pub veth_prefix: String,
}

impl Default for DevicePolicy {
    fn default() -> Self {
        Self {
            eni_mtu_bytes: 9001,
            pod_mtu_bytes: 9001,
            veth_prefix: "eni".to_owned(),
        }
    }
}

/// Everything that says how much is kept ready beyond use; which of it counts depends on the kind of block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmTargets {
    /// `WARM_ENI_TARGET`.
    pub enis: u32,
    /// `WARM_PREFIX_TARGET`.
    pub prefixes: PrefixCount,
    /// `WARM_IP_TARGET` and `MINIMUM_IP_TARGET`, if either is set: then the other two do not count.
    pub addresses: Option<AddressTarget>,
}

impl Default for WarmTargets {
    fn default() -> Self {
        Self {
            enis: 1,
            prefixes: PrefixCount(0),
            addresses: None,
        }
    }
}

/// `WARM_IP_TARGET` and `MINIMUM_IP_TARGET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressTarget {
    /// Free addresses beyond use.
    pub warm: AddressCount,
    /// The least total.
    pub minimum: AddressCount,
}

/// The target that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmTarget {
    /// Whole ENIs' worth of addresses.
    Enis(u32),
    /// Free prefixes.
    Prefixes(PrefixCount),
    /// Addresses, whatever they come in.
    Addresses(AddressTarget),
}

impl WarmTargets {
    /// The target that counts while blocks of this kind are got.
    #[must_use]
    pub fn of(self, kind: BlockKind) -> WarmTarget {
        match (self.addresses, kind) {
            (Some(target), _) => WarmTarget::Addresses(target),
            (None, BlockKind::Secondary) => WarmTarget::Enis(self.enis),
            (None, BlockKind::Prefix) => WarmTarget::Prefixes(self.prefixes),
        }
    }
}

impl Policy {
    /// In what addresses come on this type: prefixes need Nitro or bare metal, as with the peer.
    #[must_use]
    pub fn kind_on(&self, limits: &Limits) -> BlockKind {
        match self.kind {
            BlockKind::Prefix if limits.prefixes() => BlockKind::Prefix,
            BlockKind::Prefix | BlockKind::Secondary => BlockKind::Secondary,
        }
    }
}
