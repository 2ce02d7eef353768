//! Environment → [`Config`]. Reads a map, never the environment itself, and parses everything before it complains.
//!
//! The peer's variables keep the peer's parsing and fall-backs: what it tolerates is a [`Warning`]. Only a fault in a
//! variable of ours (`BERTH_*`), or what the peer itself refuses, stops the start, with all faults named at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ipamd_core::policy::Policy;

mod eni;
mod pool;
mod process;
mod snat;
mod value;

pub use process::{LogTarget, Process};
use value::Values;

/// Everything that the operator said.
#[derive(Clone, Debug)]
pub struct Config {
    /// What planner and ledger obey.
    pub policy: Policy,
    /// How the process behaves.
    pub process: Process,
}

/// A variable that was tolerated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which.
    pub variable: String,
    /// What was made of it.
    pub text: String,
}

/// A variable that stops the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub variable: String,
    /// What was given.
    pub value: String,
    /// What it should be.
    pub remedy: String,
}

/// All faults of one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .0
            .iter()
            .map(|fault| format!("  {}={:?}: {}", fault.variable, fault.value, fault.remedy));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Variables with our prefix; any other with it is a fault.
const OURS: [&str; 8] = [
    "BERTH_EC2_CALLS_PER_SECOND",
    "BERTH_EC2_START_SPREAD_SECONDS",
    "BERTH_JOURNAL",
    "BERTH_MAX_PODS",
    "BERTH_RELEASE_DWELL_SECONDS",
    "BERTH_SOCKET",
    "BERTH_STATUS_FAILS_WHEN_FULL",
    "BERTH_STATUS_GRACE_SECONDS",
];

impl Config {
    /// Reads it all.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse(environment: &BTreeMap<String, String>) -> Result<(Self, Vec<Warning>), Faults> {
        let mut values = Values::of(environment);
        values.refuse_strangers("BERTH_", &OURS);
        let families = pool::families(&mut values);
        let devices = eni::devices(&mut values, families);
        let kind = pool::kind(&mut values);
        if !families.has_v4() {
            pool::warm_without_ipv4(&mut values);
            pool::egress_without_ipv4(&mut values);
        }
        let policy = Policy {
            families,
            kind,
            warm: pool::warm(&mut values, kind),
            max_eni: pool::max_eni(&mut values),
            max_pods: pool::max_pods(&mut values),
            cooldown: pool::cooldown(&mut values),
            dwell: pool::dwell(&mut values),
            provisions: !values.boolean("DISABLE_NETWORK_RESOURCE_PROVISIONING", false),
            sweeps: !values.boolean("DISABLE_LEAKED_ENI_CLEANUP", false),
            calls_per_second: pool::calls_per_second(&mut values),
            start_spread: pool::start_spread(&mut values),
            manages_cordoned: values.boolean("AWS_MANAGE_ENIS_NON_SCHEDULABLE", false),
            discovers_subnets: values.boolean("ENABLE_SUBNET_DISCOVERY", true),
            tags: eni::tags(&mut values),
            cluster: eni::cluster(&mut values),
            snat: snat::snat(&mut values),
            devices,
        };
        let process = process::process(&mut values);
        pool::unserved(&mut values);
        let (warnings, faults) = values.into_findings();
        if faults.is_empty() {
            Ok((Self { policy, process }, warnings))
        } else {
            Err(Faults(faults))
        }
    }
}

