//! The contract between shim and daemon: the generated messages, and their conversion to the core's types.
//!
//! `src/generated` is made by `cargo gen` from `berth/v1/ipam.proto` and checked in, so nobody needs protoc and a normal
//! build runs no generator; CI compares.

mod convert;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code"
)]
#[rustfmt::skip]
#[path = "generated/berth.v1.rs"]
pub mod v1;

pub use convert::ConvertError;

/// Where the daemon listens by default: the peer's path, so that nodes are upgraded in any order.
pub const SOCKET: &str = "/var/run/aws-node/ipamd.sock";

/// Where the shim records releases while the daemon is away, a file each, for the daemon to drain.
pub const RELEASED: &str = "/var/run/aws-node/berth/released";

/// The metadata key under which a refusal carries its stable code.
pub const CODE: &str = "berth-code";

/// The metadata key under which a refusal carries the operator's next step.
pub const NEXT_STEP: &str = "berth-next-step";
