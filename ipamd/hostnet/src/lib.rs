//! Our vocabulary to the kernel and back: translation only, no decision.
//!
//! - [`observe`] reads the host's network into a `NetState`.
//! - [`apply`] does `NetOp`s; already there and already gone are success.
//! - [`nat`] keeps our nftables table as wanted, through the one socket that owns it.
//! - [`pod`] wires, checks and unwires one pod.
//! - [`sysctl`] reads the settings that others must have made.

pub mod apply;
mod error;
pub mod failpoint;
pub mod nat;
pub mod observe;
pub mod pod;
pub mod sysctl;

pub use error::Error;
pub use netlink::{Family, Routing};
