//! `cargo demo`: two nodes in two zones are filled with pods by the real plugin and daemon, and then it is proven that
//! every pod has a real VPC address: everybody reaches everybody with their own address seen, the internet sees the
//! node's, and the VPC dropped nothing.
//!
//! The story goes line by line, so it reads the same on a terminal and in a file. One seed tells one story.

mod story;

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::{join_all, try_join_all};
use vpc_sim::binaries::Binaries;
use vpc_sim::holder::World;
use vpc_sim::pod::{self, Plugin, Pod, PodName};
use vpc_sim::probe::{self, Protocol, Question, Responder};
use vpc_sim::scenario::Scenario;
use vpc_sim::vpc::machine::Machine;
use vpc_sim::vpc::{INTERNET, Vpc};

use story::Story;

/// t3.medium: three ENIs of six addresses, one each for the ENI itself. kubelet's max-pods of 17 counts two pods in the
/// host's network, which need no address.
const PODS_PER_NODE: usize = 15;

/// A question inside one machine is answered in microseconds; this is for a machine that is busy with another build.
const PATIENCE: Duration = Duration::from_secs(5);

const SCENARIO: &str = "
subnets:
  - {name: a, cidr: 10.0.0.0/20, zone: us-east-1a}
  - {name: b, cidr: 10.0.16.0/20, zone: us-east-1b}
nodes:
  - {name: n1, type: t3.medium, subnet: a}
  - {name: n2, type: t3.medium, subnet: b}
# Two nodes are no fleet whose first calls must be spread.
env: {BERTH_EC2_START_SPREAD_SECONDS: '0'}
";

/// Runs the story; says with its exit code whether all that was to be proven was.
pub(crate) fn run(world: &World, conflist: &Path, binaries: &Binaries, seed: u64) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(tell(world, conflist, binaries, seed))
}

async fn tell(world: &World, conflist: &Path, binaries: &Binaries, seed: u64) -> Result<ExitCode> {
    let story = Story::begin();
    let scenario = Scenario {
        seed,
        ..Scenario::parse(SCENARIO)?
    };
    let plugin = Plugin::of(&binaries.shim, conflist)?;
    story.say(
        "A VPC 10.0.0.0/16 with a subnet in each of two zones, simulated in Linux namespaces of its own.",
    );
    let vpc = Vpc::start(world, &scenario).await?;
    for (name, machine) in vpc.machines() {
        story.say(&format!(
            "{name}: {}, a t3.medium, boots as {}.",
            machine.instance(),
            machine.primary()
        ));
    }
    let watching = tokio::spawn(story.watch(&vpc));
    for machine in vpc.machines().values() {
        machine.start_ipamd(&binaries.ipamd, &[]).await?;
    }
    story.say("ipamd runs on both nodes. Pods come, by the CNI plugin, as fast as a runtime asks.");
    let began = Instant::now();
    let filling = vpc
        .machines()
        .iter()
        .map(|(name, machine)| fill(&story, name, machine, &plugin));
    let pods: Vec<Pod> = try_join_all(filling).await?.into_iter().flatten().collect();
    let filled = began.elapsed();
    watching.abort();
    let proof = prove(&story, &vpc, &pods).await?;
    let calls = vpc.cloud().mutating_calls().await?;
    let slowest = pods.iter().map(|pod| pod.took).max().unwrap_or_default();
    for pod in pods {
        let machine = home(&vpc, &pod)?;
        pod::del(machine.node(), &plugin, pod).await?;
    }
    story.say("All pods were deleted again.");
    Ok(story.end(&story::Summary {
        seed,
        filled,
        slowest,
        mutating_calls: calls,
        ..proof
    }))
}

async fn fill(story: &Story, node: &str, machine: &Machine, plugin: &Plugin) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    for number in 1..=PODS_PER_NODE {
        let name = PodName::new(&format!("{node}-pod-{number:02}"));
        let pod = pod::add(machine.node(), plugin, &name).await;
        let pod = pod.with_context(|| format!("the log of ipamd on {node} ends with:\n{}", tail(machine)))?;
        story.say(&format!(
            "{node}: {} has {} after {:.1?}.",
            name.name, pod.address, pod.took
        ));
        pods.push(pod);
    }
    Ok(pods)
}

