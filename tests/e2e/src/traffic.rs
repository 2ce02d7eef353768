//! Steady traffic between two places while something happens: every datagram that is not answered is a loss.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::site::BOUND;

/// Between two datagrams.
const PERIOD: Duration = Duration::from_millis(1);

/// How long the last answers may take.
const GRACE: Duration = Duration::from_millis(500);

/// A flow of datagrams, each numbered and echoed.
#[derive(Debug)]
pub struct Flow {
    stop: Arc<AtomicBool>,
    sent: watch::Receiver<u64>,
    task: JoinHandle<Result<Count>>,
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Datagrams sent.
    pub sent: u64,
    /// Answers that came.
    pub answered: u64,
}

impl Flow {
    /// Sends a datagram a millisecond from a namespace to an address where something answers each.
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn start(from: BorrowedFd<'_>, to: SocketAddr) -> Result<Self> {
        let socket = netlink::netns::inside(from, || {
            let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(to)?;
            UdpSocket::from_std(socket)
        })?;
        let socket = socket.with_context(|| format!("open a socket towards {to}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (telling, sent) = watch::channel(0);
        let task = tokio::spawn(pump(socket, Arc::clone(&stop), telling));
        Ok(Self { stop, sent, task })
    }

    /// Waits until this many datagrams were sent, so that a quick machine proves as much as a slow one.
    ///
    /// # Errors
    /// When the flow ended, or does not get there within [`BOUND`].
    pub async fn until_sent(&mut self, datagrams: u64) -> Result<()> {
        let sent = self.sent.wait_for(|sent| *sent >= datagrams);
        tokio::time::timeout(BOUND, sent)
            .await
            .context("send in time")?
            .context("the flow goes on")?;
        Ok(())
    }

    /// Stops sending and counts.
    ///
    /// # Errors
    /// When the socket failed.
    pub async fn stop(self) -> Result<Count> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn pump(socket: UdpSocket, stop: Arc<AtomicBool>, telling: watch::Sender<u64>) -> Result<Count> {
    let mut count = Count { sent: 0, answered: 0 };
    let mut answer = [0; 256];
    let mut tick = tokio::time::interval(PERIOD);
    while !stop.load(Ordering::Relaxed) {
        tokio::select! {
            _ = tick.tick() => {
                // A refused datagram is an answer that will be missing.
                count.sent += 1;
                telling.send_replace(count.sent);
                drop(socket.send(b"?").await);
            }
            received = socket.recv(&mut answer) => count.answered += u64::from(received.is_ok()),
        }
    }
    while count.answered < count.sent {
        match tokio::time::timeout(GRACE, socket.recv(&mut answer)).await {
            Ok(received) => count.answered += u64::from(received.is_ok()),
            Err(_) => break,
        }
    }
    Ok(count)
}
