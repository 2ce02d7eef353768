//! A VPC on a laptop: a pure model, the EC2 API and instance metadata in front of it, and a data plane of Linux
//! namespaces behind it.
//!
//! [`vpc::Vpc`] puts it all together from a [`scenario::Scenario`]; [`cloud::Cloud`] with [`ec2::Ec2`] is the API alone.
//! [`up`] keeps a VPC running for the command, [`control`] talks to it.

pub mod binaries;
pub mod cloud;
pub mod control;
pub mod ec2;
pub mod example;
pub mod fabric;
pub mod folder;
pub mod holder;
pub mod imds;
pub mod model;
pub mod node;
pub mod pod;
pub mod probe;
pub mod scenario;
pub mod serve;
pub mod story;
pub mod up;
pub mod vpc;
