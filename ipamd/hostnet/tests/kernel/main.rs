//! The crate against the running kernel, each test in a network namespace of its own.

#[cfg(test)]
mod example;
#[cfg(test)]
mod ipv6;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod nat;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod pod;
#[cfg(test)]
mod sandbox;
