//! Kernel sockets without policy: routing netlink, network namespaces, nftables transactions and change notices.
//!
//! - [`Routing`] speaks rtnetlink in one network namespace: links, addresses, routes, rules, neighbours.
//! - [`nft`] builds and commits atomic nftables transactions and reads back what the kernel holds.
//! - [`conntrack`] forgets the connections of an address.
//! - [`netns`] opens namespaces and enters one for the time of a closure.
//! - [`events`] says what kind of thing changed.
//!
//! Invariants: a socket belongs for ever to the namespace it was opened in, so no thread stays in a foreign one;
//! "already there" and "already gone" are told apart from real failures ([`Error::is_exists`], [`Error::is_gone`]);
//! an interrupted dump is repeated and never returned as if it were whole.
//!
//! Left out on purpose: what should be in the kernel and why (callers decide), traffic control, bridges, VLANs, and
//! every attribute that nobody here reads or writes.

pub mod conntrack;
mod error;
pub mod events;
mod mac;
pub mod netns;
pub mod nft;
mod routing;

pub use error::Error;
pub use mac::Mac;
pub use routing::Routing;
pub use routing::address::Address;
pub use routing::conf::{Ipv4Conf, Ipv4Setting};
pub use routing::link::{Link, LinkKind};
pub use routing::link_change::LinkChange;
pub use routing::neighbour::Neighbour;
pub use routing::route::{Route, RouteKind, Scope};
pub use routing::rule::{Family, Mark, Rule};
pub use routing::veth::{VethEnd, VethSpec};

/// The main routing table's number (kernel, include/uapi/linux/rtnetlink.h, `RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;

/// The table of the kernel's own local routes (kernel, include/uapi/linux/rtnetlink.h, `RT_TABLE_LOCAL`).
pub const LOCAL_TABLE: u32 = 255;
