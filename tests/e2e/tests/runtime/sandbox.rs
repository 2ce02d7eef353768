//! Pods as kubelet asks a runtime for them: a sandbox, containers in it, and their end.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::containerd::{Containerd, IMAGE};

/// A pod to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    name: String,
    config: Value,
}

impl Wanted {
    /// A pod of the default namespace with a network of its own.
    pub(crate) fn pod(name: &str) -> Self {
        let config = json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "namespace": "default"},
            "hostname": name,
            "log_directory": format!("/var/log/pods/default_{name}"),
            "linux": {
                "cgroup_parent": "/kubepods",
                "security_context": {"namespace_options": {"network": "POD"}},
            },
        });
        Self {
            name: name.to_owned(),
            config,
        }
    }

    /// The same in the node's network, and so under the node's name.
    pub(crate) fn in_host_network(mut self) -> Self {
        self.config["hostname"] = json!("");
        self.config["linux"]["security_context"]["namespace_options"]["network"] = json!("NODE");
        self
    }

    /// The same with a port of the node that leads to one of the pod's.
    pub(crate) fn with_host_port(mut self, host: u16, container: u16) -> Self {
        self.config["port_mappings"] =
            json!([{"protocol": "TCP", "host_port": host, "container_port": container}]);
        self
    }

    /// The same with an annotation.
    pub(crate) fn with_annotation(mut self, key: &str, value: &str) -> Self {
        self.config["annotations"][key] = json!(value);
        self
    }
}

/// A running sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) name: String,
    config: Value,
}

impl Sandbox {
    /// Makes a pod, without containers yet.
    pub(crate) async fn run(on: &Containerd<'_>, wanted: Wanted) -> Result<Self> {
        let answer = on
            .call("RunPodSandbox", &json!({"config": wanted.config}))
            .await?;
        let id = text(&answer["pod_sandbox_id"])?;
        Ok(Self {
            id,
            name: wanted.name,
            config: wanted.config,
        })
    }

    /// What the runtime says of it.
    pub(crate) async fn status(&self, on: &Containerd<'_>) -> Result<Value> {
        let mut answer = on
            .call("PodSandboxStatus", &json!({"pod_sandbox_id": self.id}))
            .await?;
        Ok(answer["status"].take())
    }

    /// Its address, as kubelet would publish it.
    pub(crate) async fn address(&self, on: &Containerd<'_>) -> Result<Ipv4Addr> {
        let status = self.status(on).await?;
        text(&status["network"]["ip"])?
            .parse()
            .with_context(|| format!("the address in {status}"))
    }

    /// Starts a container in it that runs the probe so; gives its id.
    pub(crate) async fn start(
        &self,
        on: &Containerd<'_>,
        container: &str,
        arguments: &[&str],
    ) -> Result<String> {
        let config = json!({
            "metadata": {"name": container},
            "image": {"image": IMAGE},
            "args": arguments,
            "log_path": format!("{container}.log"),
            "linux": {},
        });
        let request = json!({"pod_sandbox_id": self.id, "config": config, "sandbox_config": self.config});
        let id = text(&on.call("CreateContainer", &request).await?["container_id"])?;
        on.call("StartContainer", &json!({"container_id": id})).await?;
        Ok(id)
    }

    /// A container that answers at the probe port as the pod.
    pub(crate) async fn serve(&self, on: &Containerd<'_>) -> Result<String> {
        self.start(on, "serve", &["serve", &self.name, "0.0.0.0:7"]).await
    }

    /// Stops it, as kubelet does first: its containers end and its network goes.
    pub(crate) async fn stop(&self, on: &Containerd<'_>) -> Result<()> {
        on.call("StopPodSandbox", &json!({"pod_sandbox_id": self.id}))
            .await?;
        Ok(())
    }

    /// Stops and removes it.
    pub(crate) async fn remove(&self, on: &Containerd<'_>) -> Result<()> {
        self.stop(on).await?;
        on.call("RemovePodSandbox", &json!({"pod_sandbox_id": self.id}))
            .await?;
        Ok(())
    }
}

/// A pod with a container that answers at the probe port, and what else a test asks of it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) sandbox: Sandbox,
    pub(crate) container: String,
    pub(crate) address: Ipv4Addr,
}

impl Served {
    /// Makes it.
    pub(crate) async fn run(on: &Containerd<'_>, wanted: Wanted) -> Result<Self> {
        let sandbox = Sandbox::run(on, wanted).await?;
        let address = sandbox.address(on).await?;
        let container = sandbox.serve(on).await?;
        Ok(Self {
            sandbox,
            container,
            address,
        })
    }
}

fn text(value: &Value) -> Result<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    Ok(text.with_context(|| format!("a text, not {value}"))?.to_owned())
}
