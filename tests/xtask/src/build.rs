//! Builds the binaries that demo, tests and benches use. Cargo decides what is stale; the paths are passed on.
//!
//! The shim and the calculator are static, as they are shipped: they are exec'd on nodes whose libraries are not ours.
//! Each is built on its own, because in one invocation cargo would give the shim the daemon's features.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vpc_sim::binaries::{Binaries, Profile, target};

const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";

/// Where a build puts them.
pub(crate) fn expected(root: &Path, profile: Profile) -> Binaries {
    Binaries::expected(root, profile)
}

/// What the workspace's tests are built with, too, so that nothing is compiled twice.
const WITH_FAILPOINTS: &str = "ipamd/failpoints,cni-shim/failpoints";

/// Builds all three.
pub(crate) fn build(root: &Path, profile: Profile) -> Result<Binaries> {
    let binaries = expected(root, profile);
    if profile == Profile::Failpoints {
        with_failpoints(root, &binaries)?;
        return Ok(binaries);
    }
    for (package, is_static) in [("cni-shim", true), ("max-pods", true), ("ipamd", false)] {
        build_one(root, package, is_static, profile)?;
    }
    for path in [&binaries.shim, &binaries.ipamd, &binaries.max_pods] {
        ensure!(path.exists(), "cargo built no {}", path.display());
    }
    Ok(binaries)
}

/// Builds them as part of the workspace and copies them away, because the next ordinary build replaces them.
fn with_failpoints(root: &Path, binaries: &Binaries) -> Result<()> {
    run(
        cargo().current_dir(root).args([
            "build",
            "--locked",
            "--workspace",
            "--bins",
            "--features",
            WITH_FAILPOINTS,
        ]),
        "the workspace with failpoints",
    )?;
    let folder = binaries.ipamd.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let built = folder.with_file_name("debug");
    for path in [&binaries.shim, &binaries.ipamd, &binaries.max_pods] {
        let from = built.join(path.file_name().unwrap_or_default());
        // Under another name first: a test may be running the old one.
        let fresh = path.with_extension("new");
        std::fs::copy(&from, &fresh).with_context(|| format!("copy {}", from.display()))?;
        std::fs::rename(&fresh, path).with_context(|| format!("rename to {}", path.display()))?;
    }
    Ok(())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from))
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("run cargo for {what}"))?;
    ensure!(status.success(), "{what} does not build");
    Ok(())
}

fn build_one(root: &Path, package: &str, is_static: bool, profile: Profile) -> Result<()> {
    let mut command = cargo();
    command
        .current_dir(root)
        .args(["build", "--locked", "--package", package]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    if is_static {
        command.args(["--target", &target()]).env("RUSTFLAGS", STATIC);
    }
    run(&mut command, package)
}
