//! The node-local IPAM daemon: joins the pure core to EC2, instance metadata, the kernel, the disk and the shim.
//!
//! Data goes round: `observe` → `ipamd_core::plan` → `execute` → ledger and `store`. One task, [`daemon`], owns the
//! ledger; everybody else sends it messages.

mod checkpoint;
pub mod config;
pub mod daemon;
mod execute;
pub mod explain;
pub mod imds;
mod kernel;
mod server;
mod store;
mod tombstones;
