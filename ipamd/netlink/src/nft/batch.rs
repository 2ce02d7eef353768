//! A transaction in the making: messages in the order the kernel shall obey them, all of them or none.

use super::encode::{Encoder, Header, attributes};
use super::error::Error;
use super::expression::Verdict;
use super::set::{Element, Set};
use super::table::{Chain, Family, Rule, TableFlags};

/// `NFT_OBJECT_COUNTER`.
pub(super) const COUNTER_OBJECT: u32 = 1;

/// nf_tables among the netfilter subsystems (kernel, include/uapi/linux/netfilter/nfnetlink.h).
pub(super) const SUBSYSTEM: u16 = 10;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// Elements per message: far below the 64 KiB that an attribute can be, whatever their key and value.
const ELEMENTS_PER_MESSAGE: usize = 256;

/// Message types (`NFT_MSG_*`).
mod message {
    pub(super) const NEW_TABLE: u16 = 0;
    pub(super) const DELETE_TABLE: u16 = 2;
    pub(super) const NEW_CHAIN: u16 = 3;
    pub(super) const DELETE_CHAIN: u16 = 5;
    pub(super) const NEW_RULE: u16 = 6;
    pub(super) const DELETE_RULE: u16 = 8;
    pub(super) const NEW_SET: u16 = 9;
    pub(super) const DELETE_SET: u16 = 11;
    pub(super) const NEW_ELEMENT: u16 = 12;
    pub(super) const DELETE_ELEMENT: u16 = 14;
    pub(super) const NEW_OBJECT: u16 = 18;
    pub(super) const DELETE_OBJECT: u16 = 20;
}

/// A transaction on one table.
#[derive(Clone, Debug)]
pub struct Batch {
    family: Family,
    table: String,
    pub(super) encoder: Encoder,
    pub(super) messages: u32,
    last: usize,
    sets: u32,
}

impl Batch {
    /// An empty transaction on the table of this family and name.
    #[must_use]
    pub fn new(family: Family, table: &str) -> Self {
        Self {
            family,
            table: table.to_owned(),
            encoder: Encoder::default(),
            messages: 0,
            last: 0,
            sets: 0,
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Creates the table, or adopts it: the same flags on an owned table without an owner make this socket its owner.
    pub fn add_table(&mut self, flags: TableFlags) -> &mut Self {
        self.push(message::NEW_TABLE, NLM_F_CREATE, |table, out| {
            out.text(1, table);
            out.number(2, flags.0);
        })
    }

    /// Deletes the table with all that is in it.
    pub fn delete_table(&mut self) -> &mut Self {
        self.push(message::DELETE_TABLE, 0, |table, out| out.text(1, table))
    }

    /// Empties every chain of the table; chains, sets and maps stay, and so do their elements.
    pub fn flush_table(&mut self) -> &mut Self {
        self.push(message::DELETE_RULE, 0, |table, out| out.text(1, table))
    }

    /// Creates a chain unless it is there.
    pub fn add_chain(&mut self, chain: &Chain<'_>) -> &mut Self {
        let family = self.family;
        self.push(message::NEW_CHAIN, NLM_F_CREATE, |table, out| {
            chain.encode(family, table, out);
        })
    }

    /// Empties a chain.
    pub fn flush_chain(&mut self, chain: &str) -> &mut Self {
        self.push(message::DELETE_RULE, 0, |table, out| {
            out.text(1, table);
            out.text(2, chain);
        })
    }

    /// Deletes an empty chain that nobody jumps to.
    pub fn delete_chain(&mut self, chain: &str) -> &mut Self {
        self.push(message::DELETE_CHAIN, 0, |table, out| {
            out.text(1, table);
            out.text(3, chain);
        })
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.push(message::NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, |table, out| {
            rule.encode(table, chain, out);
        })
    }

    /// Puts a rule in front of a chain.
    pub fn insert_rule(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.push(message::NEW_RULE, NLM_F_CREATE, |table, out| {
            rule.encode(table, chain, out);
        })
    }

    /// Deletes the rule of a chain with this handle.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) -> &mut Self {
        self.push(message::DELETE_RULE, 0, |table, out| {
            out.text(1, table);
            out.text(2, chain);
            out.put(3, &handle.to_be_bytes());
        })
    }

    /// Creates a set or map unless it is there.
    pub fn add_set(&mut self, set: &Set<'_>) -> &mut Self {
        self.sets += 1;
        let id = self.sets;
        self.push(message::NEW_SET, NLM_F_CREATE, |table, out| {
            set.encode(table, id, out)
        })
    }

    /// Empties a set or map.
    pub fn flush_set(&mut self, set: &str) -> &mut Self {
        self.push(message::DELETE_ELEMENT, 0, |table, out| {
            out.text(1, table);
            out.text(2, set);
        })
    }

    /// Deletes a set or map that no rule reads.
    pub fn delete_set(&mut self, set: &str) -> &mut Self {
        self.push(message::DELETE_SET, 0, |table, out| {
            out.text(1, table);
            out.text(2, set);
        })
    }

    /// Adds elements; those that are there with the same value stay.
    pub fn add_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(message::NEW_ELEMENT, NLM_F_CREATE, set, elements)
    }

