//! The daemon itself: how soon a restarted one answers, and what an idle one holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::v1;

use crate::order::{Idle, Times};
use crate::{client, device};

/// Between two tries to reach a daemon that is starting.
const TRY_AGAIN: Duration = Duration::from_micros(500);

/// A restart that takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(20);

/// Kills and starts it again and again; each time is from the kill to the first Add's answer. The last one is killed,
/// too: whoever orders this starts a daemon of its own afterwards.
pub(crate) fn restart(program: &Path, env: &BTreeMap<String, String>, rounds: u32) -> Result<Times> {
    let mut child = start(program, env)?;
    let _ = first_answer(Instant::now(), "restart-first")?;
    let mut times = Vec::new();
    for round in 0..rounds {
        let began = Instant::now();
        end(&mut child)?;
        child = start(program, env)?;
        times.push(first_answer(began, &format!("restart{round}"))?);
    }
    end(&mut child)?;
    Ok(Times::of(times))
}

fn start(program: &Path, env: &BTreeMap<String, String>) -> Result<Child> {
    Command::new(program)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the daemon")
}

fn end(child: &mut Child) -> Result<()> {
    child.kill().context("kill the daemon")?;
    child.wait().context("wait for the daemon").map(drop)
}

/// Asks until there is an answer; the address is given back, unmeasured.
fn first_answer(began: Instant, container: &str) -> Result<Duration> {
    device::runtime()?.block_on(async {
        let mut ipam = loop {
            match client::connect().await {
                Ok(ipam) => break ipam,
                Err(error) => ensure!(began.elapsed() < LIMIT, "the daemon is away: {error:#}"),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        };
        let asked = tokio::time::timeout(LIMIT, ipam.add(client::add_request(container))).await;
        asked.context("the daemon does not answer")?.context("Add")?;
        let took = began.elapsed();
        let attachment = client::attachment(container);
        ipam.del(v1::DelRequest { attachment }).await.context("Del")?;
        Ok(took)
    })
}

/// Watches for so long.
#[expect(clippy::disallowed_methods, reason = "idling is what is measured")]
pub(crate) fn idle(millis: u64) -> Result<Idle> {
    let pid = process()?;
    let (before, began) = (on_cpu(pid)?, Instant::now());
    std::thread::sleep(Duration::from_millis(millis));
    let used = Duration::from_nanos(on_cpu(pid)?.saturating_sub(before));
    Ok(Idle {
        resident_mib: status(pid, "VmRSS:")? / 1024.0,
        anonymous_mib: status(pid, "RssAnon:")? / 1024.0,
        milli_cpu: used.as_secs_f64() / began.elapsed().as_secs_f64() * 1000.0,
    })
}

/// The node has processes of its own only, and one daemon.
pub(crate) fn process() -> Result<u32> {
    let folders = std::fs::read_dir("/proc").context("list processes")?;
    let pids = folders.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let named = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ipamd")
    };
    let mut found = pids.filter(named);
    found.next().context("find the daemon's process")
}

/// Time on a CPU of all threads together, in nanoseconds: the first word of each `schedstat` (Linux,
/// Documentation/scheduler/sched-stats.rst).
fn on_cpu(pid: u32) -> Result<u64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).context("list the daemon's threads")?;
    let mut sum = 0;
    for thread in threads {
        let path = thread
            .context("list the daemon's threads")?
            .path()
            .join("schedstat");
        let text = std::fs::read_to_string(&path).context("read a thread's times")?;
        let word = text.split_whitespace().next().context("a thread's times")?;
        sum += word.parse::<u64>().context("a thread's times")?;
    }
    Ok(sum)
}

fn status(pid: u32, field: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read the daemon's memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.with_context(|| format!("{field} of the daemon"))?
        .parse()
        .context("a size")
}
