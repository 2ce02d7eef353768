//! A VPC on a laptop: a pure model, the EC2 API and instance metadata in front of it, and a data plane of Linux
//! namespaces behind it.

pub mod fabric;
pub mod holder;
pub mod model;
pub mod node;
pub mod probe;
