//! The VPC that is measured in: a node that fills up with pods, one that always has a single pod, one with the peer's
//! rules, and one far away where packets come from and go to.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use on_node::order::{Order, Setup};
use vpc_sim::holder::World;
use vpc_sim::pod::Plugin;
use vpc_sim::scenario::Scenario;
use vpc_sim::vpc::Vpc;
use vpc_sim::vpc::machine::Machine;

use crate::agent::Agent;
use crate::{Effort, Programs};

/// Where packets are sent; nobody answers.
const PORT: u16 = 9;

/// The pool of the full node: 700 pods and 250 more at once, and as many that cool down after the measurement before.
const POOL: usize = 1450;

/// The addresses of the large node's ledger: 750 prefixes.
const LARGE_POOL: usize = 12_000;

/// Every ENI costs the simulator some moments.
const WARM_LIMIT: Duration = Duration::from_secs(120);

/// How long an address of the full node rests, in seconds. Without a rest every DEL would have the kernel's connections
/// read at once.
const COOLDOWN_SECONDS: u64 = 2;

/// How many pods may be needed until one is on the primary ENI.
const TRIES: u32 = 4;

/// A node with its part of the bench, and the pod whose packets are counted.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) agent: Agent,
    pub(crate) probe: String,
    pub(crate) address: Ipv4Addr,
}

/// Everything that is measured in.
pub(crate) struct Site {
    pub(crate) vpc: Vpc,
    /// The node that fills up.
    pub(crate) full: Place,
    /// The node with one pod, and with as many ENIs and addresses as the one that fills up.
    pub(crate) single: Place,
    /// The node with the peer's rules.
    pub(crate) peer: Place,
    /// Where packets go to and come from.
    pub(crate) far: Place,
    /// The node with thousands of addresses, whose daemon runs while it is measured.
    pub(crate) large: Place,
    large_pool: usize,
}

impl Site {
    /// Boots everything; the full node's pool is warm then, and so is that of the node beside it.
    pub(crate) async fn start(world: &World, programs: &Programs, effort: Effort) -> Result<Self> {
        let pool = if effort.quick { 30 } else { POOL };
        let large_pool = if effort.quick { 32 } else { LARGE_POOL };
        let vpc = Vpc::start(world, &Scenario::parse(&scenario(pool, large_pool))?).await?;
        let conf = Plugin::of(&programs.binaries.shim, &programs.conflist)?
            .conf()
            .clone();
        let setup = Setup {
            shim: programs.binaries.shim.clone(),
            conf,
            empty: programs.empty.clone(),
        };
        for (_, machine) in vpc.machines().iter().filter(|(name, _)| *name != LARGE) {
            machine.start_ipamd(&programs.binaries.ipamd, &[]).await?;
        }
        let place = |name| -> Result<Place> {
            let machine = vpc.machines().get(name).context("a node")?;
            Ok(Place {
                name,
                agent: Agent::start(machine, &programs.on_node, &setup)?,
                probe: String::new(),
                address: Ipv4Addr::UNSPECIFIED,
            })
        };
        let (full, single, peer, far) = (place("full")?, place("single")?, place("peer")?, place("far")?);
        let large = place(LARGE)?;
        let site = Self {
            vpc,
            full,
            single,
            peer,
            far,
            large,
            large_pool,
        };
        site.warm("full", pool).await?;
        site.warm("single", pool).await?;
        Ok(site)
    }

    /// Starts the large node's daemon, and waits until it holds everything.
    pub(crate) async fn start_large(&self, programs: &Programs) -> Result<()> {
        let machine = self.machine(LARGE)?;
        machine.start_ipamd(&programs.binaries.ipamd, &[]).await?;
        self.warm(LARGE, self.large_pool).await
    }

    /// How many addresses the large node holds.
    pub(crate) fn large_pool(&self) -> usize {
        self.large_pool
    }

    pub(crate) fn machine(&self, name: &str) -> Result<&Machine> {
        self.vpc
            .machines()
            .get(name)
            .with_context(|| format!("node {name}"))
    }

