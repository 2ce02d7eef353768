//! Packets a second through a node, as its pods grow in number: beside a node of one pod and beside one with the peer's
//! rules. The three take short turns, each round in another order, because the machine's speed drifts.

use anyhow::Result;
use on_node::order::Order;

use crate::Effort;
use crate::row::{Bar, Row, Unit};
use crate::site::{Place, Site};

/// What of one pod's rate a full node must reach.
const FLAT: f64 = 0.95;
/// The bar is of so many pods.
const FLAT_UP_TO: u32 = 250;

/// Which way packets go through the node.
#[derive(Clone, Copy)]
enum Way {
    /// From its pod to the far one.
    Out,
    /// From the far pod to its own.
    In,
}

/// Both ways, with so many pods on the full node.
pub(crate) async fn with(site: &mut Site, level: u32, effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (way, name) in [(Way::Out, "from a pod"), (Way::In, "to a pod")] {
        let (mut full, mut one, mut peer) = (Vec::new(), Vec::new(), Vec::new());
        let (millis, rounds) = effort.flood;
        for round in 0..rounds {
            let mut turns = [
                (&mut site.full, &mut full),
                (&mut site.single, &mut one),
                (&mut site.peer, &mut peer),
            ];
            turns.rotate_left(round as usize % 3);
            for (near, rates) in turns {
                rates.push(rate(way, near, &mut site.far, millis).await?);
            }
        }
        let what = format!("forwarded {name}; {level} pods there");
        let flat = beside_one(what, &full, &one);
        rows.push(match level {
            FLAT_UP_TO => flat.bar(Bar::RatioAtLeast(FLAT)),
            _ => flat,
        });
        let what = format!("the same with the peer's two rules per pod; {level} pods");
        rows.push(beside_one(what, &peer, &one));
    }
    Ok(rows)
}

/// Rates beside those of a node of one pod, by the ratios of each round.
fn beside_one(what: String, rates: &[f64], one: &[f64]) -> Row {
    let ratios = rates.iter().zip(one).map(|(rate, one)| rate / one);
    let ratio = median(ratios.collect());
    Row::new(what, Unit::PacketsPerSecond, median(rates.to_vec())).paired(
        "one pod",
        median(one.to_vec()),
        ratio,
    )
}

/// What arrives, per second of sending.
async fn rate(way: Way, near: &mut Place, far: &mut Place, millis: u64) -> Result<f64> {
    let (from, to) = match way {
        Way::Out => (near, far),
        Way::In => (far, near),
    };
    let received = Order::Received {
        pod: to.probe.clone(),
    };
    let before: u64 = to.agent.ask(&received).await?;
    let flood = Order::Flood {
        pod: from.probe.clone(),
        to: to.target(),
        millis,
    };
    let seconds: f64 = from.agent.ask(&flood).await?;
    let after: u64 = to.agent.ask(&received).await?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "packets of seconds fit a double exactly"
    )]
    let packets = (after - before) as f64;
    Ok(packets / seconds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
