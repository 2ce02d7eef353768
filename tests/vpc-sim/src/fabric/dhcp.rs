//! What an instance's DHCP client does to the primary ENI (observed on Amazon Linux 2023): the address with its
//! subnet's length, the router on the link, a default route with metric 512 and a source, and the device up.

use ipnet::{IpNet, Ipv4Net};
use netlink::{Address, MAIN_TABLE, Mac, Route, Routing, Scope};
use std::os::fd::BorrowedFd;

use super::{Error, eni, kernel};
use crate::model::view::{EniView, SubnetView};

/// The metric of routes that come by DHCP there.
const METRIC: u32 = 512;

/// `RTPROT_DHCP` (kernel, include/uapi/linux/rtnetlink.h).
const DHCP: u8 = 16;

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
    Ok(())
}
