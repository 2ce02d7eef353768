//! How fast this node calls EC2, learned per operation: additive increase, multiplicative decrease, full stop in between.
//!
//! EC2 throttles a whole account, so whoever is refused shares a bucket with others who come at the same time. What
//! such buckets hold is never a constant of ours: only the ceiling is, and it is the operator's setting. A call that a
//! plan wants and the pace does not allow yet waits, and the plan says until when and why.
//!
//! Kept here: no operation is faster than the ceiling; a throttled operation is called again only after a pause, with
//! jitter; after a throttled change, and until the first change of a fresh daemon
//! worked, changes go one at a time. Left out: when one subject is tried again after another failure, which is `retry`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::retry::jitter;

/// EC2's name of an operation.
pub type Operation = &'static str;

/// The ceiling, in calls per second and operation, where the operator says nothing: a node with 15 ENIs has them within
/// three seconds, and eight calls under way at once are no less.
pub const DEFAULT_CEILING: u32 = 5;

/// Within how long a fresh node's first call begins, where the operator says nothing. Machines of one scaling group boot
/// in lockstep; a first boot takes half a minute anyway, and this adds two and a half seconds to it on average.
pub const DEFAULT_SPREAD: Duration = Duration::from_secs(5);

/// Successes that lead from standstill back to the ceiling: the additive increase is this part of it.
const INCREASES: u32 = 8;

/// A daemon is young for so long after its first call: what throttles it then may be a wave of nodes that start together.
const YOUNG: Duration = Duration::from_secs(120);

/// How long to stay away after throttling: at least, and at most. In between decides the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    least: Duration,
    most: Duration,
}

impl Pause {
    const fn seconds(least: u64, most: u64) -> Self {
        Self {
            least: Duration::from_secs(least),
            most: Duration::from_secs(most),
        }
    }

    fn drawn(self, seed: u64) -> Duration {
        self.least + self.most.saturating_sub(self.least).mul_f64(jitter(seed, 1))
    }
}

// The five that follow are found with `tests/fleet`, five hundred nodes and the published buckets.

/// A young daemon's reads: what starts in lockstep is to come back spread.
const YOUNG_READS: Pause = Pause::seconds(4, 21);

/// A young daemon's first throttled change: once may be chance, so it is tried again soon.
const ONCE: Pause = Pause::seconds(4, 12);

/// The second in a row: twice is a wave of nodes, which is waited out. Coming back sooner meets the same wave again;
/// waiting for it twice leaves a tail. A young node that is throttled twice without any wave pays for that.
const WAVE: Pause = Pause::seconds(42, 78);

/// The second, after a change that worked: EC2 has tokens for some, and a pod waits no longer than a minute.
const BETWEEN: Pause = Pause::seconds(32, 50);

/// Any later one.
const AFTER_THE_WAVE: Pause = Pause::seconds(4, 20);

/// What a grown daemon's pauses begin with; they double with each refusal in a row.
const FIRST: Duration = Duration::from_secs(4);

/// The longest pause, so that a bucket that refills is noticed.
const LONGEST: Duration = Duration::from_secs(90);

/// What was learned, and what that allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The least time between two calls of one operation, in the long run.
    ceiling_gap: Duration,
    lanes: BTreeMap<String, Lane>,
    /// The latest moment that it was told.
    now: Moment,
    /// Nothing is called before; the daemon is young from then on.
    opens: Moment,
    /// Changes wait until then: one was throttled.
    careful_until: Moment,
    /// No change has worked since the start or since one was throttled.
    probing: bool,
    /// Changes that were throttled while the daemon was young.
    refusals: u32,
}

/// One operation's pace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    /// Between two calls.
    gap: Duration,
    /// When the next call would come at exactly this pace.
    due: Moment,
    /// Whether it was throttled and is not yet back at the ceiling.
    learned: bool,
}

/// Whether a call changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only looks.
    Reads,
    /// It changes something.
    Changes,
}

