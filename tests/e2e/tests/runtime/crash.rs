//! containerd is killed, the daemon is away: pods run on, and what is removed is given back all the same.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::site::{BOUND, Site};
use tokio::net::UnixListener;

use crate::containerd::Containerd;
use crate::reach::{both, converse, site};
use crate::sandbox::{Served, Wanted};
use crate::traces::{Traces, until_nothing_is_left};

e2e::tests! {
    async fn pods_outlive_a_killed_containerd_and_can_be_removed_by_the_next(stage) {
        let site = site(&stage).await?;
        let (one, two) = both(&stage, &site).await?;
        let before = (Traces::of(one.node()).await?, Traces::of(two.node()).await?);
        let near = Served::run(&one, Wanted::pod("near")).await?;
        let far = Served::run(&two, Wanted::pod("far")).await?;
        let (here, there) = (near.address.to_string(), far.address.to_string());
        one.kill().await?;
        converse(&two, &far.container, &format!("{here}:7"), "near", &there).await?;
        one.start_again().await?;
        two.kill().await?;
        converse(&one, &near.container, &format!("{there}:7"), "far", &here).await?;
        two.start_again().await?;
        for (on, pod) in [(&one, &near), (&two, &far)] {
            let status = pod.sandbox.status(on).await?;
            ensure!(status["state"] == "SANDBOX_READY", "{status}");
            ensure!(pod.sandbox.address(on).await? == pod.address, "it has another address: {status}");
            pod.sandbox.remove(on).await?;
        }
        until_nothing_is_left(&stage, &site, "n1", &before.0).await?;
        until_nothing_is_left(&stage, &site, "n2", &before.1).await?;
        site.nothing_dropped().await
    }

    async fn a_removal_during_which_containerd_is_killed_is_finished_by_the_next(stage) {
        let site = site(&stage).await?;
        let (one, two) = both(&stage, &site).await?;
        for (on, node) in [(&one, "n1"), (&two, "n2")] {
            let before = Traces::of(on.node()).await?;
            let pod = Served::run(on, Wanted::pod("web")).await?;
            interrupted_stop(&site, node, on, &pod).await?;
            site.start(node).await?;
            on.start_again().await?;
            pod.sandbox.remove(on).await?;
            until_nothing_is_left(&stage, &site, node, &before).await?;
        }
        Ok(())
    }

    async fn a_sandbox_removed_while_the_daemon_is_away_is_given_back_later(stage) {
        let site = site(&stage).await?;
        let (one, two) = both(&stage, &site).await?;
        for (on, node) in [(&one, "n1"), (&two, "n2")] {
            let before = Traces::of(on.node()).await?;
            let pod = Served::run(on, Wanted::pod("web")).await?;
            site.kill(node).await?;
            pod.sandbox.remove(on).await?;
            site.start(node).await?;
            until_nothing_is_left(&stage, &site, node, &before).await?;
        }
        site.nothing_dropped().await
    }
}

/// Asks for a stop, and kills containerd while the plugin waits for a daemon that hears and says nothing.
async fn interrupted_stop(site: &Site, node: &str, on: &Containerd<'_>, pod: &Served) -> Result<()> {
    site.kill(node).await?;
    let socket = on.node().path(Path::new("/run/aws-node/ipamd.sock"));
    std::fs::remove_file(&socket)?;
    let deaf = UnixListener::bind(&socket)?;
    let kill = async {
        let asked = tokio::time::timeout(BOUND, deaf.accept()).await;
        let _plugin = asked.context("the plugin asks the daemon")??;
        on.kill().await
    };
    let (stopped, killed) = tokio::join!(pod.sandbox.stop(on), kill);
    killed?;
    ensure!(stopped.is_err(), "the stop was done before containerd was killed");
    Ok(())
}
