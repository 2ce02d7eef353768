//! Parameters of the calls about security groups.

use super::Tags;
use crate::model::id::{SecurityGroupRuleId, VpcId};
use crate::model::security_group::Rule;

/// Parameters of `CreateSecurityGroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// Unique in its VPC.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Where.
    pub vpc: VpcId,
    /// Its first tags.
    pub tags: Tags,
}

/// Which rules shall go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Those that allow the same.
    Rules(Vec<Rule>),
    /// Those with these ids.
    Ids(Vec<SecurityGroupRuleId>),
}
