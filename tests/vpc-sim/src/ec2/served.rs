//! What of each action is served: the one table by which requests are accepted or refused, and from which
//! `docs/reference/vpc-sim-api.md` is written.
//!
//! What EC2 has (`known.rs`) and the table lacks is refused with `UnsupportedOperation` and its name; what EC2 lacks is
//! unknown. A parameter that is in the table and that its parser does not read is refused as well (`query.rs`), so nothing
//! is ever ignored.

mod reference;
mod table;

pub use reference::reference;

use super::known;
use super::page::Bounds;
use super::query::{Params, unknown_part};
use crate::model::error::Ec2Error;
use crate::model::request::Operation;

/// What of one action is served. Lists are separated by white space.
pub(super) struct Served {
    /// Names as queries write them, beside `DryRun`; `N` counts the members of a list.
    pub(super) parameters: &'static str,
    /// Parameters of which only some values are served, and which.
    pub(super) partly: &'static [(&'static str, &'static str)],
    /// Filters beside those on tags.
    pub(super) filters: &'static str,
    /// Filters on what nothing in the simulation has: they match nothing.
    pub(super) absent: &'static str,
    /// Whether answers come in pages.
    pub(super) pages: Option<Bounds>,
    /// Error codes of the action itself, beside those of every action.
    pub(super) errors: &'static str,
}

/// An action with nothing but its parameters.
pub(super) const PLAIN: Served = Served {
    parameters: "",
    partly: &[],
    filters: "",
    absent: "",
    pages: None,
    errors: "",
};

impl Served {
    fn has_parameter(&self, name: &str) -> bool {
        name == known::DRY_RUN || self.parameters.split_whitespace().any(|served| served == name)
    }

    /// Whether a filter of this name is served.
    pub(super) fn has_filter(&self, name: &str) -> bool {
        let names = self.filters.split_whitespace();
        names
            .chain(self.absent.split_whitespace())
            .any(|served| served == name)
    }
}

/// What of this action is served.
pub(super) fn of(operation: Operation) -> &'static Served {
    table::of(operation)
}

/// Refuse the first parameter that is not served.
pub(super) fn check(operation: Operation, params: &Params) -> Result<(), Ec2Error> {
    let served = of(operation);
    for name in params.names().filter(|name| !EVERY_ACTION.contains(name)) {
        if !known::has_parameter(operation.name(), name) {
            return Err(Ec2Error::UnknownParameter(unknown_part(name)));
        }
        if !served.has_parameter(&known::pattern(name)) {
            return Err(Ec2Error::Unsupported(name.to_owned()));
        }
    }
    Ok(())
}

/// What every request has.
const EVERY_ACTION: [&str; 2] = ["Action", "Version"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ec2_has_everything_that_is_served() {
        for operation in Operation::ALL {
            let (name, served) = (operation.name(), of(operation));
            for parameter in served.parameters.split_whitespace() {
                assert!(known::has_parameter(name, parameter), "{name}: {parameter}");
            }
            for (parameter, _) in served.partly {
                assert!(served.has_parameter(parameter), "{name}: {parameter}");
            }
            let filters = served.filters.split_whitespace();
            for filter in filters.chain(served.absent.split_whitespace()) {
                assert!(known::has_filter(name, filter), "{name}: {filter}");
            }
            let paged = served.has_parameter("NextToken");
            assert_eq!(paged, served.pages.is_some(), "{name}: pages");
            let filtered = served.has_parameter("Filter.N.Value.N");
            assert_eq!(filtered, !served.filters.is_empty(), "{name}: filters");
        }
    }

    #[test]
    fn what_is_not_served_is_refused_by_its_name_and_what_ec2_lacks_is_unknown() {
        let check = |form: &str| {
            let params = Params::parse(form).expect("a good form");
            check(Operation::CreateNetworkInterface, &params)
        };
        assert_eq!(
            check("Action=x&SubnetId=subnet-1&Ipv4Prefix.3.Ipv4Prefix=x"),
            Ok(())
        );
        let unserved = "ConnectionTrackingSpecification.UdpTimeout";
        assert_eq!(
            check(&format!("{unserved}=1")),
            Err(Ec2Error::Unsupported(unserved.to_owned()))
        );
        let unknown = Err(Ec2Error::UnknownParameter("Nonsense".to_owned()));
        assert_eq!(check("Nonsense=1"), unknown);
    }
}
