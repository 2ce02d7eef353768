//! Reading back what the kernel holds: enough to compare and to count.

use super::encode::attributes;
use super::error::Error;
use super::expression::Verdict;
use super::set::{INTERVAL_END, Value};
use super::socket::{Nftables, Request};
use super::table::{Family, TableFlags};

/// Packets and bytes counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the network header on.
    pub bytes: u64,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its flags.
    pub flags: TableFlags,
    /// The netlink port of the socket that owns it.
    pub owner: Option<u32>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// Its name.
    pub name: String,
    /// Of a base chain: filter, nat or route.
    pub kind: Option<String>,
    /// Of a base chain: the hook's number.
    pub hook: Option<u32>,
    /// Of a base chain: its place among others.
    pub priority: Option<i32>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its chain.
    pub chain: String,
    /// Its number in the table.
    pub handle: u64,
    /// The names of its expressions, in order.
    pub expressions: Vec<String>,
    /// What its own counter counted, where it has one.
    pub counter: Option<Count>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetInfo {
    /// Its name.
    pub name: String,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Its flags, `NFT_SET_*`: 4 ranges, 8 map, 0x40 counters.
    pub flags: u32,
}

/// An element. A range is two: its start, and its end that is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementInfo {
    /// The key.
    pub key: Vec<u8>,
    /// Whether it is the end of a range.
    pub range_end: bool,
    /// What it maps to.
    pub value: Value,
}

/// A named counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterInfo {
    /// Its name.
    pub name: String,
    /// What it counted.
    pub count: Count,
}

/// `NFT_MSG_GET*`.
mod message {
    pub(super) const TABLES: u16 = 1;
    pub(super) const CHAINS: u16 = 4;
    pub(super) const RULES: u16 = 7;
    pub(super) const SETS: u16 = 10;
    pub(super) const ELEMENTS: u16 = 13;
    pub(super) const OBJECTS: u16 = 19;
}

impl Nftables {
    /// Every table of every family.
    ///
    /// # Errors
    /// When the kernel refuses, or the list changed under every attempt. (So for all lists.)
    pub fn tables(&mut self) -> Result<Vec<TableInfo>, Error> {
        let request = Request {
            attempt: "list nftables tables",
            kind: message::TABLES,
            family: None,
            names: &[],
        };
        self.list(&request, |family, body| Some(table(family, body)))
    }

    /// The chains of a table.
    ///
    /// # Errors
    /// As [`Nftables::tables`].
    pub fn chains(&mut self, family: Family, table: &str) -> Result<Vec<ChainInfo>, Error> {
        let request = Request {
            attempt: "list nftables chains",
            kind: message::CHAINS,
            family: Some(family),
            names: &[],
        };
        self.list(&request, |_, body| chain(body, table))
    }

    /// The rules of a table, in order within each chain.
    ///
    /// # Errors
    /// As [`Nftables::tables`].
    pub fn rules(&mut self, family: Family, table: &str) -> Result<Vec<RuleInfo>, Error> {
        let request = Request {
            attempt: "list nftables rules",
            kind: message::RULES,
            family: Some(family),
            names: &[(1, table)],
        };
        self.list(&request, |_, body| Some(rule(body)))
    }

    /// The sets and maps of a table.
    ///
    /// # Errors
    /// As [`Nftables::tables`]; [`Error::is_gone`] when there is no such table.
    pub fn sets(&mut self, family: Family, table: &str) -> Result<Vec<SetInfo>, Error> {
        let request = Request {
            attempt: "list nftables sets",
            kind: message::SETS,
            family: Some(family),
            names: &[(1, table)],
        };
        self.list(&request, |_, body| Some(set(body)))
    }

