//! containerd on a node: installed as an operator would, started, asked over the CRI, killed, started again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use e2e::runner::Stage;
use e2e::site::until;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use vpc_sim::node::Node;

use crate::tools::{self, DEBIAN, tool};

/// Which containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The machine's own, Debian's 1.6 or another of that generation.
    Debian,
    /// 2.4, pinned in `tests/cluster/containerd`.
    Pinned,
}

/// The image of every container, the sandbox's own included.
pub(crate) const IMAGE: &str = "sim.local/probe:1";

/// Where it listens, as the node has it.
const SOCKET: &str = "/run/containerd/containerd.sock";

const CONFIG_2: &str = r#"
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "sim.local/probe:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
"#;

const CONFIG_3: &str = r"
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'sim.local/probe:1'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
";

/// A running containerd. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Containerd<'a> {
    node: &'a Node,
    release: Release,
    daemon: Mutex<Child>,
}

impl<'a> Containerd<'a> {
    /// Installs the plugins and this conflist on a node and starts containerd there with the image; returns when it is
    /// ready for pods.
    pub(crate) async fn install(
        stage: &Stage,
        node: &'a Node,
        release: Release,
        conflist: &Value,
    ) -> Result<Self> {
        tools::install_plugins(stage, node)?;
        let config = match release {
            Release::Debian => CONFIG_2,
            Release::Pinned => CONFIG_3,
        };
        let folder = node.path(Path::new("/run/containerd"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("config.toml"), config)?;
        let daemon = Mutex::new(start(node, release)?);
        let containerd = Self {
            node,
            release,
            daemon,
        };
        containerd.until_it_answers().await?;
        containerd.import().await?;
        tools::configure(node, conflist)?;
        containerd.until_ready_for_pods().await?;
        Ok(containerd)
    }

    /// The node that it runs on.
    pub(crate) fn node(&self) -> &Node {
        self.node
    }

    /// Asks a method of the CRI.
    pub(crate) async fn call(&self, method: &str, request: &Value) -> Result<Value> {
        let mut command = self.client()?;
        command.arg(self.socket()).arg(method);
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .context("run the CRI client")?;
        if let Some(mut input) = child.stdin.take() {
            // A client that ends without reading says why.
            drop(input.write_all(request.to_string().as_bytes()).await);
        }
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!(
                "{method} on {:?}: {}",
                self.release,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Runs the probe in a container and gives what it printed.
    pub(crate) async fn probe(&self, container: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.client()?;
        command
            .arg("exec")
            .arg(self.socket())
            .arg(container)
            .arg("/probe");
        let output = command.args(arguments).stdin(Stdio::null()).output().await?;
        if !output.status.success() {
            bail!(
                "probe {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Whether it says that pods can have a network, and what else it says about that.
    pub(crate) async fn network_condition(&self) -> Result<(bool, String)> {
        let status = self.call("Status", &json!({})).await?;
        let conditions = status["status"]["conditions"].as_array().context("conditions")?;
        let network = conditions
            .iter()
            .find(|condition| condition["type"] == "NetworkReady");
        let network = network.context("the condition NetworkReady")?;
        Ok((
            network["status"] == true,
            network["message"].as_str().unwrap_or_default().to_owned(),
        ))
    }

    /// Kills it as the kernel would, and returns when nothing answers any more. Its containers run on.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.daemon.lock().await.kill().await?;
        let socket = self.socket();
        until("containerd is gone", || async {
            ensure!(UnixStream::connect(&socket).await.is_err(), "it still listens");
            Ok(())
        })
        .await
    }

    /// Starts it again after a kill.
    pub(crate) async fn start_again(&self) -> Result<()> {
        *self.daemon.lock().await = start(self.node, self.release)?;
        self.until_ready_for_pods().await
    }

    async fn until_it_answers(&self) -> Result<()> {
        let told = until("containerd answers", || async {
            self.call("Version", &json!({})).await
        })
        .await;
        let answer = told.with_context(|| format!("its log:\n{}", self.log()))?;
        let version = answer["runtime_version"].as_str().unwrap_or_default();
        let wanted = match self.release {
            Release::Debian => "1.",
            Release::Pinned => "2.4.",
        };
        ensure!(
            version.trim_start_matches('v').starts_with(wanted),
            "{:?} is {version}",
            self.release
        );
        Ok(())
    }

    async fn until_ready_for_pods(&self) -> Result<()> {
        let told = until("containerd is ready for pods", || async {
            let (ready, message) = self.network_condition().await?;
            ensure!(ready, "{message}");
            Ok(())
        });
        told.await.with_context(|| format!("its log:\n{}", self.log()))
    }

    /// The image comes as a file: nodes of the simulated VPC reach no registry.
    async fn import(&self) -> Result<()> {
        let made = self
            .client()?
            .arg("image")
            .arg(IMAGE)
            .arg(tool("probe")?)
            .output()
            .await?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = "/run/image.tar";
        std::fs::write(self.node.path(Path::new(file)), made.stdout)?;
        let ctr = match self.release {
            Release::Debian => PathBuf::from("/usr/bin/ctr"),
            Release::Pinned => tool("ctr")?,
        };
        let arguments = ["-n", "k8s.io", "images", "import", "--no-unpack", file];
        let imported = self.node.run(&ctr.to_string_lossy(), &arguments).await?;
        ensure!(
            imported.status.success(),
            "{}",
            String::from_utf8_lossy(&imported.stderr)
        );
        Ok(())
    }

    fn client(&self) -> Result<Command> {
        let mut command = Command::new(tool("cri")?);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    fn socket(&self) -> PathBuf {
        self.node.path(Path::new(SOCKET))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.node.log("containerd")).unwrap_or_default()
    }
}

fn start(node: &Node, release: Release) -> Result<Child> {
    let (program, path) = match release {
        Release::Debian => (PathBuf::from("/usr/bin/containerd"), DEBIAN.to_owned()),
        // Its own shim comes first, or Debian's would be used.
        Release::Pinned => {
            let program = tool("containerd")?;
            let folder = program.parent().context("the tools' folder")?;
            let path = format!("{}:{DEBIAN}", folder.display());
            (program, path)
        }
    };
    let environment = BTreeMap::from([("PATH".to_owned(), path)]);
    let arguments = ["-c", "/run/containerd/config.toml"];
    Ok(node.daemon("containerd", &program.to_string_lossy(), &arguments, &environment)?)
}
