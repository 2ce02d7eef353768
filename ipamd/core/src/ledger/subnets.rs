//! What is known of the subnets that pods can have addresses from: as EC2 described them, and what they refused since.
//!
//! Not journalled: all of it is read or learned again within a call or two.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::outcome::Happening;
use crate::action::{Action, Fault, Subject};
use crate::address::{AddressCount, Ask, BlockKind};
use crate::id::{EniId, SubnetId};
use crate::instance::Limits;
use crate::moment::Moment;
use crate::policy::Policy;
use crate::snapshot::SeenSubnet;
use crate::tag;

/// More blocks than any ENI has slots for (50 addresses, EC2 user guide, "Maximum IP addresses per network interface").
const ANY_ENI: u32 = 64;

/// The subnets of the node's zone, and what they refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnets {
    seen: BTreeMap<SubnetId, SeenSubnet>,
    read_at: Option<Moment>,
    /// The most blocks that may be asked of a subnet in one call, where more were refused.
    #[serde(with = "crate::pairs")]
    most: BTreeMap<(SubnetId, BlockKind), u32>,
    /// Subnets that had not even one block, until EC2 says that there may be one again.
    empty: BTreeSet<(SubnetId, BlockKind)>,
    /// Those of them that refused an ENI with one block.
    #[serde(default)]
    for_enis: BTreeSet<(SubnetId, BlockKind)>,
}

/// Whether pods may have addresses of a subnet, by its tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It takes new ENIs.
    Admitted,
    /// It takes no new ENIs; what is there stays and grows.
    NotOffered,
    /// Nothing of it is given out any more.
    Excluded,
}

/// What a subnet's tags say (the peer's rule, `kubernetes.io/role/cni` and cluster-scoped tags).
#[must_use]
pub fn admission(subnet: &SeenSubnet, policy: &Policy, primary: &SubnetId) -> Admission {
    let mut scopes = subnet
        .tags
        .keys()
        .filter_map(|key| key.strip_prefix(tag::SUBNET_CLUSTER));
    let ours = match &policy.cluster {
        None => true,
        Some(cluster) => scopes.clone().next().is_none() || scopes.any(|scope| scope == cluster),
    };
    match subnet.tags.get(tag::SUBNET_ROLE).map(String::as_str) {
        Some("0") => Admission::Excluded,
        None | Some("") if subnet.id == *primary => Admission::Admitted,
        None | Some("") => Admission::NotOffered,
        Some(_) if ours => Admission::Admitted,
        Some(_) => Admission::Excluded,
    }
}

impl Subnets {
    /// Every subnet as EC2 described it.
    #[must_use]
    pub fn seen(&self) -> &BTreeMap<SubnetId, SeenSubnet> {
        &self.seen
    }

    /// When that was.
    #[must_use]
    pub fn read_at(&self) -> Option<Moment> {
        self.read_at
    }

    /// As much of it as the subnet has not refused lately.
    #[must_use]
    pub fn within(&self, subnet: &SubnetId, ask: Ask) -> Ask {
        let most = self.most.get(&(subnet.clone(), ask.kind()));
        most.map_or(ask, |most| ask.within(*most))
    }

    /// Whether the subnet had not even one block of the kind.
    #[must_use]
    pub fn is_empty_of(&self, subnet: &SubnetId, kind: BlockKind) -> bool {
        self.empty.contains(&(subnet.clone(), kind))
    }

    /// Every subnet that had not even one block, with the kind.
    pub fn empties(&self) -> impl Iterator<Item = &(SubnetId, BlockKind)> {
        self.empty.iter()
    }

    /// Notes what EC2 says of every subnet; gives those that still have nothing.
    /// Where an ENI of ours has `room`, one block is enough; a new one takes an address for itself.
    pub(super) fn handle_read(
        &mut self,
        seen: Vec<SeenSubnet>,
        room: &BTreeSet<SubnetId>,
        at: Moment,
    ) -> Vec<(SubnetId, BlockKind)> {
        self.seen = seen
            .into_iter()
            .map(|subnet| (subnet.id.clone(), subnet))
            .collect();
        self.read_at = Some(at);
        let may_have_one = |(id, kind): &(SubnetId, BlockKind)| {
            let free = self.seen.get(id).map_or(AddressCount::ZERO, |subnet| subnet.free);
            let own = self.for_enis.contains(&(id.clone(), *kind)) && !room.contains(id);
            free >= kind.addresses_each() + AddressCount(u32::from(own))
        };
        let refilled: Vec<_> = self
            .empty
            .iter()
            .filter(|key| may_have_one(key))
            .cloned()
            .collect();
        for key in refilled {
            self.forget(&key);
        }
        self.empty.iter().cloned().collect()
    }

