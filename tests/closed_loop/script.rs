//! A node's life as data: its setting and the steps that happen to it, all chosen up front from one seed, so that a
//! story can be told in words, replayed, and shrunk by leaving steps out.
//!
//! Left out: when the daemon does what. That follows from the script and the code under test alone.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use ipamd_core::address::{AddressCount, BlockKind, PrefixCount};
use ipamd_core::policy::{AddressTarget, Families, Policy, WarmTarget, WarmTargets};
use vpc_sim::model::error::Ec2Error;
use vpc_sim::model::fault::Effect;
use vpc_sim::model::request::Operation;

/// Where and how a node lives.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Of the model and of the daemon's jitter.
    pub(crate) seed: u64,
    pub(crate) instance_type: &'static str,
    /// Of the only subnet, in bits: small ones run dry.
    pub(crate) subnet_bits: u8,
    /// How long a device may take to show.
    pub(crate) slowest_device: Duration,
    /// Whether the subnet has IPv6, and pods have both families.
    pub(crate) ipv6: bool,
    pub(crate) kind: BlockKind,
    pub(crate) warm: WarmTarget,
    pub(crate) max_eni: Option<u32>,
    pub(crate) max_pods: Option<u32>,
    pub(crate) cooldown: Duration,
    pub(crate) dwell: Duration,
    /// Whether the operator restarts the daemon when all is quiet, so that it looks at once.
    pub(crate) restart_when_quiet: bool,
}

impl Setting {
    /// A small node in a roomy subnet, with the defaults of the product.
    pub(crate) fn plain(instance_type: &'static str, warm: WarmTarget) -> Self {
        Self {
            seed: 1,
            instance_type,
            subnet_bits: 20,
            slowest_device: Duration::from_secs(3),
            ipv6: false,
            kind: BlockKind::Secondary,
            warm,
            max_eni: None,
            max_pods: None,
            cooldown: Duration::from_secs(30),
            dwell: Duration::from_secs(60),
            restart_when_quiet: false,
        }
    }

    /// The only place where a policy is made.
    pub(crate) fn policy(&self) -> Policy {
        let usual = WarmTargets::default();
        let warm = match self.warm {
            WarmTarget::Enis(enis) => WarmTargets { enis, ..usual },
            WarmTarget::Prefixes(prefixes) => WarmTargets { prefixes, ..usual },
            WarmTarget::Addresses(target) => WarmTargets {
                addresses: Some(target),
                ..usual
            },
        };
        Policy {
            families: if self.ipv6 { Families::Both } else { Families::V4 },
            kind: self.kind,
            warm,
            max_eni: self.max_eni,
            max_pods: self.max_pods.map(AddressCount),
            cooldown: self.cooldown,
            dwell: self.dwell,
            ..Policy::default()
        }
    }
}

/// Free addresses beyond use, and the least total.
pub(crate) fn warm(warm: u32, minimum: u32) -> WarmTarget {
    WarmTarget::Addresses(AddressTarget {
        warm: AddressCount(warm),
        minimum: AddressCount(minimum),
    })
}

/// A step and how long after the step before it happens.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) after: Duration,
    pub(crate) step: Step,
}

/// One thing that happens; numbers choose among what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A pod comes; one that waits or has an address asks again.
    Add(u32),
    /// So many new pods come at once.
    Burst(u32),
    /// A pod goes.
    Delete(u32),
    /// All pods go, and as many others come.
    RollOut,
    /// A DEL of something that nobody knows.
    DeleteUnknown,
    /// Whoever waits longest for an answer goes away, and the runtime tries again.
    GiveUp,
    /// The runtime says what it knows.
    Collect,
    /// The node is cordoned, or no longer.
    Cordon,
    /// The operator wants the other kind of block, for which the daemon is restarted.
    SwitchKind,
    Kill(Kill),
    Reboot {
        keeps_journal: bool,
    },
    Fault(Fault),
    Operator(Act),
}

/// The daemon dies after it has passed so many of its steps, and starts again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    pub(crate) after_steps: u32,
    /// How much of what is just being written survives, in 255ths.
    pub(crate) survives: u8,
    pub(crate) down: Duration,
}

/// Something that EC2 does wrong to calls of the node.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    pub(crate) effect: Effect,
    pub(crate) lasts: Lasts,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Lasts {
    Times(u32),
    Time(Duration),
}

/// What an operator does behind the daemon's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Detach(usize),
    Unassign(usize),
    Assign(usize),
    AttachForeign,
    DeleteTag(usize),
}

/// A whole life.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) setting: Setting,
    pub(crate) steps: Vec<Timed>,
    /// The daemon dies at this step of its first life.
    pub(crate) kill: Option<Kill>,
}

