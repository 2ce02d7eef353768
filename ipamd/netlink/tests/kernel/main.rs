//! The crate against the running kernel, each test in a network namespace of its own.

mod events;
mod fabric_table;
mod flat_table;
mod nft;
mod routing;
mod sandbox;
