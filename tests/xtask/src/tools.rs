//! `xtask tools`: builds the outside programs that tests use, from the Go modules below `tests/cluster` that pin them,
//! into `target/tools`.
//!
//! A module's stamp is everything that its build follows from: its files and the compiler's version. While the stamp is
//! the same and the programs are there, nothing is run but `go env`. Programs appear by rename, so whoever runs one
//! meanwhile sees the old or the new one.
//!
//! Left out: what Debian packages carry (runc, containerd 1.6, busybox); `tests/run` installs those.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A Go module below `tests/cluster` and the programs that it makes.
struct Module {
    /// Its folder.
    name: &'static str,
    /// What is built: the packages that its go.mod lists as tools, or its own.
    packages: &'static str,
    /// What comes of it.
    programs: &'static [&'static str],
}

const MODULES: [Module; 5] = [
    Module {
        name: "cnitool",
        packages: "tool",
        programs: &["cnitool"],
    },
    Module {
        name: "plugins",
        packages: "tool",
        programs: &["bandwidth", "host-local", "loopback", "portmap", "ptp", "tuning"],
    },
    Module {
        name: "cri",
        packages: ".",
        programs: &["cri"],
    },
    Module {
        name: "probe",
        packages: ".",
        programs: &["probe"],
    },
    Module {
        name: "containerd",
        packages: "tool",
        programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
    },
];

/// Builds what is missing or stale of these modules; of all when none is named.
pub(crate) fn build(root: &Path, wanted: &[String]) -> Result<()> {
    for name in wanted {
        let known = MODULES.iter().any(|module| module.name == *name);
        let names = MODULES.map(|module| module.name).join(", ");
        ensure!(known, "there is no module {name} of tools; choose from {names}");
    }
    let tools = folder(root);
    let compiler = compiler()?;
    for module in MODULES {
        if wanted.is_empty() || wanted.iter().any(|name| name == module.name) {
            module.build(root, &tools, &compiler)?;
        }
    }
    Ok(())
}

/// Where the programs are.
fn folder(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("tools")
}

fn compiler() -> Result<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).output();
    let output = output.context(
        "run go; the tests' tools are built with Go, whose version stands in tests/cluster/*/go.mod",
    )?;
    ensure!(output.status.success(), "go env GOVERSION failed");
    Ok(String::from_utf8(output.stdout)?)
}

impl Module {
    fn build(&self, root: &Path, tools: &Path, compiler: &str) -> Result<()> {
        let source = root.join("tests/cluster").join(self.name);
        let stamp_file = tools.join(format!(".{}.stamp", self.name));
        let stamp = stamp(&source, compiler)?;
        let built = std::fs::read_to_string(&stamp_file).unwrap_or_default() == stamp;
        if built && self.programs.iter().all(|program| tools.join(program).exists()) {
            // Tests hold its time against the sources'.
            return write_stamp(&stamp_file, &stamp);
        }
        let fresh = tools.join(format!(".{}.{}", self.name, std::process::id()));
        std::fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
        let finished = self.compile(&source, &fresh).and_then(|()| {
            for program in self.programs {
                let made = std::fs::rename(fresh.join(program), tools.join(program));
                made.with_context(|| format!("go built no {program} from {}", source.display()))?;
            }
            Ok(())
        });
        // Whatever came of it, the scratch goes; what was wrong is told, not what is left of it.
        drop(std::fs::remove_dir_all(&fresh));
        finished?;
        write_stamp(&stamp_file, &stamp)
    }

    fn compile(&self, source: &Path, out: &Path) -> Result<()> {
        let out = std::path::absolute(out).context("name the output folder")?;
        let status = Command::new("go")
            .current_dir(source)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .args(["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(out)
            .arg(self.packages)
            .status();
        let status = status.with_context(|| format!("run go build in {}", source.display()))?;
        ensure!(status.success(), "{} does not build", source.display());
        Ok(())
    }
}

fn write_stamp(path: &Path, stamp: &str) -> Result<()> {
    std::fs::write(path, stamp).with_context(|| format!("write {}", path.display()))
}

/// Everything that a build follows from, as text.
fn stamp(source: &Path, compiler: &str) -> Result<String> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(source).with_context(|| format!("list {}", source.display()))?;
    for entry in entries {
        let path = entry?.path();
        let kind = path.extension().and_then(|extension| extension.to_str());
        match kind {
            Some("go" | "mod" | "sum") => files.push(path),
            _ if path.is_dir() => bail!("{} is a folder; tools are flat modules", path.display()),
            _ => {}
        }
    }
    files.sort();
    let mut stamp = compiler.to_owned();
    for file in files {
        stamp += &std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    }
    Ok(stamp)
}
