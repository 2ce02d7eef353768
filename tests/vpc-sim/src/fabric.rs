//! The VPC as packets meet it: one router namespace that makes itself look like the model's [`KernelView`].
//!
//! Every ENI is a veth from the router into its node. There is no bridge: EC2 never asks a node who has an address,
//! two ENIs of one node share no layer 2, and foreign MACs go nowhere. What a VPC drops is dropped and counted by ENI
//! and reason ([`Fabric::drops`]).
//!
//! Invariants: the applied state is a function of the last view; nothing appears in any namespace but the fabric's,
//! the internet's and the nodes'; a failed [`Fabric::apply`] can be repeated.
//!
//! Left out: several route tables per subnet, an internet that speaks IPv6, neighbour discovery for
//! anybody but the router (EC2's hosts hold /128 and know no neighbour), DNS.

mod advertise;
mod carrier;
mod check;
mod clock;
mod dhcp;
mod drops;
mod eni;
mod error;
mod groups;
mod igw;
mod services;
mod settings;
mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use netlink::nft::Count;
use netlink::{MAIN_TABLE, Route, Routing};

use crate::model::id::{EniId, InstanceId, SubnetId};
use crate::model::view::{EniView, KernelView};
use check::Checks;
use eni::{Place, Port};
use error::{ignore_gone, kernel};
use groups::Groups;
use igw::Gateway;
use subnet::Subnet;

pub use advertise::Advertiser;
pub use carrier::until_running;
pub use clock::tell_time;
pub use drops::{Drop, Reason};
pub use eni::MTU_BYTES;
pub use error::Error;
pub use igw::INTERNET;
pub use services::{METADATA, METADATA_IPV6, TIME};

/// The loopback is always link 1.
const LOOPBACK: u32 = 1;

/// Indexes of the fabric's ends are chosen from here on, clear of those that the kernel chooses.
const FIRST_INDEX: u32 = 10_000;

/// A running fabric. Dropping it takes every ENI away.
///
/// Register nodes ([`Fabric::power_on`], [`Fabric::power_off`]), then [`Fabric::apply`] each new view.
#[derive(Debug)]
pub struct Fabric {
    namespace: OwnedFd,
    routing: Routing,
    checks: Checks,
    groups: Groups,
    gateway: Gateway,
    nodes: BTreeMap<InstanceId, OwnedFd>,
    cidrs: BTreeSet<IpNet>,
    subnets: BTreeMap<SubnetId, Subnet>,
    ports: BTreeMap<EniId, Port>,
    /// What was counted on devices that are gone.
    past: BTreeMap<(EniId, Reason), Count>,
    next_index: u32,
}

impl Fabric {
    /// A fabric without anything in it, and the internet behind it.
    ///
    /// # Errors
    /// When namespaces or their contents are refused.
    pub async fn new() -> Result<Self, Error> {
        let namespace = settings::fresh_namespace()?;
        settings::write(namespace.as_fd(), &settings::ROUTER)?;
        let routing = Routing::open_in(namespace.as_fd()).map_err(kernel)?;
        igw::bring_up_loopback(&routing).await?;
        services::own(namespace.as_fd(), &routing, METADATA.into()).await?;
        let mut checks = Checks::install(namespace.as_fd()).map_err(Error::Firewall)?;
        let gateway = Gateway::install(namespace.as_fd(), &routing, &mut checks).await?;
        Ok(Self {
            namespace,
            routing,
            checks,
            groups: Groups::default(),
            gateway,
            nodes: BTreeMap::new(),
            cidrs: BTreeSet::new(),
            subnets: BTreeMap::new(),
            ports: BTreeMap::new(),
            past: BTreeMap::new(),
            next_index: FIRST_INDEX,
        })
    }

