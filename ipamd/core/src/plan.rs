//! What to do next: a pure function of policy, limits, ledger and now.
//!
//! The steps run in a fixed order, and each says in the report what it did or why it waits: finish ENIs that are
//! being made or given back, repair what is uncertain, get more, give back. Nothing is planned for a subject that has
//! a call under way or rests after a failure. The plan of a satisfied state is empty.

use std::time::Duration;

use crate::action::{Action, Subject};
use crate::address::{AddressCount, BlockKind};
use crate::id::EniId;
use crate::instance::Limits;
use crate::ledger::Ledger;
use crate::max_pods::{Mode, Question, max_pods};
use crate::moment::Moment;
use crate::pace::{Effect, Wish};
use crate::policy::{Families, Policy};
use crate::snapshot::Owner;

pub mod demand;
mod finish;
mod grow;
mod ipv6;
mod repair;
pub mod report;
mod shrink;
mod spare;
mod sweep;

use demand::Demand;
use report::{Line, Past, Report};

/// EC2 calls under way at once from one node; more would only meet its throttling (assumed, a named bound).
const MOST_IN_FLIGHT: usize = 8;

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What the operator wants.
    pub policy: &'a Policy,
    /// What the instance can hold.
    pub limits: &'a Limits,
    /// Who holds what.
    pub ledger: &'a Ledger,
    /// The moment.
    pub now: Moment,
    /// Since 1970, for tags only.
    pub wall: Duration,
    /// After the termination signal nothing new begins and nothing is given back.
    pub terminating: bool,
    /// Whether the node takes no new pods; not, as long as nobody knows.
    pub cordoned: bool,
    /// The pods that kubelet admits, where that is known.
    pub kubelet_max_pods: Option<AddressCount>,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Calls to make, all at once.
    pub actions: Vec<Action>,
    /// Whether more is held than wanted.
    pub surplus: bool,
    /// Why, and why not.
    pub report: Report,
    /// When to look again though nothing happens, at the latest.
    pub wake_at: Option<Moment>,
}

/// Plans.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let mut planner = Planner {
        situation,
        plan: Plan::default(),
        spare: None,
        room: 0,
    };
    if situation.ledger.node().is_none() {
        planner.say(Line::NodeUnknown);
        return planner.plan;
    }
    tell_taken_over(&mut planner);
    repair::repair(&mut planner);
    let demand = Demand::of(situation);
    if situation.policy.families.has_v4() {
        planner.say(Line::Demand(demand.clone()));
    }
    if !is_oriented(situation.ledger) {
        planner.say(Line::EnisUnknown);
    } else if situation.terminating {
        planner.say(Line::Terminating);
    } else {
        finish::finish(&mut planner);
        if !situation.is_idle_by_order() || !situation.ledger.waiting().is_empty() {
            ipv6::ipv6(&mut planner);
        }
        sweep::sweep(&mut planner);
        if situation.is_idle_by_order() {
            planner.say(Line::Cordoned);
            if demand.waiting > AddressCount::ZERO {
                grow::grow(&mut planner, &demand);
            }
        } else {
            let demand = spare::without(&mut planner, demand);
            grow::grow(&mut planner, &demand);
            shrink::shrink(&mut planner, &demand);
        }
    }
    planner.done()
}

/// What an operator is to know of addresses that this daemon did not give.
fn tell_taken_over(planner: &mut Planner<'_>) {
    let ledger = planner.situation.ledger;
    if let Some(until) = ledger.quiet_until(planner.situation.now) {
        planner.say(Line::Past(Past::Quiet { until }));
    }
    for (addresses, device) in ledger.unexplained() {
        let device = device.clone();
        planner.say(Line::Past(Past::Unexplained { addresses, device }));
    }
    // Before EC2 has told, no address has an ENI.
    let homeless = ledger.homeless().filter(|_| is_oriented(ledger));
    for (addresses, pod) in homeless {
        let pod = pod.to_string();
        planner.say(Line::Past(Past::Homeless { addresses, pod }));
    }
}

/// Whether EC2 has been read since this daemon started: what the journal says of ENIs may be one call behind, because
/// the last daemon may have died between an effect and its record.
fn is_oriented(ledger: &Ledger) -> bool {
    let has_primary = || {
        ledger
            .enis()
            .values()
            .any(|record| record.seen.owner == Owner::Primary)
    };
    ledger.read_all_at().is_some() && has_primary()
}

