//! One ENI as packets meet it: a veth from the fabric into a node, a router at the fabric's end, and a route for each
//! address and prefix.
//!
//! A fake next hop carries the ENI's MAC, so the fabric never asks a node who has an address, as EC2 never does.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use ipnet::{IpNet, Ipv4Net};
use netlink::{Address, Family, LinkChange, MAIN_TABLE, Mac, Neighbour, Route, Routing, VethEnd, VethSpec};

use super::check::Checked;
use super::services::METADATA;
use super::{Error, kernel};
use crate::model::id::EniId;
use crate::model::view::{EniView, SubnetView};

/// Inside a VPC packets are at most this long (AWS documentation, "Network MTU for your EC2 instance").
pub const MTU_BYTES: u32 = 9001;

/// The next hop of every route to an ENI. It exists only as a permanent neighbour.
const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);

/// The group of devices that are about to be deleted together: one grace period of the kernel for all.
pub(super) const DOOMED: u32 = 0xdead;

/// An attached ENI.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) view: EniView,
    pub(super) index: u32,
    pub(super) checked: Checked,
    /// What is routed to it now.
    pub(super) routed: BTreeSet<Ipv4Net>,
}

/// Where an ENI is to be attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) eni: &'a EniId,
    pub(super) view: &'a EniView,
    pub(super) subnet: &'a SubnetView,
    pub(super) subnet_number: u32,
    pub(super) node: BorrowedFd<'a>,
    /// The index of the fabric's end.
    pub(super) index: u32,
}

impl Place<'_> {
    /// The fabric's end is called after the last digits of the ENI's id: a device name holds fifteen characters.
    pub(super) fn checked(&self) -> Checked {
        let id = self.eni.as_str();
        let digits = id.get(id.len().saturating_sub(11)..).unwrap_or(id);
        Checked {
            device: format!("eni-{}", digits.trim_start_matches("eni-")),
            mac: self.view.mac,
            subnet: self.subnet_number,
            source_check: self.view.source_dest_check,
        }
    }

    /// Makes the device, which arrives on the node down, without address, and named by the guest. The checks of it
    /// must be there already.
    pub(super) async fn attach(&self, routing: &Routing, device: &str) -> Result<(), Error> {
        let guest = guest_name(self.view);
        let spec = VethSpec {
            host: VethEnd {
                name: device,
                index: Some(self.index),
                mac: Some(Mac(self.subnet.router_mac.0)),
                mtu_bytes: Some(MTU_BYTES),
                group: None,
            },
            peer: VethEnd {
                name: &guest,
                mac: Some(Mac(self.view.mac.0)),
                mtu_bytes: Some(MTU_BYTES),
                ..VethEnd::default()
            },
            peer_namespace: Some(self.node),
            ..VethSpec::default()
        };
        let attach = async {
            routing.create_veth(&spec).await?;
            for ip in [router(self.subnet.cidr), METADATA] {
                routing.add_address(&Address::new(self.index, host(ip))).await?;
            }
            routing.set_up(self.index).await?;
            routing.answer_proxied_at_once(self.index, Family::V4).await?;
            let next_hop = Neighbour {
                index: self.index,
                ip: NEXT_HOP.into(),
                mac: Some(Mac(self.view.mac.0)),
                permanent: true,
            };
            routing.replace_neighbour(&next_hop).await
        };
        attach.await.map_err(|source| Error::Attach {
            eni: self.eni.clone(),
            source,
        })
    }
}

impl Port {
    /// Takes away the routes of what is no longer assigned.
    pub(super) async fn unassign(
        &mut self,
        routing: &Routing,
        wanted: &BTreeSet<Ipv4Net>,
    ) -> Result<(), Error> {
        let gone: Vec<Ipv4Net> = self.routed.difference(wanted).copied().collect();
        let mut requests = Vec::with_capacity(gone.len());
        for net in &gone {
            requests.push(delete(routing, route(*net, self.index)));
        }
        let results = futures::future::join_all(requests).await;
        for (net, result) in gone.into_iter().zip(results) {
            match result {
                Err(error) if !error.is_gone() => return Err(kernel(error)),
                Ok(()) | Err(_) => self.routed.remove(&net),
            };
        }
        Ok(())
    }

    /// Makes the routes of what is newly assigned.
    pub(super) async fn assign(
        &mut self,
        routing: &Routing,
        wanted: &BTreeSet<Ipv4Net>,
    ) -> Result<(), Error> {
        let new: Vec<Ipv4Net> = wanted.difference(&self.routed).copied().collect();
        let mut requests = Vec::with_capacity(new.len());
        for net in &new {
            requests.push(replace(routing, route(*net, self.index)));
        }
        let results = futures::future::join_all(requests).await;
        for (net, result) in new.into_iter().zip(results) {
            result.map_err(kernel)?;
            self.routed.insert(net);
        }
        Ok(())
    }

    /// Whether another view is the same device.
    pub(super) fn is_same_device(&self, view: &EniView) -> bool {
        let own = &self.view;
        own.instance == view.instance
            && own.device_index == view.device_index
            && own.network_card == view.network_card
            && own.mac == view.mac
            && own.subnet == view.subnet
    }
}

/// Marks a device for deletion; its routes and addresses go with it.
pub(super) async fn doom(routing: &Routing, index: u32) -> Result<(), Error> {
    let change = LinkChange {
        up: Some(false),
        group: Some(DOOMED),
        ..LinkChange::default()
    };
    match routing.change_link(index, &change).await {
        Ok(()) => Ok(()),
        // The node died and took the device with it.
        Err(error) if error.is_gone() => Ok(()),
        Err(error) => Err(kernel(error)),
    }
}

/// What is to be routed to an ENI.
pub(super) fn assigned(view: &EniView) -> BTreeSet<Ipv4Net> {
    let addresses = view.addresses.iter().copied().map(Ipv4Net::from);
    addresses.chain(view.prefixes.iter().copied()).collect()
}

/// A subnet's router is at its base address plus one (AWS documentation, "Subnet CIDR blocks").
pub(super) fn router(cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(cidr.network()).saturating_add(1))
}

/// The name that Amazon Linux 2023 gives the device on one-card Nitro types: `ens5` for the primary, then on.
/// (Observed; software must find a device by its MAC.) Devices of further cards follow in blocks of 32.
pub(super) fn guest_name(view: &EniView) -> String {
    format!("ens{}", 5 + view.network_card * 32 + view.device_index)
}

async fn delete(routing: &Routing, route: Route) -> Result<(), netlink::Error> {
    routing.delete_route(&route).await
}

async fn replace(routing: &Routing, route: Route) -> Result<(), netlink::Error> {
    routing.replace_route(&route).await
}

fn route(net: Ipv4Net, index: u32) -> Route {
    Route {
        out: Some(index),
        gateway: Some(NEXT_HOP.into()),
        on_link: true,
        ..Route::new(IpNet::V4(net), MAIN_TABLE)
    }
}

fn host(ip: Ipv4Addr) -> IpNet {
    IpNet::V4(Ipv4Net::from(ip))
}
