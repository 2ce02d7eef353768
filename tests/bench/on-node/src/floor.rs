//! The floor of an ADD's kernel work: the same changes as the plugin's, by bytes written here, one message a round trip
//! over two sockets, with both interface indexes chosen so that nothing is read back. No runtime, no allocation between
//! the messages that matters.
//!
//! Message types, attributes and flags: the kernel's include/uapi/linux/{netlink,rtnetlink,if_link,if_addr,neighbour,
//! veth}.h, of Linux 6.18.

mod message;

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use crate::device::BENCH_GROUP;
use message::Message;

/// Routes of measurements are in a table that nobody else looks at.
pub(crate) const FLOOR_TABLE: u32 = 7777;

/// Indexes far from those that the kernel chooses in a run.
const FIRST_INDEX: u32 = 40_000_000;

const NEWLINK: u16 = 16;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const NEWNEIGH: u16 = 28;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const REPLACE: u16 = 0x100;

/// Wires one pod and says how long the kernel took.
pub(crate) fn wire(number: u32, path: &Path) -> Result<Duration> {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 168, 0, 1)).wrapping_add(number));
    let (host_end, pod_end) = (FIRST_INDEX + 2 * number, FIRST_INDEX + 2 * number + 1);
    let began = Instant::now();
    let namespace = OwnedFd::from(std::fs::File::open(path).context("open the pod's namespace")?);
    let host = Socket::open()?;
    let pod = netlink::netns::inside(namespace.as_fd(), Socket::open)??;
    host.change(&pair(number, host_end, pod_end, namespace.as_raw_fd()))?;
    for (socket, index) in [(&host, host_end), (&pod, pod_end)] {
        socket.change(&without_link_local(index))?;
        socket.change(&up(index))?;
    }
    pod.change(&own_address(pod_end, address))?;
    pod.change(&to_gateway(pod_end))?;
    pod.change(&by_gateway(pod_end))?;
    pod.change(&gateway_mac(pod_end))?;
    host.change(&to_pod(host_end, address))?;
    Ok(began.elapsed())
}

/// The pod's next hop, as ours.
const GATEWAY: [u8; 4] = [169, 254, 1, 1];

fn mac(end: u8, number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [2, end, a, b, c, d]
}

/// The veth with its peer born in the pod: name, MAC, MTU, one queue, group and index of each.
fn pair(number: u32, host_end: u32, pod_end: u32, namespace: i32) -> Message {
    let describe = |message: &mut Message, name: &str, mac: [u8; 6]| {
        message.text(3, name);
        message.attribute(1, &mac);
        message.u32(4, 9001);
        message.u32(31, 1);
        message.u32(32, 1);
        message.u32(27, BENCH_GROUP);
    };
    let mut message = Message::new(NEWLINK, CREATE | EXCLUSIVE);
    message.link_header(host_end, 0, 0);
    describe(&mut message, &format!("enifloor{number}"), mac(1, number));
    message.nest(18, |info| {
        info.attribute(1, b"veth");
        info.nest(2, |data| {
            data.nest(1, |peer| {
                peer.link_header(pod_end, 0, 0);
                describe(peer, "eth0", mac(2, number));
                peer.attribute(28, &namespace.to_ne_bytes());
            });
        });
    });
    message
}

/// `IFLA_AF_SPEC`, `AF_INET6`, `IFLA_INET6_ADDR_GEN_MODE`: none.
fn without_link_local(index: u32) -> Message {
    let mut message = Message::new(SETLINK, 0);
    message.link_header(index, 0, 0);
    message.nest(26, |families| families.nest(10, |inet6| inet6.attribute(8, &[1])));
    message
}

fn up(index: u32) -> Message {
    let mut message = Message::new(SETLINK, 0);
    message.link_header(index, 1, 1);
    message
}

fn own_address(index: u32, address: Ipv4Addr) -> Message {
    let mut message = Message::new(NEWADDR, CREATE | EXCLUSIVE);
    let [a, b, c, d] = index.to_ne_bytes();
    message.raw(&[2, 32, 0, 0, a, b, c, d]);
    message.attribute(2, &address.octets());
    message.attribute(1, &address.octets());
    message
}

/// `struct rtmsg`: family, lengths, table (254 is main), protocol static, scope, type unicast.
fn route(destination_length: u8, scope: u8, flags: u16) -> Message {
    let mut message = Message::new(NEWROUTE, CREATE | flags);
    message.raw(&[2, destination_length, 0, 0, 254, 4, scope, 1, 0, 0, 0, 0]);
    message
}

fn to_gateway(index: u32) -> Message {
    let mut message = route(32, 253, EXCLUSIVE);
    message.attribute(1, &GATEWAY);
    message.u32(4, index);
    message
}

fn by_gateway(index: u32) -> Message {
    let mut message = route(0, 0, EXCLUSIVE);
    message.attribute(5, &GATEWAY);
    message.u32(4, index);
    message
}

fn to_pod(index: u32, address: Ipv4Addr) -> Message {
    let mut message = route(32, 253, REPLACE);
    message.attribute(1, &address.octets());
    message.u32(4, index);
    message.u32(15, FLOOR_TABLE);
    message
}

/// `struct ndmsg`: permanent.
fn gateway_mac(index: u32) -> Message {
    let mut message = Message::new(NEWNEIGH, CREATE | REPLACE);
    let [a, b, c, d] = index.to_ne_bytes();
    message.raw(&[2, 0, 0, 0, a, b, c, d, 0x80, 0, 0, 0]);
    message.attribute(1, &GATEWAY);
    message.attribute(2, &mac(1, 0));
    message
}

struct Socket(OwnedFd);

impl Socket {
    fn open() -> Result<Self> {
        let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let fd = socket(AddressFamily::Netlink, kind, flags, SockProtocol::NetlinkRoute);
        let fd = fd.context("open a netlink socket")?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).context("bind a netlink socket")?;
        Ok(Self(fd))
    }

    /// Sends a change and reads its acknowledgement: a `struct nlmsgerr` whose code is the first word after the header.
    fn change(&self, message: &Message) -> Result<()> {
        send(self.0.as_raw_fd(), message.bytes()?.as_slice(), MsgFlags::empty()).context("send a change")?;
        let mut answer = [0_u8; 1024];
        recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty()).context("read the acknowledgement")?;
        let code = answer.get(16..20).and_then(|code| code.try_into().ok());
        match code.map(i32::from_ne_bytes).context("an acknowledgement")? {
            0 => Ok(()),
            code => Err(Errno::from_raw(-code)).context("change the kernel's state"),
        }
    }
}
