//! The parameters of a request: a form, read once, where nothing may be left over.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use crate::model::error::Ec2Error;
use crate::model::id::MalformedId;

/// The form and what of it was read.
#[derive(Debug)]
pub(super) struct Params {
    values: BTreeMap<String, String>,
    read: BTreeSet<String>,
}

impl Params {
    /// Percent-decoded `name=value` pairs.
    pub(super) fn parse(form: &str) -> Result<Self, Ec2Error> {
        let mut values = BTreeMap::new();
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.insert(decode(name)?, decode(value)?);
        }
        Ok(Self {
            values,
            read: BTreeSet::new(),
        })
    }

    /// The names of all parameters.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let value = self.values.get(name)?.clone();
        self.read.insert(name.to_owned());
        Some(value)
    }

    /// Whether the parameter is given at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// `list.1.member`, `list.2.member` …, each of which must be there.
    pub(super) fn members(&mut self, list: &str, member: &'static str) -> Result<Vec<String>, Ec2Error> {
        let indexes = self.indexes(list).into_iter();
        indexes
            .map(|index| {
                self.text(&format!("{list}.{index}.{member}"))
                    .ok_or(Ec2Error::MissingParameter(member))
            })
            .collect()
    }

    pub(super) fn required(&mut self, name: &'static str) -> Result<String, Ec2Error> {
        self.text(name)
            .filter(|value| !value.is_empty())
            .ok_or(Ec2Error::MissingParameter(name))
    }

    /// A required id.
    pub(super) fn id<T: FromStr<Err = MalformedId>>(&mut self, name: &'static str) -> Result<T, Ec2Error> {
        Ok(self.required(name)?.parse()?)
    }

    /// A list of ids, perhaps empty.
    pub(super) fn ids<T: FromStr<Err = MalformedId>>(&mut self, name: &str) -> Result<Vec<T>, Ec2Error> {
        self.list(name).iter().map(|text| Ok(text.parse()?)).collect()
    }

    /// A value that must have this form if it is there.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        reason: &'static str,
    ) -> Result<Option<T>, Ec2Error> {
        self.text(name)
            .map(|value| parse_value(name, value, reason))
            .transpose()
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u32>, Ec2Error> {
        self.parsed(name, "Expecting a non-negative integer.")
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Ec2Error> {
        self.parsed(name, "Expecting true or false.")
    }

    /// `name.1`, `name.2` …
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        self.indexes(name)
            .into_iter()
            .filter_map(|index| self.text(&format!("{name}.{index}")))
            .collect()
    }

    /// Which numbers follow `name.`.
    pub(super) fn indexes(&self, name: &str) -> BTreeSet<u32> {
        self.values
            .keys()
            .filter_map(|key| {
                key.strip_prefix(name)?
                    .strip_prefix('.')?
                    .split('.')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect()
    }

    /// Everything must have been read: what is served in other circumstances is refused in these.
    pub(super) fn finish(&self) -> Result<(), Ec2Error> {
        match self.names().find(|name| !self.read.contains(*name)) {
            None => Ok(()),
            Some(name) => Err(Ec2Error::Unsupported(name.to_owned())),
        }
    }
}

pub(super) fn parse_value<T: FromStr>(
    name: &str,
    value: String,
    reason: &'static str,
) -> Result<T, Ec2Error> {
    value.parse().map_err(|_| Ec2Error::InvalidValue {
        parameter: name.to_owned(),
        value,
        reason,
    })
}

/// EC2 names the last member of the path, not the path (observed: `Filter.0.String` gives "The parameter String is not
/// recognized").
pub(super) fn unknown_part(name: &str) -> String {
    name.split('.')
        .rfind(|part| part.parse::<u32>().is_err())
        .unwrap_or(name)
        .to_owned()
}

fn decode(text: &str) -> Result<String, Ec2Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
                match digits {
                    [Some(high), Some(low)] => u8::try_from(high * 16 + low).unwrap_or(b'?'),
                    _ => return Err(Ec2Error::UnreadableForm),
                }
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Ec2Error::UnreadableForm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded() {
        let mut params = Params::parse("A=x%20y+z&B.2=two&B.1=one&B.10=ten&C=").expect("a good form");
        assert_eq!(params.text("A").as_deref(), Some("x y z"));
        assert_eq!(params.list("B"), ["one", "two", "ten"]);
        assert_eq!(params.required("C"), Err(Ec2Error::MissingParameter("C")));
        assert_eq!(Params::parse("A=%2").err(), Some(Ec2Error::UnreadableForm));
    }

    #[test]
    fn what_nobody_read_is_refused() {
        let mut params = Params::parse("A=1&B=2").expect("a good form");
        params.text("A");
        assert_eq!(params.finish(), Err(Ec2Error::Unsupported("B".to_owned())));
        params.text("B");
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn an_unknown_parameter_is_named_by_its_last_part() {
        assert_eq!(unknown_part("Nonsense"), "Nonsense");
        assert_eq!(unknown_part("Tag.1.String"), "String");
        assert_eq!(unknown_part("Filter.0.String.1"), "String");
    }
}
