//! Links: what they are and how to find them.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};

use super::Routing;
use super::conf::Ipv4Conf;
use crate::error::Error;
use crate::mac::Mac;

/// A network device of the socket's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in this namespace.
    pub index: u32,
    /// Its name in this namespace.
    pub name: String,
    /// Its hardware address, where it has one of six bytes.
    pub mac: Option<Mac>,
    /// The largest packet it sends, in bytes.
    pub mtu_bytes: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is up, has a carrier and can pass packets.
    pub running: bool,
    /// Its group; 0 unless somebody chose one.
    pub group: u32,
    /// The bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
    /// For a veth: the peer's index, which counts in the peer's namespace.
    pub peer: Option<u32>,
    /// The number by which this namespace knows the peer's; none when the peer is in the same one.
    pub peer_namespace: Option<i32>,
    /// What made it.
    pub kind: LinkKind,
    /// The per-device IPv4 settings, where IPv4 is on.
    pub ipv4: Ipv4Conf,
}

/// The driver kinds that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkKind {
    /// A device without a kind: hardware and the loopback.
    #[default]
    Physical,
    /// One end of a veth pair.
    Veth,
    /// Any other kind, by its name in the kernel.
    Other(String),
}

impl Routing {
    /// Every link of the namespace.
    ///
    /// # Errors
    /// When the kernel refuses, or the list changed under every attempt.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let messages = self
            .dump(RouteNetlinkMessage::GetLink(request()), || {
                "list links".to_owned()
            })
            .await?;
        Ok(messages.into_iter().filter_map(new).collect())
    }

    /// The link with this name, or none.
    ///
    /// # Errors
    /// When the kernel refuses for another reason than that there is none.
    pub async fn link_by_name(&self, name: &str) -> Result<Option<Link>, Error> {
        let mut message = request();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.one_link(message, || format!("look up link {name}")).await
    }

    /// The link with this index, or none.
    ///
    /// # Errors
    /// When the kernel refuses for another reason than that there is none.
    pub async fn link_by_index(&self, index: u32) -> Result<Option<Link>, Error> {
        let mut message = request();
        message.header.index = index;
        self.one_link(message, || format!("look up link {index}")).await
    }

    /// The first link with this hardware address that is no VLAN, macvlan or other child of another link.
    ///
    /// # Errors
    /// As [`Routing::links`]: the kernel cannot look links up by address.
    pub async fn link_by_mac(&self, mac: Mac) -> Result<Option<Link>, Error> {
        let links = self.links().await?;
        Ok(links
            .into_iter()
            .find(|link| link.mac == Some(mac) && link.kind.stands_alone()))
    }

    async fn one_link(
        &self,
        message: LinkMessage,
        attempt: impl Fn() -> String,
    ) -> Result<Option<Link>, Error> {
        match self.get(RouteNetlinkMessage::GetLink(message), attempt).await {
            Ok(answer) => Ok(answer.and_then(new)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl LinkKind {
    fn stands_alone(&self) -> bool {
        match self {
            Self::Physical | Self::Veth => true,
            Self::Other(kind) => !matches!(
                kind.as_str(),
                "vlan" | "macvlan" | "macvtap" | "ipvlan" | "bridge" | "bond"
            ),
        }
    }
}

/// Counters are half of a link's message and nobody here reads them.
fn request() -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

fn new(message: RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => Some(decode(message)),
        _ => None,
    }
}

pub(crate) fn decode(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        running: message.header.flags.contains(LinkFlags::Running),
        ..Link::default()
    };
    for attribute in message.attributes {
        read(&mut link, attribute);
    }
    if link.kind != LinkKind::Veth {
        link.peer = None;
    }
    link
}

fn read(link: &mut Link, attribute: LinkAttribute) {
    match attribute {
        LinkAttribute::IfName(name) => link.name = name,
        LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes).ok().map(Mac),
        LinkAttribute::Mtu(mtu) => link.mtu_bytes = mtu,
        LinkAttribute::Group(group) => link.group = group,
        LinkAttribute::Controller(master) => link.master = Some(master),
        LinkAttribute::Link(peer) => link.peer = Some(peer),
        LinkAttribute::LinkNetNsId(id) => link.peer_namespace = Some(id),
        LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind).unwrap_or_default(),
        LinkAttribute::AfSpecUnspec(families) => link.ipv4 = Ipv4Conf::read(&families),
        _ => {}
    }
}

fn kind(info: &LinkInfo) -> Option<LinkKind> {
    match info {
        LinkInfo::Kind(InfoKind::Veth) => Some(LinkKind::Veth),
        LinkInfo::Kind(other) => Some(LinkKind::Other(other.to_string())),
        _ => None,
    }
}
