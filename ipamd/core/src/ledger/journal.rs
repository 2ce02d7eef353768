//! The ledger's saved form: a line each of checksum, length and JSON. Bytes in, bytes out; files are `ipamd`'s.
//!
//! A line is `<crc32c, 8 hex digits> <length, decimal> <JSON>\n`. Reading stops at the first line that is not whole:
//! what follows a torn write was never answered for. Unknown fields are ignored and whole lines that say something unknown
//! are passed over, so an older daemon can read what a newer one wrote.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EniRecord, Intent, Lease, Ledger};
use crate::address::{Block, PodAddresses};
use crate::checkpoint::Digest;
use crate::id::{AttachmentKey, EniId, IntentId};
use crate::moment::{Moment, Stamp};
use crate::net::EniMark;
use crate::snapshot::Node;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// The node booted with this id; what follows happened since.
    Boot {
        /// `/proc/sys/kernel/random/boot_id`.
        id: String,
    },
    /// What is known of the node.
    Node {
        /// All of it.
        node: Node,
    },
    /// An ENI as it now is.
    Eni {
        /// All of it.
        record: EniRecord,
    },
    /// An ENI is no more.
    EniGone {
        /// Which.
        id: EniId,
    },
    /// An ENI is about to be asked for.
    Intended {
        /// The number from which the client token comes.
        id: IntentId,
        /// What was asked for.
        intent: Intent,
    },
    /// An intent ended: its ENI is on record, or there is none.
    IntentEnded {
        /// Which.
        id: IntentId,
    },
    /// The highest mark given so far, so that marks are reused as late as possible.
    Mark {
        /// Which.
        last: EniMark,
    },
    /// An attachment holds an address.
    Leased {
        /// Which attachment.
        key: AttachmentKey,
        /// Which address, and how it is wired.
        lease: Lease,
    },
    /// An attachment holds nothing any more, and its addresses rest.
    Released {
        /// Which attachment.
        key: AttachmentKey,
        /// Its IPv4 address, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Ipv4Addr>,
        /// Its IPv6 address, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address6: Option<Ipv6Addr>,
        /// Since when they rest.
        at: Stamp,
    },
    /// Blocks are about to be given back; what a later entry shows of them is ours again.
    GivenBack {
        /// Which.
        blocks: BTreeSet<Block>,
    },
    /// The peer's file is about to have a content of ours, or had one that was taken over.
    Checkpoint {
        /// Which.
        digest: Digest,
    },
    /// Nobody knows what was released before: nothing is given for a while.
    LostSight {
        /// Since when.
        at: Stamp,
    },
    /// An address rests, of whomever it was.
    Resting {
        /// The address.
        address: IpAddr,
        /// Since when.
        at: Stamp,
    },
}

/// An entry that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("writing a journal entry as JSON")]
pub struct NotEncoded(#[from] serde_json::Error);

/// The bytes of one entry.
///
/// # Errors
/// Never for entries that this crate makes; JSON could refuse a map with odd keys.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, NotEncoded> {
    let json = serde_json::to_string(entry)?;
    Ok(format!("{:08x} {} {json}\n", crc32c::crc32c(json.as_bytes()), json.len()).into_bytes())
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Every whole entry from the start on, as far as it is understood.
    pub entries: Vec<Entry>,
    /// How many bytes whole lines take; what follows is torn or foreign.
    pub whole_bytes: usize,
}

/// Reads as many whole entries as there are.
#[must_use]
pub fn decode(bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded {
        entries: Vec::new(),
        whole_bytes: 0,
    };
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(json) = whole_line(line) else { break };
        decoded.entries.extend(serde_json::from_str::<Entry>(json));
        decoded.whole_bytes += line.len();
    }
    decoded
}

/// The JSON of a line that is as it was written.
fn whole_line(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (checksum, rest) = text.split_once(' ')?;
    let (length, json) = rest.split_once(' ')?;
    let whole = length.parse() == Ok(json.len())
        && u32::from_str_radix(checksum, 16) == Ok(crc32c::crc32c(json.as_bytes()));
    whole.then_some(json)
}

