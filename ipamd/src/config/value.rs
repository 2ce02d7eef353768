//! How values are read: the peer's families of parsing, with a finding wherever something was not as it should be.

use std::collections::BTreeMap;

use super::{Fault, Warning};

/// The environment, and what was found wrong with it so far.
pub(super) struct Values<'a> {
    environment: &'a BTreeMap<String, String>,
    warnings: Vec<Warning>,
    faults: Vec<Fault>,
}

impl<'a> Values<'a> {
    pub(super) fn of(environment: &'a BTreeMap<String, String>) -> Self {
        Self {
            environment,
            warnings: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The value as it was given, if it was.
    pub(super) fn raw(&self, variable: &str) -> Option<&'a str> {
        self.environment.get(variable).map(String::as_str)
    }

    pub(super) fn warn(&mut self, variable: &str, text: impl Into<String>) {
        self.warnings.push(Warning {
            variable: variable.to_owned(),
            text: text.into(),
        });
    }

    pub(super) fn fault(&mut self, variable: &str, remedy: impl Into<String>) {
        let value = self.raw(variable).unwrap_or_default().to_owned();
        self.faults.push(Fault {
            variable: variable.to_owned(),
            value,
            remedy: remedy.into(),
        });
    }

    /// Every variable with the prefix must be known.
    pub(super) fn refuse_strangers(&mut self, prefix: &str, known: &[&str]) {
        let strangers = self
            .environment
            .keys()
            .filter(|key| key.starts_with(prefix) && !known.contains(&key.as_str()));
        for stranger in strangers.cloned().collect::<Vec<_>>() {
            self.fault(
                &stranger,
                format!("no such setting; there are {}", known.join(", ")),
            );
        }
    }

    /// A boolean as Go's strconv.ParseBool reads it; anything else is the default, as with the peer.
    pub(super) fn boolean(&mut self, variable: &str, default: bool) -> bool {
        match self.raw(variable) {
            None | Some("") => default,
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => true,
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => false,
            Some(_) => {
                self.warn(
                    variable,
                    format!("is not a boolean; {default} is used, as the peer does"),
                );
                default
            }
        }
    }

    /// A boolean of ours; anything else stops the start.
    pub(super) fn ours(&mut self, variable: &str, default: bool) -> bool {
        match self.raw(variable) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(_) => {
                self.fault(variable, "choose true or false, or leave it out");
                default
            }
        }
    }

    /// A decimal number; what is none is the default, and so is what `accept` refuses, as with the peer.
    pub(super) fn tolerated(&mut self, variable: &str, accept: impl Fn(i64) -> Option<u32>) -> Option<u32> {
        let text = self.raw(variable).filter(|text| !text.is_empty())?;
        match text.parse::<i64>().ok().and_then(accept) {
            Some(number) => Some(number),
            None => {
                self.warn(
                    variable,
                    "is not a usable number; it counts as not set, as with the peer",
                );
                None
            }
        }
    }

    /// A decimal number within bounds; anything else stops the start.
    pub(super) fn bounded(&mut self, variable: &str, bounds: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let text = self.raw(variable)?;
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            let (low, high) = (bounds.start(), bounds.end());
            self.fault(
                variable,
                format!("give a whole number from {low} to {high}, or leave it out"),
            );
        }
        number
    }

    pub(super) fn into_findings(self) -> (Vec<Warning>, Vec<Fault>) {
        (self.warnings, self.faults)
    }
}
