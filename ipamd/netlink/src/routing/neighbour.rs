//! Neighbours: who answers for an address on a link, told to the kernel instead of asked.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::neighbour_table::{
    NeighbourTableAttribute, NeighbourTableMessage, NeighbourTableParameter,
};

use super::Routing;
use super::route::family;
use super::rule::Family;
use crate::error::Error;
use crate::mac::Mac;

/// An entry of a link's neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The link.
    pub index: u32,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// Its hardware address; none while it is unknown.
    pub mac: Option<Mac>,
    /// Whether the entry stays until deleted, instead of being asked for.
    pub permanent: bool,
}

impl Routing {
    /// The neighbours of one link, or of all. The kernel filters.
    ///
    /// # Errors
    /// When the kernel refuses, or the list changed under every attempt. No such link is an empty list.
    pub async fn neighbours(&self, index: Option<u32>) -> Result<Vec<Neighbour>, Error> {
        let mut message = NeighbourMessage::default();
        message.attributes.extend(index.map(NeighbourAttribute::IfIndex));
        let listed = self
            .dump(RouteNetlinkMessage::GetNeighbour(message), || {
                "list neighbours".to_owned()
            })
            .await;
        match listed {
            Ok(messages) => Ok(messages.into_iter().filter_map(decode).collect()),
            Err(error) if error.is_gone() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds a neighbour.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_exists`] when the link has an entry for the address.
    pub async fn add_neighbour(&self, neighbour: &Neighbour) -> Result<(), Error> {
        self.write_neighbour(neighbour, NLM_F_EXCL, "add").await
    }

    /// Adds a neighbour, or changes the entry that is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn replace_neighbour(&self, neighbour: &Neighbour) -> Result<(), Error> {
        self.write_neighbour(neighbour, NLM_F_REPLACE, "replace").await
    }

    /// Deletes a neighbour.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when there is none.
    pub async fn delete_neighbour(&self, neighbour: &Neighbour) -> Result<(), Error> {
        let message = RouteNetlinkMessage::DelNeighbour(message(neighbour));
        self.change(message, 0, || {
            format!("delete neighbour {} of link {}", neighbour.ip, neighbour.index)
        })
        .await
    }

    /// Makes a link answer for others (proxy ARP, proxy NDP) at once instead of after a random delay of up to 0.8 s.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when there is no such link.
    pub async fn answer_proxied_at_once(&self, index: u32, family: Family) -> Result<(), Error> {
        let table = match family {
            Family::V4 => "arp_cache",
            Family::V6 => "ndisc_cache",
        };
        let mut message = NeighbourTableMessage::default();
        message.header.family = family.number();
        message.attributes = vec![
            NeighbourTableAttribute::Name(table.to_owned()),
            NeighbourTableAttribute::Parms(vec![
                NeighbourTableParameter::Ifindex(index),
                NeighbourTableParameter::ProxyDelay(0),
            ]),
        ];
        self.change(
            RouteNetlinkMessage::SetNeighbourTable(message),
            NLM_F_REPLACE,
            || format!("set the proxy delay of link {index} in {table} to 0"),
        )
        .await
    }

    async fn write_neighbour(&self, neighbour: &Neighbour, how: u16, verb: &str) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewNeighbour(message(neighbour));
        self.change(message, NLM_F_CREATE | how, || {
            format!("{verb} neighbour {} on link {}", neighbour.ip, neighbour.index)
        })
        .await
    }
}

fn message(neighbour: &Neighbour) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(neighbour.ip);
    message.header.ifindex = neighbour.index;
    message.header.state = if neighbour.permanent {
        NeighbourState::Permanent
    } else {
        NeighbourState::Reachable
    };
    message
        .attributes
        .push(NeighbourAttribute::Destination(match neighbour.ip {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        }));
    message.attributes.extend(
        neighbour
            .mac
            .map(|mac| NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())),
    );
    message
}

fn decode(message: RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else {
        return None;
    };
    let (mut ip, mut mac) = (None, None);
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(IpAddr::V4(v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(IpAddr::V6(v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes).ok().map(Mac),
            _ => {}
        }
    }
    Some(Neighbour {
        index: message.header.ifindex,
        ip: ip?,
        mac,
        permanent: message.header.state == NeighbourState::Permanent,
    })
}
