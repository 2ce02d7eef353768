//! The CNI plugin: reads environment and standard input once, picks the verb, prints one JSON document, gives the exit
//! code. Single-threaded; it asks `ipamd`, applies the wiring that it is told, and decides nothing.
//!
//! A library, so that fuzzing reaches what strangers' bytes go through.

mod add;
mod check;
mod client;
mod connection;
mod del;
mod error;
mod gc;
mod netconf;
mod peer;
mod policy_agent;
mod prev_result;
mod reply;
mod request;
mod status;
mod tombstone;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::pin::Pin;
use std::time::Duration;

use error::CniError;
use hostnet::failpoint::{self, Step};
use netconf::{NetConf, Version};
use nix::time::{ClockId, clock_gettime};
use request::{Request, Verb};
use serde_json::Value;

/// Does what the environment says, with what is on standard input; gives the exit code.
#[must_use]
pub fn plugin(environment: &BTreeMap<String, String>) -> i32 {
    match environment.get("CNI_COMMAND").map(String::as_str) {
        None | Some("") => about(),
        Some(_) => answer(environment),
    }
}

/// Reads what a runtime says as every verb does, and forgets it. Asks nobody, touches nothing.
///
/// # Errors
/// The document that the plugin would print.
pub fn understand(environment: &BTreeMap<String, String>, input: &[u8]) -> Result<(), String> {
    let read = || {
        let verb = Verb::parse(environment)?;
        let request = Request::parse(verb, environment)?;
        let conf = NetConf::parse(input)?;
        let known = gc::valid_attachments(&conf.protocol);
        if let (Ok(key), Some(result)) = (add::key(&request, &conf), &conf.prev_result) {
            let _ = prev_result::remains(&key, result);
        }
        known.map(drop)
    };
    read()
        .map_err(|error: CniError| reply::error(netconf::version_said(input).as_deref(), &error).to_string())
}

/// Reads what a daemon of amazon-vpc-cni-k8s gave as an ADD does, and forgets it.
///
/// # Errors
/// The document that the plugin would print.
pub fn understand_peer(answer: &proto::peer::AddNetworkReply) -> Result<(), String> {
    let conf = br#"{"cniVersion": "1.1.0", "name": "aws-cni", "type": "aws-cni"}"#;
    let environment = [
        ("CNI_CONTAINERID", "c"),
        ("CNI_NETNS", "/n"),
        ("CNI_IFNAME", "eth0"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let read = || {
        let request = Request::parse(Verb::Add, &environment.into())?;
        let conf = NetConf::parse(conf)?;
        peer::wiring(answer, &request, &conf, &add::key(&request, &conf)?).map(drop)
    };
    read().map_err(|error: CniError| reply::error(None, &error).to_string())
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

fn answer(environment: &BTreeMap<String, String>) -> i32 {
    // As much as a configuration with its previous result takes, so that it is read at once.
    let mut input = Vec::with_capacity(8 << 10);
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
    let printed = document.map(|document| writeln!(std::io::stdout(), "{document}"));
    if printed.is_some() {
        failpoint::reach(Step::AddPrinted);
    }
    match printed {
        // The runtime did not hear us, so to it we failed; there is nobody to tell why.
        Some(Err(_)) => 1,
        Some(Ok(())) | None => code,
    }
}

/// A verb at work. Each for itself: one future of all would take the stack, page by page, that the largest needs.
type Work<'a> = Pin<Box<dyn Future<Output = Result<Option<Value>, CniError>> + 'a>>;

fn run(environment: &BTreeMap<String, String>, input: &[u8]) -> Result<Option<Value>, CniError> {
    let began = boot_clock();
    let verb = Verb::parse(environment)?;
    if verb == Verb::Version {
        return Ok(Some(reply::versions(netconf::version_said(input).as_deref())));
    }
    let request = Request::parse(verb, environment)?;
    let conf = NetConf::parse(input)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CniError::Runtime { source })?;
    let work: Work<'_> = match verb {
        Verb::Add => Box::pin(async { add::add(&request, &conf).await.map(Some) }),
        Verb::Del => Box::pin(async { del::del(&request, &conf).await.map(|()| None) }),
        Verb::Check => Box::pin(async { check::check(&request, &conf).await.map(|()| None) }),
        Verb::Gc => Box::pin(async { gc::gc(&conf, began).await.map(|()| None) }),
        Verb::Status => Box::pin(async { status::status(&conf).await.map(|()| None) }),
        Verb::Version => return Ok(Some(reply::versions(Some(conf.version.text())))),
    };
    runtime.block_on(work)
}

/// The time since the node booted (`CLOCK_BOOTTIME`), which the daemon counts in, too.
fn boot_clock() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).ok()
}
