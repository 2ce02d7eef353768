//! What end-to-end tests stand on: a world, the release binaries, a VPC with two nodes for each test, and conditions to
//! wait for.

pub mod runner;
pub mod site;
pub mod socket;
pub mod traces;
pub mod traffic;
