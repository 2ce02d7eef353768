//! containerd is killed, the daemon is away: pods run on, and what is removed is given back all the same.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::site::{BOUND, Site};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};

use crate::containerd::Containerd;
use crate::reach::{both, converse, site};
use crate::sandbox::{Sandbox, Served, Wanted};
use crate::traces::{Traces, in_use, until_nothing_is_left};

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

    /// The plugin does not notice and wires a pod that nobody waits for; the runtime must still know whose it is.
    async fn a_creation_during_which_containerd_is_killed_is_removed_by_the_next(stage) {
        let site = site(&stage).await?;
        let (one, two) = both(&stage, &site).await?;
        for (on, node) in [(&one, "n1"), (&two, "n2")] {
            let before = Traces::of(on.node()).await?;
            let mut plugin = interrupted_run(&site, node, on, "web").await?;
            site.start(node).await?;
            let mut daemon = UnixStream::connect(on.node().path(Path::new(SOCKET))).await?;
            let carried = tokio::io::copy_bidirectional(&mut plugin, &mut daemon);
            tokio::time::timeout(BOUND, carried).await.context("the plugin ends")??;
            ensure!(in_use(&stage, &site, node).await? == 1, "the plugin was to go on");
            on.start_again().await?;
            let known = on.call("ListPodSandbox", &json!({})).await?;
            let id = known["items"][0]["id"].as_str().with_context(|| format!("a sandbox in {known}"))?;
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                on.call(method, &json!({"pod_sandbox_id": id})).await?;
            }
            until_nothing_is_left(&stage, &site, node, &before).await?;
        }
        site.nothing_dropped().await
    }

    /// CNI: DEL-8.
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

/// Where the plugin asks the daemon.
const SOCKET: &str = "/run/aws-node/ipamd.sock";

/// Puts somebody in the daemon's place who hears and says nothing.
async fn deafen(site: &Site, node: &str) -> Result<UnixListener> {
    site.kill(node).await?;
    let socket = site.machine(node)?.node().path(Path::new(SOCKET));
    std::fs::remove_file(&socket)?;
    Ok(UnixListener::bind(&socket)?)
}

/// Kills containerd once the plugin asks; gives the plugin's end, which goes on waiting.
async fn kill_when_asked(on: &Containerd<'_>, deaf: &UnixListener) -> Result<UnixStream> {
    let asked = tokio::time::timeout(BOUND, deaf.accept()).await;
    let (plugin, _) = asked.context("the plugin asks the daemon")??;
    on.kill().await?;
    Ok(plugin)
}

/// Asks for a stop, and kills containerd in the middle of the plugin's DEL.
async fn interrupted_stop(site: &Site, node: &str, on: &Containerd<'_>, pod: &Served) -> Result<()> {
    let deaf = deafen(site, node).await?;
    let (stopped, killed) = tokio::join!(pod.sandbox.stop(on), kill_when_asked(on, &deaf));
    killed?;
    ensure!(stopped.is_err(), "the stop was done before containerd was killed");
    Ok(())
}

/// Asks for a pod, and kills containerd in the middle of the plugin's ADD; gives the plugin's end.
async fn interrupted_run(site: &Site, node: &str, on: &Containerd<'_>, name: &str) -> Result<UnixStream> {
    let deaf = deafen(site, node).await?;
    let (made, killed) = tokio::join!(Sandbox::run(on, Wanted::pod(name)), kill_when_asked(on, &deaf));
    ensure!(made.is_err(), "the pod was made before containerd was killed");
    killed
}
