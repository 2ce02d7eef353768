//! As many small datagrams from a pod as one thread can send, and what arrived at a pod.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::pods::Pod;

/// 64 bytes on the wire, with the headers of Ethernet, IP and UDP.
const PAYLOAD: [u8; 22] = [0; 22];

/// Sends between two looks at the clock.
const BETWEEN_LOOKS: usize = 64;

/// Sends, and says for how many seconds.
pub(crate) fn run(pod: &Pod, to: SocketAddr, millis: u64) -> Result<f64> {
    let socket = netlink::netns::inside(pod.namespace.as_fd(), || UdpSocket::bind("0.0.0.0:0"))??;
    socket.connect(to).context("aim")?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(millis) {
        for _ in 0..BETWEEN_LOOKS {
            // A full queue is what is measured.
            let _ = socket.send(&PAYLOAD);
        }
    }
    Ok(began.elapsed().as_secs_f64())
}

/// The packets that the pod's eth0 received so far.
pub(crate) fn received(pod: &Pod) -> Result<u64> {
    let read = || std::fs::read_to_string("/proc/thread-self/net/dev");
    let text = netlink::netns::inside(pod.namespace.as_fd(), read)?.context("read the counters")?;
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("eth0:"))
        .context("eth0's counters")?;
    let packets = line.split_whitespace().nth(1).context("received packets")?;
    packets.parse().context("a number of packets")
}
