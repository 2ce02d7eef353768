//! Pods that stay: those that fill the node, and those between which packets are counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow};
use ipnet::IpNet;
use serde_json::Value;

use crate::namespace::Namespace;
use crate::plugin::Plugin;

/// As many at a time as a busy runtime.
const WORKERS: u32 = 8;

/// A pod with its address.
pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
    pub(crate) address: Ipv4Addr,
    listener: Option<UdpSocket>,
}

/// The pods of this node.
#[derive(Default)]
pub(crate) struct Pods(BTreeMap<String, Pod>);

impl Pods {
    pub(crate) fn get(&self, name: &str) -> Result<&Pod> {
        self.0
            .get(name)
            .with_context(|| format!("there is no pod {name}"))
    }

    pub(crate) fn add(&mut self, plugin: &Plugin, name: &str) -> Result<Ipv4Addr> {
        let pod = make(plugin, name)?;
        let address = pod.address;
        self.0.insert(name.to_owned(), pod);
        Ok(address)
    }

    /// Adds pods until there are so many; says how many there were.
    pub(crate) fn fill(&mut self, plugin: &Plugin, up_to: u32) -> Result<u32> {
        let before = u32::try_from(self.0.len()).context("count the pods")?;
        let next = AtomicU32::new(before);
        let made = Mutex::new(Vec::new());
        let work = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= up_to {
                    return Ok(());
                }
                let name = format!("fill{number}");
                let pod = make(plugin, &name)?;
                made.lock()
                    .map_err(|_| anyhow!("a thread ended"))?
                    .push((name, pod));
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined
                .map(|ended| ended.unwrap_or_else(|_| Err(anyhow!("a thread ended"))))
                .collect::<Result<Vec<()>>>()
        })?;
        let made = made.into_inner().map_err(|_| anyhow!("a thread ended"))?;
        self.0.extend(made);
        Ok(before)
    }

    /// Somebody listens, so that no errors come back; that the buffer overflows does not matter.
    pub(crate) fn listen(&mut self, name: &str, port: u16) -> Result<()> {
        let pod = self.0.get_mut(name).with_context(|| format!("no pod {name}"))?;
        let at = SocketAddr::new(IpAddr::V4(pod.address), port);
        let bind = || UdpSocket::bind(at);
        pod.listener = Some(netlink::netns::inside(pod.namespace.as_fd(), bind)??);
        Ok(())
    }
}

fn make(plugin: &Plugin, name: &str) -> Result<Pod> {
    let namespace = Namespace::make(name)?;
    let result = plugin.add(name, &namespace)?.document;
    let address = result.pointer("/ips/0/address").and_then(Value::as_str);
    match address.and_then(|text| text.parse().ok()) {
        Some(IpNet::V4(net)) => Ok(Pod {
            namespace,
            address: net.addr(),
            listener: None,
        }),
        _ => Err(anyhow!("the result of {name} has no address: {result}")),
    }
}