/// The plan in the making.
struct Planner<'a> {
    situation: &'a Situation<'a>,
    plan: Plan,
    /// An ENI that empties for good: nothing more is asked for it.
    spare: Option<EniId>,
    /// Address slots that could be asked for were nothing resting.
    room: u32,
}

impl Planner<'_> {
    fn say(&mut self, line: Line) {
        self.plan.report.0.push(line);
    }

    /// Adds an action unless its subject is busy, rests, or too much is under way; says which.
    fn act(&mut self, action: Action) -> bool {
        let (ledger, now) = (self.situation.ledger, self.situation.now);
        let subject = action.subject();
        if action.effect() == Effect::Changes && !self.situation.policy.provisions {
            self.say(Line::NotProvisioned {
                action: action.to_string(),
            });
            return false;
        }
        if ledger.in_flight().contains_key(&subject)
            || self.plan.actions.iter().any(|a| a.subject() == subject)
        {
            return false;
        }
        if !ledger.backoff().allows(&subject, now) {
            if let Some((fault, until)) = ledger.backoff().reason(&subject) {
                self.say(Line::Rests {
                    action: action.to_string(),
                    fault: fault.clone(),
                    until,
                });
            }
            return false;
        }
        if ledger.in_flight().len() + self.plan.actions.len() >= MOST_IN_FLIGHT {
            self.say(Line::Busy {
                action: action.to_string(),
            });
            return false;
        }
        if let Err(hold) = ledger.pace().check(self.wish(&action), now) {
            self.wake(hold.until());
            self.say(Line::Paced {
                action: action.to_string(),
                hold,
            });
            return false;
        }
        self.say(Line::Acts {
            action: action.to_string(),
        });
        self.plan.actions.push(action);
        true
    }

    fn wish(&self, action: &Action) -> Wish {
        let planned = self.plan.actions.iter();
        let same = planned.filter(|planned| planned.operation() == action.operation());
        let planned = u32::try_from(same.count()).unwrap_or(u32::MAX);
        let under_way = self.situation.ledger.in_flight().values();
        let all = under_way.chain(&self.plan.actions);
        Wish {
            operation: action.operation(),
            effect: action.effect(),
            planned,
            changes_under_way: all.filter(|action| action.effect() == Effect::Changes).count(),
        }
    }

    /// Whether anything is or will be under way for the subject.
    fn is_busy(&self, subject: &Subject) -> bool {
        self.situation.ledger.in_flight().contains_key(subject)
            || self
                .plan
                .actions
                .iter()
                .any(|action| action.subject() == *subject)
    }

    fn done(mut self) -> Plan {
        let next = self.situation.ledger.next_deadline(self.situation.now);
        self.wake(next);
        self.plan
    }

    fn wake(&mut self, at: Option<Moment>) {
        self.plan.wake_at = [self.plan.wake_at, at].into_iter().flatten().min();
    }
}

impl Situation<'_> {
    /// The pods that the node can really run: the least of what its ENIs hold and of the pods that it is allowed.
    #[must_use]
    pub fn capacity(&self) -> AddressCount {
        capacity(
            self.policy,
            self.limits,
            demand::foreign_enis(self.ledger, self.limits),
            self.kubelet_max_pods,
        )
    }
}

fn capacity(
    policy: &Policy,
    limits: &Limits,
    foreign_enis: u32,
    kubelet: Option<AddressCount>,
) -> AddressCount {
    let kind = policy.kind_on(limits);
    let allowed = || kubelet.or(policy.max_pods);
    if policy.families == Families::V6 {
        // A prefix holds more than any node runs.
        let pods = allowed().or_else(|| built_in_max_pods(limits, Mode::Ipv6));
        return pods.unwrap_or(AddressCount::ZERO);
    }
    let slots = demand::usable_enis(policy, limits, foreign_enis).saturating_mul(limits.pod_slots_per_eni());
    let addresses = AddressCount(slots.saturating_mul(kind.addresses_each().0));
    let mode = match kind {
        BlockKind::Secondary => Mode::SecondaryIp,
        BlockKind::Prefix => Mode::Prefix,
    };
    let pods = allowed()
        .or_else(|| built_in_max_pods(limits, mode))
        .unwrap_or(addresses);
    addresses.min(pods)
}

fn built_in_max_pods(limits: &Limits, mode: Mode) -> Option<AddressCount> {
    let question = Question {
        mode,
        ..Question::default()
    };
    max_pods("", limits, &question)
        .ok()
        .map(|answer| AddressCount(answer.max_pods))
}
