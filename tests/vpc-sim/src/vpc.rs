//! A running VPC: the cloud, the fabric, the nodes with their daemons, and an internet that says whom it saw.
//!
//! Built from a [`Scenario`]; everything ends when it is dropped, and with the process in any case.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use crate::cloud::{Cloud, CloudGone};
use crate::ec2::{Ec2, Identify};
use crate::fabric::{self, Drop as FabricDrop, Fabric, METADATA, METADATA_IPV6, TIME, tell_time};
use crate::holder::World;
use crate::imds::Imds;
use crate::model::id::InstanceId;
use crate::model::setup::SetupError;
use crate::model::view::KernelView;
use crate::node::{self, Node, NodeSpec, ReversePath};
use crate::probe::{self, Responder};
use crate::scenario::Scenario;

mod build;
pub mod machine;

use build::model;
use machine::Machine;

/// Where the internet answers: an address of TEST-NET-2 (RFC 5737).
pub const INTERNET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), PROBE_PORT);

/// The echo port (RFC 862), where every responder of ours listens.
pub const PROBE_PORT: u16 = 7;

/// Instances get their primary ENI at launch; its device is late by the model's delays at most.
const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// Why there is no VPC.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model refuses the scenario.
    #[error("set up {what} of the scenario")]
    Setup {
        /// Which part.
        what: String,
        /// Why.
        source: SetupError,
    },
    /// The fabric cannot be made.
    #[error("make the VPC's network")]
    Fabric(#[from] fabric::Error),
    /// A node cannot be booted.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// A responder cannot be started.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// The cloud's task ended.
    #[error(transparent)]
    Cloud(#[from] CloudGone),
    /// A socket cannot be used.
    #[error("serve {what}")]
    Serve {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such node.
    #[error("there is no node {node}")]
    Unknown {
        /// The name.
        node: String,
    },
    /// A node's network never came.
    #[error("the primary ENI of node {node} did not arrive within {} s", BOOT_LIMIT.as_secs())]
    NoPrimary {
        /// Which node.
        node: String,
    },
}

/// A running VPC.
#[derive(Debug)]
pub struct Vpc {
    cloud: Cloud,
    fabric: Arc<Mutex<Fabric>>,
    machines: BTreeMap<String, Machine>,
    endpoint: SocketAddr,
    _internet: Responder,
    tasks: Vec<AbortHandle>,
}

impl Drop for Vpc {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Vpc {
    /// Builds a VPC and boots its nodes; their daemons are not started.
    ///
    /// # Errors
    /// What the model or the kernel refused.
    pub async fn start(world: &World, scenario: &Scenario) -> Result<Self, Error> {
        let (model, instances) = model(scenario)?;
        let cloud = Cloud::start(model);
        let mut fabric = Fabric::new().await?;
        let mut nodes = BTreeMap::new();
        for (wanted, instance) in scenario.nodes.iter().zip(&instances) {
            let spec = NodeSpec {
                reverse_path: reverse_path(wanted.rp_filter),
                runtime: wanted.runtime,
                ..NodeSpec::new(&wanted.name)
            };
            // A new instance has a new disk, whoever had its name before.
            drop(std::fs::remove_dir_all(
                world.scratch().join("nodes").join(&wanted.name),
            ));
            let node = Node::start(world, spec).await?;
            fabric.power_on(instance.clone(), duplicate(&node)?);
            nodes.insert(wanted.name.clone(), (node, instance.clone()));
        }
        let metadata = listener(fabric.listen(SocketAddr::new(METADATA.into(), 80)).await?)?;
        let metadata_ipv6 = listener(fabric.listen(SocketAddr::new(METADATA_IPV6.into(), 80)).await?)?;
        let advertiser = fabric.advertiser()?;
        let time = UdpSocket::from_std(fabric.bind(TIME).await?).map_err(|source| Error::Serve {
            what: "time in the fabric",
            source,
        })?;
        let endpoint = SocketAddr::new(endpoint_address(scenario).into(), 80);
        let api = listener(fabric.listen(endpoint).await?)?;
        let internet = Responder::start("internet", fabric.internet(), INTERNET)?;
        let fabric = Arc::new(Mutex::new(fabric));
        let tasks = vec![
            tokio::spawn(follow(cloud.kernel_view(), Arc::clone(&fabric))).abort_handle(),
            tokio::spawn(Imds::new(cloud.clone()).serve(metadata)).abort_handle(),
            tokio::spawn(Imds::new(cloud.clone()).serve(metadata_ipv6)).abort_handle(),
            tokio::spawn(tell_time(time)).abort_handle(),
            tokio::spawn(advertiser.advertise()).abort_handle(),
            tokio::spawn(Ec2::new(cloud.clone(), Identify::SourceAddress).serve(api)).abort_handle(),
        ];
        let mut machines = BTreeMap::new();
        for (name, (node, instance)) in nodes {
            let primary = boot(&name, &instance, cloud.kernel_view(), &fabric).await?;
            let wanted = scenario.nodes.iter().find(|wanted| wanted.name == name);
            let own = wanted.map(|wanted| wanted.env.clone()).unwrap_or_default();
            let mut env = scenario.env.clone();
            env.extend(own);
            env.entry("AWS_ENDPOINT_URL_EC2".to_owned())
                .or_insert_with(|| format!("http://{endpoint}"));
            machines.insert(name, Machine::new(node, instance, primary, env));
        }
        Ok(Self {
            cloud,
            fabric,
            machines,
            endpoint,
            _internet: internet,
            tasks,
        })
    }

    /// The EC2 side: faults, calls, changes.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The nodes, by name.
    #[must_use]
    pub fn machines(&self) -> &BTreeMap<String, Machine> {
        &self.machines
    }

    /// Where nodes reach the EC2 API.
    #[must_use]
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// The fabric, for whoever needs a socket in it or asks from the internet.
    #[must_use]
    pub fn fabric(&self) -> &Mutex<Fabric> {
        &self.fabric
    }

    /// Pulls a node's plug and boots it again: its ENIs and its disk stay, its `/run`, its processes and its pods do not.
    ///
    /// # Errors
    /// When there is no such node, or it does not come back.
    pub async fn reboot(&mut self, world: &World, name: &str) -> Result<(), Error> {
        let unknown = || Error::Unknown {
            node: name.to_owned(),
        };
        let Machine {
            node,
            instance,
            primary,
            env,
            ..
        } = self.machines.remove(name).ok_or_else(unknown)?;
        self.fabric.lock().await.power_off(&instance).await?;
        let node = node.reboot(world).await?;
        self.fabric
            .lock()
            .await
            .power_on(instance.clone(), duplicate(&node)?);
        boot(name, &instance, self.cloud.kernel_view(), &self.fabric).await?;
        let machine = Machine::new(node, instance, primary, env);
        self.machines.insert(name.to_owned(), machine);
        Ok(())
    }

    /// What the VPC dropped so far, by ENI and reason.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub async fn drops(&self) -> Result<Vec<FabricDrop>, Error> {
        Ok(self.fabric.lock().await.drops()?)
    }
}

/// Makes the fabric follow the cloud.
async fn follow(mut views: watch::Receiver<KernelView>, fabric: Arc<Mutex<Fabric>>) {
    loop {
        let view = views.borrow_and_update().clone();
        if let Err(error) = fabric.lock().await.apply(&view).await {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "the fabric cannot be made as wanted");
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

/// Waits for the primary ENI's device and gives it what DHCP would.
async fn boot(
    node: &str,
    instance: &InstanceId,
    mut views: watch::Receiver<KernelView>,
    fabric: &Mutex<Fabric>,
) -> Result<Ipv4Addr, Error> {
    let arrived = async {
        loop {
            let view = views.borrow_and_update().clone();
            let primary = view
                .enis
                .iter()
                .find(|(_, eni)| eni.instance == *instance && eni.device_index == 0);
            if let Some((id, eni)) = primary {
                let mut fabric = fabric.lock().await;
                fabric.apply(&view).await?;
                fabric.configure_primary(id).await?;
                return Ok(eni.primary);
            }
            views.changed().await.map_err(|_| Error::Cloud(CloudGone))?;
        }
    };
    let no_primary = |_| Error::NoPrimary {
        node: node.to_owned(),
    };
    tokio::time::timeout(BOOT_LIMIT, arrived)
        .await
        .map_err(no_primary)?
}

/// One of the last addresses of the VPC, which scenarios leave free: an interface endpoint, as AWS calls it.
fn endpoint_address(scenario: &Scenario) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(scenario.vpc.broadcast()).saturating_sub(4))
}

fn reverse_path(value: u8) -> ReversePath {
    match value {
        0 => ReversePath::Off,
        1 => ReversePath::Strict,
        _ => ReversePath::Loose,
    }
}

fn duplicate(node: &Node) -> Result<std::os::fd::OwnedFd, Error> {
    let copy = node.network().try_clone_to_owned();
    copy.map_err(|source| Error::Serve {
        what: "a node's network",
        source,
    })
}

fn listener(listener: std::net::TcpListener) -> Result<TcpListener, Error> {
    TcpListener::from_std(listener).map_err(|source| Error::Serve {
        what: "HTTP in the fabric",
        source,
    })
}
