//! The product's binaries that nodes run, found and held against their sources: a stale or missing one is an error.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The binaries of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The CNI plugin.
    pub shim: PathBuf,
    /// The daemon.
    pub ipamd: PathBuf,
    /// The calculator.
    pub max_pods: PathBuf,
}

/// How binaries were built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As shipped.
    Release,
    /// Quickly.
    Dev,
}

/// Why the binaries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was never built.
    #[error("{path} is missing; build it with `cargo run -p xtask -- build`", path = .path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A source is younger.
    #[error(
        "{path} is older than {source_file}; build it with `cargo run -p xtask -- build`",
        path = .path.display(), source_file = .source_file.display()
    )]
    Stale {
        /// Which.
        path: PathBuf,
        /// The younger source.
        source_file: PathBuf,
    },
    /// A file cannot be looked at.
    #[error("look at {path}", path = .path.display())]
    Look {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The target triple, which static binaries are built for by name: without one, build scripts would be static too.
#[must_use]
pub fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Where the sources of the three live, below the workspace's root.
const SOURCES: [&str; 3] = ["cni-shim/src", "ipamd", "proto/src"];

impl Binaries {
    /// Where a build of the workspace at `root` puts them.
    #[must_use]
    pub fn expected(root: &Path, profile: Profile) -> Self {
        let folder = match profile {
            Profile::Release => "release",
            Profile::Dev => "debug",
        };
        let all = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let (native, targeted) = (all.join(folder), all.join(target()).join(folder));
        Self {
            shim: targeted.join("cni-shim"),
            ipamd: native.join("ipamd"),
            max_pods: targeted.join("max-pods"),
        }
    }

    /// Binaries that somebody put into one folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            shim: folder.join("cni-shim"),
            ipamd: folder.join("ipamd"),
            max_pods: folder.join("max-pods"),
        }
    }

    /// Looks whether they are there and younger than their sources.
    ///
    /// # Errors
    /// What is missing or stale, and how to build it.
    pub fn check(&self, root: &Path) -> Result<(), Error> {
        let mut sources = Vec::new();
        for folder in SOURCES {
            collect(&root.join(folder), &mut sources)?;
        }
        for path in [&self.shim, &self.ipamd, &self.max_pods] {
            if !path.exists() {
                return Err(Error::Missing { path: path.clone() });
            }
        }
        // Only the oldest of the three matters: cargo leaves a binary alone whose own sources did not change.
        let built = [&self.shim, &self.ipamd, &self.max_pods].map(|path| modified(path));
        let newest = built
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .max();
        let younger = sources
            .into_iter()
            .find(|(_, at)| newest.is_some_and(|newest| *at > newest));
        match younger {
            Some((source_file, _)) => Err(Error::Stale {
                path: self.ipamd.clone(),
                source_file,
            }),
            None => Ok(()),
        }
    }
}

fn collect(folder: &Path, sources: &mut Vec<(PathBuf, SystemTime)>) -> Result<(), Error> {
    let look = |source| Error::Look {
        path: folder.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(look)? {
        let path = entry.map_err(look)?.path();
        let shipped = !path.ends_with("tests") && !path.ends_with("gen");
        if path.is_dir() && shipped {
            collect(&path, sources)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "csv")
        {
            sources.push((path.clone(), modified(&path)?));
        }
    }
    Ok(())
}

fn modified(path: &Path) -> Result<SystemTime, Error> {
    let read = std::fs::metadata(path).and_then(|data| data.modified());
    read.map_err(|source| Error::Look {
        path: path.to_owned(),
        source,
    })
}