/// The operations that the daemon uses.
const OPERATIONS: [Operation; 8] = [
    Operation::CreateNetworkInterface,
    Operation::AttachNetworkInterface,
    Operation::ModifyNetworkInterfaceAttribute,
    Operation::AssignPrivateIpAddresses,
    Operation::UnassignPrivateIpAddresses,
    Operation::DetachNetworkInterface,
    Operation::DeleteNetworkInterface,
    Operation::DescribeNetworkInterfaces,
];

impl Script {
    /// The life that follows from a seed.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let setting = setting(seed, &mut rng);
        let pods = match setting.instance_type {
            "t3.small" => 14,
            "m5.large" => 34,
            _ => 90,
        };
        // One life in three is without faults and operators, so that plain mistakes are not drowned.
        let calm = rng.u8(0..3) == 0;
        let count = rng.usize(10..90);
        let steps = (0..count).map(|_| Timed {
            after: pause(&mut rng),
            step: step(&mut rng, pods, calm),
        });
        let first = (setting.ipv6 && !calm).then(|| Timed {
            after: Duration::ZERO,
            step: Step::Fault(of_the_prefix(seed)),
        });
        Self {
            steps: first.into_iter().chain(steps).collect(),
            setting,
            kill: None,
        }
    }

    /// The same life without some of its steps; the others keep their times.
    pub(crate) fn without(&self, gone: std::ops::Range<usize>) -> Self {
        let mut steps = self.steps.clone();
        let lost: Duration = steps.drain(gone.clone()).map(|timed| timed.after).sum();
        if let Some(next) = steps.get_mut(gone.start) {
            next.after += lost;
        }
        Self {
            setting: self.setting.clone(),
            steps,
            kill: self.kill,
        }
    }
}

fn setting(seed: u64, rng: &mut Rng) -> Setting {
    let instance_type = match rng.u8(0..20) {
        0..11 => "t3.small",
        11..17 => "m5.large",
        17..19 => "m5.4xlarge",
        _ => "c5.metal",
    };
    let kind = if rng.u8(0..3) == 0 {
        BlockKind::Prefix
    } else {
        BlockKind::Secondary
    };
    let warm = match rng.u8(0..5) {
        0..3 if kind == BlockKind::Prefix => WarmTarget::Prefixes(PrefixCount(rng.u32(0..3))),
        0 => WarmTarget::Enis(0),
        1 => WarmTarget::Enis(1),
        2 => WarmTarget::Enis(rng.u32(1..4)),
        3 => warm(rng.u32(0..3), rng.u32(1..6)),
        _ => warm(rng.u32(1..8), rng.u32(0..16)),
    };
    Setting {
        seed,
        instance_type,
        kind,
        subnet_bits: if rng.u8(0..6) == 0 { rng.u8(27..29) } else { 20 },
        slowest_device: Duration::from_secs(rng.u64(2..15)),
        warm,
        max_eni: (rng.u8(0..4) == 0).then(|| rng.u32(1..4)),
        max_pods: (rng.u8(0..4) == 0).then(|| rng.u32(3..30)),
        cooldown: Duration::from_secs(*rng.choice(&[0, 1, 10, 30, 60]).unwrap()),
        dwell: Duration::from_secs(*rng.choice(&[0, 10, 60]).unwrap()),
        restart_when_quiet: rng.bool(),
        ipv6: seed % 4 == 3,
    }
}

/// Mostly short, sometimes long: an hour for about forty steps.
fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(match rng.u8(0..10) {
        0..3 => 0,
        3..6 => rng.u64(0..2000),
        6..9 => rng.u64(0..40_000),
        _ => rng.u64(0..600_000),
    })
}

fn step(rng: &mut Rng, pods: u32, calm: bool) -> Step {
    let last = if calm { 18 } else { 29 };
    match rng.u8(0..last) {
        0..6 => Step::Add(rng.u32(0..pods)),
        6 => Step::Burst(rng.u32(1..=pods / 2)),
        7..11 => Step::Delete(rng.u32(0..pods)),
        11 => Step::RollOut,
        12 => Step::DeleteUnknown,
        13 => Step::GiveUp,
        14 => Step::Collect,
        15 => Step::Cordon,
        16 => Step::SwitchKind,
        17..20 => Step::Kill(Kill {
            after_steps: rng.u32(0..12),
            survives: rng.u8(..),
            down: Duration::from_millis(rng.u64(200..20_000)),
        }),
        20 => Step::Reboot {
            keeps_journal: rng.bool(),
        },
        21..27 => Step::Fault(fault(rng)),
        _ => Step::Operator(act(rng)),
    }
}

