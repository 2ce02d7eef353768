//! `xtask`: what the workspace's own commands do: `cargo demo`, `cargo bench-all`, `cargo gen`, and the builds behind.

mod r#gen;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// The workspace's own commands.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make what is generated and checked in
    Gen {
        /// Compare only, and fail where it is stale
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Gen { check } => r#gen::run(&root()?, check),
    }
}

fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .context("find the workspace above tests/xtask")
}
