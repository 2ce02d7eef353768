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
    /// Quickly, and with the steps at which tests kill them compiled in.
    Failpoints,
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

/// What each of the three is made of, below the workspace's root.
const SHIM_SOURCES: [&str; 5] = [
    "cni-shim/src",
    "ipamd/core/src",
    "ipamd/hostnet/src",
    "ipamd/netlink/src",
    "proto/src",
];
const IPAMD_SOURCES: [&str; 6] = [
    "ipamd/src",
    "ipamd/core/src",
    "ipamd/ec2/src",
    "ipamd/hostnet/src",
    "ipamd/netlink/src",
    "proto/src",
];
const MAX_PODS_SOURCES: [&str; 2] = ["ipamd/max-pods/src", "ipamd/core/src"];

impl Binaries {
    /// Where a build of the workspace at `root` puts them.
    #[must_use]
    pub fn expected(root: &Path, profile: Profile) -> Self {
        let folder = match profile {
            Profile::Release => "release",
            Profile::Dev => "debug",
            Profile::Failpoints => "failpoints",
        };
        let all = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        if profile == Profile::Failpoints {
            return Self::in_folder(&all.join(folder));
        }
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

    /// Looks whether each is there and younger than what it is made of.
    ///
    /// # Errors
    /// What is missing or stale, and how to build it.
    pub fn check(&self, root: &Path) -> Result<(), Error> {
        let of = |path, folders: &[&str]| check_one(path, root, folders);
        of(&self.shim, &SHIM_SOURCES)?;
        of(&self.ipamd, &IPAMD_SOURCES)?;
        of(&self.max_pods, &MAX_PODS_SOURCES)
    }
}

fn check_one(path: &Path, root: &Path, folders: &[&str]) -> Result<(), Error> {
    if !path.exists() {
        return Err(Error::Missing {
            path: path.to_owned(),
        });
    }
    let built = modified(path)?;
    let mut sources = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut sources)?;
    }
    match sources.into_iter().find(|(_, at)| *at > built) {
        Some((source_file, _)) => Err(Error::Stale {
            path: path.to_owned(),
            source_file,
        }),
        None => Ok(()),
    }
}

fn collect(folder: &Path, sources: &mut Vec<(PathBuf, SystemTime)>) -> Result<(), Error> {
    let look = |source| Error::Look {
        path: folder.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(look)? {
        let path = entry.map_err(look)?.path();
        if path.is_dir() {
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    fn touch(path: &Path, at: SystemTime) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn each_binary_must_be_there_and_younger_than_its_own_sources() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let binaries = Binaries::in_folder(&root.join("target"));
        let begin = SystemTime::UNIX_EPOCH;
        let later = |seconds| begin + Duration::from_secs(seconds);
        for folder in SHIM_SOURCES.iter().chain(&IPAMD_SOURCES).chain(&MAX_PODS_SOURCES) {
            touch(&root.join(folder).join("lib.rs"), begin);
        }
        assert!(matches!(binaries.check(root), Err(Error::Missing { .. })));
        for path in [&binaries.shim, &binaries.ipamd, &binaries.max_pods] {
            touch(path, later(10));
        }
        binaries.check(root).unwrap();
        // The shim is built again; that makes the daemon no younger.
        touch(&root.join("ipamd/src/deep/new.rs"), later(20));
        touch(&binaries.shim, later(30));
        let Err(Error::Stale { path, .. }) = binaries.check(root) else {
            panic!("ipamd is stale")
        };
        assert_eq!(path, binaries.ipamd);
    }
}
