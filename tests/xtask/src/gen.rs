//! `cargo gen`: makes what is generated and checked in. `--check` compares instead and fails where it is stale.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// What the generator names the file of the package `berth.v1`.
const FILE: &str = "berth.v1.rs";

/// Generates the wire's Rust code; with `check` compares it with what is checked in.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let target = root.join("proto/src/generated");
    let scratch = root.join("target/gen");
    std::fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    generate(root, &scratch)?;
    let fresh = std::fs::read(scratch.join(FILE)).with_context(|| format!("read the fresh {FILE}"))?;
    let kept = target.join(FILE);
    if check {
        let stale = std::fs::read(&kept).unwrap_or_default() != fresh;
        ensure!(!stale, "{} is stale: run `cargo gen` and commit", kept.display());
    } else {
        std::fs::write(&kept, fresh).with_context(|| format!("write {}", kept.display()))?;
    }
    Ok(())
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
