//! Per-device IPv4 settings over netlink: the sysctls of `net.ipv4.conf.<device>` without a writable `/proc/sys`.
//!
//! Numbers from the kernel's include/uapi/linux/ip.h (`IPV4_DEVCONF_*`); they are part of its binary interface.

use netlink_packet_core::{DefaultNla, NLA_F_NESTED};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, LinkAttribute, LinkMessage};

use super::Routing;
use crate::error::Error;

/// The nest of per-device settings (kernel, include/uapi/linux/if_link.h, `IFLA_INET_CONF`).
const IFLA_INET_CONF: u16 = 1;

/// One per-device IPv4 setting; the number is its place in the kernel's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Ipv4Setting {
    /// `forwarding`.
    Forwarding = 1,
    /// `proxy_arp`.
    ProxyArp = 3,
    /// `accept_redirects`.
    AcceptRedirects = 4,
    /// `send_redirects`.
    SendRedirects = 6,
    /// `rp_filter`: 0 off, 1 strict, 2 loose.
    RpFilter = 8,
    /// `arp_ignore`.
    ArpIgnore = 19,
    /// `src_valid_mark`: whether the reverse path is looked up with the packet's mark.
    SrcValidMark = 24,
}

/// The per-device IPv4 settings that somebody here reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipv4Conf {
    /// `forwarding`.
    pub forwarding: bool,
    /// `proxy_arp`.
    pub proxy_arp: bool,
    /// `rp_filter`: 0 off, 1 strict, 2 loose. The kernel uses the larger of this and that of `all`.
    pub rp_filter: u32,
    /// `src_valid_mark`. The kernel uses this or that of `all`.
    pub src_valid_mark: bool,
    /// `arp_ignore`.
    pub arp_ignore: u32,
}

impl Routing {
    /// Sets per-device IPv4 settings of one link, all in one message.
    ///
    /// # Errors
    /// When the kernel refuses; [`Error::is_gone`] when there is no such link.
    pub async fn set_ipv4_conf(&self, index: u32, settings: &[(Ipv4Setting, u32)]) -> Result<(), Error> {
        let mut values = Vec::with_capacity(settings.len() * 8);
        for (setting, value) in settings {
            values.extend(8u16.to_ne_bytes());
            values.extend((*setting as u16).to_ne_bytes());
            values.extend(value.to_ne_bytes());
        }
        let nest = AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, values));
        let mut message = LinkMessage::default();
        message.header.index = index;
        message
            .attributes
            .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![nest])]));
        self.change(RouteNetlinkMessage::SetLink(message), 0, || {
            format!("set IPv4 settings of link {index}: {settings:?}")
        })
        .await
    }
}

impl Ipv4Conf {
    pub(super) fn read(families: &[AfSpecUnspec]) -> Self {
        let inet = families.iter().find_map(|family| match family {
            AfSpecUnspec::Inet(attributes) => Some(attributes),
            _ => None,
        });
        let conf = inet.into_iter().flatten().find_map(|attribute| match attribute {
            AfSpecInet::DevConf(conf) => Some(conf),
            _ => None,
        });
        conf.map_or_else(Self::default, |conf| Self {
            forwarding: conf.forwarding != 0,
            proxy_arp: conf.proxy_arp != 0,
            rp_filter: u32::try_from(conf.rp_filter).unwrap_or(0),
            src_valid_mark: conf.src_vmark != 0,
            arp_ignore: u32::try_from(conf.arp_ignore).unwrap_or(0),
        })
    }
}
