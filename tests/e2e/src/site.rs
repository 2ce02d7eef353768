//! A site: a VPC with two nodes in two zones, their daemons running, and pods by the real plugin.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vpc_sim::binaries::{Binaries, Profile};
use vpc_sim::model::view::EniView;
use vpc_sim::pod::{self, Plugin, Pod, PodName};
use vpc_sim::probe::{self, Answer, Protocol, Question};
use vpc_sim::scenario::{Node, Pace, Scenario, Subnet};
use vpc_sim::vpc::Vpc;
use vpc_sim::vpc::machine::Machine;

use crate::runner::Stage;

/// An answer inside one machine takes microseconds; this is for a machine that is busy otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a condition may take to come true before the test fails.
pub const BOUND: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The binaries and the plugin's configuration.
#[derive(Clone, Debug)]
pub struct Tools {
    /// What nodes run.
    pub binaries: Binaries,
    /// The plugin as a runtime calls it.
    pub plugin: Plugin,
}

impl Tools {
    /// The binaries of a build, which must be younger than their sources.
    ///
    /// # Errors
    /// When one is missing or stale.
    pub fn find(profile: Profile) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("find the workspace")?;
        let binaries = Binaries::expected(root, profile);
        binaries.check(root)?;
        let plugin = Plugin::of(&binaries.shim, &root.join("deploy/cni/10-aws.conflist"))?;
        Ok(Self { binaries, plugin })
    }
}

/// What a test may want otherwise than usual.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// `net.ipv4.conf.{all,default}.rp_filter` of both nodes.
    pub rp_filter: u8,
    /// The daemons' settings.
    pub env: BTreeMap<String, String>,
    /// How EC2 behaves.
    pub ec2: Pace,
    /// Whether daemons run from the start.
    pub daemons: bool,
    /// The instance type of both nodes.
    pub instance_type: &'static str,
    /// The CIDR of the first node's subnet, inside 10.0.0.0/20.
    pub subnet: &'static str,
    /// Whether a container runtime can run on both nodes.
    pub runtime: bool,
    /// Whether the VPC and both subnets have IPv6.
    pub ipv6: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        let at_once = ("BERTH_EC2_START_SPREAD_SECONDS".to_owned(), "0".to_owned());
        let quick = ("IP_COOLDOWN_PERIOD".to_owned(), "1".to_owned());
        Self {
            rp_filter: 2,
            env: [quick, at_once].into(),
            ec2: Pace::Brisk,
            daemons: true,
            instance_type: "t3.medium",
            subnet: "10.0.0.0/20",
            runtime: false,
            ipv6: false,
        }
    }
}

impl Wishes {
    /// The same with a setting of the daemons.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// A VPC with two nodes.
#[derive(Debug)]
pub struct Site {
    /// The VPC.
    pub vpc: Vpc,
    tools: Arc<Tools>,
}

impl Site {
    /// The usual site.
    ///
    /// # Errors
    /// When anything of it cannot be made.
    pub async fn usual(stage: &Stage) -> Result<Self> {
        Self::new(stage, &Wishes::default()).await
    }

    /// A site with wishes.
    ///
    /// # Errors
    /// When anything of it cannot be made.
    pub async fn new(stage: &Stage, wishes: &Wishes) -> Result<Self> {
        let subnet = |name: &str, cidr: &str, zone: &str| -> Result<Subnet> {
            Ok(Subnet {
                name: name.to_owned(),
                cidr: cidr.parse()?,
                zone: zone.to_owned(),
                ipv6: wishes.ipv6,
            })
        };
        let node = |name: &str, subnet: &str| Node {
            name: name.to_owned(),
            instance_type: wishes.instance_type.to_owned(),
            subnet: subnet.to_owned(),
            rp_filter: wishes.rp_filter,
            runtime: wishes.runtime,
            security_groups: Vec::new(),
            env: BTreeMap::new(),
        };
        let scenario = Scenario {
            seed: 1,
            vpc: "10.0.0.0/16".parse()?,
            ipv6: wishes.ipv6,
            ec2: wishes.ec2,
            security_groups: Vec::new(),
            subnets: vec![
                subnet("a", wishes.subnet, "us-east-1a")?,
                subnet("b", "10.0.16.0/20", "us-east-1b")?,
            ],
            nodes: vec![node("n1", "a"), node("n2", "b")],
            ipamd: None,
            cni_shim: None,
            env: wishes.env.clone(),
        };
        let site = Self {
            vpc: Vpc::start(&stage.world, &scenario).await?,
            tools: Arc::clone(&stage.tools),
        };
        if wishes.daemons {
            for name in ["n1", "n2"] {
                site.start(name).await?;
            }
        }
        Ok(site)
    }

