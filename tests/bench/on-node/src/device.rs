//! The node's devices: how many there are, and waiting until those of a measurement are gone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The group of devices that a measurement made and that go together.
pub(crate) const BENCH_GROUP: u32 = 0x4245;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A namespace's end takes the kernel milliseconds, many of them a second; the daemon's slow pass comes every 30 s.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// How many devices the node has. Reading this takes no lock that a change would need.
pub(crate) fn count() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").context("list the node's devices")?;
    Ok(text.lines().count())
}

/// Waits until there are no more devices than that.
#[expect(clippy::disallowed_methods, reason = "between two looks, within a bound")]
pub(crate) fn wait_until_at_most(limit: usize) -> Result<()> {
    let began = Instant::now();
    while count()? > limit {
        ensure!(
            began.elapsed() < GONE_LIMIT,
            "devices stay: {} and not {limit}",
            count()?
        );
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The runtime that the plugin uses, too.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")
}
