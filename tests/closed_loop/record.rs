//! The invariants, checked from the outside: against what is true in the model and a plain record of what pods were told,
//! never against what the ledger believes of itself.
//!
//! What an operator did behind the daemon's back cannot be known at once; addresses and ENIs that were touched so are let
//! off where said.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipamd_core::action::Action;
use ipamd_core::id::AttachmentKey;
use ipamd_core::ledger::EniRecord;
use ipamd_core::ledger::{Lease, Ledger};
use ipamd_core::plan::{Plan, Situation, plan};
use ipamd_core::snapshot::Owner;
use vpc_sim::model::response::EniDescription;

use crate::call::{for_pods, owner};
use crate::pods::Ask;
use crate::world::{Stop, World};

/// What pods were told, and what an operator touched.
#[derive(Default)]
pub(crate) struct Record {
    /// Which pod uses an address.
    pub(crate) told: BTreeMap<Ipv4Addr, u32>,
    /// When an address was last in use.
    pub(crate) freed: BTreeMap<Ipv4Addr, Duration>,
    /// The same of IPv6.
    pub(crate) told6: BTreeMap<Ipv6Addr, u32>,
    pub(crate) freed6: BTreeMap<Ipv6Addr, Duration>,
    /// Addresses and ids of ENIs that an operator changed, and when.
    pub(crate) touched: BTreeMap<String, Duration>,
}

/// These nodes give IPv4.
pub(crate) fn ipv4(lease: &Lease) -> Ipv4Addr {
    lease.wiring.addresses().v4.unwrap()
}

impl Record {
    fn is_touched(&self, what: impl ToString) -> bool {
        self.touched.contains_key(&what.to_string())
    }
}

impl World {
    /// Answers an ADD; says whether anybody still listened.
    pub(crate) fn tell(&mut self, ask: &Ask, lease: &Lease, fresh: bool) -> Result<bool, Stop> {
        if !self.pods.asks(ask) {
            return Ok(false);
        }
        let address = ipv4(lease);
        let now = self.now.as_secs_f64() - 30.0;
        if let Some(story) = &mut self.story {
            story.push(format!("{now:>9.3} s      pod {} has {address}", ask.pod));
        }
        let address6 = lease.wiring.addresses().v6;
        self.check_told(ask, address, fresh).map_err(Stop::Broken)?;
        self.check_told6(ask, address6, fresh).map_err(Stop::Broken)?;
        if let Some(pod) = self.pods.all.get_mut(&ask.pod) {
            pod.asks.remove(&ask.number);
            pod.address = Some(address);
            pod.address6 = address6;
        }
        self.record.told.insert(address, ask.pod);
        self.record
            .told6
            .extend(address6.map(|address| (address, ask.pod)));
        Ok(true)
    }

    /// (1), (2), (3) Of the IPv6 address that a pod of both families has, too.
    fn check_told6(&mut self, ask: &Ask, address: Option<Ipv6Addr>, fresh: bool) -> Result<(), String> {
        if address.is_some() != self.setting.ipv6 {
            return Err(format!("pod {} is told {address:?} of IPv6", ask.pod));
        }
        let Some(address) = address else { return Ok(()) };
        let holder = self.record.told6.get(&address);
        if let Some(holder) = holder.filter(|holder| **holder != ask.pod) {
            return Err(format!(
                "invariant 1: pod {} gets {address} of pod {holder}",
                ask.pod
            ));
        }
        if let Some(held) = self.pods.all[&ask.pod].address6.filter(|held| *held != address) {
            return Err(format!("pod {} had {held} and is now told {address}", ask.pod));
        }
        let rested = self.record.freed6.get(&address).map(|freed| self.now - *freed);
        if let Some(rested) = rested.filter(|rested| fresh && *rested < self.policy.cooldown) {
            return Err(format!("invariant 3: {address} rested only {rested:?}"));
        }
        let brings = |eni: &EniDescription| eni.ipv6_prefixes.iter().any(|prefix| prefix.contains(&address));
        if !self.enis().iter().any(brings) {
            return Err(format!("invariant 2: {address} is on no ENI"));
        }
        Ok(())
    }

