//! `cargo bench-all`: how long a pod takes beside the kernel's floor, how many packets a node forwards with one pod and
//! with many, and what the idle daemon holds. Ratios of one run can be trusted; absolute figures belong to the machine.

pub(crate) mod on_node;

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vpc_sim::binaries::Binaries;
use vpc_sim::holder::World;
use vpc_sim::pod::{self, Plugin, Pod, PodName};
use vpc_sim::scenario::Scenario;
use vpc_sim::vpc::machine::Machine;
use vpc_sim::vpc::{PROBE_PORT, Vpc};

/// m5.24xlarge: 15 ENIs of 50 addresses, so that 250 pods fit; the pool holds them ready.
const SCENARIO: &str = "
ec2: instant
subnets:
  - {name: a, cidr: 10.0.0.0/20, zone: us-east-1a}
  - {name: b, cidr: 10.0.16.0/20, zone: us-east-1b}
nodes:
  - {name: n1, type: m5.24xlarge, subnet: a}
  - {name: n2, type: m5.24xlarge, subnet: b}
env: {WARM_IP_TARGET: '300', BERTH_MAX_PODS: '700', IP_COOLDOWN_PERIOD: '0', AWS_VPC_K8S_CNI_LOGLEVEL: warn}
";

/// Pods of one measurement.
const PODS: u32 = 200;

/// Pods on the node when many are.
const MANY: usize = 250;

/// How long packets are counted.
const COUNT_FOR: Duration = Duration::from_secs(2);

/// Runs every measurement and prints a table.
pub(crate) fn run(world: &World, conflist: &Path, binaries: &Binaries) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(measure(world, conflist, binaries))
}

async fn measure(world: &World, conflist: &Path, binaries: &Binaries) -> Result<()> {
    let plugin = Plugin::of(&binaries.shim, conflist)?;
    let vpc = Vpc::start(world, &Scenario::parse(SCENARIO)?).await?;
    for machine in vpc.machines().values() {
        machine.start_ipamd(&binaries.ipamd, &[]).await?;
    }
    let near = vpc.machines().get("n1").context("node n1")?;
    let far = vpc.machines().get("n2").context("node n2")?;
    let sink = pod::add(far.node(), &plugin, &PodName::new("sink")).await?;
    let source = pod::add(near.node(), &plugin, &PodName::new("source")).await?;
    warm(&vpc, near).await?;
    show(
        "idle memory of ipamd",
        &format!("{:.1} MiB", resident_mib(near).await?),
    );
    let figures = adds(near, &plugin, binaries).await?;
    for (what, key) in [
        ("warm ADD, exec to result", "add"),
        ("kernel floor of an ADD", "floor"),
        ("DEL, exec to exit", "del"),
    ] {
        let figure = figures.get(key).context("a figure")?;
        let time = |of: &str| figure.get(of).and_then(Value::as_f64).unwrap_or(f64::NAN);
        show(
            what,
            &format!("p50 {:.2} ms, p99 {:.2} ms", time("p50"), time("p99")),
        );
    }
    let one = packets_per_second(&source, &sink).await?;
    show("forwarded with 1 pod", &format!("{one:.0} packets/s"));
    let mut pods = Vec::new();
    for number in 1..MANY {
        pods.push(pod::add(near.node(), &plugin, &PodName::new(&format!("p{number}"))).await?);
    }
    let many = packets_per_second(&source, &sink).await?;
    show(
        &format!("forwarded with {MANY} pods"),
        &format!("{many:.0} packets/s, {:.2} of one pod's", many / one),
    );
    Ok(())
}

/// Waits until the pool holds what it should.
async fn warm(vpc: &Vpc, machine: &Machine) -> Result<()> {
    let mut views = vpc.cloud().kernel_view();
    let full = async {
        loop {
            let held: usize = {
                let view = views.borrow_and_update();
                let mine = view
                    .enis
                    .values()
                    .filter(|eni| eni.instance == *machine.instance());
                mine.map(|eni| eni.addresses.len() - 1).sum()
            };
            if held >= 300 || views.changed().await.is_err() {
                return held;
            }
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(60), full)
        .await
        .context("fill the pool")?;
    ensure!(held >= 300, "the pool holds {held}");
    Ok(())
}

/// Resident memory of the node's daemon; the process that entered the node is its parent.
async fn resident_mib(machine: &Machine) -> Result<f64> {
    let output = machine
        .node()
        .run(
            "sh",
            &[
                "-c",
                "grep -h VmRSS $(grep -ls '^Name:.ipamd' /proc/[0-9]*/status)",
            ],
        )
        .await?;
    let text = String::from_utf8(output.stdout)?;
    let kib: f64 = text
        .split_whitespace()
        .nth(1)
        .context("VmRSS of ipamd")?
        .parse()?;
    Ok(kib / 1024.0)
}

/// The part that runs on the node itself, so that nothing of the simulator is in the times.
async fn adds(machine: &Machine, plugin: &Plugin, binaries: &Binaries) -> Result<Value> {
    let program = std::env::current_exe().context("find this program")?;
    let output = machine
        .node()
        .command(&program.to_string_lossy())
        .args([
            "bench-on-node",
            &binaries.shim.to_string_lossy(),
            &plugin.conf().to_string(),
            &PODS.to_string(),
        ])
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("read the figures")
}

/// 64-byte datagrams from one pod to another on the other node, as many as one thread sends; what arrives is counted at
/// the receiver's device.
async fn packets_per_second(source: &Pod, sink: &Pod) -> Result<f64> {
    let target = std::net::SocketAddr::new(sink.address.into(), PROBE_PORT);
    let socket = netlink::netns::inside(source.network(), || std::net::UdpSocket::bind("0.0.0.0:0"))??;
    socket.connect(target)?;
    // Somebody listens, so that no errors come back; that the buffer overflows does not matter.
    let _listener = netlink::netns::inside(sink.network(), || std::net::UdpSocket::bind(target))??;
    let before = received(sink)?;
    let began = Instant::now();
    let flood = tokio::task::spawn_blocking(move || {
        // 64 bytes on the wire with Ethernet, IP and UDP headers.
        let datagram = [0_u8; 22];
        while began.elapsed() < COUNT_FOR {
            for _ in 0..64 {
                // A full queue is what is measured.
                let _ = socket.send(&datagram);
            }
        }
        began.elapsed()
    });
    let took = flood.await?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "packets of seconds fit a double exactly"
    )]
    let rate = (received(sink)? - before) as f64 / took.as_secs_f64();
    Ok(rate)
}

/// Packets that a pod's eth0 received so far.
fn received(pod: &Pod) -> Result<u64> {
    let read = || std::fs::read_to_string("/proc/thread-self/net/dev");
    let text = netlink::netns::inside(pod.network().as_fd(), read)??;
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("eth0:"))
        .context("eth0's counters")?;
    line.split_whitespace()
        .nth(1)
        .context("received packets")?
        .parse()
        .context("a number of packets")
}

#[expect(clippy::print_stdout, reason = "the bench speaks to whoever runs it")]
fn show(what: &str, figure: &str) {
    println!("{what:28}  {figure}");
}
