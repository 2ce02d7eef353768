//! The answer in words: a number, a table, JSON, or kubelet's configuration.

use std::fmt::Write as _;

use ipamd_core::instance::Table;
use ipamd_core::max_pods::{Answer, Mode};
use serde::Serialize;

use crate::arguments::{Arguments, Output};

/// A type with its answer.
pub(crate) struct Answered {
    pub(crate) name: String,
    pub(crate) answer: Answer,
}

#[derive(Serialize)]
struct Json<'a> {
    instance_type: &'a str,
    max_pods: u32,
    mode: &'static str,
    serving_enis: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    standard_pods: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch_pods: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<u32>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// Says on standard error what is worth knowing beside the number, where the output itself does not carry it.
pub(crate) fn notes(answers: &[Answered], arguments: &Arguments) {
    if arguments.all || arguments.explain || arguments.output == Some(Output::Json) {
        return;
    }
    for Answered { name, answer } in answers {
        for note in &answer.notes {
            #[expect(clippy::print_stderr, reason = "notes go beside the answer, not into it")]
            {
                eprintln!("max-pods: {name}: {note}");
            }
        }
    }
}

/// The whole output.
pub(crate) fn answers(answers: &[Answered], arguments: &Arguments) -> Result<String, serde_json::Error> {
    match arguments.output {
        Some(Output::Json) => json(answers, arguments),
        Some(Output::Table) => Ok(table(answers)),
        Some(Output::Kubelet) => Ok(kubelet(smallest(answers))),
        None if arguments.explain => Ok(explain(answers)),
        None if arguments.all => Ok(table(answers)),
        None => Ok(format!("{}\n", smallest(answers))),
    }
}

/// What a node group of all these types can promise.
fn smallest(answers: &[Answered]) -> u32 {
    answers
        .iter()
        .map(|answered| answered.answer.max_pods)
        .min()
        .unwrap_or(0)
}

fn json(answers: &[Answered], arguments: &Arguments) -> Result<String, serde_json::Error> {
    let objects: Vec<Json<'_>> = answers
        .iter()
        .map(|answered| object(answered, arguments.explain))
        .collect();
    let text = match &objects[..] {
        [one] if !arguments.all => serde_json::to_string_pretty(one)?,
        several => serde_json::to_string_pretty(several)?,
    };
    Ok(text + "\n")
}

fn object(Answered { name, answer }: &Answered, explain: bool) -> Json<'_> {
    Json {
        instance_type: name,
        max_pods: answer.max_pods,
        mode: mode(answer.mode),
        serving_enis: answer.serving_enis,
        standard_pods: answer.standard,
        branch_pods: answer.branch,
        cap: answer.cap,
        notes: answer.notes.iter().map(ToString::to_string).collect(),
        terms: explain.then_some(&answer.terms[..]),
        source: explain.then(Table::source),
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::SecondaryIp => "secondary-ip",
        Mode::Prefix => "prefix-delegation",
        Mode::Ipv6 => "ipv6",
        Mode::Windows => "windows",
        Mode::WindowsPrefix => "windows-prefix-delegation",
    }
}

fn table(answers: &[Answered]) -> String {
    let width = answers
        .iter()
        .map(|answered| answered.name.len())
        .max()
        .unwrap_or(0)
        .max("TYPE".len());
    let mut text = format!(
        "{:width$}  {:>8}  {:>4}  {:>8}\n",
        "TYPE", "MAX-PODS", "ENIS", "UNCAPPED"
    );
    for Answered { name, answer } in answers {
        let raw = answer
            .standard
            .map_or("-".to_owned(), |n| (n + answer.branch.unwrap_or(0)).to_string());
        let _ = writeln!(
            text,
            "{name:width$}  {:>8}  {:>4}  {raw:>8}",
            answer.max_pods, answer.serving_enis
        );
    }
    text
}

fn kubelet(max_pods: u32) -> String {
    format!("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: {max_pods}\n")
}

fn explain(answers: &[Answered]) -> String {
    let mut text = String::new();
    for Answered { name, answer } in answers {
        for term in &answer.terms {
            let _ = writeln!(text, "{term}");
        }
        for note in &answer.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let _ = writeln!(text, "{name}: max-pods {}\n", answer.max_pods);
    }
    if answers.len() > 1 {
        let _ = writeln!(
            text,
            "smallest of {} types: {}\n",
            answers.len(),
            smallest(answers)
        );
    }
    let _ = writeln!(text, "data: {}", Table::source());
    text
}
