//! The table of what the CNI specification demands and which tests prove it, made from the tests themselves.
//!
//! Demands are a file of `cni-shim/tests`. A test says what it proves in a line `CNI: ID, ID.` of its doc; a recording in
//! its first line. A demand that no test proves, without a reason beside it, is an error.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Where the table goes.
pub(super) const TABLE: &str = "docs/reference/cni-conformance.md";

const DEMANDS: &str = "cni-shim/tests/conformance.txt";

/// Where tests are that may prove something.
const TESTS: [&str; 4] = [
    "cni-shim/src",
    "cni-shim/tests",
    "ipamd/core/src/ledger",
    "tests/e2e/tests",
];

/// What begins the line of a test's doc.
const MARK: &str = "/// CNI: ";

/// What the specification demands, in the file's order.
struct Demand {
    id: String,
    level: String,
    text: String,
    /// Why no test proves it.
    excuse: Option<String>,
}

/// The whole document.
pub(super) fn table(root: &Path) -> Result<String> {
    let path = root.join(DEMANDS);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let demands: Vec<Demand> = lines.map(demand).collect::<Result<_>>()?;
    let proofs = proofs(root)?;
    let strange: Vec<&String> = proofs
        .keys()
        .filter(|id| demands.iter().all(|demand| demand.id != **id))
        .collect();
    ensure!(strange.is_empty(), "tests prove what nobody demands: {strange:?}");
    let unproven: Vec<&str> = demands
        .iter()
        .filter(|demand| demand.excuse.is_none() && !proofs.contains_key(&demand.id))
        .map(|demand| demand.id.as_str())
        .collect();
    ensure!(
        unproven.is_empty(),
        "no test proves {unproven:?}; name it in a test's doc or say why in {DEMANDS}"
    );
    render(&demands, &proofs)
}

fn demand(line: &str) -> Result<Demand> {
    let mut words = line.splitn(3, ' ');
    let (Some(id), Some(level), Some(rest)) = (words.next(), words.next(), words.next()) else {
        bail!("{DEMANDS}: {line:?} is not an id, a level and a demand");
    };
    let (text, excuse) = match rest.split_once(" | ") {
        Some((text, excuse)) => (text, Some(excuse.to_owned())),
        None => (rest, None),
    };
    Ok(Demand {
        id: id.to_owned(),
        level: level.to_owned(),
        text: text.to_owned(),
        excuse,
    })
}

/// The names of the tests that prove each demand.
fn proofs(root: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut files = Vec::new();
    for folder in TESTS {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut proofs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let found = match file.extension() {
            Some(extension) if extension == "rs" => in_code(&text),
            _ => in_recording(&name, &text),
        };
        for (ids, test) in found.with_context(|| format!("read {}", file.display()))? {
            for id in ids {
                proofs.entry(id).or_default().push(test.clone());
            }
        }
    }
    Ok(proofs)
}

/// Demands with the test that proves them.
type Found = Vec<(Vec<String>, String)>;

fn in_code(text: &str) -> Result<Found> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(ids) = line.trim_start().strip_prefix(MARK) else {
            continue;
        };
        let name = lines.by_ref().find_map(|line| {
            let (_, rest) = line.split_once("fn ")?;
            Some(rest.split_once('(')?.0.to_owned())
        });
        let name = name.with_context(|| format!("find the test of {ids:?}"))?;
        found.push((split(ids.trim_end_matches('.')), name));
    }
    Ok(found)
}

/// A recording says in its first line what it proves; a file that is none says nothing.
fn in_recording(name: &str, text: &str) -> Result<Found> {
    let head = text.lines().next().and_then(|line| line.strip_prefix("# "));
    let ids = head
        .and_then(|head| head.split_once(": "))
        .map(|(ids, _)| split(ids));
    let is_recording = text.contains("\nCNI_COMMAND=") || text.contains("\n---\n");
    match ids {
        Some(ids) if is_recording => Ok(vec![(ids, format!("golden/{name}"))]),
        None if is_recording => bail!("the recording {name} does not begin with what it proves"),
        _ => Ok(Vec::new()),
    }
}

fn split(ids: &str) -> Vec<String> {
    ids.split(", ").map(str::to_owned).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "rs" || it == "txt") {
            files.push(path);
        }
    }
    Ok(())
}

fn render(demands: &[Demand], proofs: &BTreeMap<String, Vec<String>>) -> Result<String> {
    let mut text = String::from(
        "# CNI 1.1.0: what is demanded, and which tests prove it\n\n\
         Generated by `cargo gen` from the tests; do not edit. Levels: M must, S should, L what only the Go library has \
         and runtimes rely on, B Berth's own. Names beginning with `golden/` are recordings in `cni-shim/tests/golden`, \
         which the real plugin is held against; the others are tests in `cni-shim`, `ipamd/core` and `tests/e2e`.\n\n\
         | ID | | Demand | Proof |\n|---|---|---|---|\n",
    );
    for Demand {
        id,
        level,
        text: demanded,
        excuse,
    } in demands
    {
        let mut names = proofs.get(id).cloned().unwrap_or_default();
        names.dedup();
        let proof: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let proof = match excuse {
            Some(excuse) if proof.is_empty() => format!("none: {excuse}"),
            Some(excuse) => format!("{} ({excuse})", proof.join(", ")),
            None => proof.join(", "),
        };
        writeln!(text, "| {id} | {level} | {demanded} | {proof} |")?;
    }
    Ok(text)
}
