//! The private DNS names of addresses. Nothing here resolves them.

use std::net::Ipv4Addr;

/// The name of an address (AWS documentation, "Amazon EC2 instance hostnames": us-east-1 has a domain of its own).
#[must_use]
pub fn private_dns_name(region: &str, address: Ipv4Addr) -> String {
    let name = address.to_string().replace('.', "-");
    match region {
        "us-east-1" => format!("ip-{name}.ec2.internal"),
        region => format!("ip-{name}.{region}.compute.internal"),
    }
}
