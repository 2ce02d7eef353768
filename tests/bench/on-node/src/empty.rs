//! What an exec costs at least, beside the plugin with one question to the daemon and no wiring.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::order::{Exec, Times};
use crate::plugin::Plugin;

/// One of each in turn, so that both meet the same weather.
pub(crate) fn beside(plugin: &Plugin, empty: &Path, rounds: u32) -> Result<Exec> {
    let (mut floors, mut shims) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        floors.push(exec(empty)?);
        shims.push(plugin.ask_only()?.took);
    }
    Ok(Exec {
        empty: Times::of(floors),
        shim: Times::of(shims),
    })
}

/// With the same pipes as the plugin has.
fn exec(empty: &Path) -> Result<Duration> {
    let mut command = Command::new(empty);
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let began = Instant::now();
    let child = command.spawn().context("exec the empty program")?;
    let output = child.wait_with_output().context("wait for the empty program")?;
    let took = began.elapsed();
    ensure!(output.status.success(), "the empty program failed");
    Ok(took)
}
