//! A small VPC to start with: two zones, a subnet with a way to the internet in each, and an instance in each.

use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::Model;
use crate::model::instance::Launch;
use crate::model::limits::{InstanceType, UnknownInstanceType};
use crate::model::request::Tags;
use crate::model::response::Zone;
use crate::model::settings::Settings;
use crate::model::setup::SetupError;
use crate::model::subnet::NewSubnet;

/// Why the example cannot be built with these settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExampleError {
    /// The table lacks its instance type.
    #[error("choosing the instance type of the example")]
    Type(#[from] UnknownInstanceType),
    /// The model refuses it.
    #[error("building the example VPC")]
    Setup(#[from] SetupError),
}

/// 10.0.0.0/16 with 10.0.1.0/24 in zone a and 10.0.2.0/24 in zone b, a c5.large with a public address in each.
///
/// # Errors
/// Only when the embedded table of instance types lacks c5.large.
pub fn example(settings: Settings) -> Result<Model, ExampleError> {
    let instance_type: InstanceType = "c5.large".parse()?;
    let region = settings.region.clone();
    let mut model = Model::new(settings, cidr([10, 0, 0, 0], 16));
    for (letter, number) in [("a", 1), ("b", 2)] {
        let subnet = model.add_subnet(NewSubnet {
            cidr: cidr([10, 0, number, 0], 24),
            zone: Zone {
                name: format!("{region}{letter}"),
                id: format!("use1-az{number}"),
            },
            internet: true,
            tags: named(&format!("example-{letter}")),
        })?;
        let launch = Launch {
            public: true,
            tags: named(&format!("node-{letter}")),
            ..Launch::plain(instance_type.clone(), subnet)
        };
        model.launch(Duration::ZERO, &launch)?;
    }
    Ok(model)
}

fn cidr(address: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(address.into(), length)
}

fn named(name: &str) -> Tags {
    Tags::from([("Name".to_owned(), name.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_two_instances_in_two_zones() {
        let model = example(Settings::seeded(1)).expect("builds");
        assert_eq!((model.subnet_ids().count(), model.instance_ids().count()), (2, 2));
        assert_eq!(model.kernel_view(Duration::ZERO).enis.len(), 2);
    }
}
