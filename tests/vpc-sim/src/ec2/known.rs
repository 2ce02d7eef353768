//! Which parameters and filters EC2 has for the actions that are served, from `data/actions.csv` (made by
//! `gen/actions.py` from botocore's model): what is there and not served is refused by name, what is not there is unknown.

use std::collections::BTreeSet;
use std::sync::LazyLock;

const DATA: &str = include_str!("../../data/actions.csv");

/// (action, kind, name)
static KNOWN: LazyLock<BTreeSet<(&'static str, &'static str, &'static str)>> = LazyLock::new(|| {
    DATA.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.splitn(3, ',');
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .collect()
});

/// The parameter that almost every action has.
pub(super) const DRY_RUN: &str = "DryRun";

/// A parameter's name with `N` for the numbers that count the members of lists.
pub(super) fn pattern(name: &str) -> String {
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| {
            if part.bytes().all(|b| b.is_ascii_digit()) {
                "N"
            } else {
                part
            }
        })
        .collect();
    parts.join(".")
}

/// Whether EC2's action has a parameter of this name.
pub(super) fn has_parameter(action: &str, name: &str) -> bool {
    KNOWN.contains(&(action, "parameter", pattern(name).as_str()))
}

/// All parameters of an action.
pub(super) fn parameters(action: &str) -> impl Iterator<Item = &'static str> {
    of(action, "parameter")
}

/// All filters of an action; `tag:` stands for those with a key behind it.
pub(super) fn filters(action: &str) -> impl Iterator<Item = &'static str> {
    of(action, "filter")
}

fn of(action: &str, kind: &str) -> impl Iterator<Item = &'static str> {
    let wanted = move |entry: &&(&str, &str, &str)| entry.0 == action && entry.1 == kind;
    KNOWN.iter().filter(wanted).map(|(_, _, name)| *name)
}

/// Whether EC2's action has a filter of this name.
pub(super) fn has_filter(action: &str, name: &str) -> bool {
    KNOWN.contains(&(action, "filter", name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Operation;

    #[test]
    fn the_data_knows_every_action_that_is_served_and_no_other() {
        let actions: BTreeSet<&str> = KNOWN.iter().map(|(action, _, _)| *action).collect();
        assert_eq!(actions, Operation::ALL.into_iter().map(Operation::name).collect());
    }

    #[test]
    fn numbers_count_list_members() {
        assert!(has_parameter("DescribeSubnets", "Filter.12.Value.3"));
        assert!(!has_parameter("DescribeSubnets", "Filter.Name"));
        assert!(has_filter("DescribeSubnets", "vpc-id"));
        assert!(!has_filter("DescribeSubnets", "vpcid"));
    }
}
