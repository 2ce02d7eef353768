//! As much of EC2 as the node meets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::address::{AddressCount, Block, Mac};
use ipamd_core::id::{EniId, IntentId};
use ipamd_core::instance::Limits;
use ipamd_core::moment::Moment;
use ipamd_core::snapshot::{Owner, Scope, SeenAttachment, SeenEni, Snapshot};

use crate::instance;

const PREFIX6: &str = "2001:db8:0:1:a::/80";

/// As much of EC2 as the node meets, with every effect at once.
pub(crate) struct Cloud {
    pub(crate) enis: BTreeMap<EniId, SeenEni>,
    tokens: BTreeMap<IntentId, EniId>,
    next: u32,
    per_eni: usize,
    most_enis: usize,
}

impl Cloud {
    pub(crate) fn new(limits: &Limits) -> Self {
        let primary = SeenEni {
            id: "eni-00000000".parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, 0]),
            subnet: "subnet-01234567".parse().unwrap(),
            primary_ip: Ipv4Addr::new(10, 0, 0, 4),
            blocks: BTreeSet::new(),
            prefixes6: BTreeSet::new(),
            attachment: Some(attachment(0)),
            owner: Owner::Primary,
        };
        let per_eni = limits.pod_slots_per_eni() as usize;
        let most_enis = limits.enis() as usize;
        Self {
            enis: [(primary.id.clone(), primary)].into(),
            tokens: BTreeMap::new(),
            next: 5,
            per_eni,
            most_enis,
        }
    }

    fn address(&mut self) -> Ipv4Addr {
        self.next += 1;
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + self.next)
    }

    fn addresses(&mut self, count: AddressCount) -> BTreeSet<Block> {
        (0..count.0).map(|_| Block::Secondary(self.address())).collect()
    }

    /// Does what the action says, as EC2 would.
    pub(crate) fn execute(
        &mut self,
        action: &Action,
        in_use: &BTreeSet<Ipv4Addr>,
        now: Moment,
    ) -> Result<Effect, Fault> {
        match action {
            Action::CreateEni(new) => Ok(Effect::Created(self.create(new.intent, new.ask.size()))),
            Action::AttachEni {
                eni, device_index, ..
            } => self.attach(eni, *device_index),
            Action::DeleteOnTermination { eni, .. } => {
                let eni = self.enis.get_mut(eni).ok_or(Fault::Gone {
                    what: eni.to_string(),
                })?;
                eni.attachment.as_mut().unwrap().delete_on_termination = true;
                Ok(Effect::Done)
            }
            Action::Assign { eni, ask } => {
                let blocks = self.addresses(ask.size());
                let eni = self.enis.get_mut(eni).unwrap();
                assert!(
                    eni.blocks.len() + blocks.len() <= self.per_eni,
                    "invariant 5: too many on {}",
                    eni.id
                );
                eni.blocks.extend(&blocks);
                Ok(Effect::Assigned(blocks))
            }
            Action::AssignPrefix6 { eni } => Ok(self.assign_prefix6(eni)),
            Action::Unassign { eni, blocks } => {
                let addresses: BTreeSet<Ipv4Addr> =
                    blocks.iter().flat_map(|block| block.addresses()).collect();
                assert!(
                    addresses.is_disjoint(in_use),
                    "invariant 4: {addresses:?} given back while in use"
                );
                let eni = self.enis.get_mut(eni).unwrap();
                eni.blocks
                    .retain(|block| !block.addresses().any(|address| addresses.contains(&address)));
                Ok(Effect::Done)
            }
            Action::DetachEni { eni, .. } => {
                let eni = self.enis.get_mut(eni).ok_or(Fault::Gone {
                    what: eni.to_string(),
                })?;
                assert_ne!(
                    eni.owner,
                    Owner::Primary,
                    "invariant 6: the primary is never removed"
                );
                let addresses: BTreeSet<_> = eni.blocks.iter().flat_map(|block| block.addresses()).collect();
                assert!(
                    addresses.is_disjoint(in_use),
                    "invariant 4: {} detached while in use",
                    eni.id
                );
                eni.attachment = None;
                Ok(Effect::Done)
            }
            Action::DeleteEni { eni } => {
                let gone = self.enis.remove(eni).ok_or(Fault::Gone {
                    what: eni.to_string(),
                })?;
                assert_eq!(gone.attachment, None);
                Ok(Effect::Done)
            }
            Action::ReadUnattached { .. } => Ok(Effect::Unattached(Vec::new(), now)),
            Action::DeleteLeak { eni } => panic!("{eni} is not a leak"),
            Action::ReadSubnets { .. } => Ok(Effect::Subnets(Vec::new(), now)),
            Action::ReadEni { eni } => Ok(Effect::Read(self.enis.get(eni).cloned())),
            Action::ReadAll { scope, .. } => Ok(Effect::ReadAll(self.read_all(*scope, now))),
        }
    }

    fn assign_prefix6(&mut self, eni: &EniId) -> Effect {
        let eni = self.enis.get_mut(eni).unwrap();
        assert!(eni.prefixes6.is_empty(), "one is enough for {}", eni.id);
        eni.prefixes6.insert(PREFIX6.parse().unwrap());
        Effect::Assigned6(eni.prefixes6.clone())
    }

    fn read_all(&self, scope: Scope, now: Moment) -> Snapshot {
        let covered = |eni: &SeenEni| scope == Scope::Everything || eni.attachment.is_some();
        let enis = self.enis.iter().filter(|(_, eni)| covered(eni));
        Snapshot {
            at: now,
            scope,
            enis: enis.map(|(id, eni)| (id.clone(), eni.clone())).collect(),
        }
    }

    fn create(&mut self, intent: IntentId, addresses: AddressCount) -> SeenEni {
        if let Some(known) = self.tokens.get(&intent) {
            return self.enis[known].clone();
        }
        let number = self.next;
        let eni = SeenEni {
            id: format!("eni-{number:08x}").parse().unwrap(),
            mac: Mac([2, 0, 0, 0, (number >> 8) as u8, number as u8]),
            subnet: "subnet-01234567".parse().unwrap(),
            primary_ip: self.address(),
            blocks: self.addresses(addresses),
            prefixes6: BTreeSet::new(),
            attachment: None,
            owner: Owner::Ours(Some(intent)),
        };
        self.tokens.insert(intent, eni.id.clone());
        self.enis.insert(eni.id.clone(), eni.clone());
        eni
    }

    fn attach(&mut self, eni: &EniId, index: u32) -> Result<Effect, Fault> {
        let attached: Vec<_> = self
            .enis
            .values()
            .filter_map(|eni| eni.attachment.as_ref())
            .filter(|attachment| attachment.network_card == 0)
            .collect();
        if attached.len() >= self.most_enis {
            return Err(Fault::Limit {
                code: "AttachmentLimitExceeded".to_owned(),
            });
        }
        if attached.iter().any(|attachment| attachment.device_index == index) {
            return Err(Fault::Stale {
                code: "index taken".to_owned(),
            });
        }
        let eni = self.enis.get_mut(eni).ok_or(Fault::Gone {
            what: eni.to_string(),
        })?;
        if eni.attachment.is_some() {
            return Err(Fault::Stale {
                code: "InvalidNetworkInterface.InUse".to_owned(),
            });
        }
        eni.attachment = Some(attachment(index));
        Ok(Effect::Attached(eni.attachment.clone().unwrap().id))
    }
}

fn attachment(index: u32) -> SeenAttachment {
    SeenAttachment {
        id: format!("eni-attach-{index:08x}").parse().unwrap(),
        instance: instance(),
        device_index: index,
        network_card: 0,
        delete_on_termination: index == 0,
        detaching: false,
    }
}
