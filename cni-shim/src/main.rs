//! The CNI plugin: reads environment and standard input once, picks the verb, prints one JSON document, sets the exit
//! code. Single-threaded; it asks `ipamd`, applies the wiring that it is told, and decides nothing.

mod add;
mod alloc;
mod check;
mod client;
mod del;
mod error;
mod netconf;
mod reply;
mod request;
mod tombstone;

use std::collections::BTreeMap;
use std::io::Read;

use error::CniError;
use netconf::{NetConf, Version};
use request::{Request, Verb};

fn main() {
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let code = match environment.get("CNI_COMMAND").map(String::as_str) {
        None | Some("") => about(),
        Some(_) => answer(&environment),
    };
    // Nothing of ours needs a destructor: what matters is printed and on disk.
    std::process::exit(code);
}

/// Without a command the library's plugins say who they are, on standard error.
#[expect(
    clippy::print_stderr,
    reason = "what the CNI library's plugins do when run by hand"
)]
fn about() -> i32 {
    eprintln!("Berth CNI plugin {}", env!("CARGO_PKG_VERSION"));
    eprintln!(
        "CNI protocol versions supported: {}",
        Version::ALL.map(Version::text).join(", ")
    );
    0
}

#[expect(clippy::print_stdout, reason = "the one document that a CNI plugin prints")]
fn answer(environment: &BTreeMap<String, String>) -> i32 {
    let mut input = Vec::new();
    let read = std::io::stdin().read_to_end(&mut input);
    let version = netconf::version_said(&input);
    let outcome = match read {
        Ok(_) => run(environment, &input),
        Err(source) => Err(CniError::Input { source }),
    };
    let (document, code) = match outcome {
        Ok(document) => (document, 0),
        Err(error) => (Some(reply::error(version.as_deref(), &error)), 1),
    };
    if let Some(document) = document {
        println!("{document}");
    }
    code
}

fn run(environment: &BTreeMap<String, String>, input: &[u8]) -> Result<Option<serde_json::Value>, CniError> {
    let verb = Verb::parse(environment)?;
    if verb == Verb::Version {
        return Ok(Some(reply::versions(netconf::version_said(input).as_deref())));
    }
    let request = Request::parse(verb, environment)?;
    let conf = NetConf::parse(input)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CniError::Runtime { source })?;
    runtime.block_on(async {
        match verb {
            Verb::Add => add::add(&request, &conf).await.map(Some),
            Verb::Del => del::del(&request, &conf).await.map(|()| None),
            Verb::Check => check::check(&request, &conf).await.map(|()| None),
            Verb::Gc | Verb::Status | Verb::Version => Err(CniError::VerbNeeds {
                verb: verb.text(),
                version: "1.1.0",
            }),
        }
    })
}
