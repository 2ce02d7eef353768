//! `cargo gen`: makes what is generated and checked in. `--check` compares instead and fails where it is stale.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// What the generator names the file of the package `berth.v1`.
const FILE: &str = "berth.v1.rs";

/// Generates the wire's Rust code and the page on the simulator's API; with `check` compares them with what is checked in.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let scratch = root.join("target/gen");
    std::fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    generate(root, &scratch)?;
    let wire = std::fs::read(scratch.join(FILE)).with_context(|| format!("read the fresh {FILE}"))?;
    keep(&root.join("proto/src/generated").join(FILE), &wire, check)?;
    let api = vpc_sim::ec2::reference();
    keep(&root.join("docs/reference/vpc-sim-api.md"), api.as_bytes(), check)
}

fn keep(kept: &Path, fresh: &[u8], check: bool) -> Result<()> {
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
    let files =
        protox::compile(["berth/v1/ipam.proto"], [includes]).context("compile berth/v1/ipam.proto")?;
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(out)
        .compile_fds(files)
        .context("generate Rust from the messages")
}
