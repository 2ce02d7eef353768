//! What each instance type allows, as `DescribeInstanceTypes` answers it: raw EC2 data, read once from
//! `data/instance_types.csv` (made by `gen/instance_types.py`, which names source and date).
//!
//! Nothing is derived here: a bare-metal type has no hypervisor in the data and has none here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

const DATA: &str = include_str!("../../data/instance_types.csv");

/// The name of an instance type that is in the table, for example `c5.large`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceType(String);

/// An instance type the table does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance type \"{0}\" is not in the table of instance types")]
pub struct UnknownInstanceType(pub String);

impl FromStr for InstanceType {
    type Err = UnknownInstanceType;

    fn from_str(text: &str) -> Result<Self, UnknownInstanceType> {
        match table() {
            Ok(table) if table.contains_key(text) => Ok(Self(text.to_owned())),
            _ => Err(UnknownInstanceType(text.to_owned())),
        }
    }
}

impl fmt::Display for InstanceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl InstanceType {
    /// What the type allows.
    pub(crate) fn info(&self) -> Option<&'static InstanceTypeInfo> {
        table().ok().and_then(|table| table.get(&self.0))
    }
}

/// One line of the table; the names are EC2's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTypeInfo {
    /// For example `c5.large`.
    pub instance_type: String,
    /// Whether AWS counts it among the current ones.
    pub current_generation: bool,
    /// `nitro` or `xen`; absent for bare metal.
    pub hypervisor: Option<String>,
    /// Whether there is no hypervisor at all.
    pub bare_metal: bool,
    /// For example `x86_64`.
    pub architectures: Vec<String>,
    /// Default vCPUs.
    pub vcpus: u32,
    /// Default cores.
    pub cores: u32,
    /// Default threads per core.
    pub threads_per_core: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// In words, for example `Up to 10 Gigabit`.
    pub network_performance: String,
    /// ENIs over all network cards.
    pub max_enis: u32,
    /// Network cards.
    pub max_cards: u32,
    /// The card of the primary ENI.
    pub default_card: u32,
    /// IPv4 address slots of each ENI, the primary address included.
    pub ipv4_per_eni: u32,
    /// IPv6 addresses of each ENI.
    pub ipv6_per_eni: u32,
    /// Whether IPv6 works at all.
    pub ipv6_supported: bool,
    /// `required`, `supported` or `unsupported`.
    pub ena_support: String,
    /// Whether the type can have EFA interfaces.
    pub efa_supported: bool,
    /// EFA interfaces, if any.
    pub max_efa_enis: Option<u32>,
    /// Whether traffic between instances is encrypted.
    pub encryption_in_transit: bool,
    /// The network cards in the order of their indexes.
    pub cards: Vec<CardInfo>,
}

/// One network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardInfo {
    /// Counted from 0.
    pub index: u32,
    /// ENIs on this card.
    pub max_enis: u32,
    /// In words.
    pub performance: String,
    /// `interface`, `efa`, `efa-only`.
    pub kinds: Vec<String>,
}

impl InstanceTypeInfo {
    /// Whether the type can hold prefixes: Nitro or bare metal (AWS documentation, "Prefix delegation").
    #[must_use]
    pub fn holds_prefixes(&self) -> bool {
        self.bare_metal || self.hypervisor.as_deref() == Some("nitro")
    }

    /// The card with this index.
    #[must_use]
    pub fn card(&self, index: u32) -> Option<&CardInfo> {
        self.cards.iter().find(|card| card.index == index)
    }
}

/// The table is broken; the text names line and field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance type table, line {line}: field {field} is missing or not readable: {text:?}")]
pub struct BadTable {
    line: usize,
    field: &'static str,
    text: String,
}

/// All types by name.
///
/// # Errors
/// When the embedded data cannot be read; a test proves that it can.
pub fn table() -> Result<&'static BTreeMap<String, InstanceTypeInfo>, BadTable> {
    static TABLE: LazyLock<Result<BTreeMap<String, InstanceTypeInfo>, BadTable>> =
        LazyLock::new(|| parse(DATA));
    TABLE.as_ref().map_err(Clone::clone)
}

fn parse(data: &str) -> Result<BTreeMap<String, InstanceTypeInfo>, BadTable> {
    data.lines()
        .enumerate()
        .filter(|(index, line)| *index > 1 && !line.is_empty())
        .map(|(index, line)| parse_line(index + 1, line).map(|info| (info.instance_type.clone(), info)))
        .collect()
}

/// The fields of one line, read in order.
struct Fields<'a> {
    line: usize,
    rest: std::str::Split<'a, char>,
}

