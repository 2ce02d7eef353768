//! Reference plugins behind ours in one chain: they find in our result what they need, and the result reaches the
//! runtime unchanged.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::site::{Site, Wishes, ask, until};
use serde_json::{Value, json};
use vpc_sim::node::Node;
use vpc_sim::probe::Protocol;
use vpc_sim::vpc::machine::Machine;

use crate::containerd::{Containerd, Release};
use crate::reach::{converse, site};
use crate::sandbox::{Sandbox, Served, Wanted};
use crate::tools::conflist;
use crate::traces::{Traces, until_nothing_is_left};

/// The node's port that leads to the pod's probe port.
const HOST_PORT: u16 = 30080;

/// Where flows are taken.
const DRAIN: u16 = 9;

/// A limit that a flow inside one machine would exceed a thousandfold.
const BITS_PER_SECOND: u64 = 10_000_000;

/// What may pass at once beyond the rate.
const BURST_BITS: u64 = 800_000;

/// What is poured through the limit.
const FLOW_BYTES: u64 = 1_000_000;

/// The limit of a pod that asks for one of its own, as Kubernetes writes it, and as `tc` does.
const OWN_LIMIT: (&str, &str) = ("20M", "rate 20Mbit");

/// Our deployed conflist with more plugins behind.
pub(crate) fn chain(bandwidth: Value) -> Result<Value> {
    let mut list = conflist()?;
    let plugins = list["plugins"].as_array_mut().context("plugins")?;
    plugins.push(bandwidth);
    plugins.push(json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}));
    Ok(list)
}

/// Limits every pod alike.
pub(crate) fn limited() -> Value {
    json!({
        "type": "bandwidth",
        "ingressRate": BITS_PER_SECOND, "ingressBurst": BURST_BITS,
        "egressRate": BITS_PER_SECOND, "egressBurst": BURST_BITS,
    })
}

/// The result of the whole chain, as the runtime keeps it for later verbs.
fn kept_result(node: &Node, sandbox: &str) -> Result<Value> {
    let folder = node.path(Path::new("/var/lib/cni/results"));
    let file = folder.join(format!("aws-cni-{sandbox}-eth0"));
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let kept: Value = serde_json::from_str(&text)?;
    Ok(kept["result"].clone())
}

/// The pod's side and the host's side, the address on the pod's: nothing was lost on the way through the chain. Gives
/// the name of the host's side.
async fn result_is_ours(node: &Node, pod: &Served) -> Result<String> {
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
    let sandbox = |interface: &Value| interface["sandbox"].as_str().unwrap_or_default().to_owned();
    ensure!(sandbox(&interfaces[index]).contains("/netns/cni-"), "{result}");
    let host = interfaces.iter().find(|interface| sandbox(interface).is_empty());
    let host = host
        .and_then(|host| host["name"].as_str())
        .context("a host interface")?;
    let shown = node.run("ip", &["link", "show", "dev", host]).await?;
    ensure!(shown.status.success(), "{host} of {result} is not on the node");
    Ok(host.to_owned())
}

/// Pours a flow through a limit and demands that it takes the time that its size needs. A busy machine makes it longer,
/// never shorter.
async fn pour(on: &Containerd<'_>, from: &str, to: IpAddr) -> Result<()> {
    let target = SocketAddr::new(to, DRAIN).to_string();
    let said = on
        .probe(from, &["pour", &target, &FLOW_BYTES.to_string()])
        .await?;
    let (bytes, took) = said
        .trim()
        .split_once(' ')
        .with_context(|| format!("two numbers, not {said:?}"))?;
    ensure!(
        bytes == FLOW_BYTES.to_string(),
        "{bytes} of {FLOW_BYTES} bytes arrived"
    );
    let least = (FLOW_BYTES * 8 - BURST_BITS) * 1000 / BITS_PER_SECOND;
    let took: u64 = took.parse()?;
    ensure!(
        took >= least,
        "a flow towards {to} took {took} ms; the limit makes it {least} ms"
    );
    Ok(())
}

/// A node with its containerd, and where the rest of the world is.
struct Place<'a> {
    on: &'a Containerd<'a>,
    machine: &'a Machine,
    elsewhere: &'a Machine,
}

/// The node's port leads to the pod, for the other node and for its pods; and the pod's own still does.
async fn host_port_works(
    at: &Place<'_>,
    other: &Containerd<'_>,
    web: &Served,
    client: &Served,
) -> Result<()> {
    let host_port = SocketAddr::new(at.machine.primary().into(), HOST_PORT);
    let answer = ask(at.elsewhere.node().network(), Protocol::Tcp, host_port).await?;
    let asker = IpAddr::V4(at.elsewhere.primary());
    ensure!(answer.name == "web" && answer.seen.ip() == asker, "{answer:?}");
    let said = other
        .probe(&client.container, &["ask", "tcp", &host_port.to_string()])
        .await?;
    ensure!(said.starts_with(&format!("web {} ", client.address)), "{said}");
    let target = format!("{}:7", web.address);
    converse(
        other,
        &client.container,
        &target,
        "web",
        &client.address.to_string(),
    )
    .await
}

/// Nobody answers there any more.
async fn host_port_is_closed(at: &Place<'_>) -> Result<()> {
    let host_port = SocketAddr::new(at.machine.primary().into(), HOST_PORT);
    until("the host port is closed", || async {
        let answer = ask(at.elsewhere.node().network(), Protocol::Tcp, host_port).await;
        ensure!(answer.is_err(), "{answer:?}");
        Ok(())
    })
    .await
}

