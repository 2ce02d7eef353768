//! Nodes with the release binaries in a simulated VPC, one test after the other, each on a fresh site.

#![allow(clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod add_del;
mod checkpoint;
mod crash;
mod disk;
mod flows;
mod peer;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::runner::run(
        &[
            add_del::ALL,
            verbs::ALL,
            crash::ALL,
            flows::ALL,
            peer::ALL,
            checkpoint::ALL,
            disk::ALL,
        ]
        .concat(),
    )
}
