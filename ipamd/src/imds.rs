//! The node's own facts, from instance metadata. Metadata is a hint about ENIs, so nothing of theirs is read here but
//! the CIDRs of their subnets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::imds::Client;
use ipamd_core::address::Mac;
use ipamd_core::id::{SecurityGroupId, SubnetId};
use ipamd_core::snapshot::Node;
use ipnet::Ipv4Net;
use tokio::sync::mpsc;

use crate::daemon::Message;

/// How often the facts are read again: the VPC may get another CIDR. The peer looks twice a minute.
const REFRESH: Duration = Duration::from_secs(60);

/// Between tries while metadata does not answer; the client itself has tried four times by then.
const RETRY: Duration = Duration::from_secs(1);

/// Why the node's facts are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Metadata did not answer, or not with success.
    #[error("read instance metadata at {path}")]
    Read {
        path: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Metadata answered with something else than it should.
    #[error("instance metadata says {value:?} at {path}, which cannot be used")]
    Malformed { path: String, value: String },
}

/// Reads the facts until they are known, and again and again after that; tells the daemon.
pub(crate) async fn watch(messages: mpsc::Sender<Message>) {
    let client = Client::builder().build();
    loop {
        let pause = match read(&client).await {
            Ok(node) => {
                if messages.send(Message::Node(Box::new(node))).await.is_err() {
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

async fn read(client: &Client) -> Result<Node, Error> {
    let primary_mac: Mac = parsed(client, "mac").await?;
    let own = format!("network/interfaces/macs/{primary_mac}");
    let mut subnet_cidrs = BTreeMap::new();
    for mac in lines(client, "network/interfaces/macs/").await? {
        let path = format!("network/interfaces/macs/{}", mac.trim_end_matches('/'));
        // An ENI may vanish between the list and the look: it is left out, and read again next time.
        let subnet = parsed::<SubnetId>(client, &format!("{path}/subnet-id")).await;
        let cidr = parsed::<Ipv4Net>(client, &format!("{path}/subnet-ipv4-cidr-block")).await;
        if let (Ok(subnet), Ok(cidr)) = (subnet, cidr) {
            subnet_cidrs.insert(subnet, cidr);
        }
    }
    Ok(Node {
        instance: parsed(client, "instance-id").await?,
        instance_type: get(client, "instance-type").await?,
        region: get(client, "placement/region").await?,
        primary_mac,
        primary_ip: parsed(client, "local-ipv4").await?,
        vpc: parsed(client, &format!("{own}/vpc-id")).await?,
        zone: get(client, "placement/availability-zone").await?,
        subnet: parsed(client, &format!("{own}/subnet-id")).await?,
        groups: all_parsed::<SecurityGroupId>(client, &format!("{own}/security-group-ids")).await?,
        vpc_cidrs: all_parsed(client, &format!("{own}/vpc-ipv4-cidr-blocks")).await?,
        subnet_cidrs,
    })
}

async fn get(client: &Client, key: &str) -> Result<String, Error> {
    let path = format!("/latest/meta-data/{key}");
    match client.get(path.clone()).await {
        Ok(text) => Ok(text.as_ref().trim().to_owned()),
        Err(source) => Err(Error::Read {
            path,
            source: Box::new(source),
        }),
    }
}

async fn lines(client: &Client, key: &str) -> Result<Vec<String>, Error> {
    let text = get(client, key).await?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

async fn parsed<T: std::str::FromStr>(client: &Client, key: &str) -> Result<T, Error> {
    let value = get(client, key).await?;
    value.parse().map_err(|_| Error::Malformed {
        path: key.to_owned(),
        value,
    })
}

async fn all_parsed<T: std::str::FromStr + Ord>(client: &Client, key: &str) -> Result<BTreeSet<T>, Error> {
    let values = lines(client, key).await?.into_iter();
    values
        .map(|value| {
            value.parse().map_err(|_| Error::Malformed {
                path: key.to_owned(),
                value,
            })
        })
        .collect()
}
