//! Ten thousand requests as no runtime should send them: concurrent, repeated, reordered, given up, for a few pods and for
//! many, while the cloud fails and the daemon is killed. No address ever has two holders, and nothing is left.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::site::{Site, Wishes, until};
use e2e::socket::dial;
use e2e::traces;
use futures::StreamExt;
use proto::v1;
use proto::v1::ipam_client::IpamClient;
use serde_json::Value;
use tonic::transport::Channel;
use vpc_sim::model::error::Ec2Error;
use vpc_sim::model::fault::{Effect, Fault};
use vpc_sim::model::request::Operation;
use vpc_sim::pod::{self, PodName};

const NODE: &str = "n1";

/// All of it.
const REQUESTS: u32 = 10_000;

/// Between two deaths of the daemon, and between two faults of the cloud.
const LIFE: u32 = 2_000;
const CALM: u32 = 250;

/// At once.
const CONCURRENT: usize = 24;

/// More than the node has addresses, so that some wait, and few enough that each is asked for often.
const CONTAINERS: u64 = 30;

/// How long an ADD is waited for: those of a full node are given up.
const PATIENCE: Duration = Duration::from_millis(60);

/// What one container holds for certain, by the answers alone.
#[derive(Debug, Default)]
struct Held {
    address: Option<Ipv4Addr>,
    /// Grows with each DEL that begins: an ADD that began before one says nothing.
    epoch: u64,
    deletions: u32,
}

/// Who holds what for certain.
#[derive(Debug, Default)]
struct Book(BTreeMap<u64, Held>);

impl Book {
    /// When an ADD begins; none while a DEL is under way, because nobody knows which of them is heard first.
    fn epoch(&mut self, container: u64) -> Option<u64> {
        let held = self.0.entry(container).or_default();
        (held.deletions == 0).then_some(held.epoch)
    }

    fn del_begins(&mut self, container: u64) {
        let held = self.0.entry(container).or_default();
        *held = Held {
            address: None,
            epoch: held.epoch + 1,
            deletions: held.deletions + 1,
        };
    }

    fn del_ends(&mut self, container: u64) {
        self.0.entry(container).or_default().deletions -= 1;
    }

    fn given(&mut self, container: u64, epoch: Option<u64>, address: Ipv4Addr) -> Result<()> {
        let held = self.0.entry(container).or_default();
        if Some(held.epoch) != epoch || held.deletions > 0 {
            return Ok(());
        }
        if let Some(before) = held.address.replace(address) {
            ensure!(
                before == address,
                "container {container} was given {before} and then {address}"
            );
        }
        let others = self.0.iter().filter(|(other, _)| **other != container);
        let mut others = others.filter(|(_, held)| held.address == Some(address));
        match others.next() {
            Some((other, _)) => bail!("{address} was given to {container} while {other} holds it"),
            None => Ok(()),
        }
    }
}

/// A small generator of our own, so that a seed tells one story.
struct Dice(u64);

