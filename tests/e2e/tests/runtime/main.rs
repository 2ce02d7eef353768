//! Two nodes whose pods are made by a container runtime: containerd runs the plugin by our conflist, and its pods are
//! containers that talk, are limited, outlive their runtime and leave nothing behind.
//!
//! Debian's containerd 1.6 and 2.4 of `tests/cluster` take turns. Needs root on the machine, since the nodes have
//! cgroups of their own; without it the whole file is skipped, which is said aloud.

#![allow(clippy::indexing_slicing, reason = "a test may stop at the first surprise")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test runner speaks")]

mod chain;
mod cnitool;
mod containerd;
mod crash;
mod power;
mod reach;
mod sandbox;
mod status;
mod tools;
mod traces;

use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use vpc_sim::holder;

fn main() -> ExitCode {
    if !holder::is_inside() {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0);
        if !is_root {
            println!("SKIPPED: only root can give a node the cgroups that a container runtime needs");
            return ExitCode::SUCCESS;
        }
        if let Err(error) = tools::check() {
            eprintln!("the runtime's tools cannot be used: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let all = [
        chain::ALL,
        cnitool::ALL,
        crash::ALL,
        power::ALL,
        reach::ALL,
        status::ALL,
    ];
    e2e::runner::run(&all.concat())
}
