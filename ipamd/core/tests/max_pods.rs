//! The max-pods formula against the numbers of the calculator that EKS documents, and against worked examples.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use ipamd_core::instance::{Limits, Table};
use ipamd_core::max_pods::{Answer, Cap, CniVersion, Mode, NoAnswer, Note, Question, max_pods};

fn limits(name: &str) -> &'static Limits {
    Table::builtin()
        .unwrap()
        .get(name)
        .unwrap_or_else(|| panic!("{name} is not in the table"))
}

fn ask(name: &str, question: &Question) -> Answer {
    max_pods(name, limits(name), question).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn forty_six_types_equal_the_published_calculator() {
    let table = include_str!("max_pods_table.csv");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(rows.len(), 46);
    for row in &rows {
        let name = row[0];
        let number = |column: usize| row[column].parse::<u32>().unwrap();
        assert_eq!(limits(name).vcpus, Some(number(1)), "{name} vCPUs");
        assert_eq!(limits(name).enis(), number(2), "{name} ENIs");
        assert_eq!(limits(name).ipv4_per_eni, number(3), "{name} addresses per ENI");
        let modes = [
            (Mode::SecondaryIp, false),
            (Mode::SecondaryIp, true),
            (Mode::Prefix, false),
            (Mode::Prefix, true),
        ];
        for (index, (mode, custom_networking)) in modes.into_iter().enumerate() {
            let question = Question {
                mode,
                custom_networking,
                ..Question::default()
            };
            let raw = Question {
                cap: Cap::Off,
                ..question.clone()
            };
            assert_eq!(
                ask(name, &raw).max_pods,
                number(4 + 2 * index),
                "{name} {mode:?} {custom_networking}"
            );
            assert_eq!(
                ask(name, &question).max_pods,
                number(5 + 2 * index),
                "{name} {mode:?} capped"
            );
        }
        let two = Question {
            max_eni: Some(2),
            cap: Cap::Off,
            ..Question::default()
        };
        assert_eq!(ask(name, &two).max_pods, number(12), "{name} MAX_ENI=2");
        trunk_columns(name, row[13], row[14]);
    }
}

fn trunk_columns(name: &str, standard: &str, branch: &str) {
    let question = Question {
        security_groups_for_pods: true,
        cap: Cap::Off,
        ..Question::default()
    };
    let answer = max_pods(name, limits(name), &question);
    match branch {
        "-" => assert_eq!(answer, Err(NoAnswer::NoTrunk), "{name}"),
        "?" => assert_eq!(answer, Err(NoAnswer::TrunkUnknown), "{name}"),
        branch => {
            let answer = answer.unwrap();
            assert_eq!(
                answer.standard.map(|n| n.to_string()).as_deref(),
                Some(standard),
                "{name}"
            );
            assert_eq!(
                answer.branch.map(|n| n.to_string()).as_deref(),
                Some(branch),
                "{name}"
            );
        }
    }
}

/// A worked example: what it shows, the type, the question, the number.
type Row = (&'static str, &'static str, Question, u32);

#[test]
fn worked_examples() {
    let base = Question::default;
    let prefix = || Question {
        mode: Mode::Prefix,
        ..base()
    };
    let sgp = || Question {
        security_groups_for_pods: true,
        ..base()
    };
    let old = |question| Question {
        cni_version: CniVersion::parse("1.8.0").unwrap(),
        ..question
    };
    let custom = |question| Question {
        custom_networking: true,
        ..question
    };
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        ("t3.medium has 17", "t3.medium", base(), 17),
        ("branch pods come on top", "m5.large", sgp(), 29),
        ("and are capped", "c5.4xlarge", sgp(), 110),
        ("with custom networking", "m5.large", custom(sgp()), 20),
        ("no ENI left but branches", "c7g.medium", custom(sgp()), 6),
        ("trunk and prefixes", "m5.large", Question { mode: Mode::Prefix, ..sgp() }, 110),
        ("MAX_ENI 2", "m5.large", custom(Question { max_eni: Some(2), ..base() }), 11),
        ("MAX_ENI 1", "m5.large", custom(Question { max_eni: Some(1), ..base() }), 2),
        ("MAX_ENI 0 is unset", "m5.large", Question { max_eni: Some(0), ..base() }, 29),
        ("reserved", "m5.large", Question { reserved_enis: 1, ..base() }, 20),
        ("all reserved", "m5.large", Question { reserved_enis: 9, ..base() }, 2),
        ("single ENI", "hpc6id.32xlarge", custom(base()), 2),
        ("IPv6 low cap", "m5.large", Question { mode: Mode::Ipv6, ..base() }, 110),
        ("IPv6 high cap", "m5.8xlarge", Question { mode: Mode::Ipv6, ..base() }, 250),
        ("Windows", "m5.large", Question { mode: Mode::Windows, ..base() }, 9),
        ("Windows prefixes", "m5.large", Question { mode: Mode::WindowsPrefix, ..base() }, 144),
        ("old CNI", "t3.nano", old(prefix()), 4),
        ("Xen", "m4.large", prefix(), 20),
    ];
    for (what, name, question, expected) in rows {
        assert_eq!(ask(name, &question).max_pods, expected, "{what}");
    }
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let ipv6 = Question {
        mode: Mode::Ipv6,
        ..Question::default()
    };
    let old = Question {
        cni_version: CniVersion(1, 10, 0),
        ..ipv6.clone()
    };
    let sgp = Question {
        security_groups_for_pods: true,
        ..Question::default()
    };
    for (name, question, expected) in [
        ("t2.medium", ipv6, NoAnswer::Ipv6NeedsNitro),
        ("m5.large", old, NoAnswer::Ipv6NeedsNewerCni),
        ("t3.large", sgp.clone(), NoAnswer::NoTrunk),
        ("hpc7a.96xlarge", sgp, NoAnswer::TrunkUnknown),
        ("hs1.8xlarge", Question::default(), NoAnswer::VcpusUnknown),
    ] {
        assert_eq!(max_pods(name, limits(name), &question), Err(expected), "{name}");
    }
    let raw = Question {
        cap: Cap::Off,
        ..Question::default()
    };
    assert_eq!(ask("hs1.8xlarge", &raw).max_pods, 8 * 29 + 2);
}

