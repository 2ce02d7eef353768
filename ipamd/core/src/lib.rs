//! Every decision of Berth, without IO, clock, randomness or async.
//!
//! The loop, as the daemon drives it:
//!
//! 1. *Observe*: EC2, metadata and the kernel are looked at; the ledger hears of it (`Ledger::handle_*`).
//! 2. *Plan*: [`plan::plan`] says which calls to make now, and why; `net::diff` says what the kernel needs.
//! 3. *Execute*: the edges do it, one action one effect.
//! 4. *Record*: the ledger hears of the outcome, and its entries are on disk before anybody is told.
//!
//! An ADD is not planned: [`ledger::Ledger::add`] gives a free address at once or a place in the line.
//!
//! Invariants, tested by number:
//! 1. an address has at most one holder;
//! 2. only addresses seen on an attached ENI, and served by the kernel, are handed out;
//! 3. a freed address rests for the cool-down;
//! 4. nothing in use is given back to EC2;
//! 5. no plan exceeds the instance's limits;
//! 6. only the primary ENI and ENIs that we tagged are changed, and no primary address ever;
//! 7. a reply follows its journal entry;
//! 8. kernel state is a function of the ledger, so in steady state its diff is empty.
//!
//! Deliberately absent: threads, sockets, files, the environment, hash maps, EC2's error codes.

pub mod action;
pub mod address;
pub mod checkpoint;
pub mod explain;
pub mod id;
pub mod instance;
pub mod ledger;
pub mod max_pods;
pub mod moment;
pub mod net;
pub mod pace;
mod pairs;
pub mod plan;
pub mod policy;
pub mod retry;
pub mod snapshot;
pub mod snat;
pub mod tag;
