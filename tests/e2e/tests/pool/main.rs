//! What the pool gets from EC2 and gives back, by the real daemon in a simulated VPC, one test after the other, each on
//! a fresh site.

#![allow(clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod capacity;
mod drift;
mod explain;
mod ipv6;
mod operator;
mod prefixes;
mod release;
mod subnets;

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::runner::run(
        &[
            prefixes::ALL,
            subnets::ALL,
            drift::ALL,
            release::ALL,
            explain::ALL,
            ipv6::ALL,
            capacity::ALL,
        ]
        .concat(),
    )
}
