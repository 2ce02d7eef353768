//! The contract between shim and daemon: the generated messages, and their conversion to the core's types.
//!
//! `src/generated` is made by `cargo gen` from `berth/v1/ipam.proto` and `peer/rpc.proto`, and checked in, so nobody needs protoc and a normal
//! build runs no generator; CI compares.

pub mod absence;
mod convert;
mod tombstone;

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

/// The wire format of amazon-vpc-cni-k8s: package `rpc`, from `peer/rpc.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code"
)]
#[rustfmt::skip]
#[path = "generated/rpc.rs"]
pub mod peer;

pub use convert::{ConvertError, known};
pub use tombstone::{tombstone_key, tombstone_name};

/// Where the daemon listens by default: the peer's path, so that nodes are upgraded in any order.
pub const SOCKET: &str = "/var/run/aws-node/ipamd.sock";

/// Where the network policy agent listens: the peer's path.
pub const POLICY_AGENT: &str = "/var/run/aws-node/npa.sock";

/// What the text of a refused release holds when the peer's daemon does not know the attachment: its plugin looks for
/// exactly this.
pub const UNKNOWN_POD: &str = "datastore: unknown pod";

/// Where shim and daemon leave each other word; gone with a reboot on most nodes.
pub const BERTH: &str = "/var/run/aws-node/berth";

/// Where the shim records releases while the daemon is away, a file each, for the daemon to drain.
pub const RELEASED: &str = "/var/run/aws-node/berth/released";

/// The metadata key under which a refusal carries its stable code.
pub const CODE: &str = "berth-code";

/// The metadata key under which a refusal carries the operator's next step.
pub const NEXT_STEP: &str = "berth-next-step";
