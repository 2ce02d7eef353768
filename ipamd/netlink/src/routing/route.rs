//! Routes.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Routing;
use super::rule::Family;
use crate::error::Error;

/// A route with at most one next hop. Multipath routes read as having none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to; it also says the family.
    pub destination: IpNet,
    /// In which table.
    pub table: u32,
    /// What happens to matching packets.
    pub kind: RouteKind,
    /// Through which link.
    pub out: Option<u32>,
    /// Through which router.
    pub gateway: Option<IpAddr>,
    /// Whether the router counts as reachable on the link though no route says so.
    pub on_link: bool,
    /// How far away; IPv6 has no such thing and reads as [`Scope::Universe`].
    pub scope: Scope,
    /// The source address of packets that the node itself sends this way.
    pub source: Option<IpAddr>,
    /// Lower wins. IPv4 default 0; the kernel turns an IPv6 0 into 1024.
    pub metric: u32,
    /// Who says so (kernel, include/uapi/linux/rtnetlink.h, `RTPROT_*`).
    pub protocol: u8,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Sends on.
    Unicast,
    /// Delivers here.
    Local,
    /// Drops in silence.
    Blackhole,
    /// Drops and says "unreachable".
    Unreachable,
    /// Drops and says "prohibited".
    Prohibit,
    /// Something else, by the kernel's number.
    Other(u8),
}

/// How far an address or destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Anywhere.
    #[default]
    Universe,
    /// On the link.
    Link,
    /// On this host.
    Host,
    /// Nowhere: in a deletion, any.
    Nowhere,
    /// Something else, by the kernel's number.
    Other(u8),
}

/// `RTPROT_BOOT`, what `ip route add` writes.
const BOOT: u8 = 3;

impl Route {
    /// A unicast route in a table, without next hop yet.
    #[must_use]
    pub fn new(destination: IpNet, table: u32) -> Self {
        Self {
            destination,
            table,
            kind: RouteKind::Unicast,
            out: None,
            gateway: None,
            on_link: false,
            scope: Scope::Universe,
            source: None,
            metric: 0,
            protocol: BOOT,
        }
    }

    /// A route that drops in silence.
    #[must_use]
    pub fn blackhole(destination: IpNet, table: u32) -> Self {
        Self {
            kind: RouteKind::Blackhole,
            ..Self::new(destination, table)
        }
    }
}

impl Routing {
    /// The routes of one table and family, without cached and cloned ones. The kernel filters.
    ///
    /// # Errors
    /// When the kernel refuses, or the list changed under every attempt. A table that does not exist is empty.
    pub async fn routes(&self, family: Family, table: u32) -> Result<Vec<Route>, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = family.number();
        message.attributes.push(RouteAttribute::Table(table));
        let listed = self
            .dump(RouteNetlinkMessage::GetRoute(message), || {
                format!("list {family} routes of table {table}")
            })
            .await;
        match listed {
            Ok(messages) => Ok(messages.into_iter().filter_map(new).collect()),
            Err(error) if error.is_gone() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds a route.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_exists`] when one with this destination, table and metric is there.
    pub async fn add_route(&self, route: &Route) -> Result<(), Error> {
        self.write_route(route, NLM_F_EXCL, "add").await
    }

    /// Adds a route, in place of one with the same destination, table and metric if there is one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn replace_route(&self, route: &Route) -> Result<(), Error> {
        self.write_route(route, NLM_F_REPLACE, "replace").await
    }

    /// Deletes the route that matches in all that the value says: `None`, [`Scope::Nowhere`], protocol 0 and metric 0
    /// match any. The preferred source is not compared.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when there is none.
    pub async fn delete_route(&self, route: &Route) -> Result<(), Error> {
        let wanted = Route {
            source: None,
            ..route.clone()
        };
        let message = RouteNetlinkMessage::DelRoute(message(&wanted));
        self.change(message, 0, || {
            format!("delete route {} of table {}", route.destination, route.table)
        })
        .await
    }

    async fn write_route(&self, route: &Route, how: u16, verb: &str) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewRoute(message(route));
        self.change(message, NLM_F_CREATE | how, || {
            format!("{verb} route {} in table {}", route.destination, route.table)
        })
        .await
    }
}

impl RouteKind {
    fn number(self) -> RouteType {
        match self {
            Self::Unicast => RouteType::Unicast,
            Self::Local => RouteType::Local,
            Self::Blackhole => RouteType::BlackHole,
            Self::Unreachable => RouteType::Unreachable,
            Self::Prohibit => RouteType::Prohibit,
            Self::Other(number) => RouteType::from(number),
        }
    }

    fn from_number(kind: RouteType) -> Self {
        match kind {
            RouteType::Unicast => Self::Unicast,
            RouteType::Local => Self::Local,
            RouteType::BlackHole => Self::Blackhole,
            RouteType::Unreachable => Self::Unreachable,
            RouteType::Prohibit => Self::Prohibit,
            other => Self::Other(other.into()),
        }
    }

    fn goes_out(self) -> bool {
        !matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit)
    }
}

impl Scope {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Universe => 0,
            Self::Link => 253,
            Self::Host => 254,
            Self::Nowhere => 255,
            Self::Other(number) => number,
        }
    }

    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Universe,
            253 => Self::Link,
            254 => Self::Host,
            255 => Self::Nowhere,
            other => Self::Other(other),
        }
    }
}

pub(super) fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn message(route: &Route) -> RouteMessage {
    let destination = route.destination;
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(destination.addr());
    header.destination_prefix_length = destination.prefix_len();
    header.kind = route.kind.number();
    header.scope = RouteScope::from(route.scope.number());
    header.protocol = RouteProtocol::from(route.protocol);
    if route.on_link {
        header.flags = RouteFlags::Onlink;
    }
    message.attributes = vec![
        RouteAttribute::Table(route.table),
        RouteAttribute::Destination(destination.network().into()),
    ];
    message.attributes.extend(
        [
            route.out.map(RouteAttribute::Oif),
            route.gateway.map(|ip| RouteAttribute::Gateway(ip.into())),
            route.source.map(|ip| RouteAttribute::PrefSource(ip.into())),
            (route.metric != 0).then_some(RouteAttribute::Priority(route.metric)),
        ]
        .into_iter()
        .flatten(),
    );
    message
}

fn new(message: RouteNetlinkMessage) -> Option<Route> {
    match message {
        RouteNetlinkMessage::NewRoute(message) => decode(message),
        _ => None,
    }
}

/// `None` for what is no route of a table: caches, other families.
pub(crate) fn decode(message: RouteMessage) -> Option<Route> {
    let header = message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut route = Route {
        kind: RouteKind::from_number(header.kind),
        on_link: header.flags.contains(RouteFlags::Onlink),
        scope: Scope::from_number(header.scope.into()),
        protocol: header.protocol.into(),
        ..Route::new(IpNet::new(any, 0).ok()?, u32::from(header.table))
    };
    let mut destination = any;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => destination = ip(to)?,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Oif(index) if route.kind.goes_out() => route.out = Some(*index),
            RouteAttribute::Gateway(via) => route.gateway = ip(via),
            RouteAttribute::PrefSource(from) => route.source = ip(from),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    route.destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
