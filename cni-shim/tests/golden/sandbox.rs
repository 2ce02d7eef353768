//! Namespaces of the test's own: a network with nothing but a loopback, and an empty `/run`. With or without root.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

const INSIDE: &str = "CNI_SHIM_TEST_INSIDE";

/// Runs the body of a test on a thread with namespaces of its own; everything that it starts inherits them. Without
/// root the test runs itself again as root of a user namespace; where that is forbidden it is skipped, and says so.
pub(crate) fn enter(test: &str, body: impl FnOnce() + Send) {
    let entered = std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            if unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).is_err() {
                return false;
            }
            hide_run();
            body();
            true
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if !entered {
        enter_as_root_of_a_user_namespace(test);
    }
}

fn hide_run() {
    let nothing: Option<&str> = None;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )
    .unwrap();
    for path in ["/run", "/var/run"] {
        if !Path::new(path).is_symlink() {
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
        }
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn enter_as_root_of_a_user_namespace(test: &str) {
    // The runner names tests without the crate.
    let test = test
        .strip_prefix(concat!(env!("CARGO_CRATE_NAME"), "::"))
        .unwrap_or(test);
    let rerun = std::env::var_os(INSIDE).is_none().then(|| {
        Command::new("unshare")
            .args(["--user", "--map-root-user"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1")
            .status()
    });
    match rerun {
        Some(Ok(status)) if status.success() => {}
        Some(Ok(status)) if status.code() == Some(101) => panic!("{test} failed in its namespaces"),
        other => eprintln!("SKIPPED {test}: neither root nor user namespaces are available here ({other:?})"),
    }
}

/// A pod's network namespace at the path that recordings name; gone when dropped.
pub(crate) struct Pod {
    path: PathBuf,
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self::at("/run/netns/pod")
    }

    pub(crate) fn at(path: &str) -> Self {
        let path = PathBuf::from(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        let file = path.clone();
        let made = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let nothing: Option<&str> = None;
            mount(
                Some("/proc/thread-self/ns/net"),
                &file,
                nothing,
                MsFlags::MS_BIND,
                nothing,
            )
            .unwrap();
        });
        made.join().unwrap();
        Self { path }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        umount2(&self.path, MntFlags::MNT_DETACH).unwrap();
        std::fs::remove_file(&self.path).unwrap();
    }
}

/// Defines tests that run in namespaces of their own.
macro_rules! in_sandbox {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        #[test]
        fn $name() {
            $crate::sandbox::enter(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    )*};
}
pub(crate) use in_sandbox;
