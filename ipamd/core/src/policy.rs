//! What the operator wants, parsed and checked once at start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::AddressCount;
use crate::snat::SnatPolicy;

/// Everything that the planner and the ledger obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much is kept ready beyond use.
    pub warm: WarmTarget,
    /// The operator's ceiling on ENIs per network card, the primary included (`MAX_ENI`); `None` is the type's limit.
    pub max_eni: Option<u32>,
    /// The pods that the node can run, where the operator says so (`BERTH_MAX_PODS`).
    pub max_pods: Option<AddressCount>,
    /// How long a freed address rests before its next holder (`IP_COOLDOWN_PERIOD`).
    pub cooldown: Duration,
    /// How long something must be surplus before it is given back (`BERTH_RELEASE_DWELL_SECONDS`).
    pub dwell: Duration,
    /// Tags on every ENI that we create, beside our own (`ADDITIONAL_ENI_TAGS`).
    pub tags: BTreeMap<String, String>,
    /// The cluster's name, a tag on our ENIs (`CLUSTER_NAME`).
    pub cluster: Option<String>,
    /// What is translated when it leaves the VPC.
    pub snat: SnatPolicy,
    /// How devices are made.
    pub devices: DevicePolicy,
}

/// How devices are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePolicy {
    /// Of ENIs, in bytes (`AWS_VPC_ENI_MTU`).
    pub eni_mtu_bytes: u32,
    /// Of pods, in bytes (`POD_MTU`).
    pub pod_mtu_bytes: u32,
    /// First letters of the host end's name (`AWS_VPC_K8S_CNI_VETHPREFIX`), at most four.
    pub veth_prefix: String,
}

/// How much is kept ready beyond use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmTarget {
    /// `WARM_ENI_TARGET`: whole ENIs' worth of addresses.
    Enis(u32),
    /// `WARM_IP_TARGET` and `MINIMUM_IP_TARGET`; either one turns this on.
    Addresses {
        /// Free addresses beyond use.
        warm: AddressCount,
        /// The least total.
        minimum: AddressCount,
    },
}
