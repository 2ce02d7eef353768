//! The pure VPC: what EC2 would say and do, as a value that time and requests change.

pub mod id;
pub mod mac;
pub mod view;
