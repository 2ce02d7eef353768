//! The CNI project's own runtime drives the whole chain: what it caches of an ADD is what CHECK and DEL get.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use e2e::site::{Wishes, until};
use serde_json::Value;
use vpc_sim::node::Node;
use vpc_sim::pod::PodName;

use crate::chain::{chain, limited};
use crate::reach::{site, site_with};
use crate::tools::{CONFLISTS, PLUGINS, configure, conflist, install_plugins, tool};
use crate::traces::{Traces, in_use, until_nothing_is_left};

/// The name of our network, and of the pod's namespace.
const NETWORK: &str = "aws-cni";
const POD: &str = "by-cnitool";

async fn cnitool(node: &Node, verb: &str) -> Result<Output> {
    let program = tool("cnitool")?;
    let mut command = node.command(&program.to_string_lossy());
    command.args([verb, NETWORK, &format!("/run/netns/{POD}")]);
    command.env("CNI_PATH", PLUGINS).env("NETCONFPATH", CONFLISTS);
    let args =
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=by-cnitool;K8S_POD_INFRA_CONTAINER_ID=x";
    command.env("CNI_ARGS", args);
    command.env(
        "CAP_ARGS",
        r#"{"portMappings": [{"hostPort": 30080, "containerPort": 7, "protocol": "tcp"}]}"#,
    );
    Ok(command.output().await?)
}

/// What a verb that must be refused said.
fn refused(verb: &str, output: &Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "{verb} succeeded");
    Ok(text)
}

fn succeeded(verb: &str, output: &Output) -> Result<()> {
    let (out, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{verb}: {out}{errors}");
    Ok(())
}

e2e::tests! {
    /// CNI: ADD-12, DEL-1, CHK-3, CHK-6, CHK-7.
    async fn cnitool_drives_the_chain_and_check_sees_what_was_changed(stage) {
        let site = site(&stage).await?;
        let node = site.machine("n1")?.node();
        install_plugins(&stage, node)?;
        configure(node, &chain(limited())?)?;
        let before = Traces::of(node).await?;
        let pod = node.add_pod(POD).await?;
        let added = cnitool(node, "add").await?;
        succeeded("add", &added)?;
        let result: Value = serde_json::from_slice(&added.stdout)?;
        let cached = std::fs::read_dir(node.path(Path::new("/var/lib/cni/results")))?;
        let cached = cached.last().context("a cached result")??.path();
        let cached: Value = serde_json::from_str(&std::fs::read_to_string(cached)?)?;
        ensure!(cached["result"] == result, "{cached} is not of {result}");
        succeeded("check", &cnitool(node, "check").await?)?;

        let host = result["interfaces"].as_array().and_then(|all| all[0]["name"].as_str());
        let host = host.context("a host interface")?;
        node.run("ip", &["link", "set", host, "mtu", "1400"]).await?;
        let told = refused("check", &cnitool(node, "check").await?)?;
        ensure!(told.contains("1400"), "{told}");

        succeeded("del", &cnitool(node, "del").await?)?;
        succeeded("a second del", &cnitool(node, "del").await?)?;
        drop(pod);
        node.remove_pod(POD).await?;
        until_nothing_is_left(&stage, &site, "n1", &before).await
    }

    /// CNI: STA-2, STA-3.
    async fn cnitool_asks_for_the_status_of_the_chain(stage) {
        let site = site_with(&stage, Wishes::default().with("BERTH_STATUS_GRACE_SECONDS", "0")).await?;
        let node = site.machine("n1")?.node();
        install_plugins(&stage, node)?;
        configure(node, &chain(limited())?)?;
        succeeded("status", &cnitool(node, "status").await?)?;
        site.kill("n1").await?;
        until("the daemon's absence counts", || async {
            let told = refused("status", &cnitool(node, "status").await?)?;
            ensure!(told.contains("ask ipamd") && told.contains("ipamd explain"), "{told}");
            Ok(())
        })
        .await?;
        site.start("n1").await?;
        until("the daemon serves again", || async {
            succeeded("status", &cnitool(node, "status").await?)
        })
        .await
    }

    /// cnitool passes no list of what is valid: it deletes what it remembers itself, and our plugin, asked to collect,
    /// refuses to take the missing list for an empty one. A pod that cnitool knows nothing of is not touched.
    /// CNI: GC-4, GC-11.
    async fn gc_by_cnitool_deletes_what_it_remembers_and_nothing_else(stage) {
        let site = site(&stage).await?;
        let node = site.machine("n1")?.node();
        install_plugins(&stage, node)?;
        configure(node, &conflist()?)?;
        let other = site.add("n1", &PodName::new("other")).await?;
        let before = Traces::of(node).await?;
        let pod = node.add_pod(POD).await?;
        succeeded("add", &cnitool(node, "add").await?)?;
        ensure!(in_use(&stage, &site, "n1").await? == 2);
        let told = refused("gc", &cnitool(node, "gc").await?)?;
        ensure!(told.contains("cni.dev/valid-attachments"), "{told}");
        drop(pod);
        node.remove_pod(POD).await?;
        until("the pod of cnitool was given back, and no other", || async {
            ensure!(Traces::of(node).await? == before && in_use(&stage, &site, "n1").await? == 1);
            Ok(())
        })
        .await?;
        site.del("n1", other).await
    }
}