impl Dice {
    /// xorshift64 (Marsaglia, 2003).
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn attachment(container: u64) -> v1::Attachment {
    v1::Attachment {
        container_id: format!("c{container}"),
        interface: "eth0".to_owned(),
        network: "aws-cni".to_owned(),
    }
}

async fn add(mut ipam: IpamClient<Channel>, container: u64, book: &Mutex<Book>) -> Result<()> {
    let epoch = book
        .lock()
        .map_err(|_| anyhow::anyhow!("a panic"))?
        .epoch(container);
    let asked = v1::AddRequest {
        attachment: Some(attachment(container)),
        pod: Some(v1::Pod {
            namespace: "default".to_owned(),
            name: format!("pod-{container}"),
        }),
        netns: String::new(),
    };
    // Given up, refused, or the daemon died: nothing is known for certain then.
    let Ok(Ok(reply)) = tokio::time::timeout(PATIENCE, ipam.add(asked)).await else {
        return Ok(());
    };
    let wiring = reply.into_inner().wiring.context("a wiring")?;
    let octets: [u8; 4] = wiring.address.as_slice().try_into()?;
    let mut book = book.lock().map_err(|_| anyhow::anyhow!("a panic"))?;
    book.given(container, epoch, octets.into())
}

async fn del(mut ipam: IpamClient<Channel>, container: u64, book: &Mutex<Book>) -> Result<()> {
    book.lock()
        .map_err(|_| anyhow::anyhow!("a panic"))?
        .del_begins(container);
    let asked = v1::DelRequest {
        attachment: Some(attachment(container)),
    };
    drop(ipam.del(asked).await);
    book.lock()
        .map_err(|_| anyhow::anyhow!("a panic"))?
        .del_ends(container);
    Ok(())
}

/// One life of the daemon.
async fn live(site: &Site, dice: &mut Dice, book: &Arc<Mutex<Book>>) -> Result<()> {
    let ipam = IpamClient::new(dial(site, NODE).await?);
    let mut running = futures::stream::FuturesUnordered::new();
    for request in 0..LIFE {
        if request % CALM == 0 {
            fail(site, dice).await?;
        }
        let container = dice.roll(CONTAINERS);
        let (ipam, book) = (ipam.clone(), Arc::clone(book));
        // Slightly more that come than go, so that the node is full most of the time.
        let comes = dice.roll(9) < 5;
        running.push(tokio::spawn(async move {
            match comes {
                true => add(ipam, container, &book).await,
                false => del(ipam, container, &book).await,
            }
        }));
        if running.len() >= CONCURRENT {
            running.next().await.context("one of them")???;
        }
    }
    // The rest meets the daemon's death.
    site.kill(NODE).await?;
    while let Some(ended) = running.next().await {
        ended??;
    }
    site.start(NODE).await
}

/// The next call of some kind fails.
async fn fail(site: &Site, dice: &mut Dice) -> Result<()> {
    let operations = [
        Operation::AssignPrivateIpAddresses,
        Operation::UnassignPrivateIpAddresses,
        Operation::CreateNetworkInterface,
        Operation::AttachNetworkInterface,
        Operation::DescribeNetworkInterfaces,
        Operation::ModifyNetworkInterfaceAttribute,
    ];
    let operation = operations[usize::try_from(dice.roll(6))?];
    let effect = match dice.roll(3) {
        0 => Effect::LoseAnswer,
        _ => Effect::Refuse(Ec2Error::Throttled),
    };
    site.vpc.cloud().inject(Fault::once(operation, effect)).await?;
    Ok(())
}

/// Containers of the storm, each with its namespace.
const NAMESPACES: u64 = 10;

/// Runs of the plugin between two looks, and looks.
const STORM: usize = 100;
const STORMS: u64 = 6;

fn name(container: u64) -> PodName {
    PodName::new(&format!("s{container}"))
}

/// The plugin runs for all containers at once, and for one several times at once. What it says must be an answer.
async fn storm(site: &Site, dice: &mut Dice) -> Result<()> {
    let node = site.machine(NODE)?.node();
    let runs: Vec<(u64, &'static str)> = (0..STORM)
        .map(|_| {
            let verb = if dice.roll(9) < 5 { "ADD" } else { "DEL" };
            (dice.roll(NAMESPACES), verb)
        })
        .collect();
    let runs = runs.into_iter().map(|(container, verb)| async move {
        let output = pod::run(node, site.plugin(), &name(container), verb, None).await?;
        let is_answer = output.stdout.is_empty() || serde_json::from_slice::<Value>(&output.stdout).is_ok();
        ensure!(
            is_answer && output.status.code().is_some_and(|code| code <= 1),
            "{output:?}"
        );
        anyhow::Ok(())
    });
    let mut runs = futures::stream::iter(runs).buffer_unordered(8);
    while let Some(ended) = runs.next().await {
        ended?;
    }
    Ok(())
}

/// Whatever the storm left: a DEL and an ADD make it right, for every container.
async fn calm(site: &Site) -> Result<()> {
    let node = site.machine(NODE)?.node();
    let mut holders: BTreeMap<String, u64> = BTreeMap::new();
    for container in 0..NAMESPACES {
        let mut result = None;
        for verb in ["DEL", "ADD", "CHECK"] {
            let output = pod::run(node, site.plugin(), &name(container), verb, result.as_ref()).await?;
            ensure!(output.status.success(), "{verb} of s{container}: {output:?}");
            if verb == "ADD" {
                result = Some(serde_json::from_slice::<Value>(&output.stdout)?);
            }
        }
        let result = result.context("a result")?;
        let address = result["ips"][0]["address"].as_str().context("an address")?;
        if let Some(other) = holders.insert(address.to_owned(), container) {
            bail!("{address} is held by {other} and {container}");
        }
    }
    Ok(())
}

/// How many descriptors the daemon has open.
async fn descriptors(site: &Site) -> Result<usize> {
    let daemon = site.daemon(NODE).await?;
    Ok(std::fs::read_dir(format!("/proc/{daemon}/fd"))?.count())
}

e2e::tests! {
    async fn a_thousand_random_runs_of_the_plugin_leave_nothing(stage) {
        let wishes = Wishes::default().with("IP_COOLDOWN_PERIOD", "0");
        let site = Site::new(&stage, &wishes).await?;
        let node = site.machine(NODE)?.node();
        let mut namespaces = Vec::new();
        for container in 0..NAMESPACES {
            namespaces.push(node.add_pod(&name(container).container).await?);
        }
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        calm(&site).await?;
        let open = descriptors(&site).await?;
        for number in 0..STORMS {
            storm(&site, &mut dice).await?;
            calm(&site).await.with_context(|| format!("after storm {number}"))?;
            if number % 4 == 3 {
                site.kill(NODE).await?;
                storm(&site, &mut dice).await?;
                site.start(NODE).await?;
            }
        }
        until("the daemon has closed what it opened", || async {
            let now = descriptors(&site).await?;
            ensure!(now <= open, "{now} descriptors are open, and {open} were");
            Ok(())
        })
        .await?;
        drop(namespaces);
        for container in 0..NAMESPACES {
            let name = name(container);
            pod::run(node, site.plugin(), &name, "DEL", None).await?;
            node.remove_pod(&name.container).await?;
        }
        traces::none(&site, NODE).await
    }

    async fn ten_thousand_random_requests_give_no_address_twice(stage) {
        let wishes = Wishes::default().with("IP_COOLDOWN_PERIOD", "0").with("BERTH_RELEASE_DWELL_SECONDS", "1");
        let site = Site::new(&stage, &wishes).await?;
        // The first address: from here on there is something to fight for.
        let first = site.add(NODE, &PodName::new("first")).await?;
        site.del(NODE, first).await?;
        let (mut dice, book) = (Dice(0x9e37_79b9_7f4a_7c15), Arc::default());
        for _ in 0..REQUESTS / LIFE {
            live(&site, &mut dice, &book).await?;
        }
        let mut ipam = IpamClient::new(dial(&site, NODE).await?);
        for container in 0..CONTAINERS {
            ipam.del(v1::DelRequest { attachment: Some(attachment(container)) }).await?;
        }
        traces::none(&site, NODE).await
    }
}
