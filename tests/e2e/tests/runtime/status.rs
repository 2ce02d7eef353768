//! containerd 2.4 asks plugins whether pods can be served; ours tells the truth.

use std::net::SocketAddr;

use anyhow::ensure;
use e2e::site::{Wishes, until};
use vpc_sim::probe::Protocol;
use vpc_sim::vpc::PROBE_PORT;

use crate::containerd::{Containerd, Release};
use crate::reach::site_with;
use crate::sandbox::{Served, Wanted};
use crate::tools::conflist;

e2e::tests! {
    /// CNI: STA-2.
    async fn the_runtimes_status_follows_the_daemon(stage) {
        let site = site_with(&stage, Wishes::default().with("BERTH_STATUS_GRACE_SECONDS", "1")).await?;
        let conflist = conflist()?;
        let two = Containerd::install(&stage, site.machine("n2")?.node(), Release::Pinned, &conflist).await?;
        let pod = Served::run(&two, Wanted::pod("web")).await?;
        site.kill("n2").await?;
        until("the runtime says that pods cannot be served", || async {
            let (ready, message) = two.network_condition().await?;
            ensure!(!ready && message.contains("ask ipamd"), "ready: {ready}, {message:?}");
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
