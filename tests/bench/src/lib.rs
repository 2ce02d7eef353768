//! `cargo bench-all`: how far pods, packets and the daemon are from the floors of the same run.
//!
//! Floors: the same kernel work by hand-written netlink bytes, an exec of an empty program linked like the plugin, and
//! for forwarding a node of one pod beside the full one, and a node with the peer's rules beside both. Whatever is
//! compared takes turns within one run, because the machine's speed drifts; absolute figures belong to the machine.
//!
//! What runs on a node is the crate `on-node`. The bars are those of the design. The bench never fails because a bar is
//! missed: it says so.

mod agent;
mod daemon;
mod forward;
mod pods;
mod report;
mod row;
mod site;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use vpc_sim::binaries::Binaries;
use vpc_sim::holder::World;

use report::Report;
use row::Row;
use site::Site;

/// What the bench runs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// What is measured.
    pub binaries: Binaries,
    /// The bench's own part on a node, built as the plugin is.
    pub on_node: PathBuf,
    /// A program that does nothing, linked as the plugin is.
    pub empty: PathBuf,
    /// The conflist that pods use.
    pub conflist: PathBuf,
}

/// How thorough a run is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds of what is measured one at a time.
    pub rounds: u32,
    /// Pods that come at once.
    pub bursts: [u32; 2],
    /// Pods on the node; packets are also counted with one.
    pub levels: [u32; 4],
    /// How long packets are counted each time, in milliseconds, and how often.
    pub flood: (u64, u32),
    /// How long the daemon is watched doing nothing, in milliseconds: more than its slow pass of half a minute.
    pub watch: u64,
    /// How long it is asked for addresses, in milliseconds.
    pub ask: u64,
    /// Whether this is only to see that the bench works.
    pub quick: bool,
}

impl Effort {
    /// What figures are published from.
    pub const FULL: Self = Self {
        rounds: 200,
        bursts: [110, 250],
        levels: [1, 110, 250, 700],
        flood: (60, 60),
        watch: 32_000,
        ask: 10_000,
        quick: false,
    };
    /// Whether it works.
    pub const QUICK: Self = Self {
        rounds: 3,
        bursts: [3, 5],
        levels: [1, 4, 6, 8],
        flood: (20, 1),
        watch: 100,
        // Twenty requests: fewer than there are free addresses, however slow the machine is.
        ask: 20,
        quick: true,
    };
}

/// Runs every measurement, prints the table and writes it into `folder`; into `keep` too, for readers.
///
/// # Errors
/// When something cannot be measured. A bar that is missed is no error.
pub fn run(
    world: &World,
    programs: &Programs,
    effort: Effort,
    folder: &Path,
    keep: Option<&Path>,
) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let report = runtime.block_on(measure(world, programs, effort))?;
    report.write(folder)?;
    if let Some(keep) = keep {
        report.write_words(keep)?;
    }
    #[expect(clippy::print_stdout, reason = "the bench speaks to whoever runs it")]
    {
        println!("{}{}", report.table(), report.skips());
    }
    Ok(())
}

async fn measure(world: &World, programs: &Programs, effort: Effort) -> Result<Report> {
    let mut site = Site::start(world, programs, effort).await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut skipped = Vec::new();
    say("the programs alone");
    rows.extend(daemon::sizes(programs)?);
    rows.extend(pods::exec(&mut site, effort).await?);
    rows.extend(daemon::firewall(&mut site, effort).await?);
    rows.extend(pods::counts(&mut site, &mut skipped).await?);
    rows.extend(daemon::idle(&mut site, effort).await?);
    rows.extend(daemon::large(&mut site, programs, effort).await?);
    rows.extend(pods::with(&mut site, 0, effort).await?);
    site.place_probes().await?;
    let [one, some, many, full] = effort.levels;
    let mut packets = Vec::new();
    for level in [one, some, many, full] {
        say(&format!("{level} pods on the node"));
        site.fill(level).await?;
        packets.extend(forward::with(&mut site, level, effort).await?);
        if level == many {
            rows.extend(daemon::restart(&mut site, programs, effort).await?);
        }
        if [many, full].contains(&level) {
            rows.extend(pods::with(&mut site, level, effort).await?);
        }
    }
    rows.extend(packets);
    Ok(Report::new(effort.quick, rows, skipped))
}

/// A run takes minutes; whoever waits wants to know where it is.
#[expect(clippy::print_stderr, reason = "the bench speaks to whoever runs it")]
fn say(what: &str) {
    eprintln!("bench: {what}");
}
