//! containerd 2.4 asks plugins whether pods can be served; ours tells the truth.

use std::net::SocketAddr;

use anyhow::ensure;
use e2e::site::until;
use serde_json::{Value, json};
use vpc_sim::probe::Protocol;
use vpc_sim::vpc::PROBE_PORT;

use crate::containerd::{Containerd, Release};
use crate::reach::site;
use crate::sandbox::{Served, Wanted};
use crate::tools::conflist;

/// Whether the conflist lets a runtime speak the version of the specification that has STATUS.
fn has_status(conflist: &Value) -> bool {
    let versions = conflist["cniVersions"].as_array();
    versions.is_some_and(|versions| versions.contains(&json!("1.1.0")))
}

e2e::tests! {
    async fn status_follows_the_daemon(stage) {
        let conflist = conflist()?;
        if !has_status(&conflist) {
            println!("SKIPPED: the conflist has no version with STATUS in cniVersions");
            return Ok(());
        }
        let site = site(&stage).await?;
        let two = Containerd::install(&stage, site.machine("n2")?.node(), Release::Pinned, &conflist).await?;
        let pod = Served::run(&two, Wanted::pod("web")).await?;
        site.kill("n2").await?;
        until("the runtime says that pods cannot be served", || async {
            let (ready, message) = two.network_condition().await?;
            // Without any conflist it would say this instead.
            let is_from_the_plugin = !message.contains("not initialized");
            ensure!(!ready && is_from_the_plugin, "ready: {ready}, {message:?}");
            Ok(())
        })
        .await?;
        // What runs already runs on.
        let seen = e2e::site::ask(
            two.node().network(),
            Protocol::Tcp,
            SocketAddr::new(pod.address.into(), PROBE_PORT),
        );
        ensure!(seen.await?.name == "web");
        site.start("n2").await?;
        until("the runtime says that pods can be served again", || async {
            let (ready, message) = two.network_condition().await?;
            ensure!(ready, "{message}");
            Ok(())
        })
        .await?;
        pod.sandbox.remove(&two).await
    }
}
