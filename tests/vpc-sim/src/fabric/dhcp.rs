//! What an instance's DHCP client does to the primary ENI (observed on Amazon Linux 2023): the address with its
//! subnet's length, the router on the link, a default route with metric 512 and a source, and the device up; and the
//! same for IPv6 where the ENI has such addresses.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{Address, MAIN_TABLE, Mac, Route, Routing, Scope};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::{Error, eni, kernel};
use crate::model::view::{EniView, SubnetView};

/// The metric of routes that come by DHCP there.
const METRIC: u32 = 512;

/// `RTPROT_DHCP` (kernel, include/uapi/linux/rtnetlink.h).
const DHCP: u8 = 16;

/// `RTPROT_RA` (the same).
const ADVERTISED: u8 = 9;

/// Configures the primary ENI of a node. The device must have arrived.
pub(super) async fn configure(
    node: BorrowedFd<'_>,
    view: &EniView,
    subnet: &SubnetView,
) -> Result<(), Error> {
    let routing = Routing::open_in(node).map_err(kernel)?;
    super::igw::bring_up_loopback(&routing).await?;
    let link = routing.link_by_mac(Mac(view.mac.0)).await.map_err(kernel)?;
    let index = link.map(|link| link.index).ok_or_else(|| Error::Lost {
        device: eni::guest_name(view),
    })?;
    routing.set_up(index).await.map_err(kernel)?;
    let own = Ipv4Net::new(view.primary, subnet.cidr.prefix_len()).unwrap_or_else(|_| view.primary.into());
    let mut address = Address::new(index, IpNet::V4(own));
    address.no_prefix_route = true;
    routing.replace_address(&address).await.map_err(kernel)?;
    let router = eni::router(subnet.cidr);
    let route = |destination, gateway, scope| Route {
        out: Some(index),
        gateway,
        scope,
        source: Some(view.primary.into()),
        metric: METRIC,
        protocol: DHCP,
        ..Route::new(destination, MAIN_TABLE)
    };
    for route in [
        route(IpNet::V4(subnet.cidr), None, Scope::Link),
        route(IpNet::V4(router.into()), None, Scope::Link),
        route(
            IpNet::V4(Ipv4Net::default()),
            Some(router.into()),
            Scope::Universe,
        ),
    ] {
        routing.replace_route(&route).await.map_err(kernel)?;
    }
    configure_ipv6(&routing, index, view).await
}

/// The addresses that DHCPv6 gives, each for itself, and the route that the router's advertisement gives; the
/// system's network daemon makes both, whatever the kernel thinks of advertisements.
async fn configure_ipv6(routing: &Routing, index: u32, view: &EniView) -> Result<(), Error> {
    for ip in &view.ipv6_addresses {
        let mut address = Address::new(index, IpNet::from(IpAddr::V6(*ip)));
        address.no_dad = true;
        routing.replace_address(&address).await.map_err(kernel)?;
    }
    if view.ipv6_addresses.is_empty() {
        return Ok(());
    }
    let default = Route {
        out: Some(index),
        gateway: Some(eni::ROUTER_IPV6.into()),
        metric: METRIC,
        protocol: ADVERTISED,
        ..Route::new(IpNet::V6(Ipv6Net::default()), MAIN_TABLE)
    };
    routing.replace_route(&default).await.map_err(kernel)
}
