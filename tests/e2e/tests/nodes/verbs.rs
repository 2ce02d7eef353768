//! STATUS, GC and CHECK of the real plugin beside the real daemon, as a runtime of CNI 1.1.0 calls them.

use std::collections::BTreeMap;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use e2e::site::{Site, Wishes, until};
use e2e::traces::explained;
use serde_json::{Value, json};
use vpc_sim::pod::{self, Pod, PodName};

/// Runs a verb that names no container, with these keys more in the configuration.
async fn verb(site: &Site, node: &str, verb: &str, extra: &Value) -> Result<Output> {
    let environment = [("CNI_COMMAND", verb), ("CNI_PATH", "/opt/cni/bin")];
    let environment: BTreeMap<String, String> = environment
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let mut conf = json!({"cniVersion": "1.1.0", "name": "aws-cni", "type": "aws-cni"});
    let more = extra.as_object().context("an object")?.clone();
    conf.as_object_mut().context("an object")?.extend(more);
    let node = site.machine(node)?.node();
    Ok(pod::exec(node, site.plugin(), &environment, &conf).await?)
}

async fn status(site: &Site) -> Result<Option<u64>> {
    let output = verb(site, "n1", "STATUS", &json!({})).await?;
    code(&output)
}

/// The error's code; none on success.
fn code(output: &Output) -> Result<Option<u64>> {
    if output.status.success() {
        ensure!(output.stdout.is_empty(), "{output:?}");
        return Ok(None);
    }
    let document: Value = serde_json::from_slice(&output.stdout)?;
    Ok(Some(document["code"].as_u64().context("a code")?))
}

async fn gc(site: &Site, valid: &[&Pod]) -> Result<()> {
    let valid: Vec<Value> = valid
        .iter()
        .map(|pod| json!({"containerID": pod.name.container, "ifname": "eth0"}))
        .collect();
    let output = verb(site, "n1", "GC", &json!({"cni.dev/valid-attachments": valid})).await?;
    ensure!(code(&output)?.is_none(), "{output:?}");
    Ok(())
}

async fn has_pods(site: &Site, count: usize) -> Result<()> {
    until(&format!("{count} pods on record"), || async {
        let told = explained(site, "n1").await?;
        ensure!(told.contains(&format!("{count} addresses are in use")), "{told}");
        Ok(())
    })
    .await
}

