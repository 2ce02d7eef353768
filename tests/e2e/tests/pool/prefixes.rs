//! Prefixes: filled and given back, replaced while there are none, and changed to and from on a running node.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use e2e::site::{Site, Wishes, ask, until};
use e2e::traces::explained;
use ipnet::Ipv4Net;
use vpc_sim::pod::Pod;
use vpc_sim::probe::{Protocol, Responder};

use crate::operator::{attached, give_back, held, primary, take};

/// Prefixes, quick to be given back.
fn delegated() -> Wishes {
    Wishes::default()
        .with("ENABLE_PREFIX_DELEGATION", "true")
        .with("BERTH_RELEASE_DWELL_SECONDS", "1")
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

async fn add(site: &Site, prefix: &str, count: usize) -> Result<Vec<Pod>> {
    let names = names(prefix, count);
    site.add_all("n1", &names.iter().map(String::as_str).collect::<Vec<_>>())
        .await
}

async fn del(site: &Site, pods: Vec<Pod>) -> Result<()> {
    for pod in pods {
        site.del("n1", pod).await?;
    }
    Ok(())
}

/// Waits until the first node holds so many secondary addresses and prefixes, and everybody sees it: a daemon that starts
/// now reads no stale list.
async fn until_held(site: &Site, addresses: usize, prefixes: usize) -> Result<()> {
    let what = format!("{addresses} addresses and {prefixes} prefixes are held");
    until(&what, || async {
        let (singles, blocks) = held(site, "n1")?;
        ensure!(
            (singles.len(), blocks.len()) == (addresses, prefixes),
            "{} and {}: {singles:?} {blocks:?}\n{}",
            singles.len(),
            blocks.len(),
            explained(site, "n1").await?
        );
        let change = site
            .vpc
            .cloud()
            .change(|model, now| model.next_change(now))
            .await?;
        ensure!(change.is_none(), "not everybody sees it");
        Ok(())
    })
    .await
}

/// Waits until the first node holds that many secondary addresses or more, and no prefix.
async fn until_single(site: &Site, addresses: usize) -> Result<()> {
    until(&format!("{addresses} single addresses are held"), || async {
        let (singles, prefixes) = held(site, "n1")?;
        ensure!(
            prefixes.is_empty() && singles.len() >= addresses,
            "{singles:?} {prefixes:?}"
        );
        Ok(())
    })
    .await
}

/// Whether an address is in one of the first node's prefixes.
fn is_delegated(site: &Site, address: Ipv4Addr) -> Result<bool> {
    let (_, prefixes) = held(site, "n1")?;
    Ok(prefixes.iter().any(|prefix| prefix.contains(&address)))
}

/// The node reaches the pod, and the pod answers.
async fn works(site: &Site, pod: &Pod) -> Result<()> {
    let _responder = Responder::start("pod", pod.network(), pod.place().address)?;
    ask(
        site.machine("n2")?.node().network(),
        Protocol::Tcp,
        pod.place().address,
    )
    .await?;
    Ok(())
}

/// The /28s in the middle of the first node's /26: the outer ones hold addresses that EC2 reserves.
fn middle() -> Result<Vec<Ipv4Net>> {
    Ok(vec!["10.0.0.16/28".parse()?, "10.0.0.32/28".parse()?])
}

e2e::tests! {
    async fn a_node_fills_prefix_by_prefix_and_goes_back_to_its_target(stage) {
        let site = Site::new(&stage, &delegated().with("BERTH_MAX_PODS", "40")).await?;
        until_held(&site, 0, 1).await?;
        let pods = add(&site, "p", 33).await?;
        let addresses: BTreeSet<Ipv4Addr> = pods.iter().map(|pod| pod.address).collect();
        ensure!(addresses.len() == 33, "two pods share an address");
        until_held(&site, 0, 3).await?;
        ensure!(attached(&site, "n1")?.len() == 1, "48 addresses fit the primary ENI");
        works(&site, &pods[32]).await?;
        del(&site, pods).await?;
        until_held(&site, 0, 1).await?;
        site.nothing_dropped().await
    }

    async fn warm_prefixes_are_kept_beyond_use(stage) {
        let site = Site::new(&stage, &delegated().with("WARM_PREFIX_TARGET", "1")).await?;
        until_held(&site, 0, 1).await?;
        let mut pods = add(&site, "p", 5).await?;
        until_held(&site, 0, 2).await?;
        pods.extend(add(&site, "q", 12).await?);
        until_held(&site, 0, 3).await?;
        del(&site, pods).await?;
        until_held(&site, 0, 1).await
    }

    async fn single_addresses_stand_in_while_the_subnet_is_fragmented(stage) {
        let wishes = Wishes { daemons: false, subnet: "10.0.0.0/26", ..delegated() };
        let site = Site::new(&stage, &wishes).await?;
        let (_, eni) = primary(&site, "n1")?;
        let mut taken = Vec::new();
        for block in middle()?.into_iter().filter(|block| !block.contains(&eni.primary)) {
            let addresses = (0..16).map(|offset| Ipv4Addr::from(u32::from(block.network()) + offset));
            taken.push(take(&site, &eni.subnet, addresses.collect()).await?);
        }
        site.start("n1").await?;
        let mut pods = add(&site, "p", 3).await?;
        until_single(&site, 3).await?;
        works(&site, &pods[0]).await?;

        for eni in taken {
            give_back(&site, eni).await?;
        }
        // The pods keep what they have, what nobody uses goes, and new pods get the better kind. The next try may be as
        // far away as the pause after the fourth refusal, 40 s.
        if until_held(&site, 3, 1).await.is_err() {
            until_held(&site, 3, 1).await?;
        }
        pods.extend(add(&site, "q", 1).await?);
        ensure!(is_delegated(&site, pods[3].address)?, "{} is no prefix's", pods[3].address);
        del(&site, pods).await?;
        until_held(&site, 0, 1).await?;
        site.nothing_dropped().await
    }

    async fn the_kind_of_block_changes_under_running_pods(stage) {
        let quick = Wishes::default().with("BERTH_RELEASE_DWELL_SECONDS", "1").with("WARM_IP_TARGET", "1");
        let site = Site::new(&stage, &quick).await?;
        let old = add(&site, "p", 3).await?;
        until_held(&site, 4, 0).await?;
        site.kill("n1").await?;
        site.start_with("n1", &[("ENABLE_PREFIX_DELEGATION", "true")]).await?;
        until_held(&site, 3, 1).await?;
        let new = add(&site, "q", 2).await?;
        ensure!(is_delegated(&site, new[0].address)?);
        works(&site, &old[0]).await?;
        works(&site, &new[0]).await?;
        site.kill("n1").await?;
        site.start("n1").await?;
        // Three for the old pods, one warm, and the prefix that two pods have.
        until_held(&site, 4, 1).await?;
        del(&site, new).await?;
        until_held(&site, 4, 0).await?;
        works(&site, &old[1]).await?;
        site.nothing_dropped().await
    }

    async fn a_full_eni_makes_room_for_the_other_kind(stage) {
        let one = Wishes::default().with("MAX_ENI", "1").with("BERTH_RELEASE_DWELL_SECONDS", "1");
        let site = Site::new(&stage, &one).await?;
        let pods = add(&site, "p", 2).await?;
        until_held(&site, 5, 0).await?;
        site.kill("n1").await?;
        site.start_with("n1", &[("ENABLE_PREFIX_DELEGATION", "true")]).await?;
        until_held(&site, 2, 1).await?;
        del(&site, pods).await?;
        until_held(&site, 0, 1).await
    }

    async fn a_type_that_cannot_have_prefixes_has_single_addresses(stage) {
        let wishes = Wishes { instance_type: "t2.medium", ..delegated() };
        let site = Site::new(&stage, &wishes).await?;
        let pods = add(&site, "p", 2).await?;
        until_single(&site, 2).await?;
        works(&site, &pods[0]).await
    }
}
