//! One end of the VPC asks another: who answers, as whom it was seen, and what was dropped on the way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::server::Console;
use super::{Ping, Reply, pods};
use crate::holder::role::chain;
use crate::probe::{self, Protocol, Question};
use crate::story::newly_dropped;
use crate::vpc::machine::Machine;
use crate::vpc::{self, INTERNET, PROBE_PORT};

/// An answer inside one machine takes microseconds; whatever takes longer than this was dropped.
const LIMIT: Duration = Duration::from_secs(2);

/// How the internet is called.
const INTERNET_NAME: &str = "internet";

/// Why nobody was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{word:?} is no pod, node or \"{INTERNET_NAME}\"; there are {known}")]
    Unknown { word: String, known: String },
    #[error("{word:?} is a pod in several namespaces; write namespace/name")]
    Ambiguous { word: String },
    #[error("the internet cannot ask {who}: it has no public address; ask from there instead")]
    NotPublic { who: String },
    #[error("open the namespace of {who}")]
    Namespace {
        who: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Vpc(#[from] vpc::Error),
}

/// Who asks or is asked.
enum End<'a> {
    Node(&'a str, &'a Machine),
    Pod(pods::End),
    Internet,
}

/// Asks by TCP and UDP.
pub(super) async fn ping(console: &Console, from: &str, to: &str) -> Result<Ping, Error> {
    let (asker, asked) = (find(console, from).await?, find(console, to).await?);
    let target = target(console, &asker, &asked)?;
    let namespace = namespace(console, &asker, from).await?;
    let before = console.vpc().drops().await?;
    let question = |protocol| {
        let question = Question::new(protocol, target, LIMIT);
        match asker {
            // It has every address of its network, and no choice of its own among them.
            End::Internet => question.from(INTERNET.ip()),
            End::Node(..) | End::Pod(_) => question,
        }
    };
    let (tcp, udp) = tokio::join!(
        ask(console, namespace.as_fd(), question(Protocol::Tcp)),
        ask(console, namespace.as_fd(), question(Protocol::Udp)),
    );
    let after = console.vpc().drops().await?;
    Ok(Ping {
        target: format!("{to} ({})", target.ip()),
        replies: vec![tcp, udp],
        dropped: console.explain(&newly_dropped(&before, &after)),
    })
}

async fn ask(console: &Console, namespace: BorrowedFd<'_>, question: Question) -> Reply {
    let answer = probe::ask(namespace, &question).await;
    let result = match answer {
        Ok(answer) => Ok(whose(console, answer.seen.ip()).await),
        Err(error) => Err(chain(&error)),
    };
    Reply {
        protocol: question.protocol.to_string(),
        result,
    }
}

async fn find<'a>(console: &'a Console, word: &str) -> Result<End<'a>, Error> {
    if word == INTERNET_NAME {
        return Ok(End::Internet);
    }
    if let Some((name, machine)) = console.vpc().machines().get_key_value(word) {
        return Ok(End::Node(name, machine));
    }
    let pods = console.pods.ends().await;
    let mut named = pods
        .iter()
        .filter(|pod| pod.id.name == word || pod.id.to_string() == word);
    match (named.next(), named.next()) {
        (Some(pod), None) => Ok(End::Pod(pod.clone())),
        (Some(_), Some(_)) => Err(Error::Ambiguous {
            word: word.to_owned(),
        }),
        (None, _) => {
            let nodes = console.vpc().machines().keys().cloned();
            let pods = pods.iter().map(|pod| pod.id.to_string());
            let known: Vec<String> = nodes.chain(pods).chain([INTERNET_NAME.to_owned()]).collect();
            Err(Error::Unknown {
                word: word.to_owned(),
                known: known.join(", "),
            })
        }
    }
}

/// The internet knows public addresses alone.
fn target(console: &Console, asker: &End<'_>, asked: &End<'_>) -> Result<SocketAddr, Error> {
    let not_public = |who: String| Error::NotPublic { who };
    let address: Ipv4Addr = match (asker, asked) {
        (_, End::Internet) => return Ok(INTERNET),
        (End::Internet, End::Pod(pod)) => return Err(not_public(format!("pod {}", pod.id))),
        (End::Internet, End::Node(name, machine)) => console
            .public_address(machine)
            .ok_or_else(|| not_public(format!("node {name}")))?,
        (_, End::Pod(pod)) => pod.address,
        (_, End::Node(_, machine)) => machine.primary(),
    };
    Ok((address, PROBE_PORT).into())
}

async fn namespace(console: &Console, asker: &End<'_>, who: &str) -> Result<Arc<OwnedFd>, Error> {
    let fabric = console.vpc().fabric().lock().await;
    let namespace = match asker {
        End::Pod(pod) => return Ok(Arc::clone(&pod.namespace)),
        End::Node(_, machine) => machine.node().network(),
        End::Internet => fabric.internet(),
    };
    let owned = namespace.try_clone_to_owned();
    owned.map(Arc::new).map_err(|source| Error::Namespace {
        who: who.to_owned(),
        source,
    })
}

/// An address and who has it.
async fn whose(console: &Console, address: IpAddr) -> String {
    let pods = console.pods.ends().await;
    let pod = pods.iter().find(|pod| IpAddr::V4(pod.address) == address);
    let pod = pod.map(|pod| format!("pod {}", pod.id));
    let node = console.vpc().machines().iter().find_map(|(name, machine)| {
        if IpAddr::V4(machine.primary()) == address {
            Some(format!("node {name}"))
        } else if console.public_address(machine).map(IpAddr::V4) == Some(address) {
            Some(format!("the public address of node {name}"))
        } else {
            None
        }
    });
    let internet = (INTERNET.ip() == address).then(|| "the internet".to_owned());
    match pod.or(node).or(internet) {
        Some(owner) => format!("{address} ({owner})"),
        None => address.to_string(),
    }
}
