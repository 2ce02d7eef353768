//! The figures as JSON, as a table and as a picture, with the machine that they belong to.

mod machine;
mod picture;

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::row::Row;
use machine::Machine;

/// Everything of one run.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    /// Whether this was only a check that the bench works: then the figures mean nothing.
    quick: bool,
    rows: Vec<Row>,
    /// What could not be measured here, and why.
    skipped: Vec<String>,
}

impl Report {
    pub(crate) fn new(quick: bool, rows: Vec<Row>, skipped: Vec<String>) -> Self {
        Self {
            machine: Machine::look(),
            quick,
            rows,
            skipped,
        }
    }

    /// Writes `bench.json`, `bench.md` and `bench.svg` into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        write("bench.json", serde_json::to_string_pretty(self)? + "\n")?;
        self.write_words(folder)
    }

    /// Only the table and the picture, for readers.
    pub(crate) fn write_words(&self, folder: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        write("bench.md", self.page())?;
        write("bench.svg", picture::draw(&self.rows))
    }

    fn page(&self) -> String {
        let mut page = String::from(
            "# Bench\n\nWritten by `cargo bench-all --keep`; do not edit. Ratios of one run can be trusted; absolute figures \
             belong to the machine.\n\n",
        );
        if self.quick {
            page.push_str(
                "**A quick run, which only shows that the bench works: its figures mean nothing.**\n\n",
            );
        }
        page.push_str(&format!(
            "{}\n\n![Each figure beside its bar](bench.svg)\n\n",
            self.machine
        ));
        page.push_str(&self.table());
        page.push_str(&self.skips());
        page
    }

    /// What could not be measured, a paragraph each.
    pub(crate) fn skips(&self) -> String {
        let skips = self
            .skipped
            .iter()
            .map(|skipped| format!("\nSkipped: {skipped}\n"));
        skips.collect()
    }

    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| What | Measured | Beside it, in the same run | Ratio | Bar | |\n|---|---:|---:|---:|---:|---|\n",
        );
        for row in &self.rows {
            let beside = row
                .beside
                .as_ref()
                .map(|beside| format!("{} ({})", row.unit.show(beside.value), beside.what));
            let ratio = row.ratio().map(|ratio| format!("{ratio:.2}"));
            let verdict = match row.holds() {
                None => "",
                Some(true) => "held",
                Some(false) => "**missed**",
            };
            table.push_str(&format!(
                "| {} | {} | {} | {} | {} | {verdict} |\n",
                row.what,
                row.unit.show(row.value),
                beside.unwrap_or_default(),
                ratio.unwrap_or_default(),
                row.bar_text(),
            ));
        }
        table
    }
}
