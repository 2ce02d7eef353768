//! `xtask`: what the workspace's own commands do: `cargo demo`, `cargo gen`, and the builds behind them, also of the
//! outside programs that tests use.

mod build;
mod demo;
mod r#gen;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use vpc_sim::binaries::{Binaries, Profile};
use vpc_sim::holder;

/// The conflist that pods use.
const CONFLIST: &str = "deploy/cni/10-aws.conflist";

/// The workspace's own commands.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the binaries that demo, tests and benches use
    Build {
        /// Quickly, not as shipped
        #[arg(long)]
        dev: bool,
        /// Quickly, and with the steps at which tests kill them
        #[arg(long, conflicts_with = "dev")]
        failpoints: bool,
    },
    /// Run the main job in a simulated VPC
    Demo {
        /// One seed tells one story
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// With binaries built quickly, not as shipped
        #[arg(long)]
        dev: bool,
        /// With ipamd, cni-shim and 10-aws.conflist of this folder, built elsewhere
        #[arg(long, value_name = "FOLDER", conflicts_with = "dev")]
        from: Option<PathBuf>,
    },
    /// Measure, beside floors of the same run; the figures go into target/bench
    Bench {
        /// Only see whether it works: the figures mean nothing
        #[arg(long)]
        quick: bool,
        /// Write the table and the picture into docs/reference, too
        #[arg(long, conflicts_with = "quick")]
        keep: bool,
    },
    /// Make what is generated and checked in
    Gen {
        /// Compare only, and fail where it is stale
        #[arg(long)]
        check: bool,
    },
    /// Build the outside programs that tests use into target/tools: containerd, CNI plugins, cnitool, a CRI client
    Tools {
        /// Only these modules of tests/cluster
        modules: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a command that failed")]
            {
                eprintln!("xtask: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    // A part of a world takes other arguments, and takes over here.
    if std::env::args()
        .nth(1)
        .is_some_and(|first| first.starts_with(holder::ROLE_PREFIX))
    {
        holder::enter_world()?;
    }
    let root = root()?;
    match Arguments::parse().command {
        Command::Tools { modules } => tools::build(&root, &modules).map(|()| ExitCode::SUCCESS),
        Command::Build { dev, failpoints } => {
            let profile = if failpoints {
                Profile::Failpoints
            } else {
                profile(dev)
            };
            build::build(&root, profile).map(|_| ExitCode::SUCCESS)
        }
        Command::Gen { check } => r#gen::run(&root, check).map(|()| ExitCode::SUCCESS),
        Command::Demo {
            seed,
            from: Some(folder),
            ..
        } => {
            let world = holder::enter_world()?;
            demo::run(
                &world,
                &folder.join("10-aws.conflist"),
                &Binaries::in_folder(&folder),
                seed,
            )
        }
        Command::Demo {
            seed,
            dev,
            from: None,
        } => {
            let binaries = binaries(&root, profile(dev))?;
            let world = holder::enter_world()?;
            demo::run(&world, &root.join(CONFLIST), &binaries, seed)
        }
        Command::Bench { quick, keep } => bench_all(&root, quick, keep),
    }
}

fn bench_all(root: &Path, quick: bool, keep: bool) -> Result<ExitCode> {
    let mut binaries = binaries(root, Profile::Release)?;
    let build::ForBench { on_node, empty, shim } = build::for_bench(root, &binaries.shim)?;
    binaries.shim = shim;
    let world = holder::enter_world()?;
    let programs = bench::Programs {
        binaries,
        on_node,
        empty,
        conflist: root.join(CONFLIST),
    };
    let effort = if quick {
        bench::Effort::QUICK
    } else {
        bench::Effort::FULL
    };
    let reference = root.join("docs/reference");
    let keep = keep.then_some(reference.as_path());
    bench::run(
        &world,
        &programs,
        effort,
        &build::target_folder(root).join("bench"),
        keep,
    )?;
    Ok(ExitCode::SUCCESS)
}

/// On the machine itself cargo builds what is stale; inside a world there is no network and no need.
fn binaries(root: &Path, profile: Profile) -> Result<Binaries> {
    if holder::is_inside() {
        Ok(build::expected(root, profile))
    } else {
        build::build(root, profile)
    }
}

fn profile(dev: bool) -> Profile {
    if dev { Profile::Dev } else { Profile::Release }
}

fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .context("find the workspace above tests/xtask")
}
