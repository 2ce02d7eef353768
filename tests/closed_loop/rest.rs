//! What must be true when nothing has gone wrong for a while: every pod that can be served is, what is held is what the
//! targets say, nothing leaked, and the node is silent.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipamd_core::action::{Action, Fault};
use ipamd_core::address::{Ask, Block, BlockKind, PrefixCount};
use ipamd_core::ledger::EniRecord;
use ipamd_core::policy::{AddressTarget, WarmTarget};
use ipamd_core::snapshot::{Owner, SeenEni};
use vpc_sim::model::response::EniDescription;

use crate::call::{for_pods, owner, see};
use crate::record::ipv4;
use crate::script::{Script, Timed};
use crate::world::World;

/// From the last fault to the last pod served, beside the cool-down. A call that was held up ends within 30 s; whatever
/// failed last is tried again within 60 s (the core's longest pause), and once more where a read comes first; an ENI takes up to 20 s from its
/// creation to its device.
const SERVED_WITHIN: Duration = Duration::from_secs(120);

/// From the end of the dwell to the last ENI deleted: a detach lingers for 2.5 s, calls take a quarter second.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(30);

/// What a call did whose caller was gone shows at the third look in a row at the latest, and they come a minute apart.
const SEEN_WITHIN: Duration = Duration::from_secs(180);

/// A steady node looks at everything once an hour; only then does it see what an operator did.
const HOUR: Duration = Duration::from_secs(3600);

/// What a life came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) steps_passed: u32,
    pub(crate) calls: u32,
}

/// Lives a script and the quiet after it.
pub(crate) fn live(script: &Script, story: bool) -> Result<Sum, Failure> {
    let mut world = World::new(&script.setting);
    world.story = story.then(Vec::new);
    world.doom = script.kill;
    let lived = world.live(&script.steps);
    match lived {
        Ok(calls) => Ok(Sum {
            steps_passed: world.steps_passed,
            calls,
        }),
        Err(why) => Err(Failure {
            why,
            story: world.story.unwrap_or_default(),
        }),
    }
}

/// What went wrong, and the story that led there where it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    pub(crate) story: Vec<String>,
}

/// A look that may have shown the last change as it was before is repeated after a minute, until one is young enough.
const LOOKED_AGAIN_WITHIN: Duration = Duration::from_secs(130);

/// A subnet that said that it has no whole /28 is asked again after ten minutes at most, and a quarter more.
const PREFIXES_TRIED_WITHIN: Duration = Duration::from_secs(760);

impl World {
    fn live(&mut self, steps: &[Timed]) -> Result<u32, String> {
        for timed in steps {
            self.run(self.now + timed.after)?;
            self.step(&timed.step)?;
        }
        self.run(self.now + Duration::from_secs(1))?;
        self.quieten();
        let looks_by_itself = self.setting.restart_when_quiet || self.record.touched.is_empty();
        if !looks_by_itself {
            // Every third hourly look is for what others left behind.
            self.run(self.now + HOUR * 2)?;
        }
        self.run(self.now + SERVED_WITHIN + self.policy.cooldown)?;
        self.check_served()?;
        if self.orphaned {
            self.run(self.now + SEEN_WITHIN)?;
        }
        if self.believes_fragmented() && self.setting.subnet_bits <= 20 {
            self.run(self.now + PREFIXES_TRIED_WITHIN)?;
        }
        self.run(self.now + self.policy.dwell + GIVEN_BACK_WITHIN)?;
        self.check_rest()?;
        self.run(self.now + LOOKED_AGAIN_WITHIN)?;
        let calls = self.reads + self.changes;
        (self.reads, self.changes) = (0, 0);
        self.run(self.now + HOUR)?;
        // A subnet without room is tried again for as long as more is wanted; a satisfied node is silent.
        // One without a whole /28 is asked for one ever more rarely, and it is looked at before.
        let fragmented = self.policy.kind == BlockKind::Prefix && self.setting.subnet_bits > 20;
        let most_reads = if fragmented { 40 } else { 1 };
        let most_changes = if fragmented { 40 } else { 0 };
        if self.reads > most_reads || (self.changes > most_changes && !self.is_dry()) {
            return Err(format!(
                "a steady node made {} reads and {} changes in an hour",
                self.reads, self.changes
            ));
        }
        self.check_rest()?;
        Ok(calls)
    }

