//! A main of its own: enters a world before any thread exists, then runs the tests one after the other, each on a fresh
//! site, and ends with the counts.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test runner speaks")]

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use vpc_sim::binaries::Profile;
use vpc_sim::holder::{self, World};

use crate::site::Tools;

/// A test: what it is called and what it does.
pub type Test = (
    &'static str,
    fn(Stage) -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>,
);

/// What a test gets: a world to build its site in, and the binaries.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Where nodes live.
    pub world: Arc<World>,
    /// What nodes run.
    pub tools: Arc<Tools>,
}

/// Names the tests of a file: each an async function of a [`Stage`].
#[macro_export]
macro_rules! tests {
    ($($(#[$meta:meta])* async fn $name:ident($stage:ident) $body:block)*) => {
        pub(crate) const ALL: &[$crate::runner::Test] = &[$((stringify!($name), |stage| Box::pin($name(stage)))),*];
        $($(#[$meta])* async fn $name($stage: $crate::runner::Stage) -> anyhow::Result<()> $body)*
    };
}

/// Runs the tests whose names contain the first argument that is no flag; all without one. With the release binaries, or
/// quick builds where `E2E_PROFILE=dev` says so.
pub fn run(tests: &[Test]) -> ExitCode {
    let dev = std::env::var("E2E_PROFILE").is_ok_and(|profile| profile == "dev");
    run_with(if dev { Profile::Dev } else { Profile::Release }, tests)
}

/// The same with binaries of this profile.
pub fn run_with(profile: Profile, tests: &[Test]) -> ExitCode {
    let filter = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .unwrap_or_default();
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let tools = if holder::is_inside() {
        Ok(())
    } else {
        Tools::find(profile).map(drop)
    };
    if let Err(error) = tools {
        eprintln!("the binaries cannot be used: {error:#}");
        return ExitCode::FAILURE;
    }
    let world = match holder::enter_world() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("no world here: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Runtime::new();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(all(world, profile, tests, &filter)))
    {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the tests could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn all(world: World, profile: Profile, tests: &[Test], filter: &str) -> anyhow::Result<usize> {
    let stage = Stage {
        world: Arc::new(world),
        tools: Arc::new(Tools::find(profile)?),
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in tests.iter().filter(|(name, _)| name.contains(filter)) {
        let began = Instant::now();
        let outcome = test(stage.clone()).await;
        let took = began.elapsed();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({took:.1?})");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED ({took:.1?})\n{error:#}");
            }
        }
    }
    println!("\ne2e: {passed} passed, {failed} failed");
    Ok(failed)
}
