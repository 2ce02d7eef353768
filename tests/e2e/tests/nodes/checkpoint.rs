//! The peer's checkpoint file: ours says what is so, theirs is believed, and between the two, the kernel and the journal no
//! pod loses its address to another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, Wishes, ask, until};
use e2e::socket::dial;
use e2e::traces::{self, explained, ip};
use proto::peer::cni_backend_client::CniBackendClient;
use serde_json::{Value, json};
use vpc_sim::pod::{self, Pod, PodName};
use vpc_sim::probe::{Protocol, Responder};

use crate::peer::{add_request, wire, wiring};

/// As many as need a second ENI on the usual node, which has five addresses on each.
const PODS: usize = 7;

/// A second is as good as thirty to see that a rest is kept.
const COOLDOWN: (&str, &str) = ("IP_COOLDOWN_PERIOD", "1");

async fn site(stage: &Stage) -> Result<Site> {
    Site::new(stage, &Wishes::default().with(COOLDOWN.0, COOLDOWN.1)).await
}

fn file(site: &Site, name: &str) -> Result<PathBuf> {
    Ok(site
        .machine("n1")?
        .node()
        .path(&Path::new("/run/aws-node").join(name)))
}

fn journal(site: &Site) -> Result<PathBuf> {
    file(site, "berth/journal")
}

/// Who has what, as the file says.
fn told(site: &Site) -> Result<BTreeMap<String, String>> {
    let content = std::fs::read(file(site, "ipam.json")?)?;
    let content: Value = serde_json::from_slice(&content)?;
    ensure!(content["version"] == "vpc-cni-ipam/1", "{content}");
    let allocations = content["allocations"].as_array().context("allocations")?;
    let pairs = allocations.iter().map(|entry| {
        ensure!(
            entry["networkName"] == "aws-cni" && entry["ifName"] == "eth0",
            "{entry}"
        );
        ensure!(entry["metadata"]["interfacesCount"] == 1, "{entry}");
        ensure!(entry["allocationTimestamp"].as_u64() > Some(0), "{entry}");
        let text = |value: &Value| anyhow::Ok(value.as_str().context("a text")?.to_owned());
        Ok((text(&entry["containerID"])?, text(&entry["ipv4"])?))
    });
    pairs.collect()
}

fn held(pods: &[Pod]) -> BTreeMap<String, String> {
    let pairs = pods
        .iter()
        .map(|pod| (pod.name.container.clone(), pod.address.to_string()));
    pairs.collect()
}

async fn until_told(site: &Site, expected: &BTreeMap<String, String>) -> Result<()> {
    until("the file says who has what", || async {
        let told = told(site)?;
        ensure!(told == *expected, "{told:?} and not {expected:?}");
        Ok(())
    })
    .await
}

fn names() -> Vec<String> {
    (0..PODS).map(|number| format!("p{number}")).collect()
}

async fn add_all(site: &Site) -> Result<Vec<Pod>> {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    site.add_all("n1", &names).await
}

/// Each has its network, and a pod that comes now has an address of its own.
async fn all_is_well(site: &Site, pods: &[Pod]) -> Result<()> {
    let far = site.add("n2", &PodName::new("far")).await?;
    let responder = Responder::start("far", far.network(), far.place().address)?;
    let fresh = site.add("n1", &PodName::new("fresh")).await?;
    for pod in pods.iter().chain([&fresh]) {
        let answer = ask(pod.network(), Protocol::Udp, far.place().address).await?;
        ensure!(
            answer.seen.ip() == pod.address,
            "{} is seen as {}",
            pod.address,
            answer.seen
        );
    }
    let addresses: BTreeSet<Ipv4Addr> = pods.iter().chain([&fresh]).map(|pod| pod.address).collect();
    ensure!(
        addresses.len() == pods.len() + 1,
        "an address has two holders: {addresses:?}"
    );
    drop(responder);
    site.del("n1", fresh).await?;
    site.del("n2", far).await
}

/// What the peer's daemon would have left: its file and its pods. Of ours the journal and the routes are gone.
async fn as_the_peer_leaves_it(site: &Site) -> Result<Vec<(PodName, OwnedFd, Ipv4Addr)>> {
    let mut backend = CniBackendClient::new(dial(site, "n1").await?);
    let node = site.machine("n1")?.node();
    let mut pods = Vec::new();
    let mut allocations = Vec::new();
    for name in names().iter().map(|name| PodName::new(name)) {
        let namespace = node.add_pod(&name.container).await?;
        let reply = backend.add_network(add_request(&name)).await?.into_inner();
        let given = reply
            .ip_allocation_metadata
            .into_iter()
            .next()
            .context("an address")?;
        let wiring = wiring(&name, &given)?;
        wire(node.network(), node.path(Path::new(&name.netns())), wiring).await?;
        allocations.push(json!({
            "networkName": "aws-cni", "containerID": name.container, "ifName": "eth0", "ipv4": given.i_pv4_addr,
            "allocationTimestamp": 1_767_225_600_000_000_000_i64,
            "metadata": {"k8sPodNamespace": name.namespace, "k8sPodName": name.name, "interfacesCount": 1},
        }));
        pods.push((name, namespace, given.i_pv4_addr.parse()?));
    }
    site.kill("n1").await?;
    std::fs::remove_file(journal(site)?)?;
    for (family, table) in [("-4", "5120"), ("-4", "2")] {
        traces::ip(site, "n1", &[family, "route", "flush", "table", table]).await?;
    }
    let content = json!({"version": "vpc-cni-ipam/1", "allocations": allocations});
    std::fs::write(file(site, "ipam.json")?, serde_json::to_vec(&content)?)?;
    Ok(pods)
}

