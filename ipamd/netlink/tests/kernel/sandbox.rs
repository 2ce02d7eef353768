//! A network namespace per test, with or without root.
//!
//! As root a thread may leave for a new namespace. Otherwise the test runs itself again under `unshare` as root of a
//! user namespace. Where that is forbidden the test is skipped, and says so.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

const INSIDE: &str = "NETLINK_TEST_INSIDE";

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
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(body());
            true
        });
        if !inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        {
            run_as_root_of_a_user_namespace(name);
        }
    });
}

/// Another fresh network namespace.
pub(crate) fn another() -> OwnedFd {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        netlink::netns::current().unwrap()
    })
    .join()
    .unwrap()
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn run_as_root_of_a_user_namespace(name: &str) {
    let (_, test) = name.split_once("::").unwrap();
    let rerun = std::env::var_os(INSIDE).is_none().then(|| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1")
            .status()
    });
    match rerun {
        Some(Ok(status)) if status.success() => {}
        Some(Ok(status)) if status.code() == Some(101) => panic!("{test} failed in its user namespace"),
        other => eprintln!("SKIPPED {test}: neither root nor user namespaces are available here ({other:?})"),
    }
}