#[test]
fn notes_say_what_was_not_done_as_asked() {
    let prefix = Question {
        mode: Mode::Prefix,
        ..Question::default()
    };
    let none_left = Question {
        reserved_enis: 3,
        ..Question::default()
    };
    for (name, question, note) in [
        ("m5.metal", prefix.clone(), Note::PrefixesOnMetal),
        ("m4.large", prefix.clone(), Note::TypeWithoutPrefixes),
        (
            "m5.large",
            Question {
                cni_version: CniVersion(1, 8, 0),
                ..prefix
            },
            Note::CniTooOldForPrefixes,
        ),
        (
            "m5.large",
            Question {
                max_eni: Some(0),
                ..Question::default()
            },
            Note::MaxEniIgnored,
        ),
        ("m5.large", none_left, Note::OnlyHostNetworkPods),
        ("i3.16xlarge", Question::default(), Note::LinkLocalServicesStop),
        (
            "m5.large",
            Question {
                mode: Mode::Windows,
                ..Question::default()
            },
            Note::WindowsAddresses,
        ),
    ] {
        assert!(ask(name, &question).notes.contains(&note), "{name} {note:?}");
    }
}

#[test]
fn versions() {
    for (text, expected) in [
        ("1.7.5", Some(CniVersion(1, 7, 5))),
        ("1.9.0-eksbuild.1", Some(CniVersion(1, 9, 0))),
        ("v1.18.3-eksbuild.2", Some(CniVersion(1, 18, 3))),
        ("2", Some(CniVersion(2, 0, 0))),
        ("", None),
        ("v", None),
        ("one", None),
        ("1.x", None),
    ] {
        assert_eq!(CniVersion::parse(text), expected, "{text}");
    }
}

#[test]
fn the_cap_never_raises_and_more_enis_never_lower() {
    for (name, limits) in Table::builtin().unwrap().iter() {
        for mode in [Mode::SecondaryIp, Mode::Prefix] {
            let raw = Question {
                mode,
                cap: Cap::Off,
                ..Question::default()
            };
            let Ok(all) = max_pods(name, limits, &raw) else {
                continue;
            };
            let fewer = max_pods(
                name,
                limits,
                &Question {
                    custom_networking: true,
                    ..raw.clone()
                },
            )
            .unwrap();
            assert!(fewer.max_pods <= all.max_pods, "{name}");
            if let Ok(capped) = max_pods(
                name,
                limits,
                &Question {
                    cap: Cap::ByVcpus,
                    ..raw
                },
            ) {
                assert!(capped.max_pods <= all.max_pods, "{name}");
            }
        }
    }
}
