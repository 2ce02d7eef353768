//! Which parameters and filters EC2 has for the actions that are served, from `data/actions.csv` (made by
//! `gen/actions.py` from botocore's model): what is there and not served is refused by name, what is not there is unknown.

use std::collections::BTreeSet;
use std::sync::LazyLock;

const DATA: &str = include_str!("../../data/actions.csv");

/// (action, kind, name)
static KNOWN: LazyLock<BTreeSet<(&str, &str, &str)>> = LazyLock::new(|| {
    DATA.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.splitn(3, ',');
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .collect()
});

/// Whether EC2's action has a parameter of this name; numbers in it count the members of a list.
pub(super) fn has_parameter(action: &str, name: &str) -> bool {
    let pattern: Vec<&str> = name
        .split('.')
        .map(|part| {
            if part.bytes().all(|b| b.is_ascii_digit()) {
                "N"
            } else {
                part
            }
        })
        .collect();
    KNOWN.contains(&(action, "parameter", pattern.join(".").as_str()))
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
