//! Many lives on all processors; of the first that fail the shortest script that still fails is found.

use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::rest::{Failure, Sum};
use crate::{Script, live};

/// Failing seeds that are kept and shrunk; more would say the same.
const KEPT: usize = 3;

/// A number from the environment.
pub(crate) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The seeds that fail, the first few, and why.
pub(crate) fn hunt(seeds: Range<u64>) -> Vec<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let failing = Mutex::new(Vec::new());
    let totals = Mutex::new(Sum::default());
    let begun = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut sum = Sum::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let many = failing.lock().unwrap_or_else(PoisonError::into_inner).len() >= most();
                    if seed >= seeds.end || many {
                        break;
                    }
                    match attempt(&Script::of_seed(seed), false) {
                        Ok(lived) => {
                            sum.steps_passed += lived.steps_passed;
                            sum.calls += lived.calls;
                        }
                        Err(failure) => {
                            let mut failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
                            failing.push((seed, failure.why));
                        }
                    }
                }
                let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                totals.steps_passed += sum.steps_passed;
                totals.calls += sum.calls;
            });
        }
    });
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lives = next.load(Ordering::Relaxed).min(seeds.end) - seeds.start;
    say(&format!(
        "{lives} lives, {} steps of the daemon, {} calls, in {:.1} s\n",
        totals.steps_passed,
        totals.calls,
        begun.elapsed().as_secs_f64()
    ));
    let mut failing = failing.into_inner().unwrap_or_else(PoisonError::into_inner);
    failing.sort_unstable();
    failing
}

fn most() -> usize {
    variable("BERTH_LOOP_FAILURES").map_or(KEPT, |most| usize::try_from(most).unwrap())
}

/// A life; a panic of the code under test is a failure like any other.
pub(crate) fn attempt(script: &Script, story: bool) -> Result<Sum, Failure> {
    catch_unwind(AssertUnwindSafe(|| live(script, story))).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Failure {
            why: format!("panicked: {}", words.unwrap_or_default()),
            story: Vec::new(),
        })
    })
}

/// The story of one seed, on the terminal.
pub(crate) fn tell(seed: u64) {
    let script = Script::of_seed(seed);
    let lived = attempt(&script, true);
    if let Err(failure) = lived {
        let whole = failure.story.join("\n");
        say(&format!("{script}\n{whole}\n{}\n", failure.why));
        panic!("{}", report(&[(seed, failure.why)]));
    }
    say(&format!("{script}all is well\n"));
}

/// What to do about failing seeds: the command that replays each, and its story, shrunk.
pub(crate) fn report(failing: &[(u64, String)]) -> String {
    let first_line = |why: &str| why.lines().next().unwrap_or_default().to_owned();
    let all = failing
        .iter()
        .map(|(seed, why)| format!("{seed}: {}\n", first_line(why)));
    let all: String = all.collect();
    let stories = failing.iter().take(KEPT).map(|(seed, _)| {
        let (script, failure) = shrink(Script::of_seed(*seed));
        format!(
            "BERTH_LOOP_SEED={seed} cargo test -q --test closed_loop invariants\n{}\nshrunk to {script}\n{}\n",
            failure.why,
            failure.story.join("\n")
        )
    });
    format!(
        "{} seeds fail:\n{all}\n{}",
        failing.len(),
        stories.collect::<String>()
    )
}

/// What kind of failure it is: its words without names and numbers.
fn kind(failure: &Failure) -> String {
    let letters = failure.why.chars().take_while(|letter| *letter != ':');
    letters
        .filter(|letter| !letter.is_ascii_digit())
        .collect::<String>()
        .split("eni-")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Leaves out as many steps as possible, large parts first, as long as it fails in the same way.
pub(crate) fn shrink(mut script: Script) -> (Script, Failure) {
    let wanted = attempt(&script, false).err().map(|failure| kind(&failure));
    let mut part = script.steps.len();
    while part > 0 {
        let mut start = 0;
        while start < script.steps.len() {
            let end = (start + part).min(script.steps.len());
            let shorter = script.without(start..end);
            let failure = attempt(&shorter, false).err().map(|failure| kind(&failure));
            if failure.is_some() && failure == wanted {
                script = shorter;
            } else {
                start = end;
            }
        }
        part /= 2;
    }
    let failure = attempt(&script, true).err().unwrap_or(Failure {
        why: "the failure did not come again".to_owned(),
        story: Vec::new(),
    });
    (script, failure)
}

/// To the terminal, past the test harness, which keeps what tests print.
fn say(text: &str) {
    // Nobody reads it if this fails.
    drop(std::io::stdout().write_all(text.as_bytes()));
}
