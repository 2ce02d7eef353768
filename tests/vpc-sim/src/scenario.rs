//! A scenario: a VPC, its subnets and nodes, and how EC2 behaves, as YAML. Errors name the line and the remedy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::Deserialize;

use crate::model::limits::InstanceType;

pub mod group;

use group::Group;

/// The IPv6 CIDR of a VPC that has one: a /56, as Amazon gives, of the range for documentation (RFC 3849).
pub const IPV6: Ipv6Net = match Ipv6Net::new(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 56) {
    Ok(net) => net,
    Err(_) => Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0),
};

/// How many /64 a /56 has.
const IPV6_SUBNETS: usize = 256;

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
    /// Whether the VPC has an IPv6 CIDR, [`IPV6`].
    #[serde(default)]
    pub ipv6: bool,
    /// How long EC2 takes for everything.
    #[serde(default)]
    pub ec2: Pace,
    /// Security groups for nodes to be in. Nodes that name none are in the VPC's default group, which lets everything
    /// in and out here.
    #[serde(default)]
    pub security_groups: Vec<Group>,
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
    /// Whether it has a /64 of the VPC's IPv6 CIDR, of which every ENI is given an address.
    #[serde(default)]
    pub ipv6: bool,
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
    /// The security groups of its primary ENI, by name.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// Whether a container runtime can run on it, with cgroups of the node's own; needs root on the machine.
    #[serde(default)]
    pub runtime: bool,
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
    #[error("{0}; what may be there says tests/vpc-sim/src/scenario.schema.json")]
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
        for program in [&mut scenario.ipamd, &mut scenario.cni_shim] {
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
        if self.ipamd.is_some() || self.cni_shim.is_none() {
            return Ok(());
        }
        let missing = "the CNI plugin needs ipamd; name the daemon too";
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
        let mut faults = Faults {
            text,
            found: Vec::new(),
        };
        if !SIZES.contains(&self.vpc.prefix_len()) {
            let line = line_of_key(text, "vpc").unwrap_or(1);
            faults.add(line, &self.vpc.to_string(), "a VPC is a /16 to /28");
        }
        self.subnet_faults(&mut faults);
        self.node_faults(&mut faults);
        group::faults(&self.security_groups, &mut faults);
        faults.found
    }

    fn subnet_faults(&self, faults: &mut Faults<'_>) {
        for (index, subnet) in self.subnets.iter().enumerate() {
            let cidr = subnet.cidr.to_string();
            let mut complain = |what: &str, remedy: &str| faults.in_item("subnets", index, what, remedy);
            if !self.vpc.contains(&subnet.cidr) {
                complain(
                    &cidr,
                    &format!("is outside the VPC; choose a part of {}", self.vpc),
                );
            }
            if !SIZES.contains(&subnet.cidr.prefix_len()) {
                complain(&cidr, "a subnet is a /16 to /28");
            }
            if subnet.ipv6 && !self.ipv6 {
                complain(
                    "ipv6: true",
                    "the VPC has no IPv6; say `ipv6: true` of the scenario too",
                );
            }
            if subnet.ipv6 && index >= IPV6_SUBNETS {
                complain("ipv6: true", "a VPC has IPv6 for 256 subnets; leave it out here");
            }
            let earlier = self.subnets.get(..index).unwrap_or_default();
            if earlier.iter().any(|other| other.name == subnet.name) {
                complain(&subnet.name, "two subnets have this name; rename one");
            }
            let overlaps =
                |other: &Subnet| other.cidr.contains(&subnet.cidr) || subnet.cidr.contains(&other.cidr);
            if earlier.iter().any(overlaps) {
                complain(&cidr, "overlaps another subnet; choose a free part of the VPC");
            }
        }
    }

    fn node_faults(&self, faults: &mut Faults<'_>) {
        for (index, node) in self.nodes.iter().enumerate() {
            let mut complain = |what: &str, remedy: &str| faults.in_item("nodes", index, what, remedy);
            if !self.subnets.iter().any(|subnet| subnet.name == node.subnet) {
                complain(
                    &node.subnet,
                    &format!("node {} names no subnet of this scenario; add it", node.name),
                );
            }
            for name in &node.security_groups {
                if !self.security_groups.iter().any(|group| group.name == *name) {
                    complain(
                        name,
                        &format!(
                            "node {} names no security group of this scenario; add it",
                            node.name
                        ),
                    );
                }
            }
            let earlier = self.nodes.get(..index).unwrap_or_default();
            if earlier.iter().any(|other| other.name == node.name) {
                complain(&node.name, "two nodes have this name; rename one");
            }
            if !is_host_name(&node.name) {
                complain(
                    &node.name,
                    "is no host name; use 1 to 63 lower-case letters, digits and dashes, and not \"internet\"",
                );
            }
            if node.rp_filter > 2 {
                complain(&format!("rp_filter: {}", node.rp_filter), "choose 0, 1 or 2");
            }
            if node.instance_type.parse::<InstanceType>().is_err() {
                complain(
                    &node.instance_type,
                    "is no known instance type; tests/vpc-sim/data/instance_types.csv has those that are",
                );
            }
        }
    }
}

/// How large VPCs and subnets may be (AWS documentation, "Subnet sizing").
const SIZES: std::ops::RangeInclusive<u8> = 16..=28;

/// A label of RFC 1123, which also names files of the run; the internet's name is taken.
fn is_host_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && name != "internet"
}

/// The faults found so far, with the text for their lines.
struct Faults<'a> {
    text: &'a str,
    found: Vec<String>,
}

impl Faults<'_> {
    fn add(&mut self, line: usize, what: &str, remedy: &str) {
        self.found.push(format!("line {line}: {what}: {remedy}"));
    }

    /// A fault of the n-th item of a list.
    fn in_item(&mut self, list: &str, index: usize, what: &str, remedy: &str) {
        let line = line_of_item(self.text, list, index, what).unwrap_or(1);
        self.add(line, what, remedy);
    }
}

/// The line of a key of the scenario itself, counted from 1.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let is_key = |line: &str| {
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    text.lines().position(is_key).map(|line| line + 1)
}

/// The line of the n-th item of a list that says `what`, or where the item begins; for a list that is written on one
/// line, that line.
fn line_of_item(text: &str, list: &str, index: usize, what: &str) -> Option<usize> {
    let key = line_of_key(text, list)?;
    let begins = |line: &str| line.trim_start().starts_with("- ").then(|| indent(line));
    let below: Vec<&str> = text.lines().skip(key).collect();
    let first = below.iter().find_map(|line| begins(line));
    let mut starts = below
        .iter()
        .enumerate()
        .filter(|(_, line)| first.is_some() && begins(line) == first)
        .map(|(number, _)| number)
        .skip(index);
    let Some(start) = starts.next() else {
        return Some(key);
    };
    let end = starts.next().unwrap_or(below.len());
    let said = (start..end).find(|number| below.get(*number).is_some_and(|line| line.contains(what)));
    Some(key + 1 + said.unwrap_or(start))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests;