    /// The fabric's own namespace.
    #[must_use]
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// The namespace of the internet: every address of [`INTERNET`] is there.
    #[must_use]
    pub fn internet(&self) -> BorrowedFd<'_> {
        self.gateway.internet()
    }

    /// Says where an instance's devices go. After a reboot, call [`Fabric::power_off`] first.
    pub fn power_on(&mut self, instance: InstanceId, network: OwnedFd) {
        self.nodes.insert(instance, network);
    }

    /// Takes an instance's devices away and forgets where it was. Its addresses stay assigned, and unreachable.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn power_off(&mut self, instance: &InstanceId) -> Result<(), Error> {
        self.nodes.remove(instance);
        let enis = self
            .ports
            .iter()
            .filter(|(_, port)| port.view.instance == *instance);
        let enis = enis.map(|(eni, _)| eni.clone()).collect();
        self.detach(enis).await
    }

    /// Makes the namespaces look like `wanted`. ENIs of instances without power are left out.
    ///
    /// # Errors
    /// When the kernel refuses something. What was done stays; calling again goes on from there.
    pub async fn apply(&mut self, wanted: &KernelView) -> Result<(), Error> {
        self.apply_cidrs(&cidrs(wanted)).await?;
        self.add_subnets(&wanted.subnets).await?;
        let gone = self.ports.iter().filter(|(eni, port)| {
            let view = wanted.enis.get(*eni);
            !view.is_some_and(|view| port.is_same_device(view))
        });
        let gone = gone.map(|(eni, _)| eni.clone()).collect();
        self.detach(gone).await?;
        self.unassign(wanted).await?;
        let nft = &mut self.checks.nft;
        self.groups.apply(nft, wanted).map_err(Error::Firewall)?;
        self.attach(wanted).await?;
        self.assign(wanted).await?;
        self.remove_subnets(&wanted.subnets).await?;
        let public: BTreeMap<Ipv4Addr, Ipv4Addr> = wanted
            .enis
            .values()
            .flat_map(|view| view.public.clone())
            .collect();
        self.gateway.set_public(&mut self.checks, public)
    }

    /// Does what the instance's DHCP client does to its primary ENI, and returns when the ENI passes packets.
    ///
    /// # Errors
    /// When the ENI is not attached, or the node's kernel refuses.
    pub async fn configure_primary(&self, eni: &EniId) -> Result<(), Error> {
        let not_attached = || Error::NotAttached { eni: eni.clone() };
        let port = self.ports.get(eni).ok_or_else(not_attached)?;
        let node = self.nodes.get(&port.view.instance).ok_or_else(not_attached)?;
        let subnet = self.subnets.get(&port.view.subnet).ok_or_else(not_attached)?;
        dhcp::configure(node.as_fd(), &port.view, &subnet.view).await?;
        self.until_running(eni).await
    }

    /// Returns when an ENI whose device the guest has set up passes packets in both directions.
    ///
    /// # Errors
    /// When the ENI is not attached, or its device stays down for ten seconds.
    pub async fn until_running(&self, eni: &EniId) -> Result<(), Error> {
        let port = self
            .ports
            .get(eni)
            .ok_or_else(|| Error::NotAttached { eni: eni.clone() })?;
        carrier::until_running(self.namespace.as_fd(), &self.routing, port.index).await
    }

    /// What was dropped so far: only what counted at all, by ENI and reason.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn drops(&mut self) -> Result<Vec<Drop>, Error> {
        let mut all = self.past.clone();
        for (eni, reason, count) in self.current()? {
            add(&mut all, eni, reason, count);
        }
        Ok(all
            .into_iter()
            .filter(|(_, count)| count.packets > 0)
            .map(|((eni, reason), count)| Drop {
                eni,
                reason,
                packets: count.packets,
                bytes: count.bytes,
            })
            .collect())
    }

    /// Listens inside the fabric, at an address that becomes the fabric's own.
    ///
    /// # Errors
    /// When the address is in use.
    pub async fn listen(&self, address: SocketAddr) -> Result<TcpListener, Error> {
        services::own(self.namespace.as_fd(), &self.routing, address.ip()).await?;
        services::listen(self.namespace.as_fd(), address)
    }

    /// Binds a UDP socket inside the fabric, at an address that becomes the fabric's own.
    ///
    /// # Errors
    /// When the address is in use.
    pub async fn bind(&self, address: SocketAddr) -> Result<UdpSocket, Error> {
        services::own(self.namespace.as_fd(), &self.routing, address.ip()).await?;
        services::bind(self.namespace.as_fd(), address)
    }

    /// The router's voice on every link, ready to advertise.
    ///
    /// # Errors
    /// When the kernel refuses its socket.
    pub fn advertiser(&self) -> Result<Advertiser, Error> {
        Advertiser::open(self.namespace.as_fd())
    }

    async fn apply_cidrs(&mut self, wanted: &BTreeSet<IpNet>) -> Result<(), Error> {
        if *wanted == self.cidrs {
            return Ok(());
        }
        for cidr in wanted.difference(&self.cidrs) {
            let nowhere = Route::blackhole(*cidr, MAIN_TABLE);
            self.routing.replace_route(&nowhere).await.map_err(kernel)?;
        }
        for cidr in self.cidrs.difference(wanted) {
            let nowhere = Route::blackhole(*cidr, MAIN_TABLE);
            ignore_gone(self.routing.delete_route(&nowhere).await)?;
        }
        self.checks.set_cidrs(wanted).map_err(Error::Firewall)?;
        self.cidrs.clone_from(wanted);
        Ok(())
    }

    async fn detach(&mut self, enis: BTreeSet<EniId>) -> Result<(), Error> {
        if enis.is_empty() {
            return Ok(());
        }
        for (eni, reason, count) in self.current()? {
            if enis.contains(&eni) {
                add(&mut self.past, eni, reason, count);
            }
        }
        for eni in &enis {
            if let Some(port) = self.ports.get(eni) {
                eni::doom(&self.routing, port.index).await?;
                self.checks.remove(&port.checked).map_err(Error::Firewall)?;
            }
            self.ports.remove(eni);
        }
        ignore_gone(self.routing.delete_group(eni::DOOMED).await)
    }

    async fn attach(&mut self, wanted: &KernelView) -> Result<(), Error> {
        for (eni, view) in &wanted.enis {
            if self.ports.contains_key(eni) {
                continue;
            }
            let Some(node) = self.nodes.get(&view.instance) else {
                continue;
            };
            let subnet = self
                .subnets
                .get(&view.subnet)
                .ok_or_else(|| Error::UnknownSubnet {
                    eni: eni.clone(),
                    subnet: view.subnet.clone(),
                })?;
            let place = Place {
                eni,
                view,
                subnet: &subnet.view,
                subnet_number: subnet.number,
                node: node.as_fd(),
                index: self.next_index,
            };
            self.next_index += 1;
            let checked = place.checked();
            self.checks.add(&checked).map_err(Error::Firewall)?;
            if let Err(error) = place.attach(&self.routing, &checked.device).await {
                self.checks.remove(&checked).map_err(Error::Firewall)?;
                ignore_gone(self.routing.delete_link(place.index).await)?;
                return Err(error);
            }
            let port = Port {
                view: view.clone(),
                index: place.index,
                checked,
                routed: BTreeSet::new(),
            };
            self.ports.insert(eni.clone(), port);
        }
        Ok(())
    }

    async fn unassign(&mut self, wanted: &KernelView) -> Result<(), Error> {
        for (eni, port) in &mut self.ports {
            if let Some(view) = wanted.enis.get(eni) {
                port.unassign(&self.routing, &eni::assigned(view)).await?;
            }
        }
        Ok(())
    }

    async fn assign(&mut self, wanted: &KernelView) -> Result<(), Error> {
        for (eni, port) in &mut self.ports {
            let Some(view) = wanted.enis.get(eni) else {
                continue;
            };
            port.assign(&self.routing, &eni::assigned(view)).await?;
            let on = view.source_dest_check;
            if port.checked.source_check != on {
                let device = &port.checked.device;
                self.checks
                    .set_source_check(device, on)
                    .map_err(Error::Firewall)?;
                port.checked.source_check = on;
            }
            port.view = EniView::clone(view);
        }
        Ok(())
    }

    /// What the devices that are there have counted.
    fn current(&mut self) -> Result<Vec<(EniId, Reason, Count)>, Error> {
        let counts = self.checks.counts().map_err(Error::Firewall)?;
        let owner = |device: &str| {
            let mut ports = self.ports.iter();
            ports
                .find(|(_, port)| port.checked.device == device)
                .map(|(eni, _)| eni.clone())
        };
        Ok(counts
            .into_iter()
            .filter_map(|(device, reason, count)| Some((owner(&device)?, reason, count)))
            .collect())
    }
}

/// The VPC's CIDRs of both families.
fn cidrs(view: &KernelView) -> BTreeSet<IpNet> {
    let ipv4 = view.vpc_cidrs.iter().copied().map(IpNet::V4);
    ipv4.chain(view.vpc_ipv6_cidrs.iter().copied().map(IpNet::V6))
        .collect()
}

fn add(all: &mut BTreeMap<(EniId, Reason), Count>, eni: EniId, reason: Reason, count: Count) {
    let sum = all.entry((eni, reason)).or_default();
    sum.packets += count.packets;
    sum.bytes += count.bytes;
}
