//! Containers on two nodes with two releases of containerd talk as pods of a VPC do.

use anyhow::{Context, Result, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, Wishes};
use vpc_sim::vpc::INTERNET;

use crate::containerd::{Containerd, Release};
use crate::sandbox::{Sandbox, Served, Wanted};
use crate::tools::conflist;
use crate::traces::{Traces, in_use, until_held, until_nothing_is_left};

/// How many addresses a node holds for pods, used or not.
const HELD: usize = 5;

/// A site on whose nodes a runtime can run. As many addresses are held as its pods need, so that no ENI comes or goes
/// while a test compares.
pub(crate) async fn site(stage: &Stage) -> Result<Site> {
    site_with(stage, Wishes::default()).await
}

/// The same with wishes.
pub(crate) async fn site_with(stage: &Stage, wishes: Wishes) -> Result<Site> {
    let wishes = Wishes {
        runtime: true,
        ..wishes
    };
    let wishes = wishes
        .with("WARM_IP_TARGET", "1")
        .with("MINIMUM_IP_TARGET", &HELD.to_string());
    let site = Site::new(stage, &wishes).await?;
    for node in ["n1", "n2"] {
        until_held(&site, node, HELD).await?;
    }
    Ok(site)
}

/// Each node with a containerd of its own.
pub(crate) async fn both<'a>(stage: &Stage, site: &'a Site) -> Result<(Containerd<'a>, Containerd<'a>)> {
    let conflist = conflist()?;
    tokio::try_join!(
        Containerd::install(stage, site.machine("n1")?.node(), Release::Debian, &conflist),
        Containerd::install(stage, site.machine("n2")?.node(), Release::Pinned, &conflist),
    )
}

/// Asks by TCP and UDP from a container, and demands the right answerer and the right asker.
pub(crate) async fn converse(
    on: &Containerd<'_>,
    container: &str,
    target: &str,
    answerer: &str,
    seen: &str,
) -> Result<()> {
    for protocol in ["tcp", "udp"] {
        let said = on.probe(container, &["ask", protocol, target]).await?;
        let wanted = format!("{answerer} {seen} ");
        ensure!(
            said.starts_with(&wanted),
            "{target} by {protocol} said {said:?}, not {wanted:?}"
        );
    }
    Ok(())
}

e2e::tests! {
    async fn containers_talk_across_nodes_to_host_network_pods_and_to_the_internet(stage) {
        let site = site(&stage).await?;
        let (one, two) = both(&stage, &site).await?;
        let (near, far) = tokio::try_join!(
            Served::run(&one, Wanted::pod("near")),
            Served::run(&two, Wanted::pod("far")),
        )?;
        let (here, there) = (near.address.to_string(), far.address.to_string());
        converse(&one, &near.container, &format!("{there}:7"), "far", &here).await?;
        converse(&two, &far.container, &format!("{here}:7"), "near", &there).await?;
        for (on, pod, host, target) in [(&one, &near, &two, "n2"), (&two, &far, &one, "n1")] {
            let sandbox = Sandbox::run(host, Wanted::pod("by-host").in_host_network()).await?;
            let container = sandbox.serve(host).await?;
            let primary = site.machine(target)?.primary().to_string();
            converse(on, &pod.container, &format!("{primary}:7"), "by-host", &pod.address.to_string()).await?;
            let own = host.probe(&container, &["addresses"]).await?;
            ensure!(own.contains(&format!("ens5 {primary}/20")), "it is not in the host's network: {own}");
        }
        for (on, pod, node) in [(&one, &near, "n1"), (&two, &far, "n2")] {
            let primary = site.machine(node)?.primary();
            let enis = site.enis(node)?;
            let public = enis.iter().find_map(|eni| eni.public.get(&primary)).context("a public address")?;
            converse(on, &pod.container, &INTERNET.to_string(), "internet", &public.to_string()).await?;
        }
        site.nothing_dropped().await
    }

    async fn containers_of_a_pod_share_its_one_address(stage) {
        let site = site(&stage).await?;
        let (one, two) = both(&stage, &site).await?;
        for (on, node) in [(&one, "n1"), (&two, "n2")] {
            let pod = Served::run(on, Wanted::pod("three")).await?;
            let address = pod.address;
            let second = pod.sandbox.start(on, "second", &["serve", "second", "0.0.0.0:8"]).await?;
            let third = pod.sandbox.start(on, "third", &["pause"]).await?;
            for container in [&pod.container, &second, &third] {
                let held = on.probe(container, &["addresses"]).await?;
                let eth0: Vec<&str> = held.lines().filter(|line| line.starts_with("eth0 ")).collect();
                ensure!(eth0 == [format!("eth0 {address}/32")], "{held}");
            }
            // Over loopback, as containers of a pod may; and over the pod's address.
            converse(on, &third, "127.0.0.1:8", "second", "127.0.0.1").await?;
            converse(on, &third, &format!("{address}:7"), "three", &address.to_string()).await?;
            ensure!(in_use(&stage, &site, node).await? == 1, "three containers have one address");
        }
        site.nothing_dropped().await
    }

    /// CNI: DEL-1, DEL-3.
    async fn removal_gives_everything_back(stage) {
        let site = site(&stage).await?;
        let (one, two) = both(&stage, &site).await?;
        for (on, node) in [(&one, "n1"), (&two, "n2")] {
            let before = Traces::of(on.node()).await?;
            let mut pods = Vec::new();
            for name in ["a", "b", "c"] {
                pods.push(Served::run(on, Wanted::pod(name)).await?);
            }
            ensure!(Traces::of(on.node()).await? != before && in_use(&stage, &site, node).await? == 3);
            for pod in &pods {
                pod.sandbox.remove(on).await?;
            }
            until_nothing_is_left(&stage, &site, node, &before).await?;
            // The runtime forgot the name, so the pod can be made again.
            let again = Served::run(on, Wanted::pod("a")).await?;
            again.sandbox.remove(on).await?;
            until_nothing_is_left(&stage, &site, node, &before).await?;
        }
        site.nothing_dropped().await
    }
}
