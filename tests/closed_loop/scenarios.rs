//! Named days of a node. Each is lived once whole, and then once more for every step at which the daemon can die.

use std::time::Duration;

use ipamd_core::policy::WarmTarget;
use vpc_sim::model::error::Ec2Error;
use vpc_sim::model::fault::Effect;
use vpc_sim::model::request::Operation;

use crate::hunt::attempt;
use crate::script::{Act, Fault, Kill, Lasts, Script, Setting, Step, Timed, warm};

/// Ends of steps that are tried at most in one day; the days below have fewer.
const MOST_STEPS: u32 = 2000;

/// What the day is about, where it is lived, and what happens at which second.
type Day = (&'static str, Setting, Vec<(u64, Step)>);

fn small(warm: WarmTarget) -> Setting {
    Setting::plain("t3.small", warm)
}

fn fault(operation: Operation, effect: Effect, lasts: Lasts) -> Step {
    Step::Fault(Fault {
        operation,
        effect,
        lasts,
    })
}

fn once(operation: Operation, effect: Effect) -> Step {
    fault(operation, effect, Lasts::Times(1))
}

fn for_a_minute(operation: Operation, effect: Effect) -> Step {
    fault(operation, effect, Lasts::Time(Duration::from_secs(60)))
}

fn kill() -> Step {
    Step::Kill(Kill {
        after_steps: 0,
        survives: 128,
        down: Duration::from_secs(5),
    })
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn days() -> Vec<Day> {
    use Operation::{
        AssignIpv6Addresses, AssignPrivateIpAddresses, AttachNetworkInterface, CreateNetworkInterface,
        DeleteNetworkInterface, DescribeNetworkInterfaces, DetachNetworkInterface,
        ModifyNetworkInterfaceAttribute, UnassignPrivateIpAddresses,
    };
    use Step::{Burst, Delete, Operator, RollOut};
    let no_cooldown = |setting: Setting| Setting {
        cooldown: Duration::ZERO,
        dwell: Duration::ZERO,
        ..setting
    };
    vec![
        (
            "pods fill the node and go",
            small(WarmTarget::Enis(1)),
            vec![(5, Burst(9)), (100, RollOut), (200, Delete(10_012))],
        ),
        (
            "pods of both families, and the answer to the prefix is lost",
            Setting {
                ipv6: true,
                ..small(warm(1, 2))
            },
            vec![
                (0, once(AssignIpv6Addresses, Effect::LoseAnswer)),
                (5, Burst(6)),
                (60, RollOut),
                (120, kill()),
                (130, Burst(2)),
            ],
        ),
        (
            "pods of both families, and the prefix is refused for a minute",
            Setting {
                ipv6: true,
                ..small(warm(2, 0))
            },
            vec![
                (0, for_a_minute(AssignIpv6Addresses, Effect::Deny)),
                (5, Burst(3)),
                (150, RollOut),
            ],
        ),
        (
            "a burst beyond the node",
            small(warm(1, 1)),
            vec![(5, Burst(14)), (90, Delete(10_001)), (91, Delete(10_002))],
        ),
        (
            "a roll-out on a full node",
            small(warm(2, 0)),
            vec![(5, Burst(9)), (60, RollOut), (240, RollOut)],
        ),
        (
            "a larger node",
            Setting::plain("m5.large", warm(3, 5)),
            vec![(5, Burst(20)), (60, Step::GiveUp), (61, RollOut)],
        ),
        (
            "whoever asks goes away",
            small(warm(0, 1)),
            vec![(5, Burst(4)), (5, Step::GiveUp), (6, Step::GiveUp)],
        ),
        (
            "a node that rests nothing",
            no_cooldown(small(warm(1, 2))),
            vec![(5, Burst(5)), (30, RollOut), (31, RollOut)],
        ),
        (
            "an answer to a creation is lost",
            small(warm(1, 0)),
            vec![
                (1, once(CreateNetworkInterface, Effect::LoseAnswer)),
                (5, Burst(4)),
            ],
        ),
        (
            "an answer to an attachment is lost",
            small(warm(1, 0)),
            vec![
                (1, once(AttachNetworkInterface, Effect::LoseAnswer)),
                (5, Burst(4)),
            ],
        ),
        (
            "an answer to an assignment is lost",
            small(warm(1, 0)),
            vec![
                (1, once(AssignPrivateIpAddresses, Effect::LoseAnswer)),
                (5, Burst(4)),
            ],
        ),
        (
            "a give-back whose answer is lost, while a read still shows what was there",
            no_cooldown(small(warm(2, 1))),
            vec![
                (1, for_a_minute(UnassignPrivateIpAddresses, Effect::LoseAnswer)),
                (2, Burst(3)),
                (30, Delete(10_003)),
                (31, Burst(3)),
            ],
        ),
        (
            "a give-back that EC2 hears of late",
            no_cooldown(small(warm(2, 1))),
            vec![
                (1, for_a_minute(UnassignPrivateIpAddresses, Effect::HoldBefore)),
                (2, Burst(3)),
                (30, Delete(10_003)),
                (45, Burst(3)),
            ],
        ),
        (
            "throttled for a minute",
            small(WarmTarget::Enis(1)),
            vec![
                (
                    1,
                    for_a_minute(AttachNetworkInterface, Effect::Refuse(Ec2Error::Throttled)),
                ),
                (5, Burst(5)),
            ],
        ),
        (
            "a permission is missing for a minute",
            small(warm(1, 0)),
            vec![
                (1, for_a_minute(CreateNetworkInterface, Effect::Deny)),
                (5, Burst(5)),
            ],
        ),
        (
            "nothing can be given back",
            no_cooldown(small(warm(1, 0))),
            vec![
                (
                    1,
                    for_a_minute(DetachNetworkInterface, Effect::Refuse(Ec2Error::Internal)),
                ),
                (2, for_a_minute(DeleteNetworkInterface, Effect::LoseAnswer)),
                (5, Burst(7)),
                (20, RollOut),
                (40, Delete(10_010)),
                (41, Delete(10_011)),
            ],
        ),
        (
            "reads are late",
            small(warm(1, 0)),
            vec![
                (
                    1,
                    for_a_minute(DescribeNetworkInterfaces, Effect::Stale(Duration::from_secs(20))),
                ),
                (5, Burst(5)),
                (8, once(AssignPrivateIpAddresses, Effect::LoseAnswer)),
                (9, Burst(2)),
            ],
        ),
        (
            "an ENI outlives nothing",
            small(warm(1, 0)),
            vec![
                (
                    1,
                    once(
                        ModifyNetworkInterfaceAttribute,
                        Effect::FailAfter(Ec2Error::Unavailable),
                    ),
                ),
                (5, Burst(5)),
            ],
        ),
        (
            "a device never comes",
            small(warm(1, 0)),
            vec![(1, once(AttachNetworkInterface, Effect::NoDevice)), (5, Burst(5))],
        ),
        (
            "a subnet without room for all",
            Setting {
                subnet_bits: 28,
                ..Setting::plain("m5.large", warm(2, 0))
            },
            vec![(5, Burst(7)), (60, Burst(3)), (200, RollOut)],
        ),
        (
            "an operator detaches, assigns and brings an ENI",
            Setting {
                restart_when_quiet: true,
                ..small(warm(1, 0))
            },
            vec![
                (5, Burst(5)),
                (30, Operator(Act::Assign(0))),
                (40, Operator(Act::AttachForeign)),
                (50, Delete(10_001)),
                (60, Delete(10_004)),
                (61, Delete(10_005)),
                (62, Operator(Act::Detach(0))),
            ],
        ),
        (
            "a restart and two reboots",
            small(WarmTarget::Enis(1)),
            vec![
                (5, Burst(6)),
                (20, kill()),
                (40, Step::Reboot { keeps_journal: true }),
                (120, Burst(2)),
                (160, Step::Reboot { keeps_journal: false }),
            ],
        ),
    ]
}

fn script(setting: Setting, steps: Vec<(u64, Step)>) -> Script {
    let mut last = 0;
    let steps = steps.into_iter().map(|(at, step)| {
        let after = Duration::from_secs(at - last);
        last = at;
        Timed { after, step }
    });
    Script {
        steps: steps.collect(),
        setting,
        kill: None,
    }
}

#[test]
fn each_day_ends_well_and_again_with_the_daemon_killed_at_each_of_its_steps() {
    let mut failures = Vec::new();
    for (name, setting, steps) in days() {
        let whole = script(setting, steps);
        let steps_passed = match attempt(&whole, true) {
            Ok(sum) => sum.steps_passed.min(MOST_STEPS),
            Err(failure) => {
                failures.push(format!("{name}: {}\n{}", failure.why, failure.story.join("\n")));
                continue;
            }
        };
        let killed = (0..steps_passed).find_map(|step| {
            let kill = Kill {
                after_steps: step,
                survives: u8::try_from(step * 53 % 256).unwrap(),
                down: Duration::from_secs(3),
            };
            let script = Script {
                kill: Some(kill),
                ..whole.clone()
            };
            attempt(&script, true).err().map(|failure| (step, failure))
        });
        if let Some((step, failure)) = killed {
            let story = failure.story.join("\n");
            failures.push(format!("{name}, killed at step {step}: {}\n{story}", failure.why));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
