//! A VPC on a laptop: a pure model, the EC2 API and instance metadata in front of it, and a data plane of Linux
//! namespaces behind it.

pub mod cloud;
pub mod ec2;
pub mod example;
pub mod imds;
pub mod model;
pub mod serve;
