//! Where a run is found by its name: a folder with its control socket and, in the background, its log.
//!
//! `<runtime directory>/vpc-sim-<uid>/<name>/`, for the user alone. A lock on the folder says that the run lives; it ends
//! with the process that took it, so a run that was killed leaves a folder that the next one takes over.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// The control socket's file.
const SOCKET: &str = "control.sock";

/// What a run in the background says.
const LOG: &str = "run.log";

/// A run that ends may take the folder away between two steps of one that begins; nobody is that unlucky so often.
const ATTEMPTS: usize = 16;

/// Longest name: with the folder above it a socket's path must fit 107 bytes (unix(7)).
const NAME_BYTES: usize = 40;

/// A run's name: lower-case letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunName(String);

/// A text that names no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a run; use 1 to {NAME_BYTES} lower-case letters, digits and dashes")]
pub struct MalformedName(String);

impl FromStr for RunName {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedName(text.to_owned()))
        }
    }
}

impl std::fmt::Display for RunName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a run cannot have its folder, or is not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run has the name.
    #[error(
        "a run named {name} is running; end it with `vpc-sim down --name {name}`, or choose another name with --name"
    )]
    Taken {
        /// Which name.
        name: RunName,
    },
    /// The folder of all runs is somebody else's.
    #[error(
        "{path} is not a directory of this user alone; remove it, or set XDG_RUNTIME_DIR to a directory of your own",
        path = .path.display()
    )]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// A file of the folder cannot be used.
    #[error("{attempt} {path}", path = .path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such run.
    #[error("no run named {name}; {}", others(.running))]
    NotRunning {
        /// Which was looked for.
        name: RunName,
        /// Which there are.
        running: Vec<String>,
    },
}

fn others(running: &[String]) -> String {
    if running.is_empty() {
        "nothing is running: start one with `vpc-sim up`".to_owned()
    } else {
        format!("running are {}: choose one with --name", running.join(", "))
    }
}

/// The folder of a run, which goes when this is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The names of the folder of all runs and of the run's own: who we are changes on the way into a world.
    names: [OsString; 2],
    /// The runtime directory, the folder of all runs and the run's own, held open because they are out of sight once a
    /// world has been entered. The last is locked.
    above: [File; 2],
    own: File,
}

impl RunFolder {
    /// Takes the folder of this name for a run, also that of one that was killed.
    ///
    /// # Errors
    /// When the name is taken or the folder cannot be made.
    pub fn claim(name: &RunName) -> Result<Self, Error> {
        let all = folder_of_all();
        let path = all.join(&name.0);
        for _ in 0..ATTEMPTS {
            match Self::attempt(name, &all, &path) {
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Ok(None) => {}
                Ok(Some(folder)) => return Ok(folder),
                Err(error) => return Err(error),
            }
        }
        Err(Error::Taken { name: name.clone() })
    }

    /// Nothing when another run's end took the folder away meanwhile.
    fn attempt(name: &RunName, all: &Path, path: &Path) -> Result<Option<Self>, Error> {
        make(all)?;
        let is_ours = fs::symlink_metadata(all).is_ok_and(|found| {
            found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0
        });
        if !is_ours {
            return Err(Error::Foreign { path: all.to_owned() });
        }
        make(path)?;
        let own = open(path)?;
        match own.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Taken { name: name.clone() }),
            Err(TryLockError::Error(source)) => return Err(file("lock", path, source)),
        }
        let locked = own.metadata().map_err(|source| file("look at", path, source))?;
        let still_there = fs::metadata(path).is_ok_and(|found| found.ino() == locked.ino());
        if !still_there {
            return Ok(None);
        }
        Ok(Some(Self {
            path: path.to_owned(),
            names: [all, path].map(|path| path.file_name().unwrap_or_default().to_owned()),
            above: [open(&runtime_directory())?, open(all)?],
            own,
        }))
    }

    /// Makes the control socket.
    ///
    /// # Errors
    /// When the path is too long for one, or nothing can be made there.
    pub fn listen(&self) -> Result<UnixListener, Error> {
        let path = self.path.join(SOCKET);
        // What a killed run left.
        drop(fs::remove_file(&path));
        UnixListener::bind(&path).map_err(|source| file("listen on", &path, source))
    }

    /// Makes the log.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn log(&self) -> Result<File, Error> {
        let path = self.path.join(LOG);
        File::create(&path).map_err(|source| file("create", &path, source))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let [runtime, all] = &self.above;
        // What cannot be taken away is taken over by the next run.
        for name in [SOCKET, LOG] {
            let _is_left = unlinkat(&self.own, name, UnlinkatFlags::NoRemoveDir);
        }
        let [name_of_all, name] = &self.names;
        let _is_left = unlinkat(all, name.as_os_str(), UnlinkatFlags::RemoveDir);
        // Refused while other runs are in it.
        let _is_left = unlinkat(runtime, name_of_all.as_os_str(), UnlinkatFlags::RemoveDir);
    }
}

/// A conversation with the run of this name.
///
/// # Errors
/// When there is none; the error names those there are.
pub fn connect(name: &RunName) -> Result<UnixStream, Error> {
    UnixStream::connect(folder_of_all().join(&name.0).join(SOCKET)).map_err(|_| Error::NotRunning {
        name: name.clone(),
        running: running(),
    })
}

/// The run's folder while it has one, whose lock is free once the run has ended.
#[must_use]
pub fn held_by(name: &RunName) -> Option<File> {
    File::open(folder_of_all().join(&name.0)).ok()
}

/// Where a run in the background writes what it says.
#[must_use]
pub fn log_of(name: &RunName) -> PathBuf {
    folder_of_all().join(&name.0).join(LOG)
}

/// The runs of this user.
fn running() -> Vec<String> {
    let entries = fs::read_dir(folder_of_all()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| UnixStream::connect(entry.path().join(SOCKET)).is_ok())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn folder_of_all() -> PathBuf {
    runtime_directory().join(format!("vpc-sim-{}", geteuid()))
}

/// `XDG_RUNTIME_DIR` when it is this user's, which after `sudo` it may not be; else the directory for temporary files.
fn runtime_directory() -> PathBuf {
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usable = |path: &PathBuf| {
        path.is_absolute()
            && fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
    };
    given.filter(usable).unwrap_or_else(std::env::temp_dir)
}

fn make(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(file("create the directory", path, source))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| file("open", path, source))
}

fn file(attempt: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        attempt,
        path: path.to_owned(),
        source,
    }
}