e2e::tests! {
    async fn the_peers_file_says_who_has_what(stage) {
        let site = site(&stage).await?;
        let mut pods = add_all(&site).await?;
        until_told(&site, &held(&pods)).await?;
        site.del("n1", pods.pop().context("a pod")?).await?;
        until_told(&site, &held(&pods)).await?;
        // Whoever comes after the daemon, the peer's perhaps, finds the last word.
        pods.push(site.add("n1", &PodName::new("last")).await?);
        let ended = site.machine("n1")?.terminate_ipamd().await?;
        ensure!(ended.is_some_and(|status| status.success()), "{ended:?}");
        ensure!(told(&site)? == held(&pods), "{:?}", told(&site)?);
        // A file of our own is nobody else's word.
        site.start("n1").await?;
        ensure!(!explained(&site, "n1").await?.contains("decided before"));
        all_is_well(&site, &pods).await?;
        site.nothing_dropped().await
    }

    async fn pods_of_the_peer_are_taken_over(stage) {
        let site = site(&stage).await?;
        let pods = as_the_peer_leaves_it(&site).await?;
        site.start("n1").await?;
        let far = site.add("n2", &PodName::new("far")).await?;
        let responder = Responder::start("far", far.network(), far.place().address)?;
        let fresh = site.add("n1", &PodName::new("fresh")).await?;
        ensure!(pods.iter().all(|(_, _, address)| *address != fresh.address), "{} has two holders", fresh.address);
        for (name, namespace, address) in &pods {
            let answer = ask(namespace.as_fd(), Protocol::Udp, far.place().address).await?;
            ensure!(answer.seen.ip() == *address, "{} is seen as {}", name.name, answer.seen);
        }
        drop(responder);
        let all = pods.iter().map(|(name, _, address)| (name.container.clone(), address.to_string()));
        let all = all.chain(held(std::slice::from_ref(&fresh))).collect();
        until_told(&site, &all).await?;
        // A second start believes the journal, which says more than the file did.
        site.kill("n1").await?;
        site.start("n1").await?;
        let told = explained(&site, "n1").await?;
        ensure!(told.contains(&format!("{} addresses are in use", all.len())), "{told}");
        for (name, namespace, _) in pods {
            drop(namespace);
            // Without what the runtime kept: our record alone leads to the peer's rules.
            let deleted = pod::run(site.machine("n1")?.node(), site.plugin(), &name, "DEL", None).await?;
            ensure!(deleted.status.success(), "{deleted:?}");
            site.machine("n1")?.node().remove_pod(&name.container).await?;
        }
        site.del("n1", fresh).await?;
        traces::none(&site, "n1").await?;
        site.nothing_dropped().await
    }

    async fn a_journal_that_is_damaged_costs_no_pod(stage) {
        let site = site(&stage).await?;
        let pods = add_all(&site).await?;
        until_told(&site, &held(&pods)).await?;
        site.kill("n1").await?;
        std::fs::write(journal(&site)?, "not a journal\nat all\n")?;
        site.start("n1").await?;
        all_is_well(&site, &pods).await?;
        ensure!(std::fs::read(file(&site, "berth/journal.corrupt0")?)?.starts_with(b"not a journal"));
        std::fs::remove_file(file(&site, "berth/journal.corrupt0")?)?;
        for pod in pods {
            site.del("n1", pod).await?;
        }
        traces::none(&site, "n1").await?;
        site.nothing_dropped().await
    }

    async fn what_only_the_kernel_knows_is_given_to_nobody(stage) {
        let site = site(&stage).await?;
        let pods = add_all(&site).await?;
        site.kill("n1").await?;
        std::fs::remove_file(journal(&site)?)?;
        let theirs = json!({"version": "vpc-cni-ipam/9", "allocations": {}});
        std::fs::write(file(&site, "ipam.json")?, theirs.to_string())?;
        site.start("n1").await?;
        all_is_well(&site, &pods).await?;
        let told = explained(&site, "n1").await?;
        ensure!(told.matches("no record says whose it is").count() == PODS, "{told}");
        ensure!(std::fs::read(file(&site, "ipam.set-aside0")?)? == theirs.to_string().as_bytes());
        let log = site.machine("n1")?.ipamd_log();
        ensure!(log.contains("vpc-cni-ipam/9"), "the form is named:\n{log}");
        for pod in pods {
            site.del("n1", pod).await?;
        }
        traces::none(&site, "n1").await?;
        let rules = ip(&site, "n1", &["rule"]).await?;
        ensure!(!rules.contains("512:"), "{rules}");
        site.nothing_dropped().await
    }
}
