//! Tables, chains and rules as values, and how they are written.

use std::fmt;

use super::encode::Encoder;
use super::expression::Expression;

/// The family of a table: which packets it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6 together.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// ARP.
    Arp = 3,
    /// IPv6.
    Ip6 = 10,
}

/// A table's flags (kernel, include/uapi/linux/netfilter/nf_tables.h, `NFT_TABLE_F_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableFlags(pub u32);

/// A chain: plain, or attached to a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Its name in its table.
    pub name: &'a str,
    /// Where packets enter it by themselves; a plain chain is only jumped to.
    pub hook: Option<HookPoint>,
}

/// Where and how a base chain is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookPoint {
    /// What it may do.
    pub kind: ChainKind,
    /// At which point of a packet's way.
    pub hook: Hook,
    /// In which order among others at that point; lower is earlier.
    pub priority: i32,
    /// What happens to packets that reach its end.
    pub policy: Policy,
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Look, mark, drop; sees every packet.
    Filter,
    /// Translate; sees the first packet of a connection.
    Nat,
    /// As filter, and a changed mark routes the packet again.
    Route,
}

/// A point of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Came in, not yet routed.
    Prerouting,
    /// For this host.
    Input,
    /// Passing through.
    Forward,
    /// Made by this host.
    Output,
    /// About to leave.
    Postrouting,
}

/// What happens to packets that reach the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They go on.
    Accept,
    /// They are dropped.
    Drop,
}

/// A rule: expressions from left to right, each of which may end it.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// What it does.
    pub expressions: Vec<Expression>,
    /// A remark that `nft list` shows; at most 128 bytes.
    pub comment: Option<String>,
}

impl TableFlags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// The creating socket alone may write the table, and it stays when the socket is closed (`owner` and
    /// `persist`; the latter since Linux 6.9).
    pub const OWNED: Self = Self(2 | 4);
}

impl Rule {
    /// A rule without a comment.
    #[must_use]
    pub fn new(expressions: Vec<Expression>) -> Self {
        Self {
            expressions,
            comment: None,
        }
    }

    /// The rule with a comment.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    pub(super) fn encode(&self, table: &str, chain: &str, out: &mut Encoder) {
        out.text(1, table);
        out.text(2, chain);
        out.nest(4, |list| {
            for expression in &self.expressions {
                list.nest(1, |element| expression.encode(element));
            }
        });
        if let Some(comment) = &self.comment {
            out.put(7, &user_data(comment));
        }
    }
}

impl<'a> Chain<'a> {
    /// A chain that is only jumped to.
    #[must_use]
    pub fn plain(name: &'a str) -> Self {
        Self { name, hook: None }
    }

    /// A base chain of policy accept.
    #[must_use]
    pub fn base(name: &'a str, kind: ChainKind, hook: Hook, priority: i32) -> Self {
        Self {
            name,
            hook: Some(HookPoint {
                kind,
                hook,
                priority,
                policy: Policy::Accept,
            }),
        }
    }

    pub(super) fn encode(&self, family: Family, table: &str, out: &mut Encoder) {
        out.text(1, table);
        out.text(3, self.name);
        let Some(point) = self.hook else { return };
        out.nest(4, |hook| {
            hook.number(1, point.hook.number(family));
            hook.put(2, &point.priority.to_be_bytes());
        });
        out.number(
            5,
            match point.policy {
                Policy::Drop => 0,
                Policy::Accept => 1,
            },
        );
        out.text(
            7,
            match point.kind {
                ChainKind::Filter => "filter",
                ChainKind::Nat => "nat",
                ChainKind::Route => "route",
            },
        );
    }
}

impl Hook {
    /// The hook's number (kernel, include/uapi/linux/netfilter.h `NF_INET_*` and netfilter_arp.h `NF_ARP_*`).
    fn number(self, family: Family) -> u32 {
        match (family, self) {
            (Family::Arp, Self::Prerouting | Self::Input) => 0,
            (Family::Arp, Self::Output | Self::Postrouting) => 1,
            (Family::Arp, Self::Forward) => 2,
            (_, Self::Prerouting) => 0,
            (_, Self::Input) => 1,
            (_, Self::Forward) => 2,
            (_, Self::Output) => 3,
            (_, Self::Postrouting) => 4,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Arp => "arp",
            Self::Ip6 => "ip6",
        })
    }
}

/// A comment as nft keeps it: type 0, length, text with its zero byte (libnftnl, udata.h).
fn user_data(comment: &str) -> Vec<u8> {
    let text: Vec<u8> = comment.bytes().filter(|byte| *byte != 0).take(127).collect();
    let mut data = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    data.extend(text);
    data.push(0);
    data
}
