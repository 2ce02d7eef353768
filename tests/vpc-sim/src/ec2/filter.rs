//! Filters of describe calls: all must match; one matches when any of its values does; `*` and `?` are wildcards and a
//! backslash takes their meaning away (AWS documentation, "Filter your resources").

use super::query::Params;
use super::{known, served};
use crate::model::error::Ec2Error;
use crate::model::request::{Operation, Tags};

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    name: String,
    values: Vec<String>,
}

/// The filters of a call, all of which are served.
pub(super) fn parse(params: &mut Params, operation: Operation) -> Result<Vec<Filter>, Ec2Error> {
    params
        .indexes("Filter")
        .into_iter()
        .map(|index| {
            let name = params
                .text(&format!("Filter.{index}.Name"))
                .ok_or_else(|| Ec2Error::InvalidFilter("null".to_owned()))?;
            let values = params.list(&format!("Filter.{index}.Value"));
            check_name(&name, operation)?;
            if values.is_empty() {
                return Err(Ec2Error::MissingParameter("Filter.Value"));
            }
            Ok(Filter { name, values })
        })
        .collect()
}

fn check_name(name: &str, operation: Operation) -> Result<(), Ec2Error> {
    let action = operation.name();
    let tag = name.starts_with("tag:") && known::has_filter(action, "tag:");
    let key = name == "tag-key" && known::has_filter(action, "tag-key");
    if tag || key || served::of(operation).has_filter(name) {
        Ok(())
    } else if known::has_filter(action, name) {
        Err(Ec2Error::Unsupported(format!("Filter {name}")))
    } else {
        Err(Ec2Error::InvalidFilter(name.to_owned()))
    }
}

/// Keep what matches all filters; `field` gives the values a resource has under a name.
pub(super) fn keep<T>(
    filters: &[Filter],
    items: Vec<T>,
    tags: impl Fn(&T) -> Option<&Tags>,
    field: impl Fn(&T, &str) -> Vec<String>,
) -> Vec<T> {
    let matches = |item: &T, filter: &Filter| {
        let has = match (filter.name.strip_prefix("tag:"), tags(item)) {
            (Some(key), Some(tags)) => tags.get(key).cloned().into_iter().collect(),
            (None, Some(tags)) if filter.name == "tag-key" => tags.keys().cloned().collect(),
            _ => field(item, &filter.name),
        };
        let wanted = |value: &String| filter.values.iter().any(|pattern| like(pattern, value));
        has.iter().any(wanted)
    };
    items
        .into_iter()
        .filter(|item| filters.iter().all(|filter| matches(item, filter)))
        .collect()
}

/// Whether the text is like the pattern.
fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<Glyph> = glyphs(pattern);
    let text: Vec<char> = text.chars().collect();
    // reachable[i]: the pattern so far can match the first i characters.
    let mut reachable = vec![false; text.len() + 1];
    if let Some(start) = reachable.first_mut() {
        *start = true;
    }
    for glyph in pattern {
        reachable = step(&reachable, &text, glyph);
    }
    reachable.last().copied().unwrap_or(false)
}

#[derive(Clone, Copy)]
enum Glyph {
    Any,
    One,
    Exactly(char),
}

fn glyphs(pattern: &str) -> Vec<Glyph> {
    let mut glyphs = Vec::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        glyphs.push(match character {
            '*' => Glyph::Any,
            '?' => Glyph::One,
            '\\' => Glyph::Exactly(rest.next().unwrap_or('\\')),
            other => Glyph::Exactly(other),
        });
    }
    glyphs
}

fn step(reachable: &[bool], text: &[char], glyph: Glyph) -> Vec<bool> {
    match glyph {
        Glyph::Any => reachable
            .iter()
            .scan(false, |seen, here| {
                *seen |= here;
                Some(*seen)
            })
            .collect(),
        Glyph::One | Glyph::Exactly(_) => std::iter::once(false)
            .chain(reachable.iter().zip(text).map(|(here, character)| {
                let fits = match glyph {
                    Glyph::Exactly(wanted) => wanted == *character,
                    Glyph::One | Glyph::Any => true,
                };
                *here && fits
            }))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let rows = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*", "", true),
            ("", "", true),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn unknown_unserved_and_empty_filters_are_refused() {
        let parse = |operation: Operation, form: &str| {
            let mut params = Params::parse(form).expect("a good form");
            parse(&mut params, operation).map(|filters| filters.len())
        };
        let subnets = |form: &str| parse(Operation::DescribeSubnets, form);
        assert_eq!(subnets("Filter.1.Name=vpc-id&Filter.1.Value.1=x"), Ok(1));
        assert_eq!(subnets("Filter.1.Name=tag:a&Filter.1.Value.1=x"), Ok(1));
        let invalid = Err(Ec2Error::InvalidFilter("vpcid".to_owned()));
        assert_eq!(subnets("Filter.1.Name=vpcid&Filter.1.Value.1=x"), invalid);
        let form = "Filter.1.Name=ebs-info.nvme-support&Filter.1.Value.1=x";
        let unserved = Err(Ec2Error::Unsupported("Filter ebs-info.nvme-support".to_owned()));
        assert_eq!(parse(Operation::DescribeInstanceTypes, form), unserved);
        let no_keys = Err(Ec2Error::InvalidFilter("tag-key".to_owned()));
        let form = "Filter.1.Name=tag-key&Filter.1.Value.1=x";
        assert_eq!(parse(Operation::DescribeTags, form), no_keys);
        assert_eq!(
            subnets("Filter.1.Name=vpc-id"),
            Err(Ec2Error::MissingParameter("Filter.Value"))
        );
    }
}