    /// Adds elements, all of which must be new.
    pub fn create_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(message::NEW_ELEMENT, NLM_F_CREATE | NLM_F_EXCL, set, elements)
    }

    /// Deletes elements, all of which must be there.
    pub fn delete_elements(&mut self, set: &str, elements: &[Element]) -> &mut Self {
        self.elements(message::DELETE_ELEMENT, 0, set, elements)
    }

    /// Creates a named counter unless it is there.
    pub fn add_counter(&mut self, name: &str) -> &mut Self {
        self.push(message::NEW_OBJECT, NLM_F_CREATE, |table, out| {
            out.text(1, table);
            out.text(2, name);
            out.number(3, COUNTER_OBJECT);
            out.nest(4, |_| {});
        })
    }

    /// Deletes a named counter that no rule and no map names.
    pub fn delete_counter(&mut self, name: &str) -> &mut Self {
        self.push(message::DELETE_OBJECT, 0, |table, out| {
            out.text(1, table);
            out.text(2, name);
            out.number(3, COUNTER_OBJECT);
        })
    }

    /// Appends a rule that does nothing but obey a verdict.
    pub fn add_verdict(&mut self, chain: &str, verdict: Verdict) -> &mut Self {
        self.add_rule(chain, &Rule::new(vec![super::Expression::Verdict(verdict)]))
    }

    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element]) -> &mut Self {
        for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.push(kind, flags, |table, out| {
                out.text(1, table);
                out.text(2, set);
                out.nest(3, |list| {
                    for element in some {
                        element.encode(list);
                    }
                });
            });
        }
        self
    }

    fn push(&mut self, kind: u16, flags: u16, body: impl FnOnce(&str, &mut Encoder)) -> &mut Self {
        self.messages += 1;
        self.last = self.encoder.bytes.len();
        let header = Header {
            message_type: SUBSYSTEM << 8 | kind,
            flags: NLM_F_REQUEST | flags,
            sequence: self.messages,
            family: self.family as u8,
            resource: 0,
        };
        let table = &self.table;
        self.encoder.message(header, |out| body(table, out));
        self
    }

    /// The datagram: begin, all messages (the last asks for an acknowledgement), end. The begin has sequence 0 and
    /// the messages count from 1.
    pub(super) fn datagram(&self) -> Result<Vec<u8>, Error> {
        if self.encoder.too_long {
            return Err(Error::TooLong {
                what: format!("a transaction on table {} {}", self.family, self.table),
            });
        }
        let mut out = Encoder {
            bytes: Vec::with_capacity(self.encoder.bytes.len() + 40),
            too_long: false,
        };
        out.message(frame(BATCH_BEGIN, 0), |_| {});
        let flags = out.bytes.len() + self.last + 6;
        out.bytes.extend(&self.encoder.bytes);
        if let Some([low, high]) = out.bytes.get_mut(flags..flags + 2) {
            [*low, *high] = (u16::from_ne_bytes([*low, *high]) | NLM_F_ACK).to_ne_bytes();
        }
        out.message(frame(BATCH_END, self.messages + 1), |_| {});
        Ok(out.bytes)
    }

    /// The message with this sequence number, in words.
    pub(super) fn describe(&self, sequence: u32) -> String {
        let message =
            super::encode::messages(&self.encoder.bytes).find(|message| message.sequence == sequence);
        let what = message.map_or_else(
            || "commit a transaction".to_owned(),
            |message| {
                let kind = message.message_type & 0xff;
                let name = attributes(message.body.get(4..).unwrap_or_default())
                    .find(|(attribute, _)| *attribute == name_attribute(kind))
                    .map_or("", |(_, name)| super::decode::text(name));
                format!("{} {name}", verb(kind))
            },
        );
        format!(
            "{} on table {} {} (message {sequence} of {})",
            what.trim_end(),
            self.family,
            self.table,
            self.messages
        )
    }
}

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

fn frame(message_type: u16, sequence: u32) -> Header {
    Header {
        message_type,
        flags: NLM_F_REQUEST,
        sequence,
        family: 0,
        resource: SUBSYSTEM,
    }
}

fn verb(kind: u16) -> &'static str {
    match kind {
        message::NEW_TABLE => "create",
        message::DELETE_TABLE => "delete",
        message::NEW_CHAIN => "add chain",
        message::DELETE_CHAIN => "delete chain",
        message::NEW_RULE => "add a rule to chain",
        message::DELETE_RULE => "flush or delete rules of chain",
        message::NEW_SET => "add set",
        message::DELETE_SET => "delete set",
        message::NEW_ELEMENT => "add elements to set",
        message::DELETE_ELEMENT => "flush or delete elements of set",
        message::NEW_OBJECT => "add counter",
        message::DELETE_OBJECT => "delete counter",
        _ => "change something",
    }
}

/// Which attribute names the thing: the table's own messages have no other name, a chain's is its third.
fn name_attribute(kind: u16) -> u16 {
    match kind {
        message::NEW_TABLE | message::DELETE_TABLE => 0,
        message::NEW_CHAIN | message::DELETE_CHAIN => 3,
        _ => 2,
    }
}
