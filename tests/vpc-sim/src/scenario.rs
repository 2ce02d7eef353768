//! A scenario: a VPC, its subnets and nodes, and how EC2 behaves, as YAML. Errors name the line and the remedy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::model::limits::InstanceType;

/// What is simulated. Every field but the subnets and nodes has a default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One seed tells one story: ids, MACs, addresses and delays follow from it.
    #[serde(default = "one")]
    pub seed: u64,
    /// The VPC's CIDR.
    #[serde(default = "vpc")]
    pub vpc: Ipv4Net,
    /// How long EC2 takes for everything.
    #[serde(default)]
    pub ec2: Pace,
    /// The subnets.
    pub subnets: Vec<Subnet>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The daemon that nodes run; without it they start bare.
    #[serde(default)]
    pub ipamd: Option<PathBuf>,
    /// The CNI plugin that wires pods; needs the daemon.
    #[serde(default)]
    pub cni_shim: Option<PathBuf>,
    /// The plugin's configuration, as on a node in `/etc/cni/net.d`.
    #[serde(default)]
    pub conflist: Option<PathBuf>,
    /// Settings of every node's daemon.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// A subnet to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// How nodes refer to it.
    pub name: String,
    /// Inside the VPC, /16 to /28.
    pub cidr: Ipv4Net,
    /// The availability zone, for example us-east-1a.
    pub zone: String,
}

/// A node to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its host name.
    pub name: String,
    /// Its EC2 instance type.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// The subnet of its primary ENI, by name.
    pub subnet: String,
    /// `net.ipv4.conf.{all,default}.rp_filter`: 0, 1 or 2.
    #[serde(default = "loose")]
    pub rp_filter: u8,
    /// Settings of its daemon, beside and above the scenario's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// How long EC2 takes for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// As real EC2: seconds for an attach, views that lag, throttling.
    Real,
    /// A tenth of that, for watching and testing.
    #[default]
    Brisk,
    /// Nothing lags and nothing is throttled.
    Instant,
}

fn one() -> u64 {
    1
}

fn vpc() -> Ipv4Net {
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 0, 0, 0), 16)
}

fn loose() -> u8 {
    2
}

/// A scenario that cannot be used: every fault, with its place and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read the scenario {path}; give the path of a YAML file", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no scenario: the message names line and column.
    #[error("{0}; the schema is tests/vpc-sim/src/scenario.schema.json")]
    Syntax(serde_yaml_ng::Error),
    /// It contradicts itself.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
}

impl Scenario {
    /// Reads and checks a file. Paths in it are relative to where it is.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut scenario = Self::parse(&text)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for program in [
            &mut scenario.ipamd,
            &mut scenario.cni_shim,
            &mut scenario.conflist,
        ] {
            if let Some(relative) = program {
                let joined = folder.join(&*relative);
                *program = Some(std::path::absolute(&joined).unwrap_or(joined));
            }
        }
        Ok(scenario)
    }

    /// Whether what wires pods is complete, once the command line has had its say.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_programs(&self) -> Result<(), Error> {
        let missing = match (&self.ipamd, &self.cni_shim, &self.conflist) {
            (None, Some(_), _) => "the CNI plugin needs ipamd; name the daemon too",
            (_, None, Some(_)) => "a conflist needs the CNI plugin; name cni_shim too",
            _ => return Ok(()),
        };
        Err(Error::Faults(vec![missing.to_owned()]))
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    /// Every fault at once, by line where there is one.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let scenario: Self = serde_yaml_ng::from_str(text).map_err(Error::Syntax)?;
        let faults = scenario.faults(text);
        if faults.is_empty() {
            Ok(scenario)
        } else {
            Err(Error::Faults(faults))
        }
    }

    fn faults(&self, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut complain = |what: &str, remedy: &str| {
            let line = text
                .lines()
                .position(|line| line.contains(what))
                .map_or(0, |line| line + 1);
            faults.push(format!("line {line}: {what}: {remedy}"));
        };
        let mut names = BTreeSet::new();
        for subnet in &self.subnets {
            if !self.vpc.contains(&subnet.cidr) {
                complain(
                    &subnet.cidr.to_string(),
                    &format!("is outside the VPC; choose a part of {}", self.vpc),
                );
            }
            if !(16..=28).contains(&subnet.cidr.prefix_len()) {
                complain(&subnet.cidr.to_string(), "a subnet is a /16 to /28");
            }
            if !names.insert(&subnet.name) {
                complain(&subnet.name, "two subnets have this name; rename one");
            }
        }
        for (index, subnet) in self.subnets.iter().enumerate() {
            let earlier = self.subnets.iter().take(index);
            if earlier
                .clone()
                .any(|other| other.cidr.contains(&subnet.cidr) || subnet.cidr.contains(&other.cidr))
            {
                complain(
                    &subnet.cidr.to_string(),
                    "overlaps another subnet; choose a free part of the VPC",
                );
            }
        }
        let mut hosts = BTreeSet::new();
        for node in &self.nodes {
            if !names.contains(&node.subnet) {
                complain(
                    &node.subnet,
                    &format!("node {} names no subnet of this scenario; add it", node.name),
                );
            }
            if !hosts.insert(&node.name) {
                complain(&node.name, "two nodes have this name; rename one");
            }
            if node.rp_filter > 2 {
                complain(&format!("rp_filter: {}", node.rp_filter), "choose 0, 1 or 2");
            }
            if node.instance_type.parse::<InstanceType>().is_err() {
                complain(
                    &node.instance_type,
                    "is no known instance type; `max-pods --all` lists them",
                );
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
subnets:
  - {name: a, cidr: 10.0.0.0/20, zone: us-east-1a}
nodes:
  - {name: n1, type: t3.medium, subnet: a}
";

    #[test]
    fn defaults_fill_what_is_left_out() {
        let scenario = Scenario::parse(GOOD).unwrap();
        assert_eq!(
            (scenario.seed, scenario.vpc.to_string().as_str()),
            (1, "10.0.0.0/16")
        );
        assert_eq!((scenario.ec2, scenario.nodes[0].rp_filter), (Pace::Brisk, 2));
    }

    #[test]
    fn syntax_errors_name_their_line() {
        let error = Scenario::parse("subnets: []\nnodes: []\ncolour: blue\n").unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
    }

    #[test]
    fn every_contradiction_is_named_with_its_line_and_remedy() {
        let error = Scenario::parse(
            "
subnets:
  - {name: a, cidr: 10.0.0.0/20, zone: us-east-1a}
  - {name: b, cidr: 10.0.1.0/24, zone: us-east-1a}
  - {name: c, cidr: 192.168.0.0/24, zone: us-east-1a}
nodes:
  - {name: n1, type: t9.huge, subnet: d, rp_filter: 7}
",
        )
        .unwrap_err()
        .to_string();
        for words in [
            "line 4: 10.0.1.0/24: overlaps",
            "line 5",
            "outside the VPC",
            "t9.huge",
            "add it",
            "rp_filter: 7",
        ] {
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