/// What goes wrong with the one call for an IPv6 prefix, which comes early in a life.
fn of_the_prefix(seed: u64) -> Fault {
    let mut rng = Rng::with_seed(!seed);
    let effect = match rng.u8(0..7) {
        0 => Effect::Refuse(Ec2Error::Throttled),
        1 => Effect::Refuse(Ec2Error::NoFreeAddresses),
        2 => Effect::Deny,
        3 => Effect::LoseAnswer,
        4 => Effect::FailAfter(Ec2Error::Unavailable),
        5 => Effect::HoldAfter,
        _ => Effect::Slow(Duration::from_secs(rng.u64(1..20))),
    };
    Fault {
        operation: Operation::AssignIpv6Addresses,
        effect,
        lasts: Lasts::Times(rng.u32(1..4)),
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let operation = OPERATIONS[rng.usize(..OPERATIONS.len())];
    let reads = !operation.mutates();
    let seconds = |rng: &mut Rng, most: u64| Duration::from_millis(rng.u64(0..most * 1000));
    let effect = match rng.u8(0..11) {
        0 => Effect::Refuse(Ec2Error::Throttled),
        1 => Effect::Refuse(Ec2Error::Internal),
        2 => Effect::Deny,
        3 => Effect::LoseAnswer,
        4 => Effect::FailAfter(Ec2Error::Unavailable),
        5 => Effect::HoldBefore,
        6 => Effect::HoldAfter,
        7 => Effect::Slow(seconds(rng, 20)),
        // The core assumes that EC2 is consistent again within a minute.
        8 | 9 if reads => Effect::Stale(seconds(rng, 50)),
        _ if operation == Operation::AttachNetworkInterface => Effect::NoDevice,
        _ if operation == Operation::AssignPrivateIpAddresses
            || operation == Operation::CreateNetworkInterface =>
        {
            Effect::Refuse(Ec2Error::NoFreeAddresses)
        }
        _ => Effect::Refuse(Ec2Error::Throttled),
    };
    let lasts = if rng.bool() {
        Lasts::Times(rng.u32(1..4))
    } else {
        Lasts::Time(seconds(rng, 300))
    };
    Fault {
        operation,
        effect,
        lasts,
    }
}

fn act(rng: &mut Rng) -> Act {
    let which = rng.usize(0..8);
    match rng.u8(0..5) {
        0 => Act::Detach(which),
        1 => Act::Unassign(which),
        2 => Act::Assign(which),
        3 => Act::AttachForeign,
        _ => Act::DeleteTag(which),
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting {
            instance_type,
            subnet_bits,
            ipv6,
            warm,
            max_eni,
            max_pods,
            cooldown,
            dwell,
            ..
        } = &self.setting;
        writeln!(
            f,
            "a {instance_type} in a /{subnet_bits}, IPv6 {ipv6}, {warm:?}, MAX_ENI {max_eni:?}, max pods {max_pods:?}, cool-down \
             {cooldown:?}, dwell {dwell:?}"
        )?;
        let mut at = Duration::ZERO;
        for Timed { after, step } in &self.steps {
            at += *after;
            writeln!(f, "{:>9.3} s  {step}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(pod) => write!(f, "pod {pod} comes, or asks again"),
            Self::Burst(count) => write!(f, "{count} new pods come at once"),
            Self::Delete(pod) => write!(f, "pod {pod} goes"),
            Self::RollOut => f.write_str("all pods go and as many others come"),
            Self::DeleteUnknown => f.write_str("a DEL of something that nobody knows"),
            Self::GiveUp => f.write_str("whoever waits longest goes away"),
            Self::Collect => f.write_str("the runtime says what it knows"),
            Self::Cordon => f.write_str("the node is cordoned, or no longer"),
            Self::SwitchKind => f.write_str("the operator wants the other kind of block"),
            Self::Kill(kill) => write!(
                f,
                "the daemon dies {} steps from here, {}/255 of a write survive, and starts again after {:?}",
                kill.after_steps, kill.survives, kill.down
            ),
            Self::Reboot { keeps_journal: true } => f.write_str("the node reboots"),
            Self::Reboot { keeps_journal: false } => f.write_str("the node reboots and its journal is gone"),
            Self::Fault(fault) => {
                let (operation, effect) = (fault.operation, &fault.effect);
                write!(
                    f,
                    "EC2 from now on ({:?}): {operation} meets {effect:?}",
                    fault.lasts
                )
            }
            Self::Operator(act) => write!(f, "the operator: {act:?}"),
        }
    }
}
