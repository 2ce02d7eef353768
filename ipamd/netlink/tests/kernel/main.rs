//! The crate against the running kernel, each test in a network namespace of its own.

#[cfg(test)]
mod conntrack;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fabric_table;
#[cfg(test)]
mod flat_table;
#[cfg(test)]
mod nft;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod sandbox;
