//! Compares a pod's wiring with what was promised.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

use ipamd_core::address::Mac;
use ipamd_core::id::IfName;
use ipamd_core::net::pod::{Leg, PodWiring};
use ipamd_core::net::{Rule, TableId};
use ipnet::IpNet;
use netlink::{Family, Link, Routing};

use super::{find, gateway_neighbour, open_namespace, pod_routes};
use crate::Error;
use crate::apply::kernel_rule;
use crate::error::attempt;

/// One thing that is not as promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A device is missing.
    NoDevice {
        /// Its name.
        name: IfName,
    },
    /// A device has another MAC.
    Mac {
        /// The device.
        name: IfName,
        /// What was promised.
        wanted: Mac,
    },
    /// A device has another MTU.
    Mtu {
        /// The device.
        name: IfName,
        /// What was promised, in bytes.
        wanted: u32,
        /// What is, in bytes.
        found: u32,
    },
    /// A device is down.
    Down {
        /// The device.
        name: IfName,
    },
    /// The pod lacks its address.
    NoAddress {
        /// Which.
        address: IpAddr,
    },
    /// The pod lacks a route.
    NoRoute {
        /// To where.
        destination: IpNet,
    },
    /// The pod does not know its gateway's MAC for good.
    NoNeighbour {
        /// The gateway.
        gateway: IpAddr,
    },
    /// The node lacks a rule for the pod.
    NoRule {
        /// Which.
        rule: Rule,
    },
    /// The node lacks its route to the pod, or it leads elsewhere.
    NoHostRoute {
        /// The pod's address.
        address: IpAddr,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice { name } => write!(f, "the device {name} is missing"),
            Self::Mac { name, wanted } => write!(f, "{name} has not the MAC {wanted}"),
            Self::Mtu { name, wanted, found } => {
                write!(f, "{name} has an MTU of {found} bytes, not {wanted}")
            }
            Self::Down { name } => write!(f, "{name} is down"),
            Self::NoAddress { address } => write!(f, "the pod lacks its address {address}"),
            Self::NoRoute { destination } => write!(f, "the pod lacks its route to {destination}"),
            Self::NoNeighbour { gateway } => {
                write!(f, "the pod lacks the permanent neighbour entry of {gateway}")
            }
            Self::NoRule { rule } => write!(f, "the node lacks the rule {rule}"),
            Self::NoHostRoute { address } => write!(f, "the node lacks its route to {address}"),
        }
    }
}

/// Compares the pod behind a namespace's path with its wiring.
///
/// # Errors
/// When something cannot be looked at.
pub async fn check(path: &Path, wiring: &PodWiring) -> Result<Vec<Difference>, Error> {
    let namespace = open_namespace(path)?;
    let host = Routing::open().map_err(attempt("open a netlink socket on the node"))?;
    let pod = Routing::open_in(namespace.as_fd()).map_err(attempt("open a netlink socket in the pod"))?;
    differences(&host, &pod, wiring).await
}

pub(super) async fn differences(
    host: &Routing,
    pod: &Routing,
    wiring: &PodWiring,
) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    let host_end = find(host, &wiring.host_name).await?;
    device(
        host_end.as_ref(),
        &wiring.host_name,
        wiring.host_mac,
        wiring.mtu_bytes,
        &mut found,
    );
    let pod_end = find(pod, &wiring.pod_name).await?;
    device(
        pod_end.as_ref(),
        &wiring.pod_name,
        wiring.pod_mac,
        wiring.mtu_bytes,
        &mut found,
    );
    if let Some(link) = host_end {
        host_route(host, link.index, wiring, &mut found).await?;
    }
    rules(host, wiring, &mut found).await?;
    if let Some(link) = pod_end {
        inside(pod, link.index, wiring, &mut found).await?;
    }
    Ok(found)
}

fn device(link: Option<&Link>, name: &IfName, mac: Mac, mtu_bytes: u32, found: &mut Vec<Difference>) {
    let name = name.clone();
    let Some(link) = link else {
        found.push(Difference::NoDevice { name });
        return;
    };
    if link.mac != Some(netlink::Mac(mac.0)) {
        found.push(Difference::Mac {
            name: name.clone(),
            wanted: mac,
        });
    }
    if link.mtu_bytes != mtu_bytes {
        found.push(Difference::Mtu {
            name: name.clone(),
            wanted: mtu_bytes,
            found: link.mtu_bytes,
        });
    }
    if !link.up {
        found.push(Difference::Down { name });
    }
}

async fn host_route(
    host: &Routing,
    index: u32,
    wiring: &PodWiring,
    found: &mut Vec<Difference>,
) -> Result<(), Error> {
    for Leg { address, .. } in wiring.legs() {
        let routes = host
            .routes(Family::of(address), wiring.table.0)
            .await
            .map_err(attempt("list the routes to pods"))?;
        let to = IpNet::from(address);
        let leads_there = |route: &netlink::Route| route.destination == to && route.out == Some(index);
        if !routes.iter().any(leads_there) {
            found.push(Difference::NoHostRoute { address });
        }
    }
    Ok(())
}

/// Only wirings in the peer's layout have any; else nothing is asked.
async fn rules(host: &Routing, wiring: &PodWiring, found: &mut Vec<Difference>) -> Result<(), Error> {
    if wiring.rules.is_empty() {
        return Ok(());
    }
    for rule in &wiring.rules {
        let wanted = kernel_rule(rule);
        let there = host
            .rules(wanted.family)
            .await
            .map_err(attempt("list the node's rules"))?;
        let same = |rule: &netlink::Rule| {
            (rule.priority, rule.from, rule.to, rule.table)
                == (wanted.priority, wanted.from, wanted.to, wanted.table)
        };
        if !there.iter().any(same) {
            found.push(Difference::NoRule { rule: *rule });
        }
    }
    Ok(())
}

async fn inside(
    pod: &Routing,
    index: u32,
    wiring: &PodWiring,
    found: &mut Vec<Difference>,
) -> Result<(), Error> {
    let addresses = pod
        .addresses(Some(index))
        .await
        .map_err(attempt("list the pod's addresses"))?;
    let neighbours = pod
        .neighbours(Some(index))
        .await
        .map_err(attempt("list the pod's neighbours"))?;
    for leg in wiring.legs() {
        let Leg { address, gateway, .. } = leg;
        if !addresses.iter().any(|there| there.address.addr() == address) {
            found.push(Difference::NoAddress { address });
        }
        let routes = pod
            .routes(Family::of(address), TableId::MAIN.0)
            .await
            .map_err(attempt("list the pod's routes"))?;
        for wanted in pod_routes(leg, index) {
            let same = |route: &netlink::Route| {
                route.destination == wanted.destination
                    && route.out == wanted.out
                    && route.gateway == wanted.gateway
            };
            if !routes.iter().any(same) {
                found.push(Difference::NoRoute {
                    destination: wanted.destination,
                });
            }
        }
        if !neighbours.contains(&gateway_neighbour(wiring, leg, index)) {
            found.push(Difference::NoNeighbour { gateway });
        }
    }
    Ok(())
}