    /// The elements of a set or map.
    ///
    /// # Errors
    /// As [`Nftables::tables`]; [`Error::is_gone`] when there is no such set.
    pub fn elements(&mut self, family: Family, table: &str, set: &str) -> Result<Vec<ElementInfo>, Error> {
        let request = Request {
            attempt: "list nftables elements",
            kind: message::ELEMENTS,
            family: Some(family),
            names: &[(1, table), (2, set)],
        };
        let lists = self.list(&request, |_, body| Some(elements(body)))?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// The named counters of a table.
    ///
    /// # Errors
    /// As [`Nftables::tables`].
    pub fn counters(&mut self, family: Family, table: &str) -> Result<Vec<CounterInfo>, Error> {
        let request = Request {
            attempt: "list nftables counters",
            kind: message::OBJECTS,
            family: Some(family),
            names: &[(1, table)],
        };
        self.list(&request, |_, body| counter(body))
    }
}

fn table(family: Family, body: &[u8]) -> TableInfo {
    let mut table = TableInfo {
        family,
        name: String::new(),
        flags: TableFlags::NONE,
        owner: None,
    };
    for (kind, value) in attributes(body) {
        match kind {
            1 => table.name = text(value).to_owned(),
            2 => table.flags = TableFlags(number(value)),
            7 => table.owner = Some(number(value)),
            _ => {}
        }
    }
    table
}

fn chain(body: &[u8], table: &str) -> Option<ChainInfo> {
    let mut chain = ChainInfo {
        name: String::new(),
        kind: None,
        hook: None,
        priority: None,
    };
    for (kind, value) in attributes(body) {
        match kind {
            1 if text(value) != table => return None,
            3 => chain.name = text(value).to_owned(),
            4 => {
                for (kind, value) in attributes(value) {
                    match kind {
                        1 => chain.hook = Some(number(value)),
                        2 => chain.priority = Some(number(value).cast_signed()),
                        _ => {}
                    }
                }
            }
            7 => chain.kind = Some(text(value).to_owned()),
            _ => {}
        }
    }
    Some(chain)
}

fn rule(body: &[u8]) -> RuleInfo {
    let mut rule = RuleInfo::default();
    for (kind, value) in attributes(body) {
        match kind {
            2 => rule.chain = text(value).to_owned(),
            3 => rule.handle = long(value),
            4 => {
                for (_, expression) in attributes(value) {
                    read_expression(&mut rule, expression);
                }
            }
            7 => rule.comment = comment(value),
            _ => {}
        }
    }
    rule
}

fn read_expression(rule: &mut RuleInfo, expression: &[u8]) {
    let mut name = "";
    for (kind, value) in attributes(expression) {
        match kind {
            1 => name = text(value),
            2 if name == "counter" => rule.counter = Some(count(value)),
            _ => {}
        }
    }
    rule.expressions.push(name.to_owned());
}

/// A comment as nft keeps it: type 0, length, text with its zero byte.
fn comment(data: &[u8]) -> Option<String> {
    match data {
        [0, length, rest @ ..] => rest.get(..usize::from(*length)).map(|it| text(it).to_owned()),
        _ => None,
    }
}

fn set(body: &[u8]) -> SetInfo {
    let mut set = SetInfo {
        name: String::new(),
        key_bytes: 0,
        flags: 0,
    };
    for (kind, value) in attributes(body) {
        match kind {
            2 => set.name = text(value).to_owned(),
            3 => set.flags = number(value),
            5 => set.key_bytes = number(value),
            _ => {}
        }
    }
    set
}

fn elements(body: &[u8]) -> Vec<ElementInfo> {
    attributes(body)
        .filter(|(kind, _)| *kind == 3)
        .flat_map(|(_, list)| attributes(list).map(|(_, one)| element(one)))
        .collect()
}

fn element(body: &[u8]) -> ElementInfo {
    let mut element = ElementInfo {
        key: Vec::new(),
        range_end: false,
        value: Value::Nothing,
    };
    for (kind, value) in attributes(body) {
        match kind {
            1 => element.key = data(value).to_vec(),
            2 => element.value = element_value(value),
            3 => element.range_end = number(value) & INTERVAL_END != 0,
            9 => element.value = Value::Counter(text(value).to_owned()),
            _ => {}
        }
    }
    element
}

fn element_value(body: &[u8]) -> Value {
    attributes(body)
        .find_map(|(kind, value)| match kind {
            1 => Some(Value::Data(value.to_vec())),
            2 => verdict(value).map(Value::Verdict),
            _ => None,
        })
        .unwrap_or(Value::Nothing)
}

fn verdict(body: &[u8]) -> Option<Verdict> {
    let chain = attributes(body)
        .find(|(kind, _)| *kind == 2)
        .map_or_else(String::new, |(_, name)| text(name).to_owned());
    let (_, code) = attributes(body).find(|(kind, _)| *kind == 1)?;
    match number(code).cast_signed() {
        0 => Some(Verdict::Drop),
        1 => Some(Verdict::Accept),
        -3 => Some(Verdict::Jump(chain)),
        -4 => Some(Verdict::Goto(chain)),
        -5 => Some(Verdict::Return),
        _ => None,
    }
}

fn counter(body: &[u8]) -> Option<CounterInfo> {
    let (mut name, mut kind_of_object, mut counted) = ("", 0, Count::default());
    for (kind, value) in attributes(body) {
        match kind {
            2 => name = text(value),
            3 => kind_of_object = number(value),
            4 => counted = count(value),
            _ => {}
        }
    }
    (kind_of_object == super::batch::COUNTER_OBJECT).then(|| CounterInfo {
        name: name.to_owned(),
        count: counted,
    })
}

fn count(body: &[u8]) -> Count {
    let mut count = Count::default();
    for (kind, value) in attributes(body) {
        match kind {
            1 => count.bytes = long(value),
            2 => count.packets = long(value),
            _ => {}
        }
    }
    count
}

/// The value inside a data nest.
fn data(body: &[u8]) -> &[u8] {
    attributes(body)
        .find(|(kind, _)| *kind == 1)
        .map_or(&[], |(_, value)| value)
}

/// A string up to its zero byte; empty when it is not UTF-8.
pub(super) fn text(value: &[u8]) -> &str {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    value
        .get(..end)
        .and_then(|text| std::str::from_utf8(text).ok())
        .unwrap_or_default()
}

fn number(value: &[u8]) -> u32 {
    value.try_into().map_or(0, u32::from_be_bytes)
}

fn long(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_be_bytes)
}