/// What a restore needs to know of the present.
#[derive(Clone, Debug)]
pub struct Present {
    /// The boot id of now.
    pub boot_id: String,
    /// Both clocks, now.
    pub at: Stamp,
    /// How long addresses rest.
    pub cooldown: Duration,
}

impl Ledger {
    /// The ledger that these entries add up to. After a reboot all pods are gone: their addresses rest from now on.
    #[must_use]
    pub fn restore(entries: Vec<Entry>, present: &Present) -> Self {
        let mut ledger = Self::default();
        let mut boot = None;
        for entry in entries {
            match entry {
                Entry::Boot { id } => boot = Some(id),
                entry => ledger.replay(entry, boot.as_deref() == Some(&present.boot_id), present),
            }
        }
        if boot.as_ref() != Some(&present.boot_id) {
            ledger.handle_reboot(present);
        }
        ledger
    }

    /// Everything on record, as the fewest entries that restore it.
    #[must_use]
    pub fn entries(&self, boot_id: &str, now: Moment) -> Vec<Entry> {
        let mut entries = vec![Entry::Boot {
            id: boot_id.to_owned(),
        }];
        entries.extend(self.node.clone().map(|node| Entry::Node { node }));
        entries.extend(self.enis.values().map(|record| Entry::Eni {
            record: record.clone(),
        }));
        entries.extend(self.intents.iter().map(|(id, intent)| Entry::Intended {
            id: *id,
            intent: intent.clone(),
        }));
        entries.extend(self.ended_intent());
        entries.extend(self.last_mark.map(|last| Entry::Mark { last }));
        let leases = self.leases.iter();
        entries.extend(leases.map(|(key, lease)| Entry::Leased {
            key: key.clone(),
            lease: lease.clone(),
        }));
        entries.extend(self.checkpoints.iter().map(|digest| Entry::Checkpoint {
            digest: digest.clone(),
        }));
        entries.extend(self.quiet_entry(now));
        let given_back: BTreeSet<Block> = self.given_back.keys().copied().collect();
        if !given_back.is_empty() {
            entries.push(Entry::GivenBack { blocks: given_back });
        }
        entries.extend(
            self.resting(now)
                .map(|(address, at)| Entry::Resting { address, at }),
        );
        entries
    }

    /// The last intent, where it has ended: no number serves twice, whatever the wall clock does.
    fn ended_intent(&self) -> Option<Entry> {
        let id = IntentId(self.last_intent);
        let ended = id.0 > 0 && !self.intents.contains_key(&id);
        ended.then_some(Entry::IntentEnded { id })
    }

    fn replay(&mut self, entry: Entry, same_boot: bool, present: &Present) {
        match entry {
            Entry::Boot { .. } => {}
            Entry::Node { node } => self.node = Some(node),
            Entry::Eni { record } => {
                self.note_obtained(&record.seen.blocks);
                self.enis.insert(record.seen.id.clone(), record);
            }
            // How long ago nobody knows: the call may not even have arrived.
            Entry::GivenBack { blocks } => self.note_given_back(&blocks, present.at.moment),
            Entry::EniGone { id } => drop(self.enis.remove(&id)),
            Entry::Intended { id, intent } => {
                self.last_intent = self.last_intent.max(id.0);
                self.intents.insert(id, intent);
            }
            Entry::IntentEnded { id } => {
                self.last_intent = self.last_intent.max(id.0);
                self.intents.remove(&id);
            }
            Entry::Mark { last } => self.last_mark = Some(last),
            Entry::Leased { key, lease } => self.insert_lease(key, lease),
            Entry::Released {
                key,
                address: v4,
                address6: v6,
                at,
            } => {
                if let Some(lease) = self.leases.remove(&key) {
                    self.let_go(&lease);
                }
                for address in (PodAddresses { v4, v6 }).iter() {
                    self.take_from(&key, address);
                    self.replay_rest(address, at, same_boot, present);
                }
            }
            Entry::Checkpoint { digest } => drop(self.checkpoints.insert(digest)),
            Entry::LostSight { at } if same_boot => self.replay_lost_sight(at, present),
            Entry::LostSight { .. } => {}
            Entry::Resting { address, at } => self.replay_rest(address, at, same_boot, present),
        }
    }