    /// A node by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn machine(&self, name: &str) -> Result<&Machine> {
        self.vpc
            .machines()
            .get(name)
            .with_context(|| format!("find node {name}"))
    }

    /// Starts a node's daemon.
    ///
    /// # Errors
    /// When it does not listen.
    pub async fn start(&self, node: &str) -> Result<()> {
        self.start_with(node, &[]).await
    }

    /// Starts a node's daemon with more settings.
    ///
    /// # Errors
    /// When it does not listen.
    pub async fn start_with(&self, node: &str, more: &[(&str, &str)]) -> Result<()> {
        let machine = self.machine(node)?;
        Ok(machine.start_ipamd(&self.tools.binaries.ipamd, more).await?)
    }

    /// Pulls a node's plug and boots it again; its daemon is not started.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn reboot(&mut self, stage: &Stage, node: &str) -> Result<()> {
        Ok(self.vpc.reboot(&stage.world, node).await?)
    }

    /// The process of a node's daemon, as the machine numbers processes.
    ///
    /// # Errors
    /// When none runs.
    pub async fn daemon(&self, node: &str) -> Result<u32> {
        let parent = self
            .machine(node)?
            .ipamd_process()
            .await
            .context("a daemon on the node")?;
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        let daemon = children
            .split_whitespace()
            .next()
            .context("the daemon's process")?;
        Ok(daemon.parse()?)
    }

    /// Kills a node's daemon at once.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&self, node: &str) -> Result<()> {
        Ok(self.machine(node)?.kill_ipamd().await?)
    }

    /// The daemon's binary.
    #[must_use]
    pub fn ipamd(&self) -> &Path {
        &self.tools.binaries.ipamd
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.tools.plugin
    }

    /// Makes a pod.
    ///
    /// # Errors
    /// When the plugin refuses; the daemon's log is part of the story.
    pub async fn add(&self, node: &str, name: &PodName) -> Result<Pod> {
        let machine = self.machine(node)?;
        let added = pod::add(machine.node(), self.plugin(), name).await;
        added.with_context(|| format!("the log of ipamd on {node}:\n{}", machine.ipamd_log()))
    }

    /// Makes pods of these names, one after the other.
    ///
    /// # Errors
    /// When the plugin refuses one.
    pub async fn add_all(&self, node: &str, names: &[&str]) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for name in names {
            pods.push(self.add(node, &PodName::new(name)).await?);
        }
        Ok(pods)
    }

    /// Deletes a pod.
    ///
    /// # Errors
    /// When the plugin refuses.
    pub async fn del(&self, node: &str, pod: Pod) -> Result<()> {
        pod::del(self.machine(node)?.node(), self.plugin(), pod).await?;
        Ok(())
    }

    /// The ENIs whose devices are on a node, as packets meet them.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn enis(&self, node: &str) -> Result<Vec<EniView>> {
        let instance = self.machine(node)?.instance();
        let view = self.vpc.cloud().kernel_view().borrow().clone();
        Ok(view
            .enis
            .into_values()
            .filter(|eni| eni.instance == *instance)
            .collect())
    }

    /// Fails if the VPC dropped anything.
    ///
    /// # Errors
    /// What it dropped, and why.
    pub async fn nothing_dropped(&self) -> Result<()> {
        let drops = self.vpc.drops().await?;
        let told: Vec<String> = drops
            .iter()
            .map(|drop| {
                format!(
                    "{} packets on {}: {}",
                    drop.packets,
                    drop.eni,
                    drop.reason.explain()
                )
            })
            .collect();
        ensure!(told.is_empty(), "the VPC dropped {}", told.join("; "));
        Ok(())
    }
}

/// Asks and demands an answer.
///
/// # Errors
/// When there is none.
pub async fn ask(
    from: std::os::fd::BorrowedFd<'_>,
    protocol: Protocol,
    target: std::net::SocketAddr,
) -> Result<Answer> {
    let answer = probe::ask(from, &Question::new(protocol, target, PATIENCE)).await;
    answer.with_context(|| format!("ask {target} by {protocol}"))
}

/// Waits for a condition, within [`BOUND`].
///
/// # Errors
/// When it does not come true in time; the last reason is told.
pub async fn until<T, F: Future<Output = Result<T>>>(what: &str, mut look: impl FnMut() -> F) -> Result<T> {
    let mut last = None;
    let tried = tokio::time::timeout(BOUND, async {
        loop {
            match look().await {
                Ok(value) => return value,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    match tried.await {
        Ok(value) => Ok(value),
        Err(_) => bail!(
            "not within {} s: {what}: {:#}",
            BOUND.as_secs(),
            last.context("never looked")?
        ),
    }
}
