//! Addresses on links.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use super::Routing;
use super::route::{self, Scope};
use crate::error::Error;

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub index: u32,
    /// The address with its prefix length; host bits are kept.
    pub address: IpNet,
    /// Where it is valid. IPv6 decides this itself.
    pub scope: Scope,
    /// Whether the kernel makes no connected route for it.
    pub no_prefix_route: bool,
    /// IPv6: whether duplicate address detection is skipped.
    pub no_dad: bool,
    /// IPv6: not usable yet, or found to be somebody else's. Read only.
    pub unusable: bool,
}

impl Address {
    /// A plain address of global scope on a link.
    #[must_use]
    pub fn new(index: u32, address: IpNet) -> Self {
        Self {
            index,
            address,
            scope: Scope::Universe,
            no_prefix_route: false,
            no_dad: false,
            unusable: false,
        }
    }
}

impl Routing {
    /// The addresses of one link, or of all. The kernel filters.
    ///
    /// # Errors
    /// When the kernel refuses, or the list changed under every attempt. No such link is an empty list.
    pub async fn addresses(&self, index: Option<u32>) -> Result<Vec<Address>, Error> {
        let mut message = AddressMessage::default();
        message.header.index = index.unwrap_or(0);
        let listed = self
            .dump(RouteNetlinkMessage::GetAddress(message), || {
                "list addresses".to_owned()
            })
            .await;
        match listed {
            Ok(messages) => Ok(messages.into_iter().filter_map(decode).collect()),
            Err(error) if error.is_gone() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds an address.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_exists`] when the link has it already.
    pub async fn add_address(&self, address: &Address) -> Result<(), Error> {
        self.write_address(address, NLM_F_EXCL, "add").await
    }

    /// Adds an address, or changes the flags of one that is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn replace_address(&self, address: &Address) -> Result<(), Error> {
        self.write_address(address, NLM_F_REPLACE, "replace").await
    }

    /// Deletes an address.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when the link does not have it.
    pub async fn delete_address(&self, index: u32, address: IpNet) -> Result<(), Error> {
        let message = RouteNetlinkMessage::DelAddress(message(&Address::new(index, address)));
        self.change(message, 0, || format!("delete address {address} of link {index}"))
            .await
    }

    async fn write_address(&self, address: &Address, how: u16, verb: &str) -> Result<(), Error> {
        let message = RouteNetlinkMessage::NewAddress(message(address));
        self.change(message, NLM_F_CREATE | how, || {
            format!("{verb} address {} on link {}", address.address, address.index)
        })
        .await
    }
}

fn message(address: &Address) -> AddressMessage {
    let ip = address.address.addr();
    let mut message = AddressMessage::default();
    message.header.family = route::family(ip);
    message.header.prefix_len = address.address.prefix_len();
    message.header.index = address.index;
    message.header.scope = AddressScope::from(address.scope.number());
    message.attributes.push(AddressAttribute::Address(ip));
    if ip.is_ipv4() {
        message.attributes.push(AddressAttribute::Local(ip));
    }
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, address.no_prefix_route);
    flags.set(AddressFlags::Nodad, address.no_dad);
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message
}

fn decode(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    let (mut local, mut given, mut flags) = (None, None, AddressFlags::empty());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => given = Some(*ip),
            AddressAttribute::Flags(bits) => flags = *bits,
            _ => {}
        }
    }
    // IFA_LOCAL is the address and IFA_ADDRESS the other side on point-to-point links; IPv6 gives only the latter.
    let ip: IpAddr = local.or(given)?;
    Some(Address {
        index: message.header.index,
        address: IpNet::new(ip, message.header.prefix_len).ok()?,
        scope: Scope::from_number(message.header.scope.into()),
        no_prefix_route: flags.contains(AddressFlags::Noprefixroute),
        no_dad: flags.contains(AddressFlags::Nodad),
        unusable: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
    })
}
