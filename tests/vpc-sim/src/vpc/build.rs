//! From a scenario to a model: what an operator would have made before the first node boots.
//!
//! The scenario was checked already; what the model refuses nevertheless is named.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::Ipv6Net;

use super::Error;
use crate::model::Model;
use crate::model::id::{InstanceId, SecurityGroupId, SubnetId};
use crate::model::instance::Launch;
use crate::model::response::Zone;
use crate::model::security_group::Direction;
use crate::model::settings::{Delays, Settings};
use crate::model::setup::SetupError;
use crate::model::subnet::NewSubnet;
use crate::scenario::{IPV6, Pace, Scenario, group};

/// How many times faster than real EC2 a brisk one is.
const BRISK: u32 = 10;

/// The model of a scenario, and the instances of its nodes in their order.
pub(super) fn model(scenario: &Scenario) -> Result<(Model, Vec<InstanceId>), Error> {
    let mut model = Model::new(settings(scenario), scenario.vpc);
    if scenario.ipv6 {
        model.add_ipv6_cidr(IPV6);
    }
    let groups = add_groups(&mut model, scenario);
    let subnets = add_subnets(&mut model, scenario)?;
    let mut instances = Vec::new();
    for node in &scenario.nodes {
        let (Ok(kind), Some(subnet)) = (node.instance_type.parse(), subnets.get(node.subnet.as_str())) else {
            // The scenario was checked for both.
            continue;
        };
        let ipv6 = (scenario.subnets.iter()).any(|subnet| subnet.name == node.subnet && subnet.ipv6);
        let own = node.security_groups.iter();
        let launch = Launch {
            public: true,
            groups: own
                .filter_map(|name| groups.get(name.as_str()).cloned())
                .collect(),
            metadata_ipv6: ipv6,
            tags: [("Name".to_owned(), node.name.clone())].into(),
            ..Launch::plain(kind, subnet.clone())
        };
        let launched = model.launch(Duration::ZERO, &launch);
        instances.push(launched.map_err(refused(format!("node {}", node.name)))?);
    }
    Ok((model, instances))
}

/// The scenario's groups, and a default group that lets everything pass: whoever names no group wants no filter.
fn add_groups<'a>(model: &mut Model, scenario: &'a Scenario) -> BTreeMap<&'a str, SecurityGroupId> {
    let default = model.default_group().clone();
    let mut open = group::everything(Direction::Ingress);
    open.extend(group::everything(Direction::Egress));
    model.add_rules(Duration::ZERO, &default, open);
    let mut ids = BTreeMap::new();
    for group in &scenario.security_groups {
        ids.insert(group.name.as_str(), model.add_group(&group.name));
    }
    for group in &scenario.security_groups {
        if let Some(id) = ids.get(group.name.as_str()) {
            model.replace_rules(Duration::ZERO, id, group.rules(&ids));
        }
    }
    ids
}

fn add_subnets<'a>(model: &mut Model, scenario: &'a Scenario) -> Result<BTreeMap<&'a str, SubnetId>, Error> {
    let mut subnets: BTreeMap<&str, SubnetId> = BTreeMap::new();
    let mut zones: Vec<&str> = scenario
        .subnets
        .iter()
        .map(|subnet| subnet.zone.as_str())
        .collect();
    zones.sort_unstable();
    zones.dedup();
    let mut parts = IPV6.subnets(64).into_iter().flatten();
    for subnet in &scenario.subnets {
        let number = zones
            .iter()
            .position(|zone| *zone == subnet.zone)
            .map_or(0, |index| index + 1);
        let part: Option<Ipv6Net> = parts.next();
        let new = NewSubnet {
            cidr: subnet.cidr,
            ipv6_cidr: part.filter(|_| subnet.ipv6),
            ipv6_on_creation: subnet.ipv6,
            zone: Zone {
                name: subnet.zone.clone(),
                id: format!("use1-az{number}"),
            },
            internet: true,
            tags: [("Name".to_owned(), subnet.name.clone())].into(),
        };
        let id = model
            .add_subnet(new)
            .map_err(refused(format!("subnet {}", subnet.name)))?;
        subnets.insert(&subnet.name, id);
    }
    Ok(subnets)
}

fn refused(what: String) -> impl FnOnce(SetupError) -> Error {
    move |source| Error::Setup { what, source }
}

fn settings(scenario: &Scenario) -> Settings {
    let mut settings = match scenario.ec2 {
        Pace::Real => Settings::seeded(scenario.seed),
        Pace::Brisk => {
            let delays = Delays::default().faster(BRISK);
            Settings {
                delays,
                ..Settings::seeded(scenario.seed)
            }
        }
        Pace::Instant => Settings::instant(scenario.seed),
    };
    settings.epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    settings
}