    fn believes_fragmented(&self) -> bool {
        let ledger = self.daemon.as_ref().map(|daemon| &daemon.ledger);
        ledger.is_some_and(|ledger| {
            let mut faults = ledger.backoff().iter();
            faults.any(|(_, fault, _)| matches!(fault, Fault::Fragmented { .. }))
        })
    }

    /// Our ENIs that are on the node, the primary among them; and how many others are.
    fn attached(&mut self) -> (Vec<EniDescription>, u32) {
        let instance = self.instance.clone();
        let here = |eni: &&EniDescription| {
            let attachment = eni.attachment.as_ref();
            attachment.is_some_and(|at| at.instance.as_str() == instance.as_str())
        };
        let all: Vec<EniDescription> = self.enis().iter().filter(here).cloned().collect();
        let (foreign, ours): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|eni| owner(eni, &self.instance) == Owner::Foreign);
        (ours, u32::try_from(foreign.len()).unwrap())
    }

    fn usable_enis(&self, foreign: u32) -> u32 {
        let ceiling = self.policy.max_eni.unwrap_or(u32::MAX);
        self.limits.enis().min(ceiling).saturating_sub(foreign).max(1)
    }

    /// Free addresses of the subnet.
    fn free(&mut self) -> usize {
        let subnet_size = (1_usize << (32 - self.setting.subnet_bits)) - 5;
        let used: usize = self.enis().iter().map(|eni| 1 + for_pods(eni).count()).sum();
        subnet_size.saturating_sub(used)
    }

    /// Whether the subnet has no room for another ENI with an address: then the node tries again and again.
    fn is_dry(&mut self) -> bool {
        self.free() < 2
    }

    /// Whether more addresses could be had: a slot and an address, or an ENI with its primary address and one more.
    fn has_room(&mut self) -> bool {
        let (ours, foreign) = self.attached();
        let slots = self.limits.pod_slots_per_eni() as usize;
        let free = self.free();
        let has_slot = ours
            .iter()
            .any(|eni| eni.secondary.len() + eni.prefixes.len() < slots);
        let has_eni = (ours.len() as u32) < self.usable_enis(foreign);
        (has_slot && free > 0) || (has_eni && free > 1)
    }

    fn capacity(&self, foreign: u32) -> u32 {
        let kind = self.policy.kind_on(self.limits);
        let slots = self.limits.pod_slots_per_eni() * kind.addresses_each().0;
        let addresses = self.usable_enis(foreign) * slots;
        // EKS runs at most 110 pods on a node of fewer than 30 vCPUs and 250 on others, and as many as ENIs allow.
        let vcpus = self.limits.vcpus.unwrap_or(0);
        let eks = (self.limits.enis() * slots + 2).min(if vcpus > 30 { 250 } else { 110 });
        addresses.min(self.setting.max_pods.unwrap_or(eks))
    }

    /// Nobody waits for an address that could be had.
    pub(crate) fn check_served(&mut self) -> Result<(), String> {
        let (_, foreign) = self.attached();
        let served = self.told().len();
        let waiting = self.pods.all.len() - served;
        let full = served >= self.capacity(foreign) as usize;
        if waiting > 0 && !full && self.has_room() {
            let report = self
                .daemon
                .as_ref()
                .map(|daemon| daemon.last_plan.report.to_string());
            return Err(format!(
                "{waiting} pods wait beside {served} that were served, and there is room; the last plan: {}",
                report.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Everything is as wanted, and the daemon knows it.
    pub(crate) fn check_rest(&mut self) -> Result<(), String> {
        self.check_served()?;
        self.check_belief()?;
        self.check_targets()
    }

    /// The ledger is the truth: no ENI leaked or forgotten, every block known and served, every lease a pod's.
    fn check_belief(&mut self) -> Result<(), String> {
        let instance = self.instance.clone();
        let Some(daemon) = self.daemon.take() else {
            return Err("the daemon does not run".to_owned());
        };
        let ledger = &daemon.ledger;
        let touched: BTreeSet<Ipv4Addr> = self
            .told()
            .keys()
            .filter(|address| self.record.touched.contains_key(&address.to_string()))
            .copied()
            .collect();
        let mut faults = Vec::new();
        let (ours, foreign) = self.attached();
        let has_place = ours.len() as u32 + foreign < self.limits.enis();
        for eni in self.enis() {
            let whose = owner(eni, &instance);
            let here = eni.attachment.is_some();
            match ledger.enis().get(&call_id(eni)) {
                None if whose == Owner::Foreign && !here => {}
                None => faults.push(format!("{} ({whose:?}) is not on record", eni.id)),
                Some(_) if whose == Owner::Foreign => {}
                Some(record) => {
                    // One with pods that somebody detached, and whose place somebody took, waits for it.
                    if here || has_place {
                        faults.extend(differences(&see(eni, &instance), record, &touched));
                    }
                }
            }
        }
        for id in ledger.enis().keys() {
            if !self.truth.enis.iter().any(|eni| eni.id.as_str() == id.as_str()) {
                faults.push(format!("{id} is on record and does not exist"));
            }
        }
        let leases = ledger.leases().values().map(ipv4);
        let leases: Vec<_> = leases.collect();
        let told: Vec<_> = self.told().keys().copied().collect();
        if leases.len() != told.len() || told.iter().any(|address| !leases.contains(address)) {
            faults.push(format!("leases are {leases:?}, and pods use {told:?}"));
        }
        // Where there is no room it is tried again and again.
        let satisfied = !self.is_dry();
        let is_fragmented = |fault: &Fault| matches!(fault, Fault::Fragmented { .. });
        let fragmented = ledger.backoff().iter().any(|(_, fault, _)| is_fragmented(fault));
        let usual = |action: &Action| match action {
            Action::ReadEni { .. }
            | Action::ReadAll { .. }
            | Action::ReadSubnets { .. }
            | Action::ReadUnattached { .. } => true,
            // So is a whole block.
            Action::Assign { ask, .. } => fragmented && matches!(ask, Ask::Prefixes(_)),
            _ => false,
        };
        let changes = !ledger.in_flight().values().all(usual);
        if satisfied && (!ledger.intents().is_empty() || changes) {
            faults.push("something is still under way".to_owned());
        }
        if satisfied && !daemon.last_plan.actions.is_empty() {
            faults.push(format!(
                "the plan of a satisfied state acts: {}",
                daemon.last_plan.report
            ));
        }
        let report = daemon.last_plan.report.to_string();
        self.daemon = Some(daemon);
        if faults.is_empty() {
            Ok(())
        } else {
            Err(format!("{}\nthe last plan: {report}", faults.join("\n")))
        }
    }

    /// What is held is what the targets say, as far as there is room: the peer's steady state (its
    /// docs/eni-and-ip-target.md), never beyond the pods that the node can run.
    fn check_targets(&mut self) -> Result<(), String> {
        let (ours, foreign) = self.attached();
        let held: BTreeSet<Ipv4Addr> = ours.iter().flat_map(for_pods).collect();
        // What an operator took from under a pod counts neither as use nor as held.
        let kept = self
            .told()
            .keys()
            .filter(|address| !held.contains(address))
            .count();
        let held = u32::try_from(held.len()).unwrap();
        let all_in_use = u32::try_from(self.pods.all.len() - kept).unwrap();
        let used = u32::try_from(self.told().len()).unwrap();
        let capacity = self
            .capacity(foreign)
            .saturating_sub(u32::try_from(kept).unwrap());
        let kind = self.policy.kind_on(self.limits);
        let per_eni = self.limits.pod_slots_per_eni() * kind.addresses_each().0;
        let in_use = all_in_use.min(capacity);
        let whole = |enis: u32| {
            let enis = enis
                .min(self.usable_enis(foreign))
                .min(capacity.div_ceil(per_eni))
                .max(1);
            (enis * per_eni).min(capacity).max(in_use)
        };
        let wanted = match self.policy.warm.of(self.policy.kind_on(self.limits)) {
            WarmTarget::Enis(0) => whole(in_use / per_eni + 1),
            WarmTarget::Enis(target) => whole(in_use.div_ceil(per_eni) + target),
            WarmTarget::Addresses(AddressTarget { warm, minimum }) => {
                (in_use + warm.0).max(minimum.0).min(capacity)
            }
            WarmTarget::Prefixes(PrefixCount(0)) => in_use + 1,
            WarmTarget::Prefixes(PrefixCount(target)) => in_use.next_multiple_of(16) + 16 * target,
        };
        // A prefix needs a whole /28, and pods on what stands in for one count elsewhere.
        let singles = ours.iter().any(|eni| !eni.secondary.is_empty());
        let prefixes = ours.iter().any(|eni| !eni.prefixes.is_empty());
        let mixed = if kind == BlockKind::Prefix {
            singles
        } else {
            prefixes
        };
        let roomy = !mixed && (kind == BlockKind::Secondary || (self.setting.subnet_bits == 20 && kept == 0));
        let wanted = if kind == BlockKind::Prefix {
            wanted.min(capacity)
        } else {
            wanted
        };
        if held < wanted && roomy && self.has_room() {
            return Err(format!(
                "{held} addresses are held, {wanted} are wanted, and there is room"
            ));
        }
        self.check_strays(&ours, kind)?;
        // A node with more pods than it may have by now keeps them.
        let surplus = held.saturating_sub(wanted.max(used));
        let told = self.told();
        let excess = match self.policy.warm.of(self.policy.kind_on(self.limits)) {
            // Whole prefixes go, and one with a pod stays.
            _ if kind == BlockKind::Prefix || mixed => false,
            WarmTarget::Addresses(_) | WarmTarget::Prefixes(_) => surplus > 0,
            // Only whole ENIs go.
            WarmTarget::Enis(_) => ours.iter().any(|eni| {
                let is_free = for_pods(eni).all(|address| !told.contains_key(&address));
                let size = u32::try_from(for_pods(eni).count()).unwrap();
                owner(eni, &self.instance) != Owner::Primary && is_free && (1..=surplus).contains(&size)
            }),
        };
        if excess {
            return Err(format!("{held} addresses are held, and {wanted} are wanted"));
        }
        Ok(())
    }
}

impl World {
    /// Of the kind that the node does not get any more it holds what pods have, and nothing else; where whole prefixes are
    /// rare, single addresses stand in.
    fn check_strays(&self, ours: &[EniDescription], kind: BlockKind) -> Result<(), String> {
        if kind == BlockKind::Prefix && self.setting.subnet_bits > 20 {
            return Ok(());
        }
        let told = self.told();
        let idle = |address: &Ipv4Addr| !told.contains_key(address);
        let stray = ours.iter().find(|eni| match kind {
            BlockKind::Prefix => eni.secondary.iter().any(idle),
            BlockKind::Secondary => eni
                .prefixes
                .iter()
                .any(|prefix| Block::Prefix(*prefix).addresses().all(|address| idle(&address))),
        });
        stray.map_or(Ok(()), |eni| {
            let report = self
                .daemon
                .as_ref()
                .map(|daemon| daemon.last_plan.report.to_string());
            Err(format!(
                "{} still has a block of the other kind that nobody uses ({:?}, {:?}); the last plan: {}",
                eni.id,
                eni.secondary,
                eni.prefixes,
                report.unwrap_or_default()
            ))
        })
    }
}

fn call_id(eni: &EniDescription) -> ipamd_core::id::EniId {
    crate::call::id(&eni.id)
}

/// What is not as it should be of one of our ENIs.
fn differences(truth: &SeenEni, record: &EniRecord, touched: &BTreeSet<Ipv4Addr>) -> Vec<String> {
    // What a pod uses stays on record, though an operator took it away.
    let is_kept = |block: &&Block| block.addresses().any(|address| touched.contains(&address));
    let mut truth = truth.clone();
    truth
        .blocks
        .extend(record.seen.blocks.iter().filter(is_kept).copied());
    let mut faults = Vec::new();
    if record.seen != truth {
        faults.push(format!(
            "{} is {truth:?}, and on record {:?}",
            truth.id, record.seen
        ));
    }
    let goes = truth
        .attachment
        .as_ref()
        .is_some_and(|at| at.delete_on_termination);
    if !goes {
        faults.push(format!("{} would outlive the node", truth.id));
    }
    if record.served != record.seen.blocks {
        faults.push(format!("invariant 8: {} is not served whole", truth.id));
    }
    faults
}
