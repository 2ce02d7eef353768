//! A run of the command in a runtime directory of its own, as one user, ended and cleaned away also when the test is
//! killed.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

/// Environment of every process of one run, by which they are found.
const MARK: &str = "COMMAND_TEST_MARK";

/// `nobody` on Debian, Fedora and Amazon Linux alike.
const NOBODY: u32 = 65_534;

/// A user's runs.
pub(crate) struct Run {
    user: Option<u32>,
    directory: PathBuf,
    program: PathBuf,
    mark: String,
    /// Ends the run and removes the directory when its standard input ends, which it does with this process.
    guard: Child,
}

/// Whoever can be tried here: this user, and one without rights where this one is root.
pub(crate) fn everyone() -> Vec<Run> {
    let mut all = vec![Run::new(None)];
    let can_change = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"])
        .status();
    if geteuid().is_root() && can_change.is_ok_and(|status| status.success()) {
        all.push(Run::new(Some(NOBODY)));
    } else {
        eprintln!("SKIPPED: only as user {}: no second user to be tried", geteuid());
    }
    all
}

impl Run {
    fn new(user: Option<u32>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("vpc-sim-test-")
            .tempdir()
            .unwrap()
            .keep();
        // A user without rights may not see the folder of the build. Copied by another process: were it open for writing in
        // this one, a child that another thread forks meanwhile would hold it, and it could not be run.
        let program = directory.join("vpc-sim");
        let copied = Command::new("cp")
            .args([Path::new(env!("CARGO_BIN_EXE_vpc-sim")), &program])
            .status();
        assert!(copied.unwrap().success());
        if let Some(user) = user {
            chown(&directory, Some(user), Some(user)).unwrap();
        }
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&directory, mode).unwrap();
        let mark = directory.to_string_lossy().into_owned();
        let clean = "cat; \"$1\" down; rm -rf \"$2\"";
        let guard = as_user(user, "sh")
            .args(["-c", clean, "sh"])
            .args([&program, &directory])
            .env("XDG_RUNTIME_DIR", &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            user,
            directory,
            program,
            mark,
            guard,
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = as_user(self.user, &self.program.to_string_lossy());
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", &self.directory)
            .env(MARK, &self.mark)
            .stdin(Stdio::null());
        command
    }

    /// What `up` printed; nothing where there can be no world.
    pub(crate) fn up(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command(&[&["up"], arguments].concat()).output().unwrap();
        let (out, errors) = said(&output);
        if errors.contains("namespaces for the simulated VPC") {
            eprintln!("SKIPPED for user {:?}: no world here: {errors}", self.user);
            return None;
        }
        assert!(output.status.success(), "{out}{errors}");
        Some(out)
    }

    /// What a command printed that must succeed.
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let (out, errors) = said(&output);
        assert!(output.status.success(), "{arguments:?}: {out}{errors}");
        out
    }

    /// What a command printed that must fail.
    pub(crate) fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let (out, errors) = said(&output);
        assert!(!output.status.success(), "{arguments:?}: {out}{errors}");
        out + &errors
    }

    /// Runs a command on a node with this standard input.
    pub(crate) fn exec(&self, node: &str, command: &[&str], input: &str) -> Output {
        let mut child = self
            .command(&[&["exec", node, "--"], command].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// A file that this user can read.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// The run's first process: whoever made the control socket.
    pub(crate) fn starter(&self) -> i32 {
        let user = self.user.unwrap_or_else(|| geteuid().as_raw());
        let folder = self.directory.join(format!("vpc-sim-{user}/default"));
        let stream = UnixStream::connect(folder.join("control.sock")).unwrap();
        getsockopt(&stream, PeerCredentials).unwrap().pid()
    }

    /// The processes that carry the run's mark.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        })
        .collect()
    }

    /// Whether no process and no folder is left.
    pub(crate) fn is_gone(&self) -> bool {
        let folders = || {
            let entries = std::fs::read_dir(&self.directory).unwrap();
            entries
                .filter(|entry| entry.as_ref().unwrap().path().is_dir())
                .count()
        };
        within_seconds(10, || self.processes().is_empty() && folders() == 0)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _nobody_to_tell = self.guard.wait();
        // What the user could not remove: its own directory in the machine's.
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn as_user(user: Option<u32>, program: &str) -> Command {
    let Some(user) = user else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={user}"), &format!("--regid={user}")])
        .args(["--clear-groups", program]);
    command
}

/// The cgroups of the run that this process started, wherever on the machine they are.
pub(crate) fn cgroups_of(starter: i32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        // Others come and go meanwhile.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("vpc-sim-{starter}-")) {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// Standard output and standard error.
pub(crate) fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

pub(crate) fn within_seconds(limit: u64, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(limit) {
        if condition() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