fn tail(machine: &Machine) -> String {
    let log = machine.ipamd_log();
    let lines: Vec<&str> = log.lines().collect();
    lines
        .iter()
        .rev()
        .take(20)
        .rev()
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

fn home<'a>(vpc: &'a Vpc, pod: &Pod) -> Result<&'a Machine> {
    let node = pod.name.name.split('-').next().unwrap_or_default();
    vpc.machines()
        .get(node)
        .with_context(|| format!("find the node of {}", pod.name.name))
}

/// Everything that is to be proven, counted.
async fn prove(story: &Story, vpc: &Vpc, pods: &[Pod]) -> Result<story::Summary> {
    let places: Vec<_> = pods.iter().map(Pod::place).collect();
    let responders: Result<Vec<_>, _> = pods
        .iter()
        .zip(&places)
        .map(|(pod, place)| Responder::start(&place.name, pod.network(), place.address))
        .collect();
    let _responders = responders?;
    let began = Instant::now();
    let cells = probe::matrix(&places, PATIENCE).await;
    let address = |name: &str| {
        places
            .iter()
            .find(|place| place.name == name)
            .map(|place| place.address.ip())
    };
    let true_sources = cells.iter().filter(|cell| {
        cell.result
            .as_ref()
            .is_ok_and(|answer| Some(answer.seen.ip()) == address(&cell.from) && answer.name == cell.to)
    });
    let seen_right = true_sources.count();
    for cell in cells.iter().filter(|cell| cell.result.is_err()).take(5) {
        story.say(&format!(
            "{} did not reach {} by {}: {:?}",
            cell.from, cell.to, cell.protocol, cell.result
        ));
    }
    story.say(&format!(
        "{seen_right} of {} conversations between pods, TCP and UDP: the pod's own address was seen ({:.1?}).",
        cells.len(),
        began.elapsed()
    ));
    let outside = ask_the_internet(story, vpc, pods).await?;
    let drops = vpc.drops().await?;
    for drop in &drops {
        story.say(&format!(
            "dropped on {}: {} packets: {}",
            drop.eni,
            drop.packets,
            drop.reason.explain()
        ));
    }
    Ok(story::Summary {
        pods: pods.len(),
        conversations: cells.len(),
        seen_right,
        outside,
        dropped: drops.iter().map(|drop| drop.packets).sum(),
        nodes: holdings(vpc),
        ..story::Summary::default()
    })
}

/// How many conversations with the internet showed it the public address of the pod's node.
async fn ask_the_internet(story: &Story, vpc: &Vpc, pods: &[Pod]) -> Result<usize> {
    let view = vpc.cloud().kernel_view().borrow().clone();
    let mut questions = Vec::new();
    for pod in pods {
        let primary = home(vpc, pod)?.primary();
        let public = view
            .enis
            .values()
            .find_map(|eni| eni.public.get(&primary))
            .copied();
        let public =
            public.with_context(|| format!("find the public address of the node of {}", pod.name.name))?;
        questions.extend([
            (pod, Protocol::Tcp, IpAddr::V4(public)),
            (pod, Protocol::Udp, IpAddr::V4(public)),
        ]);
    }
    let asked = questions.iter().map(|(pod, protocol, public)| async move {
        let answer = probe::ask(pod.network(), &Question::new(*protocol, INTERNET, PATIENCE)).await;
        let right = answer.as_ref().is_ok_and(|answer| answer.seen.ip() == *public);
        if !right {
            story.say(&format!(
                "{} and the internet by {protocol}: {answer:?}",
                pod.name.name
            ));
        }
        usize::from(right)
    });
    let right: usize = join_all(asked).await.into_iter().sum();
    story.say(&format!(
        "{right} of {} conversations with the internet: the node's address was seen.",
        questions.len()
    ));
    Ok(right)
}

/// ENIs and pod addresses of each node.
fn holdings(vpc: &Vpc) -> Vec<String> {
    let view = vpc.cloud().kernel_view().borrow().clone();
    let lines = vpc.machines().iter().map(|(name, machine)| {
        let enis: Vec<_> = view
            .enis
            .values()
            .filter(|eni| eni.instance == *machine.instance())
            .collect();
        let addresses: usize = enis.iter().map(|eni| eni.addresses.len().saturating_sub(1)).sum();
        format!("{name}: {} ENIs, {addresses} pod addresses", enis.len())
    });
    lines.collect()
}
