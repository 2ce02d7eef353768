//! `CreateSecurityGroup`, `DeleteSecurityGroup`, and the calls that add and take away rules.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Direction, Rule, Rules, SecurityGroup};
use crate::model::Model;
use crate::model::error::Ec2Error;
use crate::model::id::{SecurityGroupId, SecurityGroupRuleId};
use crate::model::request::{NewGroup, Revoked};
use crate::model::response::{Response, RuleDescription};
use crate::model::security_group::Peer;
use crate::model::timeline::{Facet, Seen};

impl Model {
    pub(crate) fn create_group(&mut self, now: Duration, new: &NewGroup) -> Result<Response, Ec2Error> {
        if new.vpc != self.vpc.id {
            return Err(Ec2Error::VpcNotFound(new.vpc.clone()));
        }
        let most = self.settings.quotas.tags;
        if new.tags.len() > most {
            return Err(Ec2Error::TagQuota(most));
        }
        let mut there = self.groups.values().filter(|group| *group.exists.truth.last());
        if there.any(|group| group.name == new.name) {
            return Err(Ec2Error::GroupDuplicate {
                name: new.name.clone(),
                vpc: self.vpc.id.clone(),
            });
        }
        let count = self
            .groups
            .values()
            .filter(|group| *group.exists.truth.last())
            .count();
        if count >= self.settings.quotas.groups {
            return Err(Ec2Error::GroupsQuota);
        }
        let id = self.fresh_group_id(&new.name);
        let rules = self.numbered(&id, self.outgoing());
        let mut group = SecurityGroup::new(id.clone(), &new.name, &new.description, rules);
        group.tags = Facet::new(new.tags.clone());
        let visible = now + self.lag("group-created", id.as_str(), self.settings.delays.api_created);
        group.exists = Facet::new(false);
        group.exists.set(
            true,
            Seen {
                api: visible,
                ..Seen::at_once(now)
            },
        );
        self.groups.insert(id.clone(), group);
        Ok(Response::GroupCreated {
            arn: self.arn("security-group", id.as_str()),
            id,
            tags: new.tags.clone(),
        })
    }

    /// Refused while an ENI is in the group or a rule of another group names it.
    pub(crate) fn delete_group(&mut self, now: Duration, id: &SecurityGroupId) -> Result<Response, Ec2Error> {
        self.named_group(now, id)?;
        if *id == self.default_group {
            return Err(Ec2Error::DefaultGroup(id.clone()));
        }
        let member = self
            .enis
            .values()
            .any(|eni| *eni.exists.truth.at(now) && eni.attributes.truth.last().groups.contains(id));
        let named = self.groups.values().any(|group| {
            let mut rules = group.rules.truth.last().values();
            let there = *group.exists.truth.last();
            group.id != *id && there && rules.any(|rule| rule.allowed.peer == Peer::Group(id.clone()))
        });
        if member || named {
            return Err(Ec2Error::GroupInUse(id.clone()));
        }
        let gone = now + self.lag("group-deleted", id.as_str(), self.settings.delays.api_deleted);
        let seen = Seen {
            api: gone,
            ..Seen::at_once(now)
        };
        if let Some(group) = self.groups.get_mut(id) {
            group.exists.set(false, seen);
        }
        Ok(Response::GroupDeleted(id.clone()))
    }

    /// Groups of other accounts come by peering, which there is none of.
    pub(crate) fn check_accounts(&self, accounts: &BTreeSet<String>) -> Result<(), Ec2Error> {
        match accounts.iter().find(|account| **account != self.settings.account) {
            None => Ok(()),
            Some(other) => Err(Ec2Error::InvalidValue {
                parameter: "userId".to_owned(),
                value: other.clone(),
                reason: "No security group of another account is known.",
            }),
        }
    }

    /// All rules or none.
    pub(crate) fn authorize(
        &mut self,
        now: Duration,
        id: &SecurityGroupId,
        rules: &[Rule],
    ) -> Result<Response, Ec2Error> {
        let mut all = self.named_group(now, id)?.rules.truth.last().clone();
        for (index, rule) in rules.iter().enumerate() {
            if let Peer::Group(named) = &rule.allowed.peer {
                self.named_group(now, named)?;
            }
            let earlier = rules.iter().take(index);
            if all.values().chain(earlier).any(|known| known.same(rule)) {
                return Err(Ec2Error::RuleDuplicate(rule.allowed.clone()));
            }
        }
        let most = self.settings.quotas.rules_per_group;
        for direction in [Direction::Ingress, Direction::Egress] {
            let counted = all
                .values()
                .chain(rules)
                .filter(|rule| rule.direction == direction);
            if counted.count() > most {
                return Err(Ec2Error::RuleQuota);
            }
        }
        let fresh = self.numbered(id, rules.to_vec());
        all.extend(fresh.clone());
        self.set_rules(now, id, all);
        let described = fresh
            .iter()
            .map(|(rule_id, rule)| self.describe_rule(id, rule_id, rule));
        Ok(Response::Authorized(described.collect()))
    }

    /// All rules or none; one that is not there fails the call, as it does in every VPC that is not EC2's default one.
    pub(crate) fn revoke(
        &mut self,
        now: Duration,
        id: &SecurityGroupId,
        direction: Direction,
        revoked: &Revoked,
    ) -> Result<Response, Ec2Error> {
        let mut all = self.named_group(now, id)?.rules.truth.last().clone();
        let mut gone: Vec<RuleDescription> = Vec::new();
        for found in find(&all, direction, revoked)? {
            if let Some(rule) = all.remove(&found) {
                gone.push(self.describe_rule(id, &found, &rule));
            }
        }
        self.set_rules(now, id, all);
        Ok(Response::Revoked(gone))
    }

    fn set_rules(&mut self, now: Duration, id: &SecurityGroupId, rules: Rules) {
        let seen = self.change_seen(now, "rules", id.as_str());
        if let Some(group) = self.groups.get_mut(id) {
            group.rules.set(rules, seen);
        }
    }

    /// A group that exists and that a call may name: a fresh id is not found at first, a deleted one at once.
    pub(crate) fn named_group(
        &self,
        now: Duration,
        id: &SecurityGroupId,
    ) -> Result<&SecurityGroup, Ec2Error> {
        let seen = |group: &&SecurityGroup| *group.exists.truth.at(now) && *group.exists.api.at(now);
        self.groups
            .get(id)
            .filter(seen)
            .ok_or_else(|| Ec2Error::GroupNotFound(id.clone()))
    }
}

fn find(all: &Rules, direction: Direction, revoked: &Revoked) -> Result<Vec<SecurityGroupRuleId>, Ec2Error> {
    match revoked {
        Revoked::Ids(ids) => {
            let there =
                |id: &SecurityGroupRuleId| all.get(id).is_some_and(|rule| rule.direction == direction);
            match ids.iter().find(|id| !there(id)) {
                Some(missing) => Err(Ec2Error::RuleIdNotFound(missing.clone())),
                None => Ok(ids.clone()),
            }
        }
        Revoked::Rules(rules) => rules
            .iter()
            .map(|rule| {
                let found = all.iter().find(|(_, known)| known.same(rule));
                found.map(|(id, _)| id.clone()).ok_or(Ec2Error::RuleNotFound)
            })
            .collect(),
    }
}
