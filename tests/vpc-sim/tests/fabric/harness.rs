//! A main of its own: the outside starts worlds and looks for leftovers, the inside runs the tests.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test harness speaks")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vpc_sim::holder;

use crate::{facts, rig};

/// What the program does inside: its tests, or a world that waits to be killed.
const MODE: &str = "FABRIC_TEST_MODE";

/// Environment of every process of one world, by which they are found.
const MARK: &str = "FABRIC_TEST_MARK";

pub(crate) fn main() {
    let role = std::env::args()
        .nth(1)
        .is_some_and(|first| first.starts_with(holder::ROLE_PREFIX));
    let mode = std::env::var(MODE);
    if !role && mode.is_err() {
        outside();
        return;
    }
    if !role {
        // A harness that is killed takes its worlds along.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
    }
    let world = match holder::enter_world() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("SKIPPED: no world here: {error}");
            std::process::exit(SKIPPED);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match mode.unwrap().as_str() {
        "wait" => runtime.block_on(wait_to_be_killed(&world)),
        filter => std::process::exit(runtime.block_on(inside(&world, filter))),
    }
}

/// The exit code that says that no test ran.
const SKIPPED: i32 = 77;

async fn inside(world: &holder::World, filter: &str) -> i32 {
    let mut failed = 0;
    let all = facts::all();
    for (name, test) in &all {
        if !name.contains(filter) {
            continue;
        }
        let start = Instant::now();
        let rig = rig::Rig::new(world).await;
        let up = start.elapsed();
        let outcome = tokio::spawn(test(rig)).await;
        println!(
            "test {name} ... {} ({up:.0?} + {:.0?})",
            if outcome.is_ok() { "ok" } else { "FAILED" },
            start.elapsed() - up
        );
        failed += i32::from(outcome.is_err());
    }
    println!("{} tests, {failed} failed", all.len());
    i32::from(failed > 0)
}

async fn wait_to_be_killed(world: &holder::World) {
    let rig = rig::Rig::new(world).await;
    let mut sleeper = rig.n1.node.command("sleep").arg("1000").spawn().unwrap();
    println!("up {}", std::process::id());
    sleeper.wait().await.unwrap();
}

fn outside() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("fabric: test");
        return;
    }
    let filter = arguments
        .iter()
        .find(|argument| !argument.starts_with('-') && *argument != "fabric");
    let links = machine_links();
    let status = again(filter.map_or("", String::as_str), "tests")
        .status()
        .unwrap();
    if status.code() == Some(SKIPPED) {
        return;
    }
    let mut good = status.success();
    if filter.is_none() {
        good &= check("kill_9_of_the_starter_leaves_nothing", || {
            kill_leaves_nothing(|starter, _| starter)
        });
        good &= check("kill_9_of_the_simulator_leaves_nothing", || {
            kill_leaves_nothing(|_, simulator| simulator)
        });
        good &= check("terminating_the_starter_leaves_nothing", terminate_leaves_nothing);
    }
    good &= check("the_machines_links_are_as_before", || machine_links() == links);
    std::process::exit(i32::from(!good));
}

fn check(name: &str, test: impl FnOnce() -> bool) -> bool {
    let good = test();
    println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
    good
}

fn again(mode: &str, mark: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(MODE, mode).env(MARK, mark);
    command
}

fn kill_leaves_nothing(choose: impl FnOnce(u32, u32) -> u32) -> bool {
    let mark = format!("{}-{:?}", std::process::id(), Instant::now());
    let (mut starter, inner) = start_waiting(&mark);
    let simulator = alive(&mark)
        .into_iter()
        .find(|pid| inner_number(*pid) == Some(inner))
        .unwrap();
    let victim = choose(starter.0.id(), simulator);
    kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL).unwrap();
    starter.0.wait().unwrap();
    nobody_left(&mark)
}

fn terminate_leaves_nothing() -> bool {
    let mark = format!("term-{}", std::process::id());
    let (mut starter, _) = start_waiting(&mark);
    kill(Pid::from_raw(starter.0.id().cast_signed()), Signal::SIGTERM).unwrap();
    starter.0.wait().unwrap();
    nobody_left(&mark)
}

/// A starter that does not outlive a failing test.
struct Starter(Child);

impl Drop for Starter {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
    }
}

/// A world with its starter, its process 1, the simulator, two nodes of two processes each, and a command of three on
/// one of them.
const WHOLE_WORLD: usize = 10;

fn start_waiting(mark: &str) -> (Starter, u32) {
    let mut starter = Starter(again("wait", mark).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(starter.0.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let inner = line.strip_prefix("up ").unwrap().parse().unwrap();
    assert!(
        within_seconds(5, || alive(mark).len() >= WHOLE_WORLD - 1),
        "{:?}",
        alive(mark)
    );
    (starter, inner)
}

fn within_seconds(limit: u64, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(limit) {
        if condition() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Processes of the world with this mark.
fn alive(mark: &str) -> BTreeSet<u32> {
    let wanted = format!("{MARK}={mark}");
    let own = std::process::id();
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        })
        .collect()
}

/// A process's number in the world, where it is not its number here.
fn inner_number(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let numbers: Vec<u32> = numbers
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    (numbers.len() == 2).then(|| numbers[1])
}

fn nobody_left(mark: &str) -> bool {
    let gone = within_seconds(5, || alive(mark).is_empty());
    if !gone {
        eprintln!("left over: {:?}", alive(mark));
    }
    gone
}

fn machine_links() -> BTreeSet<String> {
    let links = std::fs::read_dir("/sys/class/net").unwrap();
    links
        .map(|link| link.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}
