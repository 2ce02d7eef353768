//! What a run says while it lives: lines with the time, of ENIs, pods and dropped packets as they come.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::fabric::Drop as FabricDrop;
use crate::model::id::{EniId, InstanceId};
use crate::model::view::{EniView, KernelView};
use crate::vpc::Vpc;

/// Between two looks at the drop counters, which tell nobody when they change.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A story that is being told on standard output.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    began: Instant,
}

impl Story {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// A line, with the time since the beginning. When nobody reads any more, nobody misses it.
    pub fn say(self, line: &str) {
        let mut out = std::io::stdout().lock();
        let seconds = self.began.elapsed().as_secs_f64();
        drop(writeln!(out, "{seconds:7.2} s  {line}").and_then(|()| out.flush()));
    }

    /// Tells of ENIs and their addresses as they come and go, for ever.
    pub async fn watch_enis(self, vpc: &Vpc) {
        let names: BTreeMap<InstanceId, String> = vpc
            .machines()
            .iter()
            .map(|(name, machine)| (machine.instance().clone(), name.clone()))
            .collect();
        let mut views = vpc.cloud().kernel_view();
        let mut known = views.borrow_and_update().clone();
        while views.changed().await.is_ok() {
            let now = views.borrow_and_update().clone();
            for line in changes(&names, &known, &now) {
                self.say(&line);
            }
            known = now;
        }
    }

    /// Tells of dropped packets as they are counted, for ever.
    pub async fn watch_drops(self, vpc: &Vpc) {
        let mut known = Vec::new();
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            // Counters that cannot be read now can be read later.
            let Ok(now) = vpc.drops().await else { continue };
            for new in newly_dropped(&known, &now) {
                self.say(&describe_drop(&new));
            }
            known = now;
        }
    }
}

/// A drop in words.
#[must_use]
pub fn describe_drop(drop: &FabricDrop) -> String {
    let FabricDrop {
        eni,
        reason,
        packets,
        bytes,
    } = drop;
    let plural = if *packets == 1 { "" } else { "s" };
    format!(
        "dropped on {eni}: {packets} packet{plural} ({bytes} bytes), {reason}: {}",
        reason.explain()
    )
}

/// What was dropped between two looks.
#[must_use]
pub fn newly_dropped(before: &[FabricDrop], after: &[FabricDrop]) -> Vec<FabricDrop> {
    let grown = after.iter().map(|drop| {
        let earlier = before
            .iter()
            .find(|earlier| (&earlier.eni, earlier.reason) == (&drop.eni, drop.reason));
        FabricDrop {
            packets: drop
                .packets
                .saturating_sub(earlier.map_or(0, |earlier| earlier.packets)),
            bytes: drop
                .bytes
                .saturating_sub(earlier.map_or(0, |earlier| earlier.bytes)),
            ..drop.clone()
        }
    });
    grown.filter(|drop| drop.packets > 0).collect()
}

fn changes(names: &BTreeMap<InstanceId, String>, known: &KernelView, now: &KernelView) -> Vec<String> {
    // An instance without a node is known by its id.
    let node = |eni: &EniView| {
        let name = names.get(&eni.instance);
        name.map_or_else(|| eni.instance.to_string(), String::clone)
    };
    let holdings = |eni: &EniView| {
        let (addresses, prefixes) = (eni.addresses.len().saturating_sub(1), eni.prefixes.len());
        format!("{addresses} secondary addresses and {prefixes} prefixes")
    };
    let mut lines: Vec<String> = now
        .enis
        .iter()
        .filter_map(|(id, eni): (&EniId, &EniView)| match known.enis.get(id) {
            None => Some(format!("{}: {id} is attached with {}.", node(eni), holdings(eni))),
            Some(before) if holdings(before) != holdings(eni) => {
                Some(format!("{}: {id} now has {}.", node(eni), holdings(eni)))
            }
            Some(_) => None,
        })
        .collect();
    let gone = known.enis.iter().filter(|(id, _)| !now.enis.contains_key(*id));
    lines.extend(gone.map(|(id, eni)| format!("{}: {id} is gone.", node(eni))));
    lines
}
