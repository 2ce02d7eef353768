//! One ENI as packets meet it: a veth from the fabric into a node, a router at the fabric's end, and a route for each
//! address and prefix.
//!
//! A fake next hop carries the ENI's MAC, so the fabric never asks a node who has an address, as EC2 never does.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
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

/// The same for IPv6.
const NEXT_HOP_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xffff);

/// The router of a subnet with IPv6, on the link (assumed: nothing but advertisements names it).
pub(super) const ROUTER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The gateway that amazon-vpc-cni-k8s uses for IPv6 (its documentation and source); EC2's routers answer to it.
const GATEWAY_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0x0ec2, 0, 0, 0, 0, 0, 1);

/// The group of devices that are about to be deleted together: one grace period of the kernel for all.
pub(super) const DOOMED: u32 = 0xdead;

/// An attached ENI.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) view: EniView,
    pub(super) index: u32,
    pub(super) checked: Checked,
    /// What is routed to it now.
    pub(super) routed: BTreeSet<IpNet>,
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
    /// What the checks have to know.
    pub(super) fn checked(&self) -> Checked {
        Checked {
            device: device_name(self.eni),
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
            for address in self.ipv6_router() {
                routing.add_address(&address).await?;
            }
            routing.set_up(self.index).await?;
            routing.answer_proxied_at_once(self.index, Family::V4).await?;
            for ip in [IpAddr::V4(NEXT_HOP), IpAddr::V6(NEXT_HOP_IPV6)] {
                routing.replace_neighbour(&self.neighbour(ip)).await?;
            }
            Ok(())
        };
        attach.await.map_err(|source| Error::Attach {
            eni: self.eni.clone(),
            source,
        })
    }

    /// The router's addresses in a subnet with IPv6.
    fn ipv6_router(&self) -> Vec<Address> {
        let routers = self.subnet.ipv6_cidr.map(|_| [ROUTER_IPV6, GATEWAY_IPV6]);
        let address = |ip| Address {
            no_dad: true,
            ..Address::new(self.index, link_local(ip))
        };
        routers.into_iter().flatten().map(address).collect()
    }

    fn neighbour(&self, ip: IpAddr) -> Neighbour {
        Neighbour {
            index: self.index,
            ip,
            mac: Some(Mac(self.view.mac.0)),
            permanent: true,
        }
    }
}

impl Port {
    /// Takes away the routes of what is no longer assigned.
    pub(super) async fn unassign(
        &mut self,
        routing: &Routing,
        wanted: &BTreeSet<IpNet>,
    ) -> Result<(), Error> {
        let gone: Vec<IpNet> = self.routed.difference(wanted).copied().collect();
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
    pub(super) async fn assign(&mut self, routing: &Routing, wanted: &BTreeSet<IpNet>) -> Result<(), Error> {
        let new: Vec<IpNet> = wanted.difference(&self.routed).copied().collect();
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

/// The fabric's end is called after the last digits of the ENI's id: a device name holds fifteen characters.
pub(super) fn device_name(eni: &EniId) -> String {
    let id = eni.as_str();
    let digits = id.get(id.len().saturating_sub(11)..).unwrap_or(id);
    format!("eni-{}", digits.trim_start_matches("eni-"))
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
pub(super) fn assigned(view: &EniView) -> BTreeSet<IpNet> {
    let addresses = view.addresses.iter().copied().map(host);
    let prefixes = view.prefixes.iter().copied().map(IpNet::V4);
    let ipv6_addresses = view.ipv6_addresses.iter().map(|ip| IpNet::from(IpAddr::V6(*ip)));
    let ipv6_prefixes = view.ipv6_prefixes.iter().copied().map(IpNet::V6);
    let ipv4 = addresses.chain(prefixes);
    ipv4.chain(ipv6_addresses).chain(ipv6_prefixes).collect()
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

fn route(net: IpNet, index: u32) -> Route {
    let next_hop = match net {
        IpNet::V4(_) => IpAddr::V4(NEXT_HOP),
        IpNet::V6(_) => IpAddr::V6(NEXT_HOP_IPV6),
    };
    Route {
        out: Some(index),
        gateway: Some(next_hop),
        on_link: true,
        ..Route::new(net, MAIN_TABLE)
    }
}

/// A link-local address with its link's length (RFC 4291).
fn link_local(ip: Ipv6Addr) -> IpNet {
    Ipv6Net::new(ip, 64).map_or_else(|_| IpAddr::V6(ip).into(), IpNet::V6)
}

fn host(ip: Ipv4Addr) -> IpNet {
    IpNet::V4(Ipv4Net::from(ip))
}
