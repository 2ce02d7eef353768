//! A VPC on a laptop: a pure model, the EC2 API and instance metadata in front of it, and a data plane of Linux
//! namespaces behind it.
//!
//! [`vpc::Vpc`] puts it all together from a [`scenario::Scenario`]; [`cloud::Cloud`] with [`ec2::Ec2`] is the API alone.

pub mod binaries;
pub mod cloud;
pub mod ec2;
pub mod example;
pub mod fabric;
pub mod holder;
pub mod imds;
pub mod model;
pub mod node;
pub mod pod;
pub mod probe;
pub mod scenario;
pub mod serve;
pub mod vpc;