    /// The boot-time clock is meaningless after a reboot; the wall clock may have stepped, so it shortens a rest but
    /// never makes one longer than the cool-down.
    fn replay_rest(&mut self, address: IpAddr, at: Stamp, same_boot: bool, present: &Present) {
        if same_boot {
            self.rest(address, at, present.cooldown);
            return;
        }
        let left = present
            .cooldown
            .saturating_sub(present.at.wall.saturating_sub(at.wall));
        let at = Stamp {
            moment: present.at.moment,
            wall: at.wall,
        };
        self.rest(address, at, left);
    }

    fn resting(&self, now: Moment) -> impl Iterator<Item = (IpAddr, Stamp)> {
        let four = self.cooldown.iter(now);
        let six = self.cooldown6.iter(now);
        four.map(|(address, at)| (IpAddr::V4(address), at))
            .chain(six.map(|(address, at)| (IpAddr::V6(address), at)))
    }

    fn handle_reboot(&mut self, present: &Present) {
        for lease in std::mem::take(&mut self.leases).into_values() {
            self.let_go(&lease);
        }
        for address in std::mem::take(&mut self.holders).into_keys() {
            self.rest(address, present.at, present.cooldown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str) -> Entry {
        Entry::Boot { id: id.to_owned() }
    }

    #[test]
    fn a_torn_or_corrupt_tail_is_cut() {
        let mut bytes = encode(&boot("a")).unwrap();
        let first = bytes.len();
        bytes.extend(encode(&boot("b")).unwrap());
        for (cut, whole) in [
            (bytes.len(), bytes.len()),
            (bytes.len() - 1, first),
            (first + 3, first),
            (first - 1, 0),
        ] {
            assert_eq!(decode(&bytes[..cut]).whole_bytes, whole, "cut at {cut}");
        }
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        assert_eq!(
            decode(&bytes),
            Decoded {
                entries: vec![boot("a")],
                whole_bytes: first
            }
        );
    }

    #[test]
    fn an_entry_of_a_newer_daemon_is_passed_over_and_costs_no_other() {
        let json = r#"{"entry":"colour","of":"blue"}"#;
        let mut bytes = encode(&boot("a")).unwrap();
        bytes.extend(format!("{:08x} {} {json}\n", crc32c::crc32c(json.as_bytes()), json.len()).into_bytes());
        bytes.extend(encode(&boot("b")).unwrap());
        let decoded = decode(&bytes);
        assert_eq!(decoded.entries, [boot("a"), boot("b")]);
        assert_eq!(decoded.whole_bytes, bytes.len());
    }

    /// So that after a roll-back nothing that was released is still held.
    #[test]
    fn a_release_of_ipv4_is_written_as_ever() {
        let json = r#"{"entry":"released","key":{"container":"c1","interface":"eth0","network":"aws-cni"},"address":"10.0.1.30","at":{"moment":{"secs":1,"nanos":0},"wall":{"secs":2,"nanos":0}}}"#;
        let entry: Entry = serde_json::from_str(json).unwrap();
        assert!(matches!(
            entry,
            Entry::Released {
                address: Some(_),
                address6: None,
                ..
            }
        ));
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
    }

    #[test]
    fn a_field_of_a_newer_daemon_is_ignored() {
        let json = r#"{"entry":"boot","id":"a","colour":"blue"}"#;
        let line = format!("{:08x} {} {json}\n", crc32c::crc32c(json.as_bytes()), json.len());
        assert_eq!(decode(line.as_bytes()).entries, [boot("a")]);
    }
}