    fn check_told(&mut self, ask: &Ask, address: Ipv4Addr, fresh: bool) -> Result<(), String> {
        if let Some(holder) = self
            .record
            .told
            .get(&address)
            .filter(|holder| **holder != ask.pod)
        {
            return Err(format!(
                "invariant 1: pod {} gets {address} of pod {holder}",
                ask.pod
            ));
        }
        if let Some(held) = self.pods.all[&ask.pod].address.filter(|held| *held != address) {
            return Err(format!("pod {} had {held} and is now told {address}", ask.pod));
        }
        let rested = self.record.freed.get(&address).map(|freed| self.now - *freed);
        if let Some(rested) = rested.filter(|rested| fresh && *rested < self.policy.cooldown) {
            return Err(format!("invariant 3: {address} rested only {rested:?}"));
        }
        if self.disk.leases.get(&ask.key) != Some(&address) {
            return Err(format!(
                "invariant 7: pod {} is told {address}, which the journal does not hold",
                ask.pod
            ));
        }
        if fresh { self.check_given(address) } else { Ok(()) }
    }

    /// (2) An address that is handed out is on an attached ENI whose device is there.
    fn check_given(&mut self, address: Ipv4Addr) -> Result<(), String> {
        let touched = self.record.is_touched(address);
        let instance = self.instance.clone();
        let devices = self.devices.clone();
        let holder = self
            .enis()
            .iter()
            .find(|eni| for_pods(eni).any(|other| other == address))
            .cloned();
        let Some(eni) = holder else {
            return if touched {
                Ok(())
            } else {
                Err(format!("invariant 2: {address} is on no ENI"))
            };
        };
        let attachment = eni.attachment.as_ref();
        let here = attachment.is_some_and(|at| at.instance.as_str() == instance.as_str());
        let shown = here && devices.contains(&eni.mac.0);
        if shown || touched || self.is_just_touched(&eni) {
            return Ok(());
        }
        Err(format!(
            "invariant 2: {address} is on {}, which is not on the node",
            eni.id
        ))
    }

    /// Whether an operator changed an ENI so lately that the kernel's event is still on its way: the device takes up to
    /// a second to go, the daemon looks 300 ms later.
    fn is_just_touched(&self, eni: &EniDescription) -> bool {
        let at = self.record.touched.get(eni.id.as_str());
        at.is_some_and(|at| self.now - *at < Duration::from_millis(1500))
    }

    /// A lease that the runtime is said to have forgotten is no pod's.
    pub(crate) fn check_collected(&self, key: &AttachmentKey) -> Result<(), Stop> {
        let mut pods = self.pods.all.values();
        match pods.find(|pod| pod.key == *key && pod.address.is_some()) {
            Some(pod) => Err(Stop::Broken(format!(
                "{key} is collected while it uses {:?}",
                pod.address
            ))),
            None => Ok(()),
        }
    }

    /// (7) What pods were told is on record after a restart.
    pub(crate) fn check_restored(&self, ledger: &Ledger) -> Result<(), Stop> {
        for (number, pod) in &self.pods.all {
            let lease = ledger.leases().get(&pod.key);
            let lease6 = lease.and_then(|lease| lease.wiring.addresses().v6);
            if pod.address6.is_some() && lease6 != pod.address6 {
                return Err(Stop::Broken(format!(
                    "invariant 7: pod {number} was told {:?}, and the journal says {lease6:?}",
                    pod.address6
                )));
            }
            let lease = lease.map(ipv4);
            if pod.address.is_some() && lease != pod.address {
                return Err(Stop::Broken(format!(
                    "invariant 7: pod {number} was told {:?}, and the journal says {lease:?}",
                    pod.address
                )));
            }
        }
        Ok(())
    }

    /// (4) Addresses in use stay on attached ENIs, whatever happens.
    pub(crate) fn check_truth(&mut self) -> Result<(), String> {
        if !self.truth.stale {
            return Ok(());
        }
        let mut attached: BTreeMap<Ipv4Addr, String> = BTreeMap::new();
        for eni in self.enis().iter().filter(|eni| eni.attachment.is_some()) {
            attached.extend(for_pods(eni).map(|address| (address, eni.id.to_string())));
        }
        for (address, pod) in self.told() {
            if !attached.contains_key(address) && self.record.touched.is_empty() {
                return Err(format!(
                    "invariant 4: pod {pod} uses {address}, which is on no attached ENI"
                ));
            }
        }
        Ok(())
    }

