//! The node's own facts, from instance metadata, and what it lists of ENIs, which is only a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::imds::Client;
use ipamd_core::address::{Block, Mac};
use ipamd_core::id::{SecurityGroupId, SubnetId};
use ipamd_core::ledger::hint::Hint;
use ipamd_core::snapshot::Node;
use ipnet::Ipv4Net;
use tokio::sync::mpsc;

use crate::daemon::{Message, now};

/// How often the facts are read again: the VPC may get another CIDR. The peer looks twice a minute.
const REFRESH: Duration = Duration::from_secs(60);

/// Between tries while metadata does not answer; the client itself has tried four times by then.
const RETRY: Duration = Duration::from_secs(1);

/// Why the node's facts are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Metadata did not answer, or not with success.
    #[error("read instance metadata at {path}")]
    Read {
        /// The page.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Metadata answered with something else than it should.
    #[error("instance metadata says {value:?} at {path}, which cannot be used")]
    Malformed {
        /// The page.
        path: String,
        /// What it says.
        value: String,
    },
}

/// Reads the facts until they are known, and again and again after that; tells the daemon.
pub(crate) async fn watch(messages: mpsc::Sender<Message>) {
    let client = Client::builder().build();
    loop {
        let begun = now();
        let pause = match read(&client).await {
            Ok((node, listed)) => {
                let told = Message::Node(Box::new(node), listed, begun);
                if messages.send(told).await.is_err() {
                    return;
                }
                REFRESH
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "instance metadata cannot be read; it is tried again");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Where the pages of metadata come from.
trait Pages {
    /// The text of a page below `/latest/meta-data/`.
    fn page(&self, path: String) -> impl Future<Output = Result<String, Error>> + Send;
}

impl Pages for Client {
    async fn page(&self, path: String) -> Result<String, Error> {
        match self.get(path.clone()).await {
            Ok(text) => Ok(text.into()),
            Err(source) => Err(Error::Read {
                path,
                source: Box::new(source),
            }),
        }
    }
}

impl Pages for BTreeMap<String, String> {
    async fn page(&self, path: String) -> Result<String, Error> {
        let page = self.get(&path).cloned();
        page.ok_or_else(|| Error::Read {
            path,
            source: "there is no such page".into(),
        })
    }
}

/// The node's facts, as these pages by their paths tell them.
///
/// # Errors
/// The page that is missing or cannot be used.
pub async fn understand(pages: &BTreeMap<String, String>) -> Result<Node, Error> {
    read(pages).await.map(|(node, _)| node)
}

async fn read(pages: &impl Pages) -> Result<(Node, Hint), Error> {
    let primary_mac: Mac = parsed(pages, "mac").await?;
    let own = format!("network/interfaces/macs/{primary_mac}");
    let mut subnet_cidrs = BTreeMap::new();
    let mut listed = Hint::default();
    for mac in lines(pages, "network/interfaces/macs/").await? {
        let mac: Mac = match mac.trim_end_matches('/').parse() {
            Ok(mac) => mac,
            Err(_) => continue,
        };
        let path = format!("network/interfaces/macs/{mac}");
        // An ENI may vanish between the list and the look: it is left out, and read again next time.
        let subnet = parsed::<SubnetId>(pages, &format!("{path}/subnet-id")).await;
        let cidr = parsed::<Ipv4Net>(pages, &format!("{path}/subnet-ipv4-cidr-block")).await;
        if let (Ok(subnet), Ok(cidr)) = (subnet, cidr) {
            subnet_cidrs.insert(subnet, cidr);
        }
        match blocks(pages, &path).await {
            Ok(blocks) => drop(listed.enis.insert(mac, blocks)),
            Err(_) => drop(listed.unread.insert(mac)),
        }
    }
    let node = Node {
        instance: parsed(pages, "instance-id").await?,
        instance_type: get(pages, "instance-type").await?,
        region: get(pages, "placement/region").await?,
        primary_mac,
        primary_ip: parsed(pages, "local-ipv4").await?,
        primary_ip6: first(pages, &own, "ipv6s").await?,
        subnet_cidr6: first(pages, &own, "subnet-ipv6-cidr-blocks").await?,
        vpc: parsed(pages, &format!("{own}/vpc-id")).await?,
        zone: get(pages, "placement/availability-zone").await?,
        subnet: parsed(pages, &format!("{own}/subnet-id")).await?,
        groups: all_parsed::<SecurityGroupId>(pages, &format!("{own}/security-group-ids")).await?,
        vpc_cidrs: all_parsed(pages, &format!("{own}/vpc-ipv4-cidr-blocks")).await?,
        subnet_cidrs,
    };
    Ok((node, listed))
}

/// The first line of a page, where there is such a page: without IPv6 there is none.
async fn first<T: std::str::FromStr>(
    pages: &impl Pages,
    folder: &str,
    key: &str,
) -> Result<Option<T>, Error> {
    let keys = lines(pages, &format!("{folder}/")).await?;
    if !keys.iter().any(|there| there == key) {
        return Ok(None);
    }
    let path = format!("{folder}/{key}");
    let first = lines(pages, &path).await?.into_iter().next();
    first.map(|value| parse(&path, value)).transpose()
}

/// What pods could have of an ENI. A key is absent where the ENI has nothing of the kind.
async fn blocks(pages: &impl Pages, path: &str) -> Result<BTreeSet<Block>, Error> {
    let keys = lines(pages, &format!("{path}/")).await?;
    let mut blocks = BTreeSet::new();
    if keys.iter().any(|key| key == "local-ipv4s") {
        // The first is the ENI's own.
        let addresses = lines(pages, &format!("{path}/local-ipv4s")).await?;
        for address in addresses.into_iter().skip(1) {
            blocks.insert(Block::Secondary(parse(path, address)?));
        }
    }
    if keys.iter().any(|key| key.trim_end_matches('/') == "ipv4-prefix") {
        for prefix in lines(pages, &format!("{path}/ipv4-prefix")).await? {
            blocks.insert(Block::Prefix(parse(path, prefix)?));
        }
    }
    Ok(blocks)
}

fn parse<T: std::str::FromStr>(path: &str, value: String) -> Result<T, Error> {
    value.parse().map_err(|_| Error::Malformed {
        path: path.to_owned(),
        value,
    })
}

async fn get(pages: &impl Pages, key: &str) -> Result<String, Error> {
    let text = pages.page(format!("/latest/meta-data/{key}")).await?;
    Ok(text.trim().to_owned())
}

async fn lines(pages: &impl Pages, key: &str) -> Result<Vec<String>, Error> {
    let text = get(pages, key).await?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

async fn parsed<T: std::str::FromStr>(pages: &impl Pages, key: &str) -> Result<T, Error> {
    parse(key, get(pages, key).await?)
}

async fn all_parsed<T: std::str::FromStr + Ord>(pages: &impl Pages, key: &str) -> Result<BTreeSet<T>, Error> {
    let values = lines(pages, key).await?.into_iter();
    values.map(|value| parse(key, value)).collect()
}
