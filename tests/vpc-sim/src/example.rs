//! A small VPC to start with: two zones, a subnet with a way to the internet in each, and an instance in each.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

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

/// A /56 of the range for documentation (RFC 3849), where Amazon gives a /56 of its own.
const IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0x100, 0, 0, 0, 0);

/// 10.0.0.0/16 with 10.0.1.0/24 in zone a and 10.0.2.0/24 in zone b, a c5.large with a public address in each; and
/// 2001:db8:0:100::/56 with a /64 in each subnet.
///
/// # Errors
/// Only when the embedded table of instance types lacks c5.large.
pub fn example(settings: Settings) -> Result<Model, ExampleError> {
    let instance_type: InstanceType = "c5.large".parse()?;
    let region = settings.region.clone();
    let mut model = Model::new(settings, cidr([10, 0, 0, 0], 16));
    model.add_ipv6_cidr(Ipv6Net::new_assert(IPV6, 56));
    for (letter, number) in [("a", 1), ("b", 2)] {
        let subnet = model.add_subnet(NewSubnet {
            cidr: cidr([10, 0, number, 0], 24),
            ipv6_cidr: Some(ipv6_cidr(number)),
            ipv6_on_creation: false,
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

fn ipv6_cidr(number: u8) -> Ipv6Net {
    Ipv6Net::new_assert(
        Ipv6Addr::from_bits(IPV6.to_bits() + (u128::from(number) << 64)),
        64,
    )
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
