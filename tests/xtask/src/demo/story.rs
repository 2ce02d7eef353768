//! The demo's words: lines with the time, what happens to ENIs meanwhile, and the summary.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vpc_sim::model::id::{EniId, InstanceId};
use vpc_sim::model::view::KernelView;
use vpc_sim::vpc::Vpc;

/// A story that is being told.
#[derive(Clone, Copy)]
pub(super) struct Story {
    began: Instant,
}

/// What came of it. Everything but the times is the same for the same seed.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) seed: u64,
    pub(super) pods: usize,
    pub(super) nodes: Vec<String>,
    pub(super) conversations: usize,
    pub(super) seen_right: usize,
    pub(super) outside: usize,
    pub(super) dropped: u64,
    pub(super) mutating_calls: usize,
    pub(super) filled: Duration,
    pub(super) slowest: Duration,
}

impl Story {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// A line, with the time since the beginning.
    pub(super) fn say(self, line: &str) {
        show(&format!("{:7.2} s  {line}", self.began.elapsed().as_secs_f64()));
    }

    /// Tells of ENIs and addresses as they come and go, until aborted.
    pub(super) fn watch(self, vpc: &Vpc) -> impl Future<Output = ()> + Send + use<> {
        let names: BTreeMap<InstanceId, String> = vpc
            .machines()
            .iter()
            .map(|(name, machine)| (machine.instance().clone(), name.clone()))
            .collect();
        let mut views = vpc.cloud().kernel_view();
        async move {
            let mut known = addresses(&views.borrow_and_update());
            while views.changed().await.is_ok() {
                let view = views.borrow_and_update().clone();
                let now = addresses(&view);
                for (eni, count) in &now {
                    let node = view.enis.get(eni).and_then(|eni| names.get(&eni.instance));
                    let node = node.map_or("?", String::as_str);
                    match known.get(eni) {
                        None => self.say(&format!(
                            "{node}: {eni} is attached and brings {count} addresses."
                        )),
                        Some(before) if before != count => {
                            self.say(&format!("{node}: {eni} now has {count} addresses for pods."));
                        }
                        Some(_) => {}
                    }
                }
                known = now;
            }
        }
    }

    /// The summary, and whether all is well.
    pub(super) fn end(self, summary: &Summary) -> ExitCode {
        let well = summary.seen_right == summary.conversations
            && summary.outside == summary.pods * 2
            && summary.dropped == 0
            && summary.conversations > 0;
        show("");
        show("Summary");
        show(&format!("  seed {}", summary.seed));
        for node in &summary.nodes {
            show(&format!("  {node}"));
        }
        show(&format!(
            "  {} pods, each with a VPC address of its own",
            summary.pods
        ));
        show(&format!(
            "  {} of {} conversations between pods saw the true source",
            summary.seen_right, summary.conversations
        ));
        show(&format!(
            "  {} of {} conversations with the internet saw the node",
            summary.outside,
            summary.pods * 2
        ));
        show(&format!("  {} packets dropped by the VPC", summary.dropped));
        show(&format!("  {} mutating EC2 calls", summary.mutating_calls));
        show(if well {
            "  all proven"
        } else {
            "  NOT proven, see above"
        });
        show("Times");
        show(&format!(
            "  nodes filled in {:.2?}, slowest ADD {:.2?}",
            summary.filled, summary.slowest
        ));
        show(&format!("  everything in {:.2?}", self.began.elapsed()));
        if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Addresses for pods, by ENI.
fn addresses(view: &KernelView) -> BTreeMap<EniId, usize> {
    view.enis
        .iter()
        .map(|(id, eni)| (id.clone(), eni.addresses.len().saturating_sub(1)))
        .collect()
}

#[expect(clippy::print_stdout, reason = "the demo speaks to whoever runs it")]
fn show(line: &str) {
    println!("{line}");
}
