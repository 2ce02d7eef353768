//! Subnets: the route table of each, chosen by a mark that the checks set by ENI, and its ARP rules.

use std::collections::BTreeMap;

use netlink::{Family, Mark, Rule};

use super::error::{ignore_exists, ignore_gone, kernel};
use super::{Error, Fabric};
use crate::model::id::SubnetId;
use crate::model::view::SubnetView;

/// Rules to subnets' route tables come after the main table, which holds the VPC's own routes.
const SUBNET_RULE: u32 = 40_000;

/// Route tables of subnets are numbered from here.
const FIRST_SUBNET_TABLE: u32 = 1000;

/// A subnet as applied.
#[derive(Clone, Debug)]
pub(super) struct Subnet {
    pub(super) number: u32,
    pub(super) view: SubnetView,
}

impl Fabric {
    pub(super) async fn add_subnets(&mut self, wanted: &BTreeMap<SubnetId, SubnetView>) -> Result<(), Error> {
        for (id, view) in wanted {
            let known = self.subnets.get(id);
            if known.is_some_and(|known| known.view == *view) {
                continue;
            }
            let number = known.map_or_else(|| self.free_subnet_number(), |known| known.number);
            self.checks
                .add_subnet(number, view.cidr)
                .map_err(Error::Firewall)?;
            ignore_exists(self.routing.add_rule(&subnet_rule(number)).await)?;
            let to_internet = self.gateway.route(subnet_table(number));
            if view.internet {
                self.routing.replace_route(&to_internet).await.map_err(kernel)?;
            } else {
                ignore_gone(self.routing.delete_route(&to_internet).await)?;
            }
            let view = view.clone();
            self.subnets.insert(id.clone(), Subnet { number, view });
        }
        Ok(())
    }

    pub(super) async fn remove_subnets(
        &mut self,
        wanted: &BTreeMap<SubnetId, SubnetView>,
    ) -> Result<(), Error> {
        let gone = self.subnets.iter().filter(|(id, _)| !wanted.contains_key(*id));
        let gone: Vec<(SubnetId, u32)> = gone.map(|(id, subnet)| (id.clone(), subnet.number)).collect();
        for (id, number) in gone {
            ignore_gone(self.routing.delete_rule(&subnet_rule(number)).await)?;
            let to_internet = self.gateway.route(subnet_table(number));
            ignore_gone(self.routing.delete_route(&to_internet).await)?;
            self.checks.remove_subnet(number).map_err(Error::Firewall)?;
            self.subnets.remove(&id);
        }
        Ok(())
    }

    fn free_subnet_number(&self) -> u32 {
        let highest = self.subnets.values().map(|subnet| subnet.number).max();
        highest.unwrap_or(0) + 1
    }
}

fn subnet_table(number: u32) -> u32 {
    FIRST_SUBNET_TABLE + number
}

fn subnet_rule(number: u32) -> Rule {
    Rule {
        mark: Some(Mark {
            value: number,
            mask: u32::MAX,
        }),
        ..Rule::new(Family::V4, SUBNET_RULE, subnet_table(number))
    }
}