/// Why a call has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Hold {
    /// The first calls of fresh nodes are spread.
    #[error("the first calls of fresh nodes are spread")]
    Opening(Moment),
    /// This operation was throttled.
    #[error("EC2 throttled this operation")]
    Throttled(Moment),
    /// Another change was throttled.
    #[error("EC2 throttled another change")]
    Careful(Moment),
    /// The ceiling.
    #[error("the node makes no more such calls per second (BERTH_EC2_CALLS_PER_SECOND)")]
    Ceiling(Moment),
    /// One change at a time, and one is under way.
    #[error("changes go one at a time until one has worked")]
    OneAtATime,
}

impl Hold {
    /// Until when, where time alone ends it.
    #[must_use]
    pub fn until(self) -> Option<Moment> {
        match self {
            Self::Opening(at) | Self::Throttled(at) | Self::Careful(at) | Self::Ceiling(at) => Some(at),
            Self::OneAtATime => None,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            ceiling_gap: gap_of(DEFAULT_CEILING),
            lanes: BTreeMap::new(),
            now: Moment::default(),
            opens: Moment::default(),
            careful_until: Moment::default(),
            probing: true,
            refusals: 0,
        }
    }
}

impl Pace {
    /// Sets the ceiling, in calls per second and operation; zero counts as one.
    pub fn handle_ceiling(&mut self, calls_per_second: u32) {
        self.ceiling_gap = gap_of(calls_per_second);
    }

    /// Notes that this daemon makes its first call now, or within `spread`.
    pub fn handle_fresh_start(&mut self, spread: Duration, now: Moment, seed: u64) {
        self.opens = now.after(spread.mul_f64(jitter(seed, 0)));
    }

    /// Notes that time passed.
    pub fn handle_time(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    /// Notes that a call begins, at the latest moment that was told.
    pub fn handle_begin(&mut self, operation: Operation) {
        let now = self.now;
        let lane = self.lane(operation, now);
        lane.due = lane.due.max(now).after(lane.gap);
    }

    /// Notes that EC2 took a call up, whatever it made of it: one more increase.
    pub fn handle_taken(&mut self, operation: Operation, effect: Effect, now: Moment) {
        self.probing &= effect == Effect::Reads;
        let ceiling_gap = self.ceiling_gap;
        let lane = self.lane(operation, now);
        if !lane.learned {
            return;
        }
        let rate = 1.0 / lane.gap.as_secs_f64() + 1.0 / (ceiling_gap.as_secs_f64() * f64::from(INCREASES));
        lane.gap = Duration::from_secs_f64(1.0 / rate).max(ceiling_gap);
        lane.learned = lane.gap > ceiling_gap;
        lane.due = lane.due.min(now.after(lane.gap));
    }

    /// Notes that EC2 throttled a call.
    pub fn handle_throttled(&mut self, operation: Operation, effect: Effect, now: Moment, seed: u64) {
        let young = self.is_young(now);
        let refusals = self.refusals;
        self.refusals = refusals.saturating_add(u32::from(young && effect == Effect::Changes));
        let probing = self.probing;
        let lane = self.lane(operation, now);
        lane.gap = lane.gap.saturating_mul(2).clamp(FIRST, LONGEST);
        lane.learned = true;
        let pause = match (young, effect, refusals) {
            (true, Effect::Reads, _) => YOUNG_READS,
            (true, Effect::Changes, 0) => ONCE,
            (true, Effect::Changes, 1) if probing => WAVE,
            (true, Effect::Changes, 1) => BETWEEN,
            (true, Effect::Changes, _) => AFTER_THE_WAVE,
            (false, ..) => Pause {
                least: lane.gap / 2,
                most: lane.gap,
            },
        };
        lane.due = now.after(pause.drawn(seed));
        let due = lane.due;
        if effect == Effect::Changes {
            self.careful_until = self.careful_until.max(due);
            self.probing = true;
        }
    }

    /// Whether the daemon made its first call a moment ago, and others of a fleet may have, too.
    #[must_use]
    pub fn is_young(&self, now: Moment) -> bool {
        now.since(self.opens) < YOUNG
    }

    /// Why a call must wait now; `changes_under_way` are those begun and not yet answered, whatever their operation,
    /// and `planned` those of this operation that the same plan makes.
    ///
    /// # Errors
    /// The reason; nothing changed.
    pub fn check(&self, call: Wish, now: Moment) -> Result<(), Hold> {
        if now < self.opens {
            return Err(Hold::Opening(self.opens));
        }
        if let Some(lane) = self.lanes.get(call.operation) {
            let planned = lane.gap.saturating_mul(call.planned);
            let due = lane.due.max(now).after(planned);
            if lane.learned && due > now {
                return Err(Hold::Throttled(due));
            }
            self.check_ceiling(due, now)?;
        } else {
            self.check_ceiling(now.after(self.ceiling_gap.saturating_mul(call.planned)), now)?;
        }
        match call.effect {
            Effect::Reads => Ok(()),
            Effect::Changes if now < self.careful_until => Err(Hold::Careful(self.careful_until)),
            Effect::Changes if self.probing && call.changes_under_way > 0 => Err(Hold::OneAtATime),
            Effect::Changes => Ok(()),
        }
    }

    /// A second's worth of calls may come at once.
    fn check_ceiling(&self, due: Moment, now: Moment) -> Result<(), Hold> {
        let burst = Duration::from_secs(1).saturating_sub(self.ceiling_gap);
        if due.since(now) > burst {
            return Err(Hold::Ceiling(now.after(due.since(now).saturating_sub(burst))));
        }
        Ok(())
    }

    fn lane(&mut self, operation: Operation, now: Moment) -> &mut Lane {
        let gap = self.ceiling_gap;
        self.lanes.entry(operation.to_owned()).or_insert(Lane {
            gap,
            due: now,
            learned: false,
        })
    }
}

/// A call that a plan would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its operation.
    pub operation: Operation,
    /// Whether it changes something.
    pub effect: Effect,
    /// Calls of the same operation that the plan makes already.
    pub planned: u32,
    /// Changes that are planned or under way.
    pub changes_under_way: usize,
}

