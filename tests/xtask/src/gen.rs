//! `cargo gen`: makes what is generated and checked in. `--check` compares instead and fails where it is stale.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

mod conformance;

/// What the messages are in, below `proto`.
const MESSAGES: [&str; 2] = ["berth/v1/ipam.proto", "peer/rpc.proto"];

/// What the generator names the files of their packages.
const FILES: [&str; 2] = ["berth.v1.rs", "rpc.rs"];

/// Generates the wire's Rust code and the reference tables; with `check` compares them with what is checked in.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let scratch = root.join("target/gen");
    std::fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    generate(root, &scratch)?;
    for file in FILES {
        let fresh = std::fs::read(scratch.join(file)).with_context(|| format!("read the fresh {file}"))?;
        settle(&root.join("proto/src/generated").join(file), &fresh, check)?;
    }
    settle(
        &root.join(conformance::TABLE),
        conformance::table(root)?.as_bytes(),
        check,
    )?;
    let api = vpc_sim::ec2::reference();
    settle(&root.join("docs/reference/vpc-sim-api.md"), api.as_bytes(), check)
}

/// Writes a generated file, or demands that it is there already.
fn settle(kept: &Path, fresh: &[u8], check: bool) -> Result<()> {
    if check {
        let stale = std::fs::read(kept).unwrap_or_default() != fresh;
        ensure!(!stale, "{} is stale: run `cargo gen` and commit", kept.display());
        return Ok(());
    }
    if let Some(folder) = kept.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    std::fs::write(kept, fresh).with_context(|| format!("write {}", kept.display()))
}

fn generate(root: &Path, out: &PathBuf) -> Result<()> {
    let includes = root.join("proto");
    let files = protox::compile(MESSAGES, [includes]).context("compile the messages below proto")?;
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out)
        .compile_fds(files)
        .context("generate Rust from the messages")
}