    fn forget(&mut self, key: &(SubnetId, BlockKind)) {
        self.empty.remove(key);
        self.for_enis.remove(key);
    }

    /// Notes that a subnet could not give this, with a new ENI or to one; says whether less is worth asking for at once.
    pub(super) fn handle_scarcity(&mut self, subnet: &SubnetId, ask: Ask, with_an_eni: bool) -> bool {
        let key = (subnet.clone(), ask.kind());
        let less = ask.slots() / 2;
        if less == 0 {
            self.forget(&key);
            self.empty.insert(key.clone());
            self.for_enis.extend(with_an_eni.then(|| key.clone()));
        }
        self.most.insert(key, less.max(1));
        less > 0
    }

    /// Notes that a subnet gave this: twice as much may be asked for next.
    pub(super) fn handle_plenty(&mut self, subnet: &SubnetId, ask: Ask) {
        let key = (subnet.clone(), ask.kind());
        self.forget(&key);
        match self.most.get(&key).map(|most| most.saturating_mul(2)) {
            Some(more) if more >= ANY_ENI => drop(self.most.remove(&key)),
            Some(more) => drop(self.most.insert(key, more)),
            None => {}
        }
    }
}

impl Ledger {
    /// A subnet could not give what was asked for, and gave nothing: less is asked for at once, and when not even one
    /// is to be had, the subnet is left alone for a while. The ENI has nothing to do with it.
    pub(super) fn handle_scarcity(&mut self, action: &Action, fault: Fault, at: Happening) {
        let asked = match action {
            Action::CreateEni(new) => {
                self.end_intent(new.intent);
                Some((new.subnet.clone(), new.ask))
            }
            Action::Assign { eni, ask } => {
                let record = self.enis.get(eni);
                record.map(|record| (record.seen.subnet.clone(), *ask))
            }
            _ => None,
        };
        let Some((subnet, ask)) = asked else {
            self.doubt(action);
            return;
        };
        let with_an_eni = matches!(action, Action::CreateEni(_));
        if !self.subnets.handle_scarcity(&subnet, ask, with_an_eni) {
            let subject = Subject::Subnet(subnet, ask.kind());
            self.backoff.handle_failure(subject, fault, at.now, at.seed);
        }
    }

    /// Subnets in which an ENI of ours may be asked for more. As long as nobody has told what ENIs hold, any may.
    fn subnets_with_room(&self) -> BTreeSet<SubnetId> {
        let most = usize::try_from(self.slots_per_eni.unwrap_or(u32::MAX)).unwrap_or(usize::MAX);
        let ours = self.enis.values().filter(|record| record.gives());
        let have_room = ours.filter(|record| record.seen.blocks.difference(&record.lost).count() < most);
        have_room.map(|record| record.seen.subnet.clone()).collect()
    }

    /// Notes what EC2 says of the zone's subnets. Those that still have nothing are left alone for longer.
    pub(super) fn handle_subnets(&mut self, seen: Vec<SeenSubnet>, read_at: Moment, now: Moment) {
        if let Some(mut node) = self.node.clone() {
            let cidrs = seen.iter().map(|subnet| (subnet.id.clone(), subnet.cidr));
            node.subnet_cidrs.extend(cidrs);
            self.handle_node(node);
        }
        let room = self.subnets_with_room();
        for (subnet, kind) in self.subnets.handle_read(seen, &room, read_at) {
            let subject = Subject::Subnet(subnet.clone(), kind);
            let subject_name = subnet.to_string();
            let fault = match kind {
                BlockKind::Secondary => Fault::SubnetFull {
                    subject: subject_name,
                },
                BlockKind::Prefix => Fault::Fragmented {
                    subject: subject_name,
                },
            };
            let seed = now.0.subsec_nanos().into();
            if self.backoff.allows(&subject, now) {
                self.backoff.handle_failure(subject, fault, now, seed);
            }
        }
    }

