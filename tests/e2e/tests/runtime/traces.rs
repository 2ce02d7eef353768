//! What pods leave on a node: everything that a removal has to give back.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, until};
use vpc_sim::node::Node;

/// A picture of a node: links, routes, rules, network namespaces, the runtime's memory of CNI results, releases that
/// wait for the daemon. Sorted lines, each told from where it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Traces(BTreeSet<String>);

impl Traces {
    /// Looks at a node.
    pub(crate) async fn of(node: &Node) -> Result<Self> {
        let mut lines = BTreeSet::new();
        // A link's counters and flags change by themselves; its number and name do not.
        for line in ip(node, &["-oneline", "link", "show"]).await?.lines() {
            let link: Vec<&str> = line.split_whitespace().take(2).collect();
            lines.insert(format!("link {}", link.join(" ")));
        }
        for family in ["-4", "-6"] {
            let routes = ip(node, &[family, "route", "show", "table", "all"]).await?;
            // What the kernel makes for the node's own device comes when it likes.
            let others = routes.lines().filter(|line| !line.contains("dev ens5"));
            lines.extend(others.map(|line| format!("route {line}")));
            let rules = ip(node, &[family, "rule", "show"]).await?;
            lines.extend(rules.lines().map(|line| format!("rule {line}")));
        }
        for folder in [
            "/run/netns",
            "/var/lib/cni/results",
            "/run/aws-node/berth/released",
        ] {
            let entries = std::fs::read_dir(node.path(Path::new(folder)))
                .into_iter()
                .flatten();
            lines.extend(
                entries
                    .filter_map(Result::ok)
                    .map(|entry| format!("{folder}/{:?}", entry.file_name())),
            );
        }
        Ok(Self(lines))
    }
}

/// What `ip` says on a node.
async fn ip(node: &Node, arguments: &[&str]) -> Result<String> {
    let output = node.run("ip", arguments).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {errors}", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until a node's daemon holds that many addresses for pods, each with its place in the kernel.
pub(crate) async fn until_held(site: &Site, node: &str, count: usize) -> Result<()> {
    let node = site.machine(node)?.node();
    until("the pool is filled", || async {
        let routes = ip(node, &["route", "show", "table", "all", "type", "blackhole"]).await?;
        let held = routes.lines().count();
        ensure!(held == count, "{held} addresses of {count} are held:\n{routes}");
        Ok(())
    })
    .await
}

/// How many addresses the daemon counts as used, by what it explains.
pub(crate) async fn in_use(stage: &Stage, site: &Site, node: &str) -> Result<usize> {
    let program = stage.tools.binaries.ipamd.to_string_lossy().into_owned();
    let output = site.machine(node)?.node().run(&program, &["explain"]).await?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find(|line| line.contains("addresses are in use"));
    let words = line
        .with_context(|| format!("the count in {text:?}"))?
        .split_whitespace();
    words.map(str::parse).find_map(Result::ok).context("a number")
}

/// Waits until a node looks as before and no address is in use there.
pub(crate) async fn until_nothing_is_left(
    stage: &Stage,
    site: &Site,
    node: &str,
    before: &Traces,
) -> Result<()> {
    let machine = site.machine(node)?;
    let told = until("everything was given back", || async {
        let now = Traces::of(machine.node()).await?;
        let more: Vec<_> = now.0.difference(&before.0).collect();
        let less: Vec<_> = before.0.difference(&now.0).collect();
        ensure!(
            more.is_empty() && less.is_empty(),
            "left: {more:#?}, missing: {less:#?}"
        );
        let used = in_use(stage, site, node).await?;
        ensure!(used == 0, "{used} addresses are in use");
        Ok(())
    });
    told.await
        .with_context(|| format!("the log of ipamd on {node}:\n{}", machine.ipamd_log()))
}
