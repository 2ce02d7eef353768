//! The part of the bench that runs on a simulated node: execs the plugin as a runtime does and times it, and beside it
//! does the same kernel work by hand.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use netlink::{LinkChange, Neighbour, Route, Routing, Scope, VethEnd, VethSpec};
use serde_json::{Value, json};
use vpc_sim::pod::PodName;

/// A table that nobody else uses.
const FLOOR_TABLE: u32 = 7777;

/// Measures and prints JSON.
pub(crate) fn run(shim: &Path, conf: &str, count: u32) -> Result<()> {
    let mut conf: Value = serde_json::from_str(conf)?;
    let (mut adds, mut dels, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for number in 0..count {
        let name = PodName::new(&format!("bench{number}"));
        let namespace = namespace(&name)?;
        // One of each in turn, so that both meet the same weather.
        floors.push(runtime.block_on(floor(number, &namespace))?);
        let (took, result) = exec(shim, &name, "ADD", &conf)?;
        adds.push(took);
        if let (Some(conf), Ok(result)) = (conf.as_object_mut(), serde_json::from_str::<Value>(&result)) {
            conf.insert("prevResult".to_owned(), result);
        }
        dels.push(exec(shim, &name, "DEL", &conf)?.0);
        conf.as_object_mut().map(|conf| conf.remove("prevResult"));
    }
    let figures = json!({"add": quantiles(adds), "del": quantiles(dels), "floor": quantiles(floors)});
    #[expect(clippy::print_stdout, reason = "the bench reads it")]
    {
        println!("{figures}");
    }
    Ok(())
}

/// A network namespace where the pod's name says; it stays as long as this process.
fn namespace(name: &PodName) -> Result<OwnedFd> {
    let made = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
    });
    let namespace = made
        .join()
        .map_err(|_| anyhow::anyhow!("make a namespace"))?
        .context("make a namespace")?;
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(&namespace)
    );
    std::os::unix::fs::symlink(path, name.netns()).context("name the namespace")?;
    Ok(namespace)
}

fn exec(shim: &Path, name: &PodName, verb: &str, conf: &Value) -> Result<(Duration, String)> {
    let conf = conf.to_string();
    let began = Instant::now();
    let mut child = Command::new(shim)
        .env_clear()
        .envs(name.environment(verb))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("exec the plugin")?;
    child
        .stdin
        .take()
        .context("standard input")?
        .write_all(conf.as_bytes())?;
    let output = child.wait_with_output()?;
    let took = began.elapsed();
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{verb} of {}: {text}", name.name);
    Ok((took, text))
}

/// The kernel work of an ADD and nothing else: a pair born in place, both ends up, address, routes, neighbour.
async fn floor(number: u32, namespace: &OwnedFd) -> Result<Duration> {
    let began = Instant::now();
    let host = Routing::open()?;
    let pod = Routing::open_in(namespace.as_fd())?;
    let name = format!("floor{number}");
    let end = |name| VethEnd {
        name,
        mtu_bytes: Some(9001),
        ..VethEnd::default()
    };
    let spec = VethSpec {
        host: end(&name),
        peer: end("floor0"),
        peer_namespace: Some(namespace.as_fd()),
        ..VethSpec::default()
    };
    host.create_veth(&spec).await?;
    let quiet = LinkChange {
        link_local: Some(false),
        ..LinkChange::default()
    };
    let host_end = host.link_by_name(&name).await?.context("the host end")?.index;
    let pod_end = pod.link_by_name("floor0").await?.context("the pod end")?.index;
    for (routing, index) in [(&host, host_end), (&pod, pod_end)] {
        routing.change_link(index, &quiet).await?;
        routing.set_up(index).await?;
    }
    let address = Ipv4Net::from(Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 0, 1)) + number));
    let gateway = Ipv4Addr::new(169, 254, 1, 1);
    pod.add_address(&netlink::Address::new(pod_end, IpNet::V4(address)))
        .await?;
    let mut to_gateway = Route::new(IpNet::V4(gateway.into()), FLOOR_TABLE);
    (to_gateway.out, to_gateway.scope) = (Some(pod_end), Scope::Link);
    pod.add_route(&to_gateway).await?;
    let mut away = Route::new(IpNet::V4(Ipv4Net::default()), FLOOR_TABLE);
    (away.out, away.gateway, away.on_link) = (Some(pod_end), Some(gateway.into()), true);
    pod.add_route(&away).await?;
    let mac = Some(netlink::Mac([2, 0, 0, 0, 0, 1]));
    pod.add_neighbour(&Neighbour {
        index: pod_end,
        ip: gateway.into(),
        mac,
        permanent: true,
    })
    .await?;
    let mut to_pod = Route::new(IpNet::V4(address), FLOOR_TABLE);
    (to_pod.out, to_pod.scope) = (Some(host_end), Scope::Link);
    host.add_route(&to_pod).await?;
    Ok(began.elapsed())
}

fn quantiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(index).map(|time| time.as_secs_f64() * 1000.0)
    };
    json!({"p50": at(50), "p99": at(99)})
}
