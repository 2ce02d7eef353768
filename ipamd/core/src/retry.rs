//! When to try again, per subject: exponential with full jitter, from a seed, bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Fault, Subject};
use crate::id::InstanceId;
use crate::moment::Moment;

/// The first pause; below it EC2's own eventual consistency has not settled.
const FIRST: Duration = Duration::from_millis(500);

/// The longest pause, so that a repaired permission or a refilled subnet is noticed within a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// Pause for a device still in use elsewhere: detaching lingers for about two seconds (observed).
const BUSY: Duration = Duration::from_millis(700);

/// A subnet without a whole /28 gets one when somebody gives blocks back, which takes minutes rather than moments; single
/// addresses stand in meanwhile. Assumed.
const FRAGMENTED_FIRST: Duration = Duration::from_secs(5);
const FRAGMENTED_LONGEST: Duration = Duration::from_secs(600);

/// The seed of a node's jitter, from who it is and when it started: two nodes never share one, be they cloned or booted in
/// the same instant (FNV-1a, Fowler, Noll, Vo).
#[must_use]
pub fn seed(instance: &InstanceId, wall: Duration) -> u64 {
    let bytes = instance.as_str().bytes().chain(wall.as_nanos().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A part of a whole that is each instance's own for ever: spreads over time what every node does once.
#[must_use]
pub fn share(instance: &InstanceId) -> f64 {
    jitter(seed(instance, Duration::ZERO), 0)
}

/// What failed lately, by subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff(#[serde(with = "crate::pairs")] BTreeMap<Subject, Pause>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pause {
    failures: u32,
    until: Moment,
    fault: Fault,
}

impl Backoff {
    /// Notes a failure and decides when the next try may be.
    pub fn handle_failure(&mut self, subject: Subject, fault: Fault, now: Moment, seed: u64) {
        let failures = self
            .0
            .get(&subject)
            .map_or(0, |pause| pause.failures)
            .saturating_add(1);
        let until = now.after(pause(&fault, failures, seed));
        self.0.insert(
            subject,
            Pause {
                failures,
                until,
                fault,
            },
        );
    }

    /// Forgets the failures of a subject: it worked, or it is gone.
    pub fn handle_success(&mut self, subject: &Subject) {
        self.0.remove(subject);
    }

    /// Whether the subject may be tried now.
    #[must_use]
    pub fn allows(&self, subject: &Subject, now: Moment) -> bool {
        self.0.get(subject).is_none_or(|pause| pause.until <= now)
    }

    /// Why the subject rests, and until when.
    #[must_use]
    pub fn reason(&self, subject: &Subject) -> Option<(&Fault, Moment)> {
        self.0.get(subject).map(|pause| (&pause.fault, pause.until))
    }

    /// Every subject that rests, with its reason.
    pub fn iter(&self) -> impl Iterator<Item = (&Subject, &Fault, Moment)> {
        self.0
            .iter()
            .map(|(subject, pause)| (subject, &pause.fault, pause.until))
    }

    /// The next moment at which something may be tried again.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        self.0
            .values()
            .map(|pause| pause.until)
            .filter(|until| *until > now)
            .min()
    }
}

fn pause(fault: &Fault, failures: u32, seed: u64) -> Duration {
    if *fault == Fault::Busy {
        return BUSY;
    }
    let (first, longest) = match fault {
        Fault::Fragmented { .. } => (FRAGMENTED_FIRST, FRAGMENTED_LONGEST),
        _ => (FIRST, LONGEST),
    };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let ceiling = doubled.min(longest);
    let share = jitter(seed, failures);
    // At least a tenth: full jitter that draws zero would hammer.
    ceiling.mul_f64(0.1 + 0.9 * share)
}

/// A number in 0..1 that depends on nothing but the seed and the count (splitmix64, Steele et al. 2014).
pub(crate) fn jitter(seed: u64, count: u32) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(count)));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    let share = (z >> 11) as f64 / (1_u64 << 53) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled() -> Fault {
        Fault::Throttled {
            code: "RequestLimitExceeded".to_owned(),
        }
    }

    #[test]
    fn pauses_grow_stay_bounded_and_end() {
        let mut backoff = Backoff::default();
        let mut now = Moment::default();
        for _ in 0..100 {
            backoff.handle_failure(Subject::Instance, throttled(), now, 7);
            assert!(!backoff.allows(&Subject::Instance, now));
            let until = backoff.next_deadline(now).unwrap();
            assert!(until.since(now) <= LONGEST && until.since(now) >= FIRST / 10);
            now = until;
            assert!(backoff.allows(&Subject::Instance, now));
        }
        backoff.handle_success(&Subject::Instance);
        assert_eq!(backoff, Backoff::default());
    }

    #[test]
    fn jitter_depends_on_the_seed_alone() {
        assert_eq!(pause(&throttled(), 3, 1), pause(&throttled(), 3, 1));
        assert_ne!(pause(&throttled(), 3, 1), pause(&throttled(), 3, 2));
    }
}