    /// Notes what the type's ENIs hold, what the operator wants of the pace, and whether tags keep pods away from the subnets of our ENIs; a subnet that was not read keeps its state.
    pub fn handle_policy(&mut self, policy: &Policy, limits: Option<&Limits>) {
        self.slots_per_eni = limits.map(Limits::pod_slots_per_eni);
        self.pace.handle_ceiling(policy.calls_per_second);
        let Some(primary) = self.node.as_ref().map(|node| node.subnet.clone()) else {
            return;
        };
        let seen = self.subnets.seen().values();
        let excluded = seen.map(|subnet| {
            let verdict = admission(subnet, policy, &primary);
            (
                subnet.id.clone(),
                policy.discovers_subnets && verdict == Admission::Excluded,
            )
        });
        let excluded: BTreeMap<SubnetId, bool> = excluded.collect();
        let ids: Vec<EniId> = self.enis.keys().cloned().collect();
        for id in ids {
            self.change(&id, |record| {
                let verdict = excluded.get(&record.seen.subnet);
                record.excluded = verdict.copied().unwrap_or(record.excluded) || record.is_on_another_card();
            });
        }
    }

    /// A subnet gave what was asked for.
    pub(super) fn handle_plenty(&mut self, subnet: &SubnetId, ask: Ask) {
        self.subnets.handle_plenty(subnet, ask);
        self.backoff
            .handle_success(&Subject::Subnet(subnet.clone(), ask.kind()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(id: &str, tags: &[(&str, &str)]) -> SeenSubnet {
        SeenSubnet {
            id: id.parse().unwrap(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            free: AddressCount(100),
            tags: tags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn tags_decide_as_with_the_peer() {
        let primary: SubnetId = "subnet-00000001".parse().unwrap();
        let (own, other) = ("subnet-00000001", "subnet-00000002");
        let (role, blue, red) = (
            "kubernetes.io/role/cni",
            "cni.networking.k8s.aws/cluster/blue",
            "cni.networking.k8s.aws/cluster/red",
        );
        use Admission::{Admitted, Excluded, NotOffered};
        for (id, tags, cluster, expected) in [
            (own, &[][..], Some("blue"), Admitted),
            (other, &[], Some("blue"), NotOffered),
            (own, &[(role, "")], None, Admitted),
            (other, &[(role, "")], None, NotOffered),
            (own, &[(role, "0")], None, Excluded),
            (other, &[(role, "0"), (blue, "")], Some("blue"), Excluded),
            (own, &[(role, "1")], Some("blue"), Admitted),
            (other, &[(role, "1")], Some("blue"), Admitted),
            (other, &[(role, "yes"), (blue, "")], Some("blue"), Admitted),
            (other, &[(role, "1"), (red, "")], Some("blue"), Excluded),
            (own, &[(role, "1"), (red, "")], Some("blue"), Excluded),
            (
                other,
                &[(role, "1"), (red, ""), (blue, "x")],
                Some("blue"),
                Admitted,
            ),
            (other, &[(role, "1"), (red, "")], None, Admitted),
            (other, &[(red, "")], Some("blue"), NotOffered),
        ] {
            let policy = Policy {
                cluster: cluster.map(str::to_owned),
                ..Policy::default()
            };
            let verdict = admission(&subnet(id, tags), &policy, &primary);
            assert_eq!(verdict, expected, "{id} {tags:?} in {cluster:?}");
        }
    }

    #[test]
    fn a_subnet_that_refuses_is_asked_for_less_until_it_is_empty() {
        let id: SubnetId = "subnet-00000001".parse().unwrap();
        let ask = |count| Ask::Addresses(AddressCount(count));
        let mut subnets = Subnets::default();
        assert!(subnets.handle_scarcity(&id, ask(5), false));
        assert_eq!(subnets.within(&id, ask(29)), ask(2));
        subnets.handle_plenty(&id, ask(2));
        assert_eq!(subnets.within(&id, ask(29)), ask(4));
        assert!(!subnets.handle_scarcity(&id, ask(1), false));
        assert!(subnets.is_empty_of(&id, BlockKind::Secondary));
        let mut seen = subnet("subnet-00000001", &[]);
        let mut left = |subnets: &mut Subnets, free, room: &[SubnetId]| {
            seen.free = AddressCount(free);
            let room = room.iter().cloned().collect();
            let left = subnets.handle_read(vec![seen.clone()], &room, Moment::default());
            left.len()
        };
        assert_eq!(left(&mut subnets, 0, &[]), 1);
        assert_eq!(left(&mut subnets, 1, &[]), 0);
        assert_eq!(subnets.empties().next(), None);
        // One address is not enough for an ENI with one, unless another has room.
        for (free, room, still) in [(1, &[][..], 1), (2, &[], 0), (1, std::slice::from_ref(&id), 0)] {
            assert!(!subnets.handle_scarcity(&id, ask(1), true));
            assert_eq!(left(&mut subnets, free, room), still, "{free} free");
        }
    }
}
