//! Pods: one after another and many at once, beside the kernel's floor.

use anyhow::Result;
use on_node::order::{Burst, Counts, Exec, Order, Single};

use crate::Effort;
use crate::row::{Bar, Row, Unit};
use crate::site::Site;

/// What a process may cost beside an empty one of the same libc.
const EXEC_BAR: f64 = 1.6;
/// What the kernel work of an ADD may cost beside hand-written bytes.
const KERNEL_BAR: f64 = 1.3;
const ADD_P50_MS: f64 = 3.0;
const ADD_P99_MS: f64 = 8.0;
const BURST_P99_MS: f64 = 200.0;
const GONE_MS: f64 = 1000.0;

/// The plugin without wiring.
pub(crate) async fn exec(site: &mut Site, effort: Effort) -> Result<Vec<Row>> {
    let rounds = effort.rounds * 3;
    let times: Exec = site.full.agent.ask(&Order::Exec { rounds }).await?;
    let empty = "empty static program";
    Ok(vec![
        Row::time("plugin: exec, one question, exit; p50", times.shim.p50)
            .beside(empty, times.empty.p50 / 1000.0)
            .bar(Bar::RatioAtMost(EXEC_BAR)),
        Row::time("plugin: exec, one question, exit; p99", times.shim.p99)
            .beside(empty, times.empty.p99 / 1000.0),
    ])
}

/// What one ADD asks of the kernel.
pub(crate) async fn counts(site: &mut Site, skipped: &mut Vec<String>) -> Result<Vec<Row>> {
    let counts: Option<Counts> = site.full.agent.ask(&Order::Count {}).await?;
    let Some(counts) = counts else {
        skipped.push("counts of an ADD, because there is no strace; install it".to_owned());
        return Ok(Vec::new());
    };
    let row = |what: &str, count: u32| Row::new(what, Unit::Count, count.into());
    Ok(vec![
        row("ADD: processes made, plugin", counts.forks).at_most(0.0),
        row("ADD: processes made, daemon", counts.daemon_forks).at_most(0.0),
        // There and back, to open a socket.
        row("ADD: namespaces entered, plugin", counts.namespace_moves).at_most(2.0),
        row("ADD: namespaces entered, daemon", counts.daemon_namespace_moves).at_most(0.0),
        row("ADD: netlink messages sent", counts.netlink_sends),
        row("ADD: netlink receives", counts.netlink_receives),
        row("ADD: system calls of the plugin", counts.system_calls),
    ])
}

/// Everything about pods with so many on the node already.
pub(crate) async fn with(site: &mut Site, level: u32, effort: Effort) -> Result<Vec<Row>> {
    let rounds = effort.rounds;
    let one: Single = site.full.agent.ask(&Order::Single { rounds }).await?;
    let beside = |what: &str| format!("{what}; {level} pods there");
    let floor = "hand-written netlink";
    let mut rows = vec![
        Row::time(beside("kernel work of an ADD, p50"), one.wire.p50)
            .beside(floor, one.floor.p50 / 1000.0)
            .bar(Bar::RatioAtMost(KERNEL_BAR)),
        Row::time(beside("kernel work of an ADD, p99"), one.wire.p99).beside(floor, one.floor.p99 / 1000.0),
        Row::time(beside("ADD, exec to result, p50"), one.add.p50)
            .beside(floor, one.floor.p50 / 1000.0)
            .bar(Bar::AtMost(ADD_P50_MS)),
        Row::time(beside("ADD, exec to result, p99"), one.add.p99)
            .beside(floor, one.floor.p99 / 1000.0)
            .bar(Bar::AtMost(ADD_P99_MS)),
        Row::time(beside("DEL, exec to exit, p50"), one.del.p50),
        Row::time(beside("DEL, exec to exit, p99"), one.del.p99),
    ];
    for (position, count) in effort.bursts.into_iter().enumerate() {
        let burst: Burst = site.full.agent.ask(&Order::Burst { count }).await?;
        // The bars: of the smaller burst for ADDs, of the larger one for DELs.
        rows.extend(burst_rows(&burst, count, level, position == 0));
    }
    Ok(rows)
}

fn burst_rows(burst: &Burst, count: u32, level: u32, is_small: bool) -> Vec<Row> {
    let beside = |what: &str| format!("{count} {what}; {level} pods there");
    if let Some(complaint) = &burst.complaint {
        crate::say(&format!("an ADD failed: {complaint}"));
    }
    let mut add = Row::time(beside("ADDs at once, p99"), burst.add.p99);
    let mut gone = Row::time(beside("DELs at once, devices gone"), burst.gone);
    if is_small {
        add = add.at_most(BURST_P99_MS);
    } else {
        gone = gone.at_most(GONE_MS);
    }
    vec![
        Row::time(beside("ADDs at once, p50"), burst.add.p50),
        add,
        Row::new(beside("ADDs at once, failed"), Unit::Count, burst.failed.into()).at_most(0.0),
        Row::time(beside("DELs at once, p99"), burst.del.p99),
        Row::time(beside("DELs at once, last exit"), burst.del.max),
        gone,
    ]
}
