//! What instance metadata says of the node's ENIs: a hint that EC2 is asked about, once, and never more than that.
//!
//! Metadata costs no EC2 call, so it is looked at every minute and tells of what others did long before the hourly read.
//! But it lags, and has listed what was gone for hours: so nothing is believed, nothing is dropped and nothing is given
//! because of it, and one and the same odd listing makes us ask only once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{EniRecord, Ledger};
use crate::address::{Block, Mac};
use crate::id::EniId;
use crate::moment::Moment;

/// What metadata listed in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Secondary addresses and prefixes of each ENI, by its MAC. One that could not be read whole is left out of both.
    pub enis: BTreeMap<Mac, BTreeSet<Block>>,
    /// ENIs that were listed and could not be read whole.
    pub unread: BTreeSet<Mac>,
}

/// Listings that EC2 has been asked about already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked(BTreeMap<Mac, Option<BTreeSet<Block>>>);

impl Ledger {
    /// Notes what metadata listed in a look that began at `at`.
    pub fn handle_hint(&mut self, hint: &Hint, at: Moment) {
        if self.read_all_at.is_none() {
            return;
        }
        let known: BTreeMap<Mac, &EniRecord> = self
            .enis
            .values()
            .filter(|record| record.seen.attachment.is_some() && !record.removing)
            .map(|record| (record.seen.mac, record))
            .collect();
        let (mut odd, mut fine, mut strangers) = (Vec::new(), Vec::new(), false);
        let all: BTreeSet<Mac> = known.keys().chain(hint.enis.keys()).copied().collect();
        for mac in all.difference(&hint.unread) {
            let listed = hint.enis.get(mac);
            let record = known.get(mac);
            let settled = record.is_none_or(|record| !self.knows_better(&record.seen.id, at));
            let believed = record.map(|record| &record.seen.blocks - &record.lost);
            let agrees = believed.as_ref() == listed;
            if agrees {
                self.asked.0.remove(mac);
                fine.extend(record.map(|record| record.seen.id.clone()));
            } else if settled && self.asked.0.insert(*mac, listed.cloned()) != Some(listed.cloned()) {
                strangers |= record.is_none();
                odd.extend(record.map(|record| record.seen.id.clone()));
            }
        }
        self.asked.0.retain(|mac, _| all.contains(mac));
        self.read_all_wanted |= strangers;
        self.doubted.retain(|id| !fine.contains(id));
        self.doubted.extend(odd);
    }

    /// ENIs that are to be read because of metadata, once a read can tell more than what a call has just done.
    pub fn doubted(&self, now: Moment) -> impl Iterator<Item = &EniId> {
        self.doubted.iter().filter(move |id| !self.knows_better(id, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::action::{Action, Effect};
    use crate::ledger::outcome::Happening;
    use crate::snapshot::{Owner, Scope, SeenAttachment, SeenEni, Snapshot};

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn block(last: u8) -> Block {
        Block::Secondary([10, 0, 0, last].into())
    }

    fn hint(blocks: &[u8]) -> Hint {
        Hint {
            enis: [(MAC, blocks.iter().map(|last| block(*last)).collect())].into(),
            unread: BTreeSet::new(),
        }
    }

    fn hear(ledger: &mut Ledger, action: &Action, effect: Effect, now: Moment) {
        let at = Happening { now, seed: 1 };
        ledger.handle_begin(action);
        ledger.handle_outcome(action, Ok(effect), at);
    }

    fn eni() -> SeenEni {
        SeenEni {
            id: "eni-00000001".parse().unwrap(),
            mac: MAC,
            subnet: "subnet-00000001".parse().unwrap(),
            primary_ip: [10, 0, 0, 4].into(),
            blocks: [block(5), block(6)].into(),
            prefixes6: [].into(),
            attachment: Some(SeenAttachment {
                id: "eni-attach-00000001".parse().unwrap(),
                instance: "i-00000001".parse().unwrap(),
                device_index: 0,
                network_card: 0,
                delete_on_termination: true,
                detaching: false,
            }),
            owner: Owner::Primary,
        }
    }

    #[test]
    fn an_odd_listing_makes_us_ask_once_and_changes_nothing() {
        let moment = |seconds| Moment(Duration::from_secs(seconds));
        let mut ledger = Ledger::default();
        ledger.handle_hint(&hint(&[5]), moment(1));
        let read_all = Action::ReadAll {
            instance: "i-00000001".parse().unwrap(),
            scope: Scope::Everything,
        };
        let snapshot = Snapshot {
            at: moment(1),
            scope: Scope::Everything,
            enis: [(eni().id, eni())].into(),
        };
        hear(&mut ledger, &read_all, Effect::ReadAll(snapshot), moment(1));
        let uncertain = |ledger: &Ledger| ledger.doubted.contains(&eni().id);
        ledger.handle_hint(&hint(&[5, 6]), moment(100));
        assert!(!uncertain(&ledger), "it agrees");
        ledger.handle_hint(&hint(&[5]), moment(160));
        assert!(uncertain(&ledger));
        assert_eq!(ledger.enis()[&eni().id].seen.blocks, eni().blocks);
        let read = Action::ReadEni { eni: eni().id };
        hear(&mut ledger, &read, Effect::Read(Some(eni())), moment(161));
        for minute in 3..60 {
            ledger.handle_hint(&hint(&[5]), moment(minute * 60));
            assert!(!uncertain(&ledger), "asked once");
        }
        let unread = Hint {
            enis: BTreeMap::new(),
            unread: [MAC].into(),
        };
        ledger.handle_hint(&unread, moment(4000));
        assert!(!uncertain(&ledger), "what could not be read says nothing");
        ledger.handle_hint(&Hint::default(), moment(4060));
        assert!(uncertain(&ledger), "an ENI that is listed no more is looked up");
        let mut stranger = hint(&[5, 6]);
        stranger.enis.insert(Mac([2, 0, 0, 0, 0, 9]), BTreeSet::new());
        ledger.handle_hint(&stranger, moment(4120));
        assert!(ledger.read_all_wanted(), "an ENI that nobody knows is looked for");
    }
}
