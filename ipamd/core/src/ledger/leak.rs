//! ENIs that some other node left behind: made for pods, attached nowhere, and owned by nobody who would notice.
//!
//! Nobody can tell from one look whether a node is about to attach an ENI. So a leak is what two sightings, far apart on
//! this daemon's own clock, both showed unattached, and what one more look right before its deletion still shows so. The
//! tag with the time of creation is not needed for that, and a wrong one does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ledger;
use crate::action::{Action, Fault};
use crate::id::{EniId, InstanceId};
use crate::moment::Moment;
use crate::snapshot::Unattached;
use crate::tag;

/// How far apart two sightings must be. Attaching takes seconds; the peer's sweep waits for five minutes after creation.
const APART: Duration = Duration::from_secs(600);

/// How long the last look before a deletion holds.
const LOOK_GOOD_FOR: Duration = Duration::from_secs(30);

/// How the description of an ENI begins that a CNI of this kind made (the peer's, and ours).
const DESCRIPTION: &str = "aws-K8S-";

/// ENIs that may be leaks, since when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaks {
    suspects: BTreeMap<EniId, Suspect>,
    swept_at: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Suspect {
    first: Moment,
    last: Moment,
    /// When it was looked at once more, for its deletion.
    looked_at: Option<Moment>,
}

/// What is to be done about a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look at it once more.
    Look,
    /// Delete it.
    Delete,
}

impl Leaks {
    /// When the last sweep began.
    #[must_use]
    pub fn swept_at(&self) -> Option<Moment> {
        self.swept_at
    }

    /// Every leak, with its next step.
    pub fn steps(&self, now: Moment) -> impl Iterator<Item = (&EniId, Step)> {
        let leaks = self.suspects.iter();
        leaks
            .filter(|(_, suspect)| suspect.last.since(suspect.first) >= APART)
            .map(move |(id, suspect)| {
                let looked = suspect.looked_at;
                let holds = looked.is_some_and(|at| now.since(at) < LOOK_GOOD_FOR);
                (id, if holds { Step::Delete } else { Step::Look })
            })
    }

    fn handle_swept(&mut self, seen: impl Iterator<Item = EniId>, at: Moment) {
        let suspects = seen.map(|id| {
            let known = self.suspects.get(&id);
            let first = known.map_or(at, |known| known.first);
            let suspect = Suspect {
                first,
                last: at,
                looked_at: None,
            };
            (id, suspect)
        });
        self.suspects = suspects.collect();
        self.swept_at = Some(at);
    }
}

impl Ledger {
    /// What other nodes may have left behind.
    #[must_use]
    pub fn leaks(&self) -> &Leaks {
        &self.leaks
    }

    /// Notes which unattached ENIs a look showed that began at `at`: at all of them, or at one.
    pub(super) fn handle_unattached(&mut self, action: &Action, seen: Vec<Unattached>, at: Moment) {
        let Action::ReadUnattached { cluster, only, .. } = action else {
            return;
        };
        let Some(own) = self.node.as_ref().map(|node| node.instance.clone()) else {
            return;
        };
        let mut leaks = seen
            .into_iter()
            .filter(|eni| may_be_leaked(eni, &own, cluster.as_deref()))
            .map(|eni| eni.id);
        match only {
            None => self.leaks.handle_swept(leaks, at),
            Some(id) if leaks.any(|leak| leak == *id) => {
                if let Some(suspect) = self.leaks.suspects.get_mut(id) {
                    suspect.looked_at = Some(at);
                }
            }
            Some(id) => drop(self.leaks.suspects.remove(id)),
        }
    }

    /// Notes that a leak was deleted, or that it could not be: then it must be sighted twice again, unless EC2 only asked
    /// to wait.
    pub(super) fn handle_leak(&mut self, eni: &EniId, fault: Option<&Fault>) {
        if !matches!(fault, Some(Fault::Throttled { .. } | Fault::Wait { .. })) {
            self.leaks.suspects.remove(eni);
        }
    }
}

/// Whether an unattached ENI was made for the pods of another node of this cluster; without a cluster's name, of none.
fn may_be_leaked(eni: &Unattached, own: &InstanceId, cluster: Option<&str>) -> bool {
    let value = |key: &str| eni.tags.get(key).map(String::as_str);
    let others = value(tag::INSTANCE).is_some_and(|instance| instance != own.as_str());
    let managed = value(tag::NO_MANAGE) != Some("true");
    others && managed && value(tag::CLUSTER) == cluster && eni.description.starts_with(DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unattached(tags: &[(&str, &str)], description: &str) -> Unattached {
        let tags = tags.iter();
        Unattached {
            id: "eni-00000009".parse().unwrap(),
            description: description.to_owned(),
            tags: tags
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn only_what_another_node_of_the_cluster_made_for_pods_may_be_leaked() {
        let own: InstanceId = "i-00000001".parse().unwrap();
        let other = (tag::INSTANCE, "i-00000002");
        let red = (tag::CLUSTER, "red");
        let ours = "aws-K8S-i-00000002";
        for (name, tags, description, cluster, leaked) in [
            ("no cluster", &[other][..], ours, None, true),
            ("our cluster", &[other, red], ours, Some("red"), true),
            ("another cluster", &[other, red], ours, Some("blue"), false),
            ("a cluster, and we know of none", &[other, red], ours, None, false),
            (
                "no cluster, and we are in one",
                &[other],
                ours,
                Some("red"),
                false,
            ),
            ("our own", &[(tag::INSTANCE, "i-00000001")], ours, None, false),
            ("no instance", &[], ours, None, false),
            (
                "to be left alone",
                &[other, (tag::NO_MANAGE, "true")],
                ours,
                None,
                false,
            ),
            ("something else", &[other], "a load balancer", None, false),
        ] {
            assert_eq!(
                may_be_leaked(&unattached(tags, description), &own, cluster),
                leaked,
                "{name}"
            );
        }
    }

    #[test]
    fn a_leak_is_sighted_twice_and_looked_at_once_more() {
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let id: EniId = "eni-00000009".parse().unwrap();
        let mut leaks = Leaks::default();
        let step = |leaks: &Leaks, now| leaks.steps(now).map(|(_, step)| step).next();
        leaks.handle_swept([id.clone()].into_iter(), at(0));
        assert_eq!(step(&leaks, at(10_000)), None, "once");
        leaks.handle_swept([id.clone()].into_iter(), at(599));
        assert_eq!(step(&leaks, at(10_000)), None, "too soon");
        leaks.handle_swept([id.clone()].into_iter(), at(600));
        assert_eq!(step(&leaks, at(601)), Some(Step::Look));
        leaks.suspects.get_mut(&id).unwrap().looked_at = Some(at(601));
        assert_eq!(step(&leaks, at(602)), Some(Step::Delete));
        assert_eq!(step(&leaks, at(631)), Some(Step::Look), "a look gets old");
        leaks.handle_swept([].into_iter(), at(700));
        leaks.handle_swept([id].into_iter(), at(1400));
        assert_eq!(step(&leaks, at(1400)), None, "it was gone in between");
    }
}
