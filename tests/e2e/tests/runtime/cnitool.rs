//! The CNI project's own runtime drives the whole chain: what it caches of an ADD is what CHECK and DEL get.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vpc_sim::node::Node;

use crate::chain::{chain, limited};
use crate::reach::site;
use crate::tools::{CONFLISTS, PLUGINS, configure, install_plugins, tool};
use crate::traces::{Traces, until_nothing_is_left};

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

fn succeeded(verb: &str, output: &Output) -> Result<()> {
    let (out, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{verb}: {out}{errors}");
    Ok(())
}

e2e::tests! {
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
        let refused = cnitool(node, "check").await?;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && told.contains("1400"), "{told}");

        succeeded("del", &cnitool(node, "del").await?)?;
        succeeded("a second del", &cnitool(node, "del").await?)?;
        drop(pod);
        node.remove_pod(POD).await?;
        until_nothing_is_left(&stage, &site, "n1", &before).await
    }
}
