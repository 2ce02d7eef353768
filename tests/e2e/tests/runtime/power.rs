//! The plug of a node with containers is pulled, and it boots again with the same disk.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vpc_sim::node::{Node, NodeSpec};

use crate::containerd::{Containerd, Release};
use crate::sandbox::{Sandbox, Wanted};

/// This node is alone, without a daemon that could give addresses.
fn loopback_alone() -> Value {
    json!({"cniVersion": "1.0.0", "name": "lone", "plugins": [{"type": "loopback"}]})
}

/// How many processes the node's own cgroups hold, at any depth.
fn processes(node: &Node) -> Result<usize> {
    let mut count = 0;
    let mut folders = vec![node.path(Path::new("/sys/fs/cgroup/pids"))];
    while let Some(folder) = folders.pop() {
        count += std::fs::read_to_string(folder.join("cgroup.procs"))?
            .lines()
            .count();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(count)
}

e2e::tests! {
    async fn a_power_cut_ends_every_container_and_the_next_boot_knows_them_from_the_disk(stage) {
        let spec = NodeSpec { runtime: true, ..NodeSpec::new("lone") };
        for release in [Release::Debian, Release::Pinned] {
            let mut node = Node::start(&stage.world, spec.clone()).await?;
            let idle = processes(&node)?;
            let on = Containerd::install(&stage, &node, release, &loopback_alone()).await?;
            let sandbox = Sandbox::run(&on, Wanted::pod("host").in_host_network()).await?;
            sandbox.start(&on, "pause", &["pause"]).await?;
            ensure!(processes(&node)? >= idle + 4, "containerd, its shim, the sandbox and the container");
            drop(on);
            node = node.reboot(&stage.world).await?;
            let left = node.path(Path::new("/sys/fs/cgroup/pids/kubepods"));
            ensure!(processes(&node)? == idle && !left.exists(), "something outlived the power cut");
            let on = Containerd::install(&stage, &node, release, &loopback_alone()).await?;
            let listed = on.call("ListPodSandbox", &json!({})).await?;
            let items = listed["items"].as_array().context("sandboxes")?;
            ensure!(items.len() == 1 && items[0]["state"] == "SANDBOX_NOTREADY", "{listed}");
            sandbox.remove(&on).await?;
            let listed = on.call("ListPodSandbox", &json!({})).await?;
            ensure!(listed["items"] == json!([]), "{listed}");
            drop(on);
            node.power_off().await;
            std::fs::remove_dir_all(stage.world.scratch().join("nodes/lone"))?;
        }
        Ok(())
    }
}
