//! The real plugin on recorded environment and standard input: exit code and the one JSON document on standard output.
//!
//! A recording is a file of `tests/golden`: remarks, variables, a blank line, the input, `---`, the exit code and the
//! document. `GOLDEN=write cargo test -p cni-shim` writes what the plugin says now into the files, for review as a diff.
//! Recordings in `tests/golden/served` run beside a daemon that answers. All of it happens in namespaces of the test's
//! own with an empty `/run`, so nothing of the machine is touched.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::path::{Path, PathBuf};

#[path = "golden/beside_the_peer.rs"]
mod beside_the_peer;
#[path = "golden/daemon.rs"]
mod daemon;
#[path = "golden/node.rs"]
mod node;
#[path = "golden/peer.rs"]
mod peer;
#[path = "golden/plugin.rs"]
mod plugin;
#[path = "golden/sandbox.rs"]
mod sandbox;
#[path = "golden/since_1_1_0.rs"]
mod since_1_1_0;
#[path = "golden/verbs.rs"]
mod verbs;

use daemon::Daemon;
use plugin::{Said, run};
use sandbox::Pod;

/// CNI: CALL-3, CALL-4, CALL-5.
#[test]
fn without_a_daemon_the_plugin_says_what_was_recorded() {
    sandbox::enter("without_a_daemon_the_plugin_says_what_was_recorded", || {
        play(&recordings("tests/golden"), Pod::new);
    });
}

/// CNI: CALL-3, CALL-5.
#[test]
fn beside_a_daemon_the_plugin_says_what_was_recorded() {
    sandbox::enter("beside_a_daemon_the_plugin_says_what_was_recorded", || {
        let _daemon = Daemon::serve();
        play(&recordings("tests/golden/served"), Pod::new);
    });
}

fn recordings(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut recordings: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    recordings.sort();
    assert!(!recordings.is_empty());
    recordings
}

/// Plays each recording, with whatever it needs made anew.
fn play<T>(recordings: &[PathBuf], prepare: impl Fn() -> T) {
    let mut wrong = Vec::new();
    for path in recordings {
        let _needed = prepare();
        let text = std::fs::read_to_string(path).unwrap();
        let recording = Recording::parse(&text);
        let said = run(&recording.environment, recording.input);
        assert!(said.is_at_most_one_document(), "{}: {said:?}", path.display());
        let shown = show(&said);
        if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
            std::fs::write(path, format!("{}---\n{shown}", recording.before)).unwrap();
        } else if shown != recording.after {
            wrong.push(format!(
                "{}\nrecorded:\n{}said:\n{shown}",
                path.display(),
                recording.after
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

struct Recording<'a> {
    before: &'a str,
    environment: Vec<(&'a str, &'a str)>,
    input: &'a str,
    after: &'a str,
}

impl<'a> Recording<'a> {
    fn parse(text: &'a str) -> Self {
        let (before, after) = text.split_once("---\n").unwrap();
        let (head, input) = before.split_once("\n\n").unwrap_or((before, ""));
        let lines = head.lines().filter(|line| !line.starts_with('#'));
        Self {
            before,
            environment: lines.map(|line| line.split_once('=').unwrap()).collect(),
            input,
            after,
        }
    }
}

fn show(said: &Said) -> String {
    let document = said
        .document
        .as_ref()
        .map(|document| format!("{document:#}\n"))
        .unwrap_or_default();
    format!("exit {}\n{document}", said.code)
}

/// What the installer puts onto nodes: a runtime that knows the second key takes the highest version of it, an older one
/// reads only the first.
///
/// CNI: CONF-10, VER-1, VER-3, VER-4.
#[test]
fn each_version_of_the_shipped_conflist_is_one_that_add_accepts() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cni/10-aws.conflist");
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(shipped).unwrap()).unwrap();
    assert_eq!(list["cniVersion"], "0.4.0");
    let told = run(&[("CNI_COMMAND", "VERSION")], "").result();
    let told = told["supportedVersions"].as_array().unwrap().clone();
    let offered = list["cniVersions"].as_array().unwrap();
    assert!(offered.contains(&list["cniVersion"]) && offered.contains(&"1.1.0".into()));
    assert!(offered.iter().all(|version| told.contains(version)), "{told:?}");
    for version in ["0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.2.0"] {
        let conf = format!(r#"{{"cniVersion": "{version}", "name": "n", "type": "t"}}"#);
        let said = run(
            &[
                ("CNI_COMMAND", "ADD"),
                ("CNI_CONTAINERID", "c"),
                ("CNI_IFNAME", "e"),
                ("CNI_NETNS", "/none"),
            ],
            &conf,
        );
        assert_eq!(
            said.error_code() != 1,
            told.contains(&version.into()),
            "{version}"
        );
    }
}
