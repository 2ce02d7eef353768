//! The house rules as tests: who may depend on what, sizes, names, module docs, licences.
//!
//! The arrows are data below. A crate that is not listed, or a dependency without an arrow, fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Our crates and which of our crates each may use. Nothing outside `tests` may use anything inside it.
const ARROWS: [(&str, &[&str]); 14] = [
    ("ipamd-core", &[]),
    ("netlink", &[]),
    ("hostnet", &["ipamd-core", "netlink"]),
    ("proto", &["ipamd-core"]),
    ("ec2", &["ipamd-core"]),
    ("max-pods", &["ipamd-core"]),
    ("cni-shim", &["ipamd-core", "hostnet", "proto"]),
    ("ipamd", &["ipamd-core", "hostnet", "netlink", "proto", "ec2"]),
    ("vpc-sim", &["netlink"]),
    ("on-node", &["proto", "ipamd-core", "hostnet", "netlink"]),
    ("bench", &["vpc-sim", "on-node"]),
    ("xtask", &["vpc-sim", "bench"]),
    ("e2e", &["vpc-sim", "proto", "ipamd-core", "hostnet", "netlink"]),
    (
        "berth",
        &["cni-shim", "ec2", "ipamd", "ipamd-core", "proto", "vpc-sim"],
    ),
];

/// Crates of others that only these crates of ours may name.
const WARDS: [(&str, &[&str]); 7] = [
    ("aws-sdk-ec2", &["ec2"]),
    ("aws-config", &["ec2", "ipamd"]),
    ("rtnetlink", &["netlink"]),
    ("netlink-packet-route", &["netlink"]),
    ("netlink-packet-core", &["netlink"]),
    ("netlink-sys", &["netlink"]),
    ("clap", &["max-pods", "ipamd", "vpc-sim", "xtask"]),
];

/// What the pure core may use.
const CORE_DEPENDENCIES: [&str; 6] = ["thiserror", "serde", "serde_json", "ipnet", "crc32c", "sha1"];

/// Licences that an Apache-2.0 project can ship; a dependency needs one of them among its alternatives.
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "CDLA-Permissive-2.0",
];

/// Explain yourself above 400 lines; never above this.
const LONGEST_FILE: usize = 600;

const FORBIDDEN_NAMES: [&str; 5] = ["util", "helper", "common", "misc", "manager"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Our crates with the names of everything each depends on, tests included.
fn ours(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let packages = metadata["packages"].as_array().unwrap();
    let local = packages.iter().filter(|package| package["source"].is_null());
    local
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            (
                text(package, "name").to_owned(),
                dependencies.iter().map(|d| text(d, "name").to_owned()).collect(),
            )
        })
        .collect()
}

#[test]
fn arrows_point_as_the_map_says_and_there_are_no_others() {
    let ours = ours(&metadata());
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for (name, dependencies) in &ours {
        let allowed = arrows
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not on the map"));
        for dependency in dependencies
            .iter()
            .filter(|dependency| ours.contains_key(*dependency))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} may not use {dependency}"
            );
        }
    }
}

#[test]
fn outside_crates_stay_with_their_wardens() {
    let ours = ours(&metadata());
    for (ward, wardens) in WARDS {
        for (name, dependencies) in &ours {
            let allowed = wardens.contains(&name.as_str());
            assert!(
                allowed || !dependencies.contains(ward),
                "{name} may not name {ward}, only {wardens:?} may"
            );
        }
    }
    let core = &ours["ipamd-core"];
    let outside: Vec<_> = core
        .iter()
        .filter(|d| d.as_str() != "proptest" && !CORE_DEPENDENCIES.contains(&d.as_str()))
        .collect();
    assert!(outside.is_empty(), "the core may not use {outside:?}");
}

#[test]
fn every_dependency_has_a_licence_that_we_can_ship() {
    for package in metadata()["packages"].as_array().unwrap() {
        let licence = text(package, "license");
        let alternatives = licence.split([' ', '/', '(', ')']);
        let fine = alternatives
            .into_iter()
            .any(|alternative| LICENCES.contains(&alternative));
        assert!(fine, "{} is licensed as {licence:?}", text(package, "name"));
    }
}

/// Files that git tracks or would add, so that what is built or scratched does not count.
fn files(pattern: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
            "--",
            pattern,
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listed = String::from_utf8(output.stdout).unwrap();
    listed
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(|name| root().join(name))
        .filter(|f| f.exists())
        .collect()
}

fn is_generated(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "generated")
}

#[test]
fn files_are_short_open_with_a_doc_and_are_named_after_what_they_are_about() {
    let mut faults = Vec::new();
    for file in files("*.rs").into_iter().filter(|file| !is_generated(file)) {
        let source = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display();
        let lines = source.lines().count();
        if lines > LONGEST_FILE {
            faults.push(format!("{name} has {lines} lines, more than {LONGEST_FILE}"));
        }
        if !source.starts_with("//!") {
            faults.push(format!("{name} does not open with what it is for"));
        }
        let stem = file.file_stem().unwrap().to_string_lossy();
        if stem == "mod"
            || FORBIDDEN_NAMES
                .iter()
                .any(|bad| stem.split('_').any(|word| word.trim_end_matches('s') == *bad))
        {
            faults.push(format!("{name} is not named after what it is about"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn unsafe_code_is_lifted_only_where_the_map_says() {
    const ALLOWED: [&str; 3] = [
        "cni-shim/src/alloc.rs",
        "ipamd/netlink/src/netns.rs",
        "tests/vpc-sim/src/holder.rs",
    ];
    for file in files("*.rs") {
        let name = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let source = std::fs::read_to_string(&file).unwrap();
        let lifted = source.contains(concat!("(unsafe", "_code"));
        assert!(
            !lifted || ALLOWED.contains(&name.as_str()),
            "{name} lifts unsafe code"
        );
    }
}

#[test]
fn the_top_level_is_the_one_on_the_map() {
    const FOLDERS: [&str; 8] = [
        ".cargo", ".ci", "cni-shim", "deploy", "docs", "ipamd", "proto", "tests",
    ];
    let found: BTreeSet<String> = files(".")
        .iter()
        .filter_map(|file| {
            let inside = file.strip_prefix(root()).unwrap();
            let mut parts = inside
                .components()
                .map(|part| part.as_os_str().to_string_lossy().into_owned());
            let first = parts.next()?;
            parts.next().map(|_| first)
        })
        .collect();
    for folder in found {
        assert!(FOLDERS.contains(&folder.as_str()), "{folder} is not on the map");
    }
}
