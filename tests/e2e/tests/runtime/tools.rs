//! What the tests bring along: outside programs, and our plugin and conflist put on a node as an installer does it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use e2e::runner::Stage;
use serde_json::Value;
use vpc_sim::node::Node;

/// Where nodes look for CNI plugins and configurations.
pub(crate) const PLUGINS: &str = "/opt/cni/bin";
pub(crate) const CONFLISTS: &str = "/etc/cni/net.d";

/// What our chains need beside our own plugin; containerd itself wants `loopback`.
const REFERENCE_PLUGINS: [&str; 4] = ["loopback", "portmap", "bandwidth", "tuning"];

/// Where Debian's programs are.
pub(crate) const DEBIAN: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The modules of `tests/cluster` and what is used of them.
const MODULES: [(&str, &[&str]); 5] = [
    ("cnitool", &["cnitool"]),
    ("containerd", &["containerd", "containerd-shim-runc-v2", "ctr"]),
    ("cri", &["cri"]),
    ("plugins", &REFERENCE_PLUGINS),
    ("probe", &["probe"]),
];

/// How to get what is missing or stale.
const BUILD: &str = "build it with `cargo run -p xtask -- tools`";

fn workspace() -> Result<&'static Path> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).context("find the workspace")
}

fn tools() -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(set) => PathBuf::from(set),
        None => workspace()?.join("target"),
    };
    Ok(std::path::absolute(target.join("tools"))?)
}

/// A program that `xtask tools` built.
pub(crate) fn tool(name: &str) -> Result<PathBuf> {
    Ok(tools()?.join(name))
}

/// Whether everything is there that a run needs, and not older than what it is made of.
pub(crate) fn check() -> Result<()> {
    for (module, programs) in MODULES {
        for name in programs {
            let path = tool(name)?;
            ensure!(path.exists(), "{} is missing; {BUILD}", path.display());
        }
        // The stamp is written anew whenever the module was looked at and found as built.
        let looked = modified(&tool(&format!(".{module}.stamp"))?)?;
        let folder = workspace()?.join("tests/cluster").join(module);
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let source = entry?.path();
            let is_fresh = modified(&source)? <= looked;
            ensure!(
                is_fresh,
                "{} is younger than its program; {BUILD}",
                source.display()
            );
        }
    }
    for program in ["containerd", "ctr", "runc", "iptables"] {
        let there = DEBIAN
            .split(':')
            .any(|folder| Path::new(folder).join(program).exists());
        ensure!(
            there,
            "{program} is missing; install Debian's packages containerd, runc and iptables"
        );
    }
    Ok(())
}

fn modified(path: &Path) -> Result<SystemTime> {
    let read = std::fs::metadata(path).and_then(|data| data.modified());
    read.with_context(|| format!("look at {}; {BUILD}", path.display()))
}

/// Our conflist, as it is deployed.
pub(crate) fn conflist() -> Result<Value> {
    let path = workspace()?.join("deploy/cni/10-aws.conflist");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Puts our plugin under its name and the reference plugins on a node.
pub(crate) fn install_plugins(stage: &Stage, node: &Node) -> Result<()> {
    let folder = node.path(Path::new(PLUGINS));
    let copy = |from: &Path, name: &str| {
        let copied = std::fs::copy(from, folder.join(name));
        copied.with_context(|| format!("install {} as {name}", from.display()))
    };
    copy(&stage.tools.binaries.shim, "aws-cni")?;
    for name in REFERENCE_PLUGINS {
        copy(&tool(name)?, name)?;
    }
    Ok(())
}

/// Puts a conflist in place as CNI installers do: whole or not at all.
pub(crate) fn configure(node: &Node, conflist: &Value) -> Result<()> {
    let folder = node.path(Path::new(CONFLISTS));
    std::fs::create_dir_all(&folder)?;
    let young = folder.join("10-aws.conflist.new");
    std::fs::write(&young, conflist.to_string())?;
    Ok(std::fs::rename(young, folder.join("10-aws.conflist"))?)
}
