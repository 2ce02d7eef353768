//! What an EC2 instance type can hold: ENIs per network card, addresses per ENI, branch ENIs.
//!
//! The table is data (`limits.csv`, its header names source and date; `gen/` makes it) and yields to a live EC2
//! answer where the daemon has one. Unknown is its own answer everywhere: no number is invented.

use std::collections::BTreeMap;
use std::fmt;
use std::num::ParseIntError;

use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

const TABLE: &str = include_str!("limits.csv");

/// The network limits of one EC2 instance type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// vCPUs of the type as sold, where known (`VCpuInfo.DefaultVCpus`).
    pub vcpus: Option<u32>,
    /// What the type runs on; decides whether prefixes can be delegated.
    pub hypervisor: Hypervisor,
    /// The network card that counts for pods. 0 for every type known.
    pub default_card: usize,
    /// ENIs that each network card holds, by card index.
    pub enis_per_card: Vec<u32>,
    /// IPv4 addresses that one ENI holds, its primary address included.
    pub ipv4_per_eni: u32,
    /// Whether the type can carry a trunk ENI.
    pub trunk: Trunk,
}

/// What an instance type runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hypervisor {
    /// AWS Nitro.
    Nitro,
    /// Xen, the generation before.
    Xen,
    /// No hypervisor: EC2 leaves the field out.
    BareMetal,
    /// No source says.
    Unknown,
}

/// Whether a type can carry a trunk ENI, which security groups for pods need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trunk {
    /// It can, with this many branch ENIs.
    Branches(u32),
    /// It cannot.
    Impossible,
    /// No public table has the type.
    Unknown,
}

impl Limits {
    /// ENIs on the default network card, the only one that adds pods.
    #[must_use]
    pub fn enis(&self) -> u32 {
        self.enis_per_card.get(self.default_card).copied().unwrap_or(0)
    }

    /// ENIs over all network cards.
    #[must_use]
    pub fn total_enis(&self) -> u32 {
        self.enis_per_card.iter().sum()
    }

    /// Addresses of one ENI that pods can have: all but its primary.
    #[must_use]
    pub fn pod_slots_per_eni(&self) -> u32 {
        self.ipv4_per_eni.saturating_sub(1)
    }

    /// Whether /28 prefixes can be delegated: Nitro types and bare metal (EC2 user guide, "Prefix delegation").
    #[must_use]
    pub fn prefixes(&self) -> bool {
        matches!(self.hypervisor, Hypervisor::Nitro | Hypervisor::BareMetal)
    }
}

/// The limits of every known type, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(BTreeMap<String, Limits>);

impl Table {
    /// The table that is compiled in.
    ///
    /// # Errors
    /// A row that cannot be read, which the tests rule out for the table that ships.
    pub fn builtin() -> Result<&'static Self, &'static TableError> {
        static PARSED: OnceLock<Result<Table, TableError>> = OnceLock::new();
        PARSED.get_or_init(|| Self::parse(TABLE)).as_ref()
    }

    /// Reads a table in the format of `limits.csv`.
    ///
    /// # Errors
    /// The first row that cannot be read, with its line number.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let rows = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
        rows.map(|(index, line)| {
            parse_row(line).map_err(|fault| TableError {
                line: index + 1,
                text: line.to_owned(),
                fault,
            })
        })
        .collect::<Result<_, _>>()
        .map(Self)
    }

    /// The limits of a type, if it is known.
    #[must_use]
    pub fn get(&self, instance_type: &str) -> Option<&Limits> {
        self.0.get(instance_type)
    }

    /// Every type with its limits, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Limits)> {
        self.0.iter().map(|(name, limits)| (name.as_str(), limits))
    }

    /// Where the data comes from and when it was made: the header of the table.
    #[must_use]
    pub fn source() -> String {
        let header = TABLE.lines().take_while(|line| line.starts_with("# ")).take(3);
        header
            .map(|line| line.trim_start_matches("# "))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A row of the table that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the instance table, \"{text}\"")]
pub struct TableError {
    line: usize,
    text: String,
    #[source]
    fault: RowError,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum RowError {
    #[error("has not seven columns")]
    Columns,
    #[error("has an unknown hypervisor")]
    Hypervisor,
    #[error("has a bad number in column {0}")]
    Number(Column, #[source] ParseIntError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Vcpus,
    DefaultCard,
    EnisPerCard,
    Ipv4PerEni,
    Branches,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn parse_row(line: &str) -> Result<(String, Limits), RowError> {
    let columns: Vec<&str> = line.split(',').collect();
    let [name, vcpus, hypervisor, default_card, cards, ipv4, branches] = columns[..] else {
        return Err(RowError::Columns);
    };
    let number = |column, text: &str| {
        text.parse::<u32>()
            .map_err(|fault| RowError::Number(column, fault))
    };
    let optional = |column, text: &str| (!text.is_empty()).then(|| number(column, text)).transpose();
    let limits = Limits {
        vcpus: optional(Column::Vcpus, vcpus)?,
        hypervisor: match hypervisor {
            "nitro" => Hypervisor::Nitro,
            "xen" => Hypervisor::Xen,
            "metal" => Hypervisor::BareMetal,
            "" => Hypervisor::Unknown,
            _ => return Err(RowError::Hypervisor),
        },
        default_card: number(Column::DefaultCard, default_card)? as usize,
        enis_per_card: cards
            .split('+')
            .map(|enis| number(Column::EnisPerCard, enis))
            .collect::<Result<_, _>>()?,
        ipv4_per_eni: number(Column::Ipv4PerEni, ipv4)?,
        trunk: match optional(Column::Branches, branches)? {
            Some(0) => Trunk::Impossible,
            Some(branches) => Trunk::Branches(branches),
            None => Trunk::Unknown,
        },
    };
    Ok((name.to_owned(), limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builtin() -> &'static Table {
        Table::builtin().unwrap()
    }

    #[test]
    fn the_table_that_ships_can_be_read() {
        assert!(builtin().iter().count() > 1400);
        assert!(Table::source().contains("2026-11-21"));
    }

    #[test]
    fn a_bad_row_is_named() {
        for (row, fault) in [
            ("m5.large,2,nitro,0,3,10", RowError::Columns),
            ("m5.large,2,kvm,0,3,10,9", RowError::Hypervisor),
        ] {
            let error = Table::parse(&format!("# header\n{row}\n")).unwrap_err();
            assert_eq!((error.line, error.fault), (2, fault));
        }
        let error = Table::parse("m5.large,two,nitro,0,3,10,9").unwrap_err();
        assert!(matches!(error.fault, RowError::Number(Column::Vcpus, _)));
    }

    #[test]
    fn every_type_that_can_carry_a_trunk_can_delegate_prefixes() {
        for (name, limits) in builtin().iter() {
            if let Trunk::Branches(branches) = limits.trunk {
                assert!(limits.prefixes(), "{name}");
                assert!((1..=121).contains(&branches), "{name} {branches}");
            }
            assert_eq!(limits.default_card, 0, "{name}");
            assert_eq!(limits.enis() == 1, name == "hpc6id.32xlarge", "{name}");
        }
    }

    #[test]
    fn only_the_default_card_counts() {
        let p4d = builtin().get("p4d.24xlarge").unwrap();
        assert_eq!((p4d.enis(), p4d.total_enis()), (15, 60));
    }
}
