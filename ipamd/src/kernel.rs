//! The host's network, made to be as wanted: look, compare, apply, and say what is served now.
//!
//! What is wanted is asked for after the look. So a pod that was given its address during the look is not taken for a
//! stranger, and one that went meanwhile loses at most what it lost already.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hostnet::failpoint::{self, Step};
use hostnet::nat::Nat;
use hostnet::{Error, Routing};
use ipamd_core::net::diff::{NetOp, diff};
use ipamd_core::net::eni::Wanted;
use ipamd_core::net::notice::Sieve;
use ipamd_core::net::{NetState, TableId, Via};
use ipamd_core::policy::Policy;
use netlink::events::Events;
use nix::errno::Errno;
use tokio::sync::mpsc;

use crate::daemon::Message;
use keeper::Wish;

pub(crate) mod keeper;

/// The sockets through which the node's network is changed; the nftables one owns our table.
pub(crate) struct Kernel {
    routing: Routing,
    nat: Nat,
}

/// What a pass found and did.
#[derive(Debug)]
pub(crate) struct Pass {
    /// What the kernel serves now: the ENIs whose devices are there.
    pub(crate) served: Wanted,
    /// How many things had to be changed.
    pub(crate) changes: usize,
    /// Whether an ENI's device is still missing.
    pub(crate) incomplete: bool,
    /// Addresses of pods whose device is not there.
    pub(crate) deviceless: BTreeSet<IpAddr>,
    /// What the kernel refused; everything else was done.
    pub(crate) refused: Vec<Error>,
}

/// What the kernel refused, and which devices it concerns.
#[derive(Debug, Default)]
struct Refusals {
    errors: Vec<Error>,
    devices: BTreeSet<u32>,
    of_the_node: bool,
}

impl Refusals {
    fn note(&mut self, op: NetOp, error: Error) {
        match device_of(op) {
            Some(index) => drop(self.devices.insert(index)),
            None => self.of_the_node = true,
        }
        self.errors.push(error);
    }
}

/// The device that an operation is about; rules and blackholes are about the node.
fn device_of(op: NetOp) -> Option<u32> {
    match op {
        NetOp::SetMtu { index, .. }
        | NetOp::SetReversePath { index }
        | NetOp::SetUp { index }
        | NetOp::AddAddress { index, .. }
        | NetOp::RemoveAddress { index, .. } => Some(index),
        NetOp::SetRoute(route) | NetOp::RemoveRoute(route) => match route.via {
            Via::Link { index, .. } | Via::Gateway { index, .. } => Some(index),
            Via::Blackhole => None,
        },
        NetOp::AddRule(_) | NetOp::RemoveRule(_) => None,
    }
}

impl Kernel {
    /// Opens the sockets and claims our nftables table.
    pub(crate) fn open() -> Result<Self, Error> {
        let routing = Routing::open().map_err(|source| Error::Netlink {
            attempt: "open a netlink socket on the node".to_owned(),
            source,
        })?;
        Ok(Self {
            routing,
            nat: Nat::open()?,
        })
    }

    /// Makes the kernel, which was seen before this was wanted, be as wanted.
    async fn make(&mut self, seen: &NetState, wish: &Wish, policy: &Policy) -> Result<Pass, Error> {
        let wanted = &wish.wanted;
        let ops = diff(wanted, seen);
        let mut refusals = Refusals::default();
        if wanted.has_ipv6()
            && let Some(primary) = seen.link_by_mac(wish.node.primary_mac)
            && let Err(error) = hostnet::sysctl::forward_ipv6(&primary.name)
        {
            // What only pods of an earlier mode need keeps nobody else from being served.
            refusals.of_the_node = wanted.enis.iter().any(|eni| eni.prefix6.is_some());
            refusals.errors.push(error);
        }
        for op in &ops {
            tracing::info!(?op, "kernel");
            match hostnet::apply::apply(&self.routing, *op).await {
                Err(error) if !is_overtaken(*op, &error) => refusals.note(*op, error),
                Ok(()) | Err(_) => {}
            }
            failpoint::reach(Step::KernelChanged);
        }
        let mut changes = ops.len();
        let firewall = wanted.firewall(seen, policy, &wish.node);
        if let Some(firewall) = &firewall
            && self.nat.load(firewall)?
        {
            failpoint::reach(Step::FirewallLoaded);
            changes += 1;
        }
        // Without the table pods on secondary ENIs are cut off, so then nothing new is served.
        let served = match firewall {
            Some(_) => served(wanted, seen, &refusals),
            None => Wanted {
                enis: Vec::new(),
                ..wanted.clone()
            },
        };
        let incomplete = wanted.without_device(seen).next().is_some();
        Ok(Pass {
            served,
            changes,
            incomplete,
            deviceless: wanted.deviceless(seen),
            refused: refusals.errors,
        })
    }

    /// What every pod of these ENIs needs and the node lacks, a sentence each. Changes nothing.
    async fn problems(&mut self, wanted: &Wanted) -> Result<Vec<String>, Error> {
        let marked = wanted.enis.iter().filter(|eni| eni.mark.is_some());
        let tables = marked.map(|eni| eni.place.table()).chain([TableId::PODS]);
        let seen = self.look(&tables.collect()).await?;
        let mut problems: Vec<String> = diff(wanted, &seen)
            .into_iter()
            .filter(|op| op.is_everybodys())
            .map(|op| format!("the node's network still needs {op}"))
            .collect();
        problems.extend(
            wanted
                .without_device(&seen)
                .map(|eni| format!("the device of {} is missing", eni.id)),
        );
        if self.nat.is_damaged()? {
            problems.push("the nftables table berth does not hold what it should".to_owned());
        }
        Ok(problems)
    }

    /// What the node's network is like.
    pub(crate) async fn look(&self, tables: &BTreeSet<TableId>) -> Result<NetState, Error> {
        hostnet::observe::observe(&self.routing, tables).await
    }
}

/// A pod that goes after the look takes its device along: nothing is refused that anybody still wants.
fn is_overtaken(op: NetOp, error: &Error) -> bool {
    let of_a_pod =
        matches!(op, NetOp::SetRoute(route) if route.table == TableId::PODS && route.via != Via::Blackhole);
    let Error::Netlink { source, .. } = error else {
        return false;
    };
    of_a_pod && (source.is_gone() || source.errno() == Some(Errno::ENETDOWN))
}

/// The ENIs whose devices are there and took everything.
fn served(wanted: &Wanted, seen: &NetState, refusals: &Refusals) -> Wanted {
    let mut served = wanted.clone();
    served.enis.retain(|eni| {
        let link = seen.link_by_mac(eni.mac);
        link.is_some_and(|link| !refusals.of_the_node && !refusals.devices.contains(&link.index))
    });
    served
}

/// Tells the daemon of every change to the node's network that may concern it.
pub(crate) async fn watch(mut events: Events, mut sieve: Sieve, messages: mpsc::Sender<Message>) {
    loop {
        let changed = match events.next().await {
            Ok(changed) => hostnet::observe::notice(changed).filter(|notice| sieve.lets_through(notice)),
            Err(error) => {
                tracing::error!(%error, "kernel events cannot be read; only the slow pass repairs from now on");
                return;
            }
        };
        if let Some(notice) = changed
            && messages.send(Message::KernelChanged(notice)).await.is_err()
        {
            return;
        }
    }
}