    /// (4), (6), (7) A call that is about to be made.
    pub(crate) fn check_call(&mut self, action: &Action) -> Result<(), String> {
        let eni = match action {
            Action::CreateEni(new) => {
                let known = self.disk.intents.contains(&new.intent);
                return if known {
                    Ok(())
                } else {
                    Err(format!(
                        "invariant 7: {action} before its intent is in the journal"
                    ))
                };
            }
            Action::ReadEni { .. }
            | Action::ReadAll { .. }
            | Action::ReadSubnets { .. }
            | Action::ReadUnattached { .. } => return Ok(()),
            // Nobody else has ENIs here that were made for pods.
            Action::DeleteLeak { .. } => return Err(format!("{action} is not this node's")),
            Action::AttachEni { eni, .. }
            | Action::DeleteOnTermination { eni, .. }
            | Action::Assign { eni, .. }
            | Action::AssignPrefix6 { eni }
            | Action::Unassign { eni, .. }
            | Action::DetachEni { eni, .. }
            | Action::DeleteEni { eni } => eni,
        };
        let found = self
            .enis()
            .iter()
            .find(|found| found.id.as_str() == eni.as_str())
            .cloned();
        let Some(truth) = found else {
            return Ok(());
        };
        let whose = owner(&truth, &self.instance);
        let touched = self.record.is_touched(eni);
        let only_addresses = matches!(
            action,
            Action::Assign { .. } | Action::AssignPrefix6 { .. } | Action::Unassign { .. }
        );
        if (whose == Owner::Foreign && !touched) || (whose == Owner::Primary && !only_addresses) {
            return Err(format!("invariant 6: {action}, and that is {whose:?}"));
        }
        let lost: Vec<Ipv4Addr> = match action {
            Action::Unassign { blocks, .. } => blocks.iter().flat_map(|block| block.addresses()).collect(),
            // Without a device no packet passes: what is detached then is attached again with all its addresses.
            Action::DetachEni { .. } if !self.devices.contains(&truth.mac.0) => Vec::new(),
            Action::DetachEni { .. } | Action::DeleteEni { .. } => for_pods(&truth).collect(),
            _ => Vec::new(),
        };
        if lost.contains(&truth.primary) {
            return Err(format!("invariant 6: {action} would take the primary address"));
        }
        let used = lost
            .iter()
            .find(|address| self.record.told.contains_key(*address) && !self.record.is_touched(address));
        used.map_or(Ok(()), |used| {
            Err(format!("invariant 4: {action}, and {used} is in use"))
        })
    }

    /// (5) The plan fits the type and the policy; and it is the same when nothing happened.
    pub(crate) fn check_plan(&self, situation: &Situation<'_>, planned: &Plan) -> Result<(), Stop> {
        if plan(situation) != *planned {
            return Err(Stop::Broken(
                "two plans in a row without events differ".to_owned(),
            ));
        }
        let ledger = situation.ledger;
        check_cordon(situation, planned)?;
        let is_new = |action: &&Action| matches!(action, Action::CreateEni(new) if !ledger.intents().contains_key(&new.intent));
        let created = planned.actions.iter().filter(is_new).count();
        // What EC2 shows no more, and what is neither ours nor here, takes no place.
        let takes_a_place = |record: &&EniRecord| {
            let elsewhere = record.seen.owner == Owner::Foreign && record.seen.attachment.is_none();
            !record.vanished && !elsewhere
        };
        let there = ledger.enis().values().filter(takes_a_place).count();
        let enis = there + ledger.intents().len() + created;
        let most = situation
            .policy
            .max_eni
            .unwrap_or(u32::MAX)
            .min(situation.limits.enis())
            .max(1);
        if created > 0 && enis > most as usize {
            return Err(Stop::Broken(format!(
                "invariant 5: the plan leads to {enis} ENIs"
            )));
        }
        for action in &planned.actions {
            if let Action::Assign { eni, ask } = action {
                let there = ledger
                    .enis()
                    .get(eni)
                    .map_or(0, |record| record.seen.blocks.difference(&record.lost).count());
                if there + ask.slots() as usize > situation.limits.pod_slots_per_eni() as usize {
                    return Err(Stop::Broken(format!("invariant 5: {action}, which has {there}")));
                }
            }
        }
        Ok(())
    }
}

/// A cordoned node gives nothing back, and gets more only for pods that wait.
fn check_cordon(situation: &Situation<'_>, planned: &Plan) -> Result<(), Stop> {
    if !situation.cordoned {
        return Ok(());
    }
    let ledger = situation.ledger;
    let nobody_waits = ledger.waiting().is_empty();
    let is_wrong = |action: &&Action| match action {
        Action::Unassign { .. } => true,
        Action::Assign { .. } => nobody_waits,
        // One that was intended before is finished.
        Action::CreateEni(new) => nobody_waits && !ledger.intents().contains_key(&new.intent),
        _ => false,
    };
    planned.actions.iter().find(is_wrong).map_or(Ok(()), |action| {
        Err(Stop::Broken(format!("{action}, and the node is cordoned")))
    })
}
