//! Gets the one IPv6 prefix that all pods of the node are served from, on the primary ENI.
//!
//! Left out: giving it back. It costs nothing, and pods of an earlier mode may have addresses of it.

use super::Planner;
use super::report::{Ipv6, Line};
use crate::action::Action;
use crate::policy::Families;

pub(super) fn ipv6(planner: &mut Planner<'_>) {
    let situation = planner.situation;
    let (ledger, policy) = (situation.ledger, situation.policy);
    let Some(node) = ledger.node().filter(|_| policy.families.has_v6()) else {
        return;
    };
    if node.subnet_cidr6.is_none() {
        planner.say(Line::Ipv6(Ipv6::NotInSubnet {
            subnet: node.subnet.clone(),
            alone: policy.families == Families::V6,
        }));
        return;
    }
    if !situation.limits.prefixes() {
        let instance_type = node.instance_type.clone();
        planner.say(Line::Ipv6(Ipv6::NotOnType { instance_type }));
        return;
    }
    let Some(record) = ledger.primary() else { return };
    match record.prefix6() {
        Some(prefix) => planner.say(Line::Ipv6(Ipv6::Prefix {
            prefix,
            waiting: ledger.waiting().len(),
        })),
        None if record.uncertain => {}
        None => {
            let eni = record.seen.id.clone();
            planner.act(Action::AssignPrefix6 { eni });
        }
    }
}
