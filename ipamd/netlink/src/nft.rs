//! nftables without forks: atomic transactions over one socket, and reading back what the kernel holds.
//!
//! Build a [`Batch`] (tables, chains, sets, elements, counters, rules), [`Nftables::commit`] it: all of it happens or
//! none. [`Nftables`] also lists tables, chains, rules, sets, elements and counters.
//!
//! Invariants: the socket that created or adopted a table with [`TableFlags::OWNED`] owns it until it is closed, so
//! one [`Nftables`] does all writing; an error names the message that the kernel refused.
//!
//! The socket blocks: a transaction is one system call of some 0.3 ms, less than handing it to another thread costs.
//!
//! Left out: expressions nobody here uses, sets that combine ranges and concatenations, timeouts, flow tables, and
//! reading rules back as expressions (only their names, counters and comments).

pub(crate) mod batch;
pub(crate) mod decode;
pub(crate) mod encode;
mod error;
pub(crate) mod expression;
pub(crate) mod set;
mod socket;
pub(crate) mod table;

pub use batch::Batch;
pub use decode::{ChainInfo, Count, CounterInfo, ElementInfo, RuleInfo, SetInfo, TableInfo};
pub use error::Error;
pub use expression::{
    Base, Comparison, CtKey, Expression, Fib, FibFlags, FibResult, MetaKey, NatFlags, Register, Verdict,
};
pub use set::{Datatype, Element, MapsTo, Set, Value, ifname};
pub use socket::Nftables;
pub use table::{Chain, ChainKind, Family, Hook, HookPoint, Policy, Rule, TableFlags};
