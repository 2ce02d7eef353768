//! The part of the bench that runs on a simulated node, so that nothing of the simulator is in the times: it execs the
//! plugin as a runtime does, and beside it does the same kernel work by hand.
//!
//! One process lives through a whole run and holds the pods' namespaces; the bench sends it orders on standard input, a
//! line of JSON each, and gets a line back. It is built as the plugin is, so that what both link is compiled alike.
//! It judges nothing: bars are the bench's.

pub mod order;

mod allocate;
mod burst;
mod client;
mod count;
mod daemon;
mod device;
mod empty;
mod firewall;
mod flood;
mod floor;
mod namespace;
mod peer_rules;
mod plugin;
mod pods;
mod single;

use std::io::{BufRead, Write};

use anyhow::{Context, Result};
use order::{Order, Setup};
use serde_json::{Value, json};

use plugin::Plugin;
use pods::Pods;

/// Everything that lives from one order to the next.
struct Bench {
    setup: Setup,
    plugin: Plugin,
    pods: Pods,
}

/// Does orders until standard input ends.
///
/// # Errors
/// When the setup makes no sense or nobody hears the answers. An order that fails is answered with why.
pub fn serve(setup: &str) -> Result<()> {
    let setup: Setup = serde_json::from_str(setup).context("read the setup")?;
    let plugin = Plugin::new(&setup.shim, setup.conf.clone());
    let mut bench = Bench {
        setup,
        plugin,
        pods: Pods::default(),
    };
    for line in std::io::stdin().lock().lines() {
        let answer = match bench.obey(&line.context("read an order")?) {
            Ok(answer) => json!({"ok": answer}),
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        writeln!(std::io::stdout(), "{answer}").context("answer")?;
    }
    Ok(())
}

impl Bench {
    fn obey(&mut self, line: &str) -> Result<Value> {
        let plugin = &self.plugin;
        let pods = &mut self.pods;
        let answer = match serde_json::from_str(line).context("understand the order")? {
            Order::Exec { rounds } => serde_json::to_value(empty::beside(plugin, &self.setup.empty, rounds)?),
            Order::Single { rounds } => serde_json::to_value(single::run(plugin, rounds)?),
            Order::Burst { count } => serde_json::to_value(burst::run(plugin, count)?),
            Order::Fill { up_to } => serde_json::to_value(pods.fill(plugin, up_to)?),
            Order::Pod { name } => serde_json::to_value(pods.add(plugin, &name)?),
            Order::Listen { pod, port } => serde_json::to_value(pods.listen(&pod, port)?),
            Order::Flood { pod, to, millis } => {
                serde_json::to_value(flood::run(pods.get(&pod)?, to, millis)?)
            }
            Order::Received { pod } => serde_json::to_value(flood::received(pods.get(&pod)?)?),
            Order::PeerRules { pods: count, own } => serde_json::to_value(peer_rules::lay(count, own)?),
            Order::Allocate { per_second, millis } => {
                serde_json::to_value(allocate::run(per_second, millis)?)
            }
            Order::Restart { program, env, rounds } => {
                serde_json::to_value(daemon::restart(&program, &env, rounds)?)
            }
            Order::Idle { millis } => serde_json::to_value(daemon::idle(millis)?),
            Order::Count {} => serde_json::to_value(count::run(plugin)?),
            Order::Firewall { rounds } => serde_json::to_value(firewall::run(rounds)?),
        };
        answer.context("write the answer")
    }
}