/// Where the journal is by default: a tmpfs on most nodes, so it outlives the daemon and not the node's boot.
fn default_journal() -> PathBuf {
    PathBuf::from("/var/run/aws-node/berth/journal")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipamd_core::address::AddressCount;
    use ipamd_core::address::{BlockKind, PrefixCount};
    use ipamd_core::net::SourcePorts;
    use ipamd_core::policy::{AddressTarget, Families, WarmTarget};

    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), Faults> {
        Config::parse(
            &pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn nothing_set_is_the_peers_default() {
        let (config, warnings) = parse(&[]).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(config.policy.warm.of(BlockKind::Secondary), WarmTarget::Enis(1));
        assert_eq!(config.policy.kind, BlockKind::Secondary);
        assert!(config.policy.discovers_subnets && !config.policy.manages_cordoned);
        assert_eq!(config.policy.cooldown, Duration::from_secs(30));
        assert_eq!(config.policy.max_eni, None);
        assert!(config.policy.provisions && config.policy.sweeps);
        let kept = parse(&[("DISABLE_LEAKED_ENI_CLEANUP", "true")]).unwrap();
        assert!(!kept.0.policy.sweeps && kept.1.is_empty());
        let forbidden = parse(&[("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")]).unwrap();
        assert!(!forbidden.0.policy.provisions && forbidden.1.is_empty());
        assert_eq!(config.policy.devices.veth_prefix, "eni");
        assert_eq!(config.policy.snat.source_ports, SourcePorts::Prng);
        assert!(!config.policy.snat.external && config.policy.snat.node_ports);
    }

    #[test]
    fn warm_targets_are_parsed_as_the_peer_parses_them() {
        let ips = |warm, minimum| {
            WarmTarget::Addresses(AddressTarget {
                warm: AddressCount(warm),
                minimum: AddressCount(minimum),
            })
        };
        let prefixes = |count| WarmTarget::Prefixes(PrefixCount(count));
        let delegated = ("ENABLE_PREFIX_DELEGATION", "true");
        for (pairs, expected) in [
            (&[("WARM_ENI_TARGET", "0")][..], WarmTarget::Enis(0)),
            (&[("WARM_ENI_TARGET", "-3")], WarmTarget::Enis(1)),
            (&[("WARM_ENI_TARGET", "two")], WarmTarget::Enis(1)),
            (&[("WARM_ENI_TARGET", "")], WarmTarget::Enis(1)),
            (
                &[("WARM_IP_TARGET", "0"), ("MINIMUM_IP_TARGET", "0")],
                WarmTarget::Enis(1),
            ),
            (&[("WARM_IP_TARGET", "2")], ips(2, 0)),
            (&[("WARM_IP_TARGET", "-2")], WarmTarget::Enis(1)),
            (&[("MINIMUM_IP_TARGET", "5"), ("WARM_ENI_TARGET", "3")], ips(0, 5)),
            (&[("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "5")], ips(2, 5)),
            (&[delegated], prefixes(0)),
            (&[delegated, ("WARM_PREFIX_TARGET", "3")], prefixes(3)),
            (&[delegated, ("WARM_PREFIX_TARGET", "-3")], prefixes(0)),
            (&[delegated, ("WARM_PREFIX_TARGET", "")], prefixes(0)),
            (&[delegated, ("WARM_ENI_TARGET", "4")], prefixes(0)),
            (
                &[delegated, ("WARM_PREFIX_TARGET", "3"), ("WARM_IP_TARGET", "2")],
                ips(2, 0),
            ),
            (&[("WARM_PREFIX_TARGET", "3")], WarmTarget::Enis(1)),
        ] {
            let policy = parse(pairs).unwrap().0.policy;
            assert_eq!(policy.warm.of(policy.kind), expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_the_peer_tolerates_is_a_warning_by_name() {
        for (variable, value) in [
            ("WARM_IP_TARGET", "many"),
            ("MAX_ENI", "x"),
            ("AWS_VPC_K8S_CNI_EXTERNALSNAT", "yes"),
            ("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "10.0.0.0/8, nonsense"),
            ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "sometimes"),
            ("ADDITIONAL_ENI_TAGS", "{"),
            ("ENABLE_PREFIX_DELEGATION", "perhaps"),
            ("WARM_PREFIX_TARGET", "2"),
            ("ENABLE_SUBNET_DISCOVERY", "nope"),
            ("ENABLE_MULTI_NIC", "true"),
            ("AWS_VPC_K8S_CNI_LOGLEVEL", "chatty"),
        ] {
            let (_, warnings) = parse(&[(variable, value)]).unwrap();
            assert!(
                warnings.iter().any(|warning| warning.variable == variable),
                "{variable}={value}: {warnings:?}"
            );
        }
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let faults = parse(&[
            ("BERTH_MAX_PODS", "zero"),
            ("BERTH_RELEASE_DWELL_SECONDS", "-1"),
            ("BERTH_COLOUR", "blue"),
            ("IP_COOLDOWN_PERIOD", "-1"),
            ("AWS_VPC_ENI_MTU", "100"),
            ("AWS_VPC_K8S_CNI_VETHPREFIX", "eth"),
            ("NETWORK_POLICY_ENFORCING_MODE", "lax"),
            ("BERTH_STATUS_GRACE_SECONDS", "a while"),
            ("BERTH_STATUS_FAILS_WHEN_FULL", "perhaps"),
            ("BERTH_EC2_CALLS_PER_SECOND", "0"),
            ("BERTH_EC2_START_SPREAD_SECONDS", "3601"),
        ])
        .unwrap_err();
        let named: Vec<&str> = faults.0.iter().map(|fault| fault.variable.as_str()).collect();
        assert_eq!(
            named,
            [
                "BERTH_COLOUR",
                "AWS_VPC_ENI_MTU",
                "AWS_VPC_K8S_CNI_VETHPREFIX",
                "BERTH_MAX_PODS",
                "IP_COOLDOWN_PERIOD",
                "BERTH_RELEASE_DWELL_SECONDS",
                "BERTH_EC2_CALLS_PER_SECOND",
                "BERTH_EC2_START_SPREAD_SECONDS",
                "NETWORK_POLICY_ENFORCING_MODE",
                "BERTH_STATUS_GRACE_SECONDS",
                "BERTH_STATUS_FAILS_WHEN_FULL",
            ]
        );
    }

    #[test]
    fn families_are_as_with_the_peer_and_both_are_both() {
        for (four, six, expected) in [
            (None, None, Some(Families::V4)),
            (Some("true"), Some("false"), Some(Families::V4)),
            (None, Some("true"), Some(Families::V6)),
            (Some("false"), Some("true"), Some(Families::V6)),
            (Some("true"), Some("true"), Some(Families::Both)),
            (Some("false"), None, None),
        ] {
            let values = [("ENABLE_IPv4", four), ("ENABLE_IPv6", six)];
            let pairs: Vec<_> = values
                .iter()
                .filter_map(|(key, value)| Some((*key, (*value)?)))
                .collect();
            let families = parse(&pairs).map(|(config, _)| config.policy.families);
            assert_eq!(families.ok(), expected, "{pairs:?}");
        }
        let six = ("ENABLE_IPv6", "true");
        let (_, warnings) = parse(&[six, ("WARM_IP_TARGET", "5"), ("WARM_ENI_TARGET", "1")]).unwrap();
        let named: Vec<&str> = warnings.iter().map(|warning| warning.variable.as_str()).collect();
        assert_eq!(named, ["WARM_IP_TARGET", "ENABLE_V4_EGRESS"]);
        let faults = parse(&[six, ("POD_MTU", "1279")]).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert!(parse(&[("POD_MTU", "1279")]).is_ok());
    }

    #[test]
    fn excluded_cidrs_are_normalised() {
        let (config, _) = parse(&[(
            "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
            " 10.1.2.3/16 ,192.168.0.0/24",
        )])
        .unwrap();
        let excluded: Vec<String> = config
            .policy
            .snat
            .excluded
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(excluded, ["10.1.0.0/16", "192.168.0.0/24"]);
    }
}
