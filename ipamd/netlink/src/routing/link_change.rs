//! Changing and deleting links: one message each.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};

use super::Routing;
use crate::error::Error;
use crate::mac::Mac;

/// What to change about a link; what is `None` stays as it is. All of it is one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChange<'a> {
    /// Up or down.
    pub up: Option<bool>,
    /// A new name. Kernels before 6.2 rename only links that are down.
    pub name: Option<&'a str>,
    /// A new hardware address.
    pub mac: Option<Mac>,
    /// A new largest packet, in bytes.
    pub mtu_bytes: Option<u32>,
    /// A new group.
    pub group: Option<u32>,
    /// Whether the kernel gives the link an IPv6 link-local address of its own when it comes up. Say so in a message
    /// before that: within one, the kernel brings the link up first.
    pub link_local: Option<bool>,
}

impl Routing {
    /// Changes the link with this index.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when there is no such link.
    pub async fn change_link(&self, index: u32, change: &LinkChange<'_>) -> Result<(), Error> {
        let message = RouteNetlinkMessage::SetLink(message(index, change));
        self.change(message, 0, || format!("change link {index}: {change:?}"))
            .await
    }

    /// Sets the link up.
    ///
    /// # Errors
    /// As [`Routing::change_link`].
    pub async fn set_up(&self, index: u32) -> Result<(), Error> {
        let up = LinkChange {
            up: Some(true),
            ..LinkChange::default()
        };
        self.change_link(index, &up).await
    }

    /// Sets the link down.
    ///
    /// # Errors
    /// As [`Routing::change_link`].
    pub async fn set_down(&self, index: u32) -> Result<(), Error> {
        let down = LinkChange {
            up: Some(false),
            ..LinkChange::default()
        };
        self.change_link(index, &down).await
    }

    /// Deletes the link with this index. Waits for the kernel's grace period: some 16 ms.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when there is no such link.
    pub async fn delete_link(&self, index: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.change(RouteNetlinkMessage::DelLink(message), 0, || {
            format!("delete link {index}")
        })
        .await
    }

    /// Deletes every link of a group in one grace period.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when the group is empty. Group 0 holds every link that nobody
    /// gave a group, so it is refused here.
    pub async fn delete_group(&self, group: u32) -> Result<(), Error> {
        let attempt = || format!("delete the links of group {group}");
        if group == 0 {
            return Err(Error::Refused {
                attempt: attempt(),
                explained: "group 0 is every link without a group".to_owned(),
                errno: nix::errno::Errno::EPERM,
            });
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(group));
        self.change(RouteNetlinkMessage::DelLink(message), 0, attempt)
            .await
    }
}

/// Whether the kernel makes up an IPv6 link-local address (kernel, include/uapi/linux/if_link.h,
/// `IN6_ADDR_GEN_MODE_*`).
pub(super) fn link_local(wanted: bool) -> LinkAttribute {
    let mode = if wanted {
        In6AddrGenMode::Eui64
    } else {
        In6AddrGenMode::None
    };
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)])])
}

fn message(index: u32, change: &LinkChange<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if let Some(up) = change.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    message.attributes.extend(
        [
            change.name.map(|name| LinkAttribute::IfName(name.to_owned())),
            change.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())),
            change.mtu_bytes.map(LinkAttribute::Mtu),
            change.group.map(LinkAttribute::Group),
            change.link_local.map(link_local),
        ]
        .into_iter()
        .flatten(),
    );
    message
}