e2e::tests! {
    /// CNI: STA-2, STA-3, STA-9.
    async fn status_follows_the_daemon_and_forgives_a_restart(stage) {
        let wishes = Wishes { daemons: false, ..Wishes::default() };
        let site = Site::new(&stage, &wishes).await?;
        ensure!(status(&site).await? == Some(50), "no daemon ever served");
        site.start("n1").await?;
        until("the daemon serves", || async {
            ensure!(status(&site).await?.is_none());
            Ok(())
        })
        .await?;
        site.kill("n1").await?;
        ensure!(status(&site).await?.is_none(), "a restart is forgiven");
        site.start("n1").await?;
        until("the absence is over", || async {
            let away = site.machine("n1")?.node().run("ls", &["/var/run/aws-node/berth"]).await?;
            ensure!(!String::from_utf8_lossy(&away.stdout).contains("away"));
            Ok(())
        })
        .await
    }

    /// CNI: STA-9.
    async fn status_without_grace_fails_with_the_daemon(stage) {
        let site = Site::new(&stage, &Wishes::default().with("BERTH_STATUS_GRACE_SECONDS", "0")).await?;
        until("the daemon serves", || async {
            ensure!(status(&site).await?.is_none());
            Ok(())
        })
        .await?;
        site.kill("n1").await?;
        ensure!(status(&site).await? == Some(50));
        Ok(())
    }

    /// CNI: STA-8.
    async fn a_full_node_is_healthy_unless_the_letter_is_asked_for(stage) {
        for (letter, expected) in [("false", None), ("true", Some(50))] {
            let wishes = Wishes::default().with("BERTH_MAX_PODS", "1").with("BERTH_STATUS_FAILS_WHEN_FULL", letter);
            let site = Site::new(&stage, &wishes).await?;
            let pod = site.add("n1", &PodName::new("only")).await?;
            let told = status(&site).await?;
            ensure!(told == expected, "{letter}: {told:?}");
            site.del("n1", pod).await?;
        }
        Ok(())
    }

    /// CNI: STA-8.
    async fn a_node_that_holds_nothing_warm_is_ready_all_the_same(stage) {
        let wishes = Wishes::default().with("WARM_IP_TARGET", "0").with("MINIMUM_IP_TARGET", "0").with("WARM_ENI_TARGET", "0");
        let site = Site::new(&stage, &wishes).await?;
        until("the daemon serves", || async {
            ensure!(status(&site).await?.is_none());
            Ok(())
        })
        .await?;
        let pod = site.add("n1", &PodName::new("first")).await?;
        site.del("n1", pod).await
    }

    /// CNI: GC-2, GC-5, GC-6, GC-8, GC-10.
    async fn gc_takes_back_what_the_runtime_forgot_and_nothing_else(stage) {
        let site = Site::usual(&stage).await?;
        let mut pods = site.add_all("n1", &["kept", "lost", "gone"]).await?;
        let node = site.machine("n1")?.node();
        // The runtime forgot two, and the namespace of one is gone already.
        node.remove_pod("c-gone").await?;
        gc(&site, &[&pods[0]]).await?;
        has_pods(&site, 1).await?;
        let links = node.run("ip", &["-br", "link"]).await?;
        let links = String::from_utf8(links.stdout)?;
        let lost = pods[1].result["interfaces"][0]["name"].as_str().context("a name")?.to_owned();
        ensure!(!links.contains(&lost), "{links}");
        pod::check(node, site.plugin(), &pods[0]).await?;
        gc(&site, &[&pods[0]]).await?;
        gc(&site, &[]).await?;
        has_pods(&site, 0).await?;
        site.del("n1", pods.remove(0)).await
    }

    /// CNI: GC-8.
    async fn gc_of_another_network_touches_nothing(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        let other = json!({"name": "other", "cni.dev/valid-attachments": []});
        let output = verb(&site, "n1", "GC", &other).await?;
        ensure!(code(&output)?.is_none(), "{output:?}");
        let node = site.machine("n1")?.node();
        pod::check(node, site.plugin(), &pod).await?;
        site.del("n1", pod).await
    }

    /// CNI: GC-3, GC-4.
    async fn gc_without_a_list_keeps_every_pod(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        for (extra, expected) in [(json!({}), Some(7)), (json!({"cni.dev/valid-attachments": null}), None)] {
            let output = verb(&site, "n1", "GC", &extra).await?;
            ensure!(code(&output)? == expected, "{output:?}");
        }
        let node = site.machine("n1")?.node();
        pod::check(node, site.plugin(), &pod).await?;
        site.del("n1", pod).await
    }

    /// CNI: CHK-3, CHK-4, CHK-9.
    async fn check_looks_at_rules_and_nftables_too(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        let node = site.machine("n1")?.node();
        // The daemon mends it within a second: now and then before the look.
        until("CHECK is quicker than the repair", || async {
            node.run("ip", &["rule", "del", "priority", "513"]).await?;
            let refused = pod::check(node, site.plugin(), &pod).await;
            let Err(pod::Error::Refused { document, .. }) = refused else {
                anyhow::bail!("CHECK found nothing: {refused:?}");
            };
            let message = document["msg"].as_str().unwrap_or_default();
            ensure!(message.contains("the rule 513: lookup 5120"), "{document}");
            Ok(())
        })
        .await?;
        until("the rule is back", || async {
            Ok(pod::check(node, site.plugin(), &pod).await?)
        })
        .await?;
        site.del("n1", pod).await
    }
}
