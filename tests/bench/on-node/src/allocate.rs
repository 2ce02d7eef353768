//! Addresses at a steady pace, over one connection: whether the daemon keeps up, answers slowly or not. Each address is
//! given back, so the load on the daemon is twice the pace.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use proto::v1;
use proto::v1::ipam_client::IpamClient;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::order::Times;
use crate::{client, device};

/// Runs at the pace; the times are those of the Adds, from asking to answer.
pub(crate) fn run(per_second: u32, millis: u64) -> Result<Times> {
    device::runtime()?.block_on(async {
        let ipam = client::connect().await?;
        let runtime = Handle::current();
        // A timer of the runtime is too coarse for a pace of milliseconds, so a thread of its own keeps it.
        let paced = tokio::task::spawn_blocking(move || pace(&runtime, &ipam, per_second, millis));
        let mut times = Vec::new();
        for call in paced.await.context("keep the pace")? {
            times.push(call.await.context("a call ended")??);
        }
        Ok(Times::of(times))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pace is kept by waiting for its next moment"
)]
fn pace(
    runtime: &Handle,
    ipam: &IpamClient<Channel>,
    per_second: u32,
    millis: u64,
) -> Vec<JoinHandle<Result<Duration>>> {
    let began = Instant::now();
    let step = Duration::from_secs(1) / per_second.max(1);
    let count = u32::try_from(millis)
        .unwrap_or(u32::MAX)
        .saturating_mul(per_second)
        / 1000;
    let call = |number: u32| {
        let due = began + step * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        runtime.spawn(one(ipam.clone(), format!("allocated{number}"), Instant::now()))
    };
    (0..count).map(call).collect()
}

async fn one(mut ipam: IpamClient<Channel>, container: String, asked: Instant) -> Result<Duration> {
    ipam.add(client::add_request(&container)).await.context("Add")?;
    let took = asked.elapsed();
    let attachment = client::attachment(&container);
    ipam.del(v1::DelRequest { attachment }).await.context("Del")?;
    Ok(took)
}
