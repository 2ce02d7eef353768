//! Security groups as describe shows them.

use std::collections::BTreeMap;

use crate::model::id::{SecurityGroupId, SecurityGroupRuleId, VpcId};
use crate::model::request::Tags;
use crate::model::security_group::Rule;

/// A security group as describe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub id: SecurityGroupId,
    /// Its resource name.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its VPC.
    pub vpc: VpcId,
    /// The account that owns it.
    pub owner: String,
    /// Its rules, ordered by id.
    pub rules: Vec<Rule>,
    /// The names of the groups that its rules are about.
    pub peers: BTreeMap<SecurityGroupId, String>,
    /// Its tags.
    pub tags: Tags,
}

/// A rule as EC2 shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleDescription {
    /// Its id.
    pub id: SecurityGroupRuleId,
    /// Its resource name.
    pub arn: String,
    /// Its group.
    pub group: SecurityGroupId,
    /// The account that owns the group.
    pub owner: String,
    /// The group's VPC.
    pub vpc: VpcId,
    /// What it says.
    pub rule: Rule,
}
