//! Builds the binaries that demo, tests and benches use. Cargo decides what is stale; the paths are passed on.
//!
//! The shim and the calculator are static, as they are shipped: they are exec'd on nodes whose libraries are not ours.
//! Each is built on its own, because in one invocation cargo would give the shim the daemon's features.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vpc_sim::binaries::{Binaries, Profile, target};
use vpc_sim::holder;

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

/// Where cargo puts what it builds.
pub(crate) fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// What the bench runs beside the daemon.
pub(crate) struct ForBench {
    /// Its part on a node.
    pub(crate) on_node: PathBuf,
    /// A program that does nothing, linked as the plugin is.
    pub(crate) empty: PathBuf,
    /// The plugin.
    pub(crate) shim: PathBuf,
}

/// Builds the bench's part on a node and its empty program, and installs that and the plugin; inside a world gives only
/// their paths.
pub(crate) fn for_bench(root: &Path, shim: &Path) -> Result<ForBench> {
    let target_folder = target_folder(root);
    let bench = target_folder.join("bench");
    let programs = ForBench {
        on_node: target_folder.join(target()).join("release/on-node"),
        empty: bench.join("empty"),
        shim: bench.join("cni-shim"),
    };
    if holder::is_inside() {
        return Ok(programs);
    }
    build_one(root, "on-node", true, Profile::Release)?;
    let linked = bench.join("linked");
    std::fs::create_dir_all(&linked).context("make the bench's folder")?;
    let empty = linked.join("empty");
    // Without cargo: a binary of a package would be linked only after all that the package uses.
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(root)
        .args(["--edition=2024", "-Copt-level=s", "-Clto=fat", "-Cpanic=abort"]);
    rustc
        .args(["-Cstrip=symbols", "--target", &target()])
        .args(STATIC.split(' '));
    rustc.arg("-o").arg(&empty).arg("tests/bench/empty/empty.rs");
    let status = rustc.status().context("run rustc for the empty program")?;
    ensure!(status.success(), "the empty program does not build");
    install(&empty, &programs.empty)?;
    install(shim, &programs.shim)?;
    Ok(programs)
}

/// Copies a program as an installer does, in one piece: in the page cache a linker's file lies in single pages, and an
/// exec of it costs a sixth more.
fn install(from: &Path, to: &Path) -> Result<()> {
    // Under another name first: somebody may be running the old one.
    let fresh = to.with_extension("new");
    std::fs::copy(from, &fresh).with_context(|| format!("copy {}", from.display()))?;
    std::fs::rename(&fresh, to).with_context(|| format!("rename to {}", to.display()))
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
        install(&built.join(path.file_name().unwrap_or_default()), path)?;
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