fn gap_of(calls_per_second: u32) -> Duration {
    Duration::from_secs(1) / calls_per_second.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CREATE: Operation = "CreateNetworkInterface";
    const ASSIGN: Operation = "AssignPrivateIpAddresses";
    const READ: Operation = "DescribeNetworkInterfaces";

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn wish(operation: Operation) -> Wish {
        let effect = if operation == READ {
            Effect::Reads
        } else {
            Effect::Changes
        };
        Wish {
            operation,
            effect,
            planned: 0,
            changes_under_way: 0,
        }
    }

    /// A daemon that has changed something, long after its start.
    fn grown() -> Pace {
        let mut pace = Pace::default();
        pace.handle_fresh_start(Duration::ZERO, at(0), 1);
        pace.handle_time(at(1000));
        pace.handle_begin(CREATE);
        pace.handle_taken(CREATE, Effect::Changes, at(1000));
        pace
    }

    #[test]
    fn a_pause_is_as_long_as_what_was_throttled_says() {
        let grown_pause = Pause {
            least: FIRST / 2,
            most: FIRST,
        };
        let refused = |times: u64| {
            let mut pace = Pace::default();
            (0..times).for_each(|seed| pace.handle_throttled(CREATE, Effect::Changes, at(2), seed));
            pace
        };
        let worked = |mut pace: Pace| {
            pace.handle_taken(CREATE, Effect::Changes, at(4));
            pace
        };
        for (name, pace, now, operation, pause) in [
            ("a young daemon's read", refused(0), 5, READ, YOUNG_READS),
            ("a young daemon's first change", refused(0), 5, ASSIGN, ONCE),
            ("its second", refused(1), 5, ASSIGN, WAVE),
            (
                "its second, after a success",
                worked(refused(1)),
                5,
                ASSIGN,
                BETWEEN,
            ),
            ("its third", refused(2), 5, ASSIGN, AFTER_THE_WAVE),
            ("a read later", grown(), 2000, READ, grown_pause),
            ("a change later", grown(), 2000, ASSIGN, grown_pause),
        ] {
            let pauses = (0..100).map(|seed| {
                let mut pace = pace.clone();
                pace.handle_throttled(operation, wish(operation).effect, at(now), seed);
                let hold = pace.check(wish(operation), at(now)).unwrap_err();
                let until = hold.until().unwrap();
                assert_eq!(hold, Hold::Throttled(until), "{name}");
                until.since(at(now))
            });
            let pauses: Vec<Duration> = pauses.collect();
            let (shortest, longest) = (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap());
            assert!(
                pause.least <= shortest && longest <= pause.most,
                "{name}: {shortest:?} to {longest:?}"
            );
            assert!(
                longest > shortest.mul_f64(1.5),
                "{name}: seeds make no difference"
            );
        }
    }

    #[test]
    fn a_throttled_change_holds_back_the_others_and_no_read() {
        let mut pace = grown();
        pace.handle_throttled(CREATE, Effect::Changes, at(2000), 7);
        let until = pace.check(wish(CREATE), at(2000)).unwrap_err().until().unwrap();
        assert_eq!(pace.check(wish(ASSIGN), at(2000)), Err(Hold::Careful(until)));
        assert_eq!(pace.check(wish(READ), at(2000)), Ok(()));
        let second = Wish {
            changes_under_way: 1,
            ..wish(ASSIGN)
        };
        assert_eq!(pace.check(second, until), Err(Hold::OneAtATime));
        pace.handle_taken(CREATE, Effect::Changes, until);
        assert_eq!(pace.check(second, until), Ok(()));
    }

    #[test]
    fn a_fresh_daemon_changes_one_thing_until_that_worked() {
        let pace = Pace::default();
        let second = Wish {
            changes_under_way: 1,
            ..wish(ASSIGN)
        };
        assert_eq!(pace.check(second, at(0)), Err(Hold::OneAtATime));
        assert_eq!(grown().check(second, at(1001)), Ok(()));
    }

    #[test]
    fn a_seconds_worth_goes_at_once_and_the_rest_waits() {
        let pace = grown();
        let planned = |planned| {
            pace.check(
                Wish {
                    planned,
                    ..wish(ASSIGN)
                },
                at(2000),
            )
        };
        let allowed = (0..20).filter(|number| planned(*number).is_ok()).count();
        assert_eq!(allowed, DEFAULT_CEILING as usize);
        let next = at(2000).after(gap_of(DEFAULT_CEILING));
        assert_eq!(planned(DEFAULT_CEILING), Err(Hold::Ceiling(next)));
    }

    proptest! {
        /// Whatever EC2 answers: never faster than the ceiling, never stuck, and back at the ceiling in the end.
        #[test]
        fn the_ceiling_holds_and_every_wait_ends(
            ceiling in 1..50_u32,
            answers in proptest::collection::vec((any::<bool>(), 0..3000_u64, any::<u64>()), 1..200),
        ) {
            let mut pace = Pace::default();
            pace.handle_ceiling(ceiling);
            let mut now = at(10);
            let mut begun: Vec<Moment> = Vec::new();
            for (throttled, wait, seed) in answers {
                now = now.after(Duration::from_millis(wait));
                if let Err(hold) = pace.check(wish(CREATE), now) {
                    let until = hold.until().unwrap();
                    prop_assert!(until > now && until.since(now) <= LONGEST, "{hold}");
                    now = until;
                }
                prop_assert_eq!(pace.check(wish(CREATE), now), Ok(()));
                pace.handle_time(now);
                pace.handle_begin(CREATE);
                begun.push(now);
                let second = begun.iter().filter(|at| now.since(**at) < Duration::from_secs(1));
                // A second's worth at once, and a second's worth in the second that follows.
                prop_assert!(second.count() <= 2 * ceiling as usize);
                if throttled {
                    pace.handle_throttled(CREATE, Effect::Changes, now, seed);
                } else {
                    pace.handle_taken(CREATE, Effect::Changes, now);
                }
            }
            for _ in 0..=INCREASES {
                pace.handle_taken(CREATE, Effect::Changes, now);
            }
            prop_assert!(!pace.lanes[CREATE].learned, "back at the ceiling");
        }
    }
}
