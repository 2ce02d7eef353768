//! A network namespace per test, with or without root.
//!
//! As root a thread may leave for a new namespace. Otherwise the test runs itself again under `unshare` as root of a
//! user namespace. Where that is forbidden the test is skipped, and says so.

use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

const INSIDE: &str = "HOSTNET_TEST_INSIDE";

/// Defines tests that run as async code on one thread inside a fresh network namespace.
macro_rules! in_namespace {
    ($($(#[$meta:meta])* async fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        #[test]
        fn $name() {
            $crate::sandbox::run(concat!(module_path!(), "::", stringify!($name)), || async $body);
        }
    )*};
}
pub(crate) use in_namespace;

pub(crate) fn run<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F + Send) {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            if unshare(CloneFlags::CLONE_NEWNET).is_err() {
                return false;
            }
            block_on(body());
            true
        });
        if !inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        {
            alone(name, &["--user", "--map-root-user", "--net"]);
        }
    });
}

/// Runs the test in a process of its own, the first of its process namespace, so that every process or thread that it
/// starts can be counted.
pub(crate) fn run_counted<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        block_on(body());
        return;
    }
    let rest = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if nix::unistd::geteuid().is_root() {
        alone(name, &rest);
    } else {
        alone(name, &[&["--user", "--map-root-user"], &rest[..]].concat());
    }
}

fn block_on(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(body);
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn alone(name: &str, namespaces: &[&str]) {
    let (_, test) = name.split_once("::").unwrap();
    let rerun = std::env::var_os(INSIDE).is_none().then(|| {
        Command::new("unshare")
            .args(namespaces)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(INSIDE, "1")
            .status()
    });
    match rerun {
        Some(Ok(status)) if status.success() => {}
        Some(Ok(status)) if status.code() == Some(101) => panic!("{test} failed in its namespaces"),
        other => eprintln!("SKIPPED {test}: neither root nor user namespaces are available here ({other:?})"),
    }
}

/// Another network namespace, with a path as a runtime would give it; gone when dropped.
pub(crate) struct Namespace {
    fd: OwnedFd,
    path: PathBuf,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            netlink::netns::current().unwrap()
        });
        let fd = made.join().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        Self { fd, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn routing(&self) -> netlink::Routing {
        netlink::Routing::open_in(self.fd.as_fd()).unwrap()
    }

    /// Does something with the calling thread inside.
    pub(crate) fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        netlink::netns::inside(self.fd.as_fd(), work).unwrap()
    }

    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
