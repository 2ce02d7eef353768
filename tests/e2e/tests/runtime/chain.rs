//! Reference plugins behind ours in one chain: they find in our result what they need, and the result reaches the
//! runtime unchanged.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::site::{ask, until};
use serde_json::{Value, json};
use vpc_sim::node::Node;
use vpc_sim::probe::Protocol;

use crate::containerd::{Containerd, Release, conflist};
use crate::reach::{converse, site};
use crate::sandbox::{Served, Wanted};
use crate::traces::{Traces, until_nothing_is_left};

/// A limit that a flow inside one machine would exceed a thousandfold.
const MEGABITS_PER_SECOND: u64 = 10;

/// What is poured through it: 1.6 s at the limit, 0.02 s without.
const FLOW_BYTES: u64 = 2_000_000;

/// What a queue may let through at once, beyond the rate: containerd asks for the largest burst there is, which the
/// plugin takes as it is, so the chain below says a smaller one.
const BURST_BYTES: u64 = 100_000;

/// Our deployed conflist with more plugins behind.
fn chain() -> Result<Value> {
    let mut list = conflist()?;
    let plugins = list["plugins"].as_array_mut().context("plugins")?;
    plugins.push(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}));
    plugins.push(json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}));
    Ok(list)
}

/// The result of the whole chain, as the runtime keeps it for later verbs.
fn kept_result(node: &Node, sandbox: &str) -> Result<Value> {
    let folder = node.path(Path::new("/var/lib/cni/results"));
    let file = folder.join(format!("aws-cni-{sandbox}-eth0"));
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let kept: Value = serde_json::from_str(&text)?;
    Ok(kept["result"].clone())
}

/// The pod's side and the host's side, the address on the pod's: nothing was lost on the way through the chain.
async fn result_is_ours(node: &Node, pod: &Served) -> Result<()> {
    let result = kept_result(node, &pod.sandbox.id)?;
    ensure!(
        result["ips"][0]["address"] == format!("{}/32", pod.address),
        "{result}"
    );
    let interfaces = result["interfaces"].as_array().context("interfaces")?;
    let index = usize::try_from(result["ips"][0]["interface"].as_u64().context("an index")?)?;
    ensure!(
        interfaces[index]["name"] == "eth0",
        "the address is not on eth0: {result}"
    );
    ensure!(
        interfaces[index]["sandbox"]
            .as_str()
            .is_some_and(|netns| netns.contains("netns")),
        "{result}"
    );
    let host = interfaces
        .iter()
        .find(|interface| interface["sandbox"].as_str().unwrap_or_default().is_empty());
    let host = host
        .and_then(|host| host["name"].as_str())
        .context("a host interface")?;
    let shown = node.run("ip", &["link", "show", "dev", host]).await?;
    ensure!(shown.status.success(), "{host} of {result} is not on the node");
    Ok(())
}

/// How long a flow from one container to another took, as the receiver measured it.
async fn pour(from: &Containerd<'_>, container: &str, to: &Served) -> Result<u64> {
    let target = format!("{}:9", to.address);
    let said = from
        .probe(container, &["pour", &target, &FLOW_BYTES.to_string()])
        .await?;
    let (bytes, took) = said
        .trim()
        .split_once(' ')
        .with_context(|| format!("two numbers, not {said:?}"))?;
    ensure!(
        bytes == FLOW_BYTES.to_string(),
        "{bytes} of {FLOW_BYTES} bytes arrived"
    );
    Ok(took.parse()?)
}

e2e::tests! {
    async fn portmap_bandwidth_and_tuning_work_behind_us(stage) {
        let site = site(&stage).await?;
        let chain = chain()?;
        let (one, two) = tokio::try_join!(
            Containerd::install(&stage, &site, "n1", Release::Debian, &chain),
            Containerd::install(&stage, &site, "n2", Release::Pinned, &chain),
        )?;
        for (on, node, other, other_node) in [(&one, "n1", &two, "n2"), (&two, "n2", &one, "n1")] {
            let before = Traces::of(on.node()).await?;
            let limit = format!("{MEGABITS_PER_SECOND}M");
            let wanted = Wanted::pod("web")
                .with_host_port(30080, 7)
                .with_annotation("kubernetes.io/ingress-bandwidth", &limit)
                .with_annotation("kubernetes.io/egress-bandwidth", &limit);
            let web = Served::run(on, wanted).await?;
            result_is_ours(on.node(), &web).await?;
            let sysctl = on.probe(&web.container, &["read", "/proc/sys/net/core/somaxconn"]).await?;
            ensure!(sysctl.trim() == "500", "somaxconn is {sysctl}");

            let client = Served::run(other, Wanted::pod("client")).await?;
            let primary = site.machine(node)?.primary();
            let host_port = SocketAddr::new(IpAddr::V4(primary), 30080);
            let elsewhere = site.machine(other_node)?;
            let answer = ask(elsewhere.node().network(), Protocol::Tcp, host_port).await?;
            ensure!(answer.name == "web" && answer.seen.ip() == IpAddr::V4(elsewhere.primary()), "{answer:?}");
            let said = other.probe(&client.container, &["ask", "tcp", &host_port.to_string()]).await?;
            ensure!(said.starts_with(&format!("web {} ", client.address)), "{said}");
            // And past the host port, as any pod.
            let asker = client.address.to_string();
            converse(other, &client.container, &format!("{}:7", web.address), "web", &asker).await?;

            let least = (FLOW_BYTES - BURST_BYTES) * 8 / (MEGABITS_PER_SECOND * 1000);
            web.sandbox.start(on, "drain", &["drain", "0.0.0.0:9"]).await?;
            client.sandbox.start(other, "drain", &["drain", "0.0.0.0:9"]).await?;
            let inward = pour(other, &client.container, &web).await?;
            ensure!(inward >= least, "a flow to the pod took {inward} ms; the limit makes it {least} ms");
            let outward = pour(on, &web.container, &client).await?;
            ensure!(outward >= least, "a flow from the pod took {outward} ms; the limit makes it {least} ms");

            web.sandbox.remove(on).await?;
            client.sandbox.remove(other).await?;
            until_nothing_is_left(&stage, &site, node, &before).await?;
            until("the host port is closed", || async {
                let answer = ask(elsewhere.node().network(), Protocol::Tcp, host_port).await;
                ensure!(answer.is_err(), "{answer:?}");
                Ok(())
            })
            .await?;
        }
        site.nothing_dropped().await
    }
}
