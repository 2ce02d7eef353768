//! Many pods at once, as when a node is drained onto another: all ADDs begin together, then all DELs, each followed by
//! the end of its namespace, as a runtime does it.

use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::device;
use crate::namespace::Namespace;
use crate::order::{Burst, Times};
use crate::plugin::Plugin;

/// A thread execs one plugin and waits for it.
const STACK_BYTES: usize = 256 << 10;

struct Added {
    name: String,
    namespace: Namespace,
    result: Value,
}

pub(crate) fn run(plugin: &Plugin, count: u32) -> Result<Burst> {
    let before = device::count()?;
    let pods = (0..count).map(|number| {
        let name = format!("burst{number}");
        Namespace::make(&name).map(|namespace| (name, namespace))
    });
    let outcomes = at_once(pods.collect::<Result<_>>()?, |(name, namespace)| {
        let result = plugin.add(&name, &namespace)?.document;
        Ok(Added {
            name,
            namespace,
            result,
        })
    })?;
    let (mut adds, mut pods, mut failed, mut complaint) = (Vec::new(), Vec::new(), 0, None);
    for outcome in outcomes {
        match outcome {
            Ok((took, pod)) => {
                adds.push(took);
                pods.push(pod);
            }
            Err(error) => {
                failed += 1;
                complaint.get_or_insert(format!("{error:#}"));
            }
        }
    }
    let began = Instant::now();
    let outcomes = at_once(pods, |pod| plugin.del(&pod.name, &pod.namespace, &pod.result))?;
    let dels: Result<Vec<Duration>> = outcomes.into_iter().map(|done| Ok(done?.0)).collect();
    device::wait_until_at_most(before)?;
    Ok(Burst {
        add: Times::of(adds),
        failed,
        complaint,
        del: Times::of(dels.context("delete the pods")?),
        gone: began.elapsed().as_secs_f64() * 1e6,
    })
}

/// Does the work for each in a thread of its own, all released together. Each outcome comes with the time from the
/// release, so that waiting for a CPU counts, as it does for a runtime that was told to start them all.
fn at_once<T: Send, R: Send>(
    each: Vec<T>,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<Result<(Duration, R)>>> {
    let start = Barrier::new(each.len() + 1);
    let released = OnceLock::new();
    let (start, released, work) = (&start, &released, &work);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for one in each {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let run = move || {
                start.wait();
                let done = work(one)?;
                let began: &Instant = released.get().context("the release")?;
                Ok((began.elapsed(), done))
            };
            threads.push(thread.spawn_scoped(scope, run).context("start a thread")?);
        }
        released.get_or_init(Instant::now);
        start.wait();
        let ended = threads.into_iter().map(|thread| thread.join());
        Ok(ended
            .map(|ended| ended.unwrap_or_else(|_| Err(anyhow!("a thread ended"))))
            .collect())
    })
}
