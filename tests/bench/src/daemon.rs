//! The daemon alone: its size, what it holds when idle, how fast it answers and how soon after a restart.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use on_node::order::{FirewallTimes, Idle, Order, Times};

use crate::row::{Row, Unit};
use crate::site::Site;
use crate::{Effort, Programs};

const IDLE_MIB: f64 = 15.0;
const LARGE_MIB: f64 = 64.0;

/// Long enough to look at a process.
const IDLE_MILLIS: u64 = 1000;
const IDLE_MILLI_CPU: f64 = 1.0;
const ALLOCATE_P99_MS: f64 = 1.0;
const PER_SECOND: u32 = 1000;
const RESTART_MS: f64 = 150.0;
const FIREWALL_MS: f64 = 1.0;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The binaries' sizes.
pub(crate) fn sizes(programs: &Programs) -> Result<Vec<Row>> {
    let binaries = &programs.binaries;
    [
        ("ipamd", &binaries.ipamd),
        ("cni-shim", &binaries.shim),
        ("max-pods", &binaries.max_pods),
    ]
    .into_iter()
    .map(|(name, path)| {
        let size = std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
        #[expect(clippy::cast_precision_loss, reason = "sizes of files fit a double exactly")]
        let mib = size.len() as f64 / f64::from(1 << 20);
        Ok(Row::new(format!("size of {name}"), Unit::Mebibytes, mib))
    })
    .collect()
}

/// What it holds and does with a warm pool and nothing to do.
pub(crate) async fn idle(site: &mut Site, effort: Effort) -> Result<Vec<Row>> {
    let millis = effort.watch;
    let idle: Idle = site.full.agent.ask(&Order::Idle { millis }).await?;
    Ok(vec![
        Row::new("idle daemon, resident", Unit::Mebibytes, idle.resident_mib).at_most(IDLE_MIB),
        Row::new(
            "idle daemon, of that without a file",
            Unit::Mebibytes,
            idle.anonymous_mib,
        ),
        Row::new("idle daemon, CPU", Unit::MilliCpu, idle.milli_cpu).at_most(IDLE_MILLI_CPU),
    ])
}

/// Changes of the nftables table.
pub(crate) async fn firewall(site: &mut Site, effort: Effort) -> Result<Vec<Row>> {
    let rounds = effort.rounds;
    let times: FirewallTimes = site.full.agent.ask(&Order::Firewall { rounds }).await?;
    let of = |what: &str, quantile| format!("nftables, 15 ENIs of 50 addresses: {what}, {quantile}");
    let mut rows = Vec::new();
    for (what, times) in [
        ("an ENI comes or goes", times.eni),
        ("an address comes or goes", times.address),
        ("a CIDR of the VPC comes or goes", times.cidr),
    ] {
        rows.push(Row::time(of(what, "p50"), times.p50).at_most(FIREWALL_MS));
        rows.push(Row::time(of(what, "p99"), times.p99));
    }
    // Only when somebody changes the policy, which takes a restart, or after damage.
    rows.push(Row::time(of("everything written again", "p50"), times.whole.p50));
    rows.push(Row::time(of("everything written again", "p99"), times.whole.p99));
    Ok(rows)
}

/// Addresses at a steady pace, each recorded before it is answered, from a ledger of twelve thousand, and the memory that
/// it takes.
pub(crate) async fn large(site: &mut Site, programs: &Programs, effort: Effort) -> Result<Vec<Row>> {
    site.start_large(programs).await?;
    let pool = site.large_pool();
    // What came of filling it is over by then.
    let millis = effort.watch.min(IDLE_MILLIS);
    let _settled: Idle = site.large.agent.ask(&Order::Idle { millis }).await?;
    let (per_second, millis) = (PER_SECOND, effort.ask);
    let order = Order::Allocate { per_second, millis };
    let times: Times = site.large.agent.ask(&order).await?;
    let millis = effort.watch.min(IDLE_MILLIS);
    let idle: Idle = site.large.agent.ask(&Order::Idle { millis }).await?;
    site.machine("large")?.kill_ipamd().await?;
    Ok(vec![
        Row::time(
            format!("allocation from {pool} addresses at 1,000/s, durable, p50"),
            times.p50,
        ),
        Row::time(
            format!("allocation from {pool} addresses at 1,000/s, durable, p99"),
            times.p99,
        )
        .at_most(ALLOCATE_P99_MS),
        Row::new(
            format!("daemon with {pool} addresses, resident"),
            Unit::Mebibytes,
            idle.resident_mib,
        )
        .at_most(LARGE_MIB),
    ])
}

/// Killed and started, with EC2 and metadata away.
pub(crate) async fn restart(site: &mut Site, programs: &Programs, effort: Effort) -> Result<Vec<Row>> {
    let machine = site.machine("full")?;
    machine.kill_ipamd().await?;
    let mut env: BTreeMap<String, String> = machine.env().clone();
    for (name, value) in [
        ("AWS_VPC_K8S_CNI_LOG_FILE", "stderr"),
        ("AWS_ENDPOINT_URL_EC2", NOWHERE),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", NOWHERE),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    let order = Order::Restart {
        program: programs.binaries.ipamd.clone(),
        env,
        rounds: effort.rounds.div_ceil(10),
    };
    let times: Times = site.full.agent.ask(&order).await?;
    site.machine("full")?
        .start_ipamd(&programs.binaries.ipamd, &[])
        .await?;
    // What comes of a start is over when the next thing is measured.
    let millis = effort.watch.min(IDLE_MILLIS);
    let _settled: Idle = site.full.agent.ask(&Order::Idle { millis }).await?;
    Ok(vec![
        Row::time("restart to first answer, EC2 and metadata away, p50", times.p50),
        Row::time(
            "restart to first answer, EC2 and metadata away, longest",
            times.max,
        )
        .at_most(RESTART_MS),
    ])
}
