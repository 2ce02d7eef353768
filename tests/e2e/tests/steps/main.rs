//! Plugin and daemon, killed at every step: nothing double, nothing leaked, at most one retry. One test after the other,
//! each on fresh sites, with binaries that have the steps compiled in.

#![allow(clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod daemon;
mod plugin;
mod random;

use std::process::ExitCode;

use vpc_sim::binaries::Profile;

fn main() -> ExitCode {
    let tests = [plugin::ALL, daemon::ALL, random::ALL].concat();
    e2e::runner::run_with(Profile::Failpoints, &tests)
}