    /// Waits until a node's pool holds what it should.
    async fn warm(&self, node: &str, pool: usize) -> Result<()> {
        let instance = self.machine(node)?.instance();
        let mut views = self.vpc.cloud().kernel_view();
        let full = async {
            loop {
                let held: usize = {
                    let view = views.borrow_and_update();
                    let mine = view.enis.values().filter(|eni| eni.instance == *instance);
                    mine.map(|eni| eni.addresses.len().saturating_sub(1) + PREFIX * eni.prefixes.len())
                        .sum()
                };
                if held >= pool || views.changed().await.is_err() {
                    return held;
                }
            }
        };
        let held = tokio::time::timeout(WARM_LIMIT, full)
            .await
            .context("fill the pool")?;
        ensure!(held >= pool, "the pool holds {held}");
        Ok(())
    }

    /// Makes the pods whose packets are counted, all on primary ENIs, so that all packets take like ways; then takes
    /// the daemon off the peer's node.
    pub(crate) async fn place_probes(&mut self) -> Result<()> {
        // Until then the primary ENI's addresses rest, and pods get those of others.
        tokio::time::sleep(Duration::from_secs(COOLDOWN_SECONDS + 1)).await;
        let vpc = &self.vpc;
        for place in [&mut self.full, &mut self.single, &mut self.peer, &mut self.far] {
            for number in 0..TRIES {
                place.probe = format!("probe{number}");
                let name = place.probe.clone();
                place.address = place.agent.ask(&Order::Pod { name }).await?;
                if is_on_primary(vpc, place.address) {
                    break;
                }
            }
            ensure!(
                is_on_primary(vpc, place.address),
                "no pod of {} is on the primary ENI",
                place.name
            );
            let (pod, port) = (place.probe.clone(), PORT);
            place.agent.ask::<()>(&Order::Listen { pod, port }).await?;
        }
        self.machine("peer")?.kill_ipamd().await?;
        Ok(())
    }

    /// Makes the full node have so many pods, and the peer's node the rules of so many.
    pub(crate) async fn fill(&mut self, level: u32) -> Result<()> {
        let order = Order::Fill { up_to: level };
        let _before: u32 = self.full.agent.ask(&order).await.context("fill the node")?;
        let own = self.peer.address;
        let order = Order::PeerRules { pods: level, own };
        let _rules: u32 = self
            .peer
            .agent
            .ask(&order)
            .await
            .context("lay the peer's rules")?;
        Ok(())
    }
}

impl Place {
    /// Where its counted pod listens.
    pub(crate) fn target(&self) -> SocketAddr {
        SocketAddr::new(self.address.into(), PORT)
    }
}

fn is_on_primary(vpc: &Vpc, address: Ipv4Addr) -> bool {
    let views = vpc.cloud().kernel_view();
    let view = views.borrow();
    let mut enis = view.enis.values();
    enis.any(|eni| eni.device_index == 0 && eni.addresses.contains(&address))
}

/// Addresses of a prefix, a /28.
const PREFIX: usize = 16;

const LARGE: &str = "large";

/// m8a.48xlarge: 24 ENIs of 64 addresses. EC2 takes no time, so that only ours is seen. Twelve thousand addresses are more
/// than are asked for within the usual rest.
fn scenario(pool: usize, large_pool: usize) -> String {
    let prefixes = large_pool / PREFIX;
    format!(
        "
ec2: instant
subnets:
  - {{name: a, cidr: 10.0.0.0/19, zone: us-east-1a}}
  - {{name: b, cidr: 10.0.32.0/19, zone: us-east-1b}}
  - {{name: c, cidr: 10.0.64.0/18, zone: us-east-1a}}
nodes:
  - name: full
    type: m8a.48xlarge
    subnet: a
    env: &full {{WARM_IP_TARGET: '{pool}', BERTH_MAX_PODS: '{pool}', IP_COOLDOWN_PERIOD: '{COOLDOWN_SECONDS}'}}
  - {{name: single, type: m8a.48xlarge, subnet: a, env: *full}}
  - {{name: peer, type: m5.24xlarge, subnet: a}}
  - {{name: far, type: m5.24xlarge, subnet: b}}
  - name: {LARGE}
    type: m8a.48xlarge
    subnet: c
    env:
      ENABLE_PREFIX_DELEGATION: 'true'
      WARM_IP_TARGET: '0'
      WARM_PREFIX_TARGET: '{prefixes}'
      BERTH_MAX_PODS: '{large_pool}'
      IP_COOLDOWN_PERIOD: '30'
      ENABLE_SUBNET_DISCOVERY: 'false'
env: {{WARM_IP_TARGET: '5', IP_COOLDOWN_PERIOD: '0', BERTH_EC2_START_SPREAD_SECONDS: '0', AWS_VPC_K8S_CNI_LOGLEVEL: warn}}
"
    )
}