impl<'a> Fields<'a> {
    fn text(&mut self, field: &'static str) -> Result<&'a str, BadTable> {
        let line = self.line;
        self.rest.next().ok_or_else(|| bad(line, field, ""))
    }

    fn parsed<T: FromStr>(&mut self, field: &'static str) -> Result<T, BadTable> {
        let line = self.line;
        let text = self.text(field)?;
        text.parse().map_err(|_| bad(line, field, text))
    }
}

fn bad(line: usize, field: &'static str, text: &str) -> BadTable {
    BadTable {
        line,
        field,
        text: text.to_owned(),
    }
}

fn parse_line(line: usize, text: &str) -> Result<InstanceTypeInfo, BadTable> {
    let mut fields = Fields {
        line,
        rest: text.split(','),
    };
    Ok(InstanceTypeInfo {
        instance_type: fields.text("instance_type")?.to_owned(),
        current_generation: fields.parsed("current_generation")?,
        hypervisor: some_text(fields.text("hypervisor")?),
        bare_metal: fields.parsed("bare_metal")?,
        architectures: words(fields.text("architectures")?),
        vcpus: fields.parsed("vcpus")?,
        cores: fields.parsed("cores")?,
        threads_per_core: fields.parsed("threads_per_core")?,
        memory_mib: fields.parsed("memory_mib")?,
        network_performance: fields.text("network_performance")?.to_owned(),
        max_enis: fields.parsed("max_enis")?,
        max_cards: fields.parsed("max_cards")?,
        default_card: fields.parsed("default_card")?,
        ipv4_per_eni: fields.parsed("ipv4_per_eni")?,
        ipv6_per_eni: fields.parsed("ipv6_per_eni")?,
        ipv6_supported: fields.parsed("ipv6_supported")?,
        ena_support: fields.text("ena_support")?.to_owned(),
        efa_supported: fields.parsed("efa_supported")?,
        max_efa_enis: match fields.text("max_efa_enis")? {
            "" => None,
            text => Some(text.parse().map_err(|_| bad(line, "max_efa_enis", text))?),
        },
        encryption_in_transit: fields.parsed("encryption_in_transit")?,
        cards: fields
            .text("cards")?
            .split('|')
            .map(|card| parse_card(line, card))
            .collect::<Result<_, _>>()?,
    })
}

fn some_text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn words(text: &str) -> Vec<String> {
    text.split('+').map(str::to_owned).collect()
}

fn parse_card(line: usize, text: &str) -> Result<CardInfo, BadTable> {
    let mut fields = Fields {
        line,
        rest: text.split(':'),
    };
    Ok(CardInfo {
        index: fields.parsed("card index")?,
        max_enis: fields.parsed("card ENIs")?,
        performance: fields.text("card performance")?.to_owned(),
        kinds: words(fields.text("card kinds")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a9_limits_come_from_describe_instance_types() {
        let table = table().expect("the embedded table reads");
        assert!(table.len() > 1300, "{} types", table.len());
        // (type, ENIs, cards, IPv4 per ENI, holds prefixes)
        let rows = [
            ("c5.large", 3, 1, 10, true),
            ("t2.medium", 3, 1, 6, false),
            ("m5.large", 3, 1, 10, true),
            ("p5.48xlarge", 64, 32, 50, true),
            ("c7g.metal", 15, 1, 50, true),
            ("m4.large", 2, 1, 10, false),
        ];
        for (name, enis, cards, ipv4, prefixes) in rows {
            let info = &table[name];
            assert_eq!(
                (info.max_enis, info.max_cards, info.ipv4_per_eni),
                (enis, cards, ipv4),
                "{name}"
            );
            assert_eq!(info.holds_prefixes(), prefixes, "{name}");
        }
    }

    #[test]
    fn a9_the_cards_add_up_to_the_type_and_the_default_card_is_0() {
        for (name, info) in table().expect("the embedded table reads") {
            assert_eq!(
                info.cards.iter().map(|card| card.max_enis).sum::<u32>(),
                info.max_enis,
                "{name}"
            );
            assert_eq!(info.cards.len(), info.max_cards as usize, "{name}");
            assert_eq!(info.default_card, 0, "{name}");
            assert!(info.card(0).is_some(), "{name}");
            assert_eq!(info.bare_metal, info.hypervisor.is_none(), "{name}");
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = parse("#\nheader\na1.large,true,nitro,perhaps").expect_err("not a flag");
        assert_eq!(error, bad(3, "bare_metal", "perhaps"));
    }
}
