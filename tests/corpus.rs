//! The fuzzer's corpus as plain tests: what once went wrong, and an example of each kind, goes through without a panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise"
)]

use std::path::Path;

use ec2::Ec2;
use ipamd_core::explain::Dump;
use ipamd_core::moment::Moment;
use ipamd_core::snapshot::Scope;

#[path = "fuzz/targets.rs"]
mod targets;

#[test]
fn every_target_survives_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, target) in targets::ALL {
        let files = std::fs::read_dir(corpus.join(name)).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            target(&std::fs::read(file).unwrap());
        }
    }
}

/// Each file cut short at every byte, and with every byte changed: cheap neighbours of what is known.
#[test]
fn every_target_survives_the_neighbours_of_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, target) in targets::ALL {
        for file in std::fs::read_dir(corpus.join(name)).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for place in 0..bytes.len().min(400) {
                target(&bytes[..place]);
                let mut changed = bytes.clone();
                changed[place] ^= 0x15;
                target(&changed);
            }
        }
    }
}

/// The fuzzer begins with answers that say something.
#[test]
fn answers_of_the_corpus_are_understood() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let answer = std::fs::read(corpus.join("ec2_answers/all")).unwrap();
    let ec2 = Ec2::replay("i-0123456789abcdef0".parse().unwrap(), true, &answer[1..]);
    let runtime = targets::runtime();
    let seen = runtime
        .block_on(ec2.read_all(Scope::Attached, Moment::default()))
        .unwrap();
    let blocks: Vec<usize> = seen.enis.values().map(|eni| eni.blocks.len()).collect();
    assert_eq!(blocks, [2]);
    let pages = std::fs::read_to_string(corpus.join("metadata/usual")).unwrap();
    let node = runtime
        .block_on(ipamd::imds::understand(&targets::pages(&pages)))
        .unwrap();
    assert_eq!(node.instance_type, "m5.large");
}

/// A dump of an earlier version of the same form is read still.
#[test]
fn the_dump_of_the_corpus_is_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let saved = std::fs::read_to_string(corpus.join("dump/running")).unwrap();
    let told = Dump::parse(&saved).unwrap().explain().to_string();
    assert!(told.contains("addresses are in use"), "{told}");
}

/// The fuzzer knows every target, and no other.
#[test]
fn every_target_can_be_fuzzed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in targets::ALL {
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets::ALL.len());
}
