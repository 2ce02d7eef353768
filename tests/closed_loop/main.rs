//! The closed loop: the core, the pure VPC model and a virtual clock. A node lives through pods, faults, crashes and
//! operators; the invariants are checked after each step from the outside, and when all is quiet every pod is served,
//! every target met and the node silent.
//!
//! `BERTH_LOOP_SEEDS=100000` lives more lives than the default, `BERTH_LOOP_SEED=n` lives one and tells its story.
//! Left out: sockets, the kernel and EC2's wire, which the tests of `e2e` run for real.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod call;
mod cloud;
mod daemon;
mod disk;
mod facts;
mod hunt;
mod pods;
mod record;
mod rest;
mod scenarios;
mod script;
mod world;

use hunt::{report, variable};
use rest::live;
use script::Script;

/// Lives that are lived by default: enough that each fault meets each step of the daemon hundreds of times.
const SEEDS: u64 = 10_000;

#[test]
fn invariants_hold_whatever_happens_and_all_is_well_in_the_end() {
    if let Some(seed) = variable("BERTH_LOOP_SEED") {
        hunt::tell(seed);
        return;
    }
    let first = variable("BERTH_LOOP_FROM").unwrap_or(0);
    let failures = hunt::hunt(first..first + variable("BERTH_LOOP_SEEDS").unwrap_or(SEEDS));
    assert!(failures.is_empty(), "{}", report(&failures));
}