/// Both directions are held to the limit; the other end is in its node's network, where nothing limits.
async fn limits_hold(at: &Place<'_>, other: &Containerd<'_>, web: &Served) -> Result<()> {
    let listen = format!("0.0.0.0:{DRAIN}");
    web.sandbox.start(at.on, "drain", &["drain", &listen]).await?;
    let free = Sandbox::run(other, Wanted::pod("free").in_host_network()).await?;
    let drain = free.start(other, "drain", &["drain", &listen]).await?;
    pour(other, &drain, web.address.into()).await?;
    pour(at.on, &web.container, at.elsewhere.primary().into()).await?;
    free.remove(other).await
}

e2e::tests! {
    /// CNI: CHN-3.
    async fn portmap_bandwidth_and_tuning_work_behind_us(stage) {
        let site = site(&stage).await?;
        let chain = chain(limited())?;
        let (one, two) = tokio::try_join!(
            Containerd::install(&stage, site.machine("n1")?.node(), Release::Debian, &chain),
            Containerd::install(&stage, site.machine("n2")?.node(), Release::Pinned, &chain),
        )?;
        for (on, node, other, far) in [(&one, "n1", &two, "n2"), (&two, "n2", &one, "n1")] {
            let at = Place { on, machine: site.machine(node)?, elsewhere: site.machine(far)? };
            let before = Traces::of(on.node()).await?;
            let web = Served::run(on, Wanted::pod("web").with_host_port(HOST_PORT, 7)).await?;
            let client = Served::run(other, Wanted::pod("client")).await?;
            result_is_ours(on.node(), &web).await?;
            let sysctl = on.probe(&web.container, &["read", "/proc/sys/net/core/somaxconn"]).await?;
            ensure!(sysctl.trim() == "500", "somaxconn is {sysctl}");
            host_port_works(&at, other, &web, &client).await?;
            limits_hold(&at, other, &web).await?;
            web.sandbox.remove(on).await?;
            client.sandbox.remove(other).await?;
            host_port_is_closed(&at).await?;
            until_nothing_is_left(&stage, &site, node, &before).await?;
        }
        site.nothing_dropped().await
    }

    /// containerd asks for the largest burst there is, half a gigabyte, which no short flow would notice. So this looks at
    /// the queue on our host interface, which the plugin can only have found in our result.
    async fn a_pods_own_limit_reaches_the_queue_on_its_host_interface(stage) {
        let site = site(&stage).await?;
        let chain = chain(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}))?;
        for (node, release) in [("n1", Release::Debian), ("n2", Release::Pinned)] {
            let on = Containerd::install(&stage, site.machine(node)?.node(), release, &chain).await?;
            let before = Traces::of(on.node()).await?;
            let (asked, shown) = OWN_LIMIT;
            let wanted = Wanted::pod("own")
                .with_annotation("kubernetes.io/ingress-bandwidth", asked)
                .with_annotation("kubernetes.io/egress-bandwidth", asked);
            let own = Served::run(&on, wanted).await?;
            let host = result_is_ours(on.node(), &own).await?;
            let queues = on.node().run("tc", &["qdisc", "show"]).await?;
            let queues = String::from_utf8(queues.stdout)?;
            let limits: Vec<&str> = queues.lines().filter(|line| line.contains(shown)).collect();
            let on_host = format!("dev {host} ");
            ensure!(limits.len() == 2 && limits.iter().any(|line| line.contains(&on_host)), "{queues}");
            own.sandbox.remove(&on).await?;
            until_nothing_is_left(&stage, &site, node, &before).await?;
        }
        Ok(())
    }

    /// What comes in at a node's first ENI goes back there, also from a pod whose address is another ENI's.
    async fn host_ports_of_pods_on_every_eni_work(stage) {
        let wishes = Wishes { runtime: true, ..Wishes::default() };
        let site = Site::new(&stage, &wishes).await?;
        let (near, far) = (site.machine("n1")?, site.machine("n2")?);
        let on = Containerd::install(&stage, near.node(), Release::Pinned, &conflist()?).await?;
        let mut pods = Vec::new();
        // One more than an ENI of this type has addresses for.
        for number in 0..6 {
            let wanted = Wanted::pod(&format!("web-{number}")).with_host_port(HOST_PORT + number, 7);
            pods.push(Served::run(&on, wanted).await?);
        }
        let enis = site.enis("n1")?;
        let of = |pod: &Served| enis.iter().find(|eni| eni.addresses.contains(&pod.address)).map(|eni| eni.device_index);
        let places: BTreeSet<_> = pods.iter().map(of).collect();
        ensure!(places.len() == 2 && !places.contains(&None), "the pods are on the ENIs {places:?}");
        for (port, pod) in (HOST_PORT..).zip(&pods) {
            let host_port = SocketAddr::new(near.primary().into(), port);
            let answer = ask(far.node().network(), Protocol::Tcp, host_port).await;
            let answer = answer.with_context(|| format!("{} on ENI {:?}", pod.address, of(pod)))?;
            ensure!(answer.name == pod.sandbox.name && answer.seen.ip() == IpAddr::V4(far.primary()), "{answer:?}");
        }
        site.nothing_dropped().await
    }
}
