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

/// Builds all three.
pub(crate) fn build(root: &Path, profile: Profile) -> Result<Binaries> {
    let binaries = expected(root, profile);
    for (package, is_static) in [("cni-shim", true), ("max-pods", true), ("ipamd", false)] {
        cargo(root, package, is_static, profile)?;
    }
    for path in [&binaries.shim, &binaries.ipamd, &binaries.max_pods] {
        ensure!(path.exists(), "cargo built no {}", path.display());
    }
    Ok(binaries)
}

fn cargo(root: &Path, package: &str, is_static: bool, profile: Profile) -> Result<()> {
    let mut command =
        Command::new(std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from));
    command
        .current_dir(root)
        .args(["build", "--locked", "--package", package]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    if is_static {
        command.args(["--target", &target()]).env("RUSTFLAGS", STATIC);
    }
    let status = command
        .status()
        .with_context(|| format!("run cargo for {package}"))?;
    ensure!(status.success(), "{package} does not build");
    Ok(())
}
