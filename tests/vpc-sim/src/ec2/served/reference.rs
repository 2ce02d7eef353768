//! The table as a page for readers: `docs/reference/vpc-sim-api.md`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::super::known;
use super::{Served, of};
use crate::model::request::Operation;

const OPENING: &str = "\
# The EC2 API of vpc-sim

<!-- Written by `cargo gen` from the table that the server itself uses. Do not edit. -->

Every parameter and filter that EC2 has for these actions is listed: served, or refused with `UnsupportedOperation` and a
text that names it. What EC2 does not have is refused with `UnknownParameter` (a filter: with `InvalidParameterValue`), an
action that is missing here with `InvalidAction`. What EC2 has comes from the model inside botocore, whose version
`tests/vpc-sim/data/actions.csv` names.

Every action that has `DryRun` in EC2 has it here: `DryRunOperation` (412) when it would be done, `UnauthorizedOperation`
(403) when a scripted fault denies it. Filters take `*` and `?`.

Errors of every action: `AuthFailure`, `InternalError`, `MalformedQueryString`, `MissingAuthenticationToken`,
`NoSuchVersion`, `RequestLimitExceeded`, `Unavailable`, `UnauthorizedOperation`, `UnknownParameter`,
`UnsupportedOperation`, and whatever a fault scripts.
";

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut text = OPENING.to_owned();
    text.push_str("\n| Action | Parameters served | refused | Filters served | refused | Pages |\n");
    text.push_str("|---|---:|---:|---:|---:|---|\n");
    for operation in Operation::ALL {
        summary(&mut text, operation);
    }
    for operation in Operation::ALL {
        section(&mut text, operation);
    }
    text
}

/// What EC2 has of an action, split into what is served and what is refused.
struct Split {
    served: BTreeSet<&'static str>,
    refused: BTreeSet<&'static str>,
}

fn parameters(operation: Operation, served: &Served) -> Split {
    let all: BTreeSet<&'static str> = known::parameters(operation.name()).collect();
    let (served, refused) = all.into_iter().partition(|name| served.has_parameter(name));
    Split { served, refused }
}

fn filters(operation: Operation, served: &Served) -> Split {
    let all: BTreeSet<&'static str> = known::filters(operation.name()).collect();
    let tags = |name: &str| ["tag:", "tag-key"].contains(&name);
    let (served, refused) = all
        .into_iter()
        .partition(|name| tags(name) || served.has_filter(name));
    Split { served, refused }
}

fn summary(text: &mut String, operation: Operation) {
    let served = of(operation);
    let (parameters, filters) = (parameters(operation, served), filters(operation, served));
    let name = operation.name();
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "| [{name}](#{}) | {} | {} | {} | {} | {} |",
        name.to_lowercase(),
        parameters.served.len(),
        parameters.refused.len(),
        filters.served.len(),
        filters.refused.len(),
        if served.pages.is_some() { "yes" } else { "" },
    );
}

fn section(text: &mut String, operation: Operation) {
    let served = of(operation);
    let _ = write!(text, "\n## {}\n\n", operation.name());
    let split = parameters(operation, served);
    let noted = split.served.into_iter().map(|name| noted(name, served));
    item(text, "Served", noted);
    item(text, "Refused", split.refused.into_iter().map(quoted));
    let split = filters(operation, served);
    let (absent, real): (Vec<_>, Vec<_>) = split.served.into_iter().partition(|name| {
        let mut absent = served.absent.split_whitespace();
        absent.any(|other| other == *name)
    });
    item(text, "Filters", real.into_iter().map(quoted));
    item(
        text,
        "Filters on what nothing here has",
        absent.into_iter().map(quoted),
    );
    item(text, "Filters refused", split.refused.into_iter().map(quoted));
    if let Some(pages) = served.pages {
        let unless_set = pages
            .unless_set
            .map_or("everything".to_owned(), |size| size.to_string());
        let _ = writeln!(
            text,
            "- Pages: {} to {} members, {unless_set} unless asked.",
            pages.least, pages.most
        );
    }
    item(text, "Errors", served.errors.split_whitespace().map(quoted));
}

fn noted(name: &str, served: &Served) -> String {
    match served.partly.iter().find(|(partly, _)| *partly == name) {
        Some((_, values)) => format!("`{name}` (only {values})"),
        None => quoted(name),
    }
}

fn quoted(name: &str) -> String {
    format!("`{name}`")
}

fn item(text: &mut String, what: &str, members: impl Iterator<Item = String>) {
    let members: Vec<String> = members.collect();
    if !members.is_empty() {
        let _ = writeln!(text, "- {what}: {}.", members.join(", "));
    }
}
