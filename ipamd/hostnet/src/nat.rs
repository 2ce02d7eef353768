//! Our nftables table, kept as wanted through the one socket that owns it.
//!
//! Never deleted and created again: on Linux 6.18 a set born in the same transaction as its reader looks empty for a
//! moment, and a connection that begins in that moment is marked wrongly for life. So the first load is two
//! transactions (sets and what they point to, then base chains with their rules). Later ones change only elements and
//! the chains of ENIs, where those are all that differs from what was loaded last; where a base chain's rules differ, one
//! transaction flushes the table and its sets and fills them again.

mod change;
mod phrase;
mod rules;

use std::collections::BTreeSet;

use ipamd_core::net::Firewall;
use netlink::nft::{Batch, Chain, ChainKind, Family, Hook, Nftables, TableFlags};
use nix::errno::Errno;

use crate::Error;

/// The table's name.
const TABLE: &str = "berth";
const FAMILY: Family = Family::Inet;

/// Base chains: name, kind, hook, priority. Before raw for others' reverse path filters; before DNAT at -100; after it;
/// where source translation belongs (uapi/linux/netfilter_ipv4.h, `NF_IP_PRI_*`).
const BASE_CHAINS: [(&str, ChainKind, Hook, i32); 4] = [
    ("early", ChainKind::Filter, Hook::Prerouting, -310),
    ("at_door", ChainKind::Filter, Hook::Prerouting, -150),
    ("steer", ChainKind::Filter, Hook::Prerouting, -90),
    ("egress", ChainKind::Nat, Hook::Postrouting, 100),
];

/// The keeper of our table.
#[derive(Debug)]
pub struct Nat {
    nftables: Nftables,
    /// Whether the kernel keeps everybody else from changing the table.
    owned: bool,
    loaded: Option<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    firewall: Firewall,
    size: Size,
}

/// How much the table holds: enough to see that somebody took something away.
#[derive(Debug, Default, PartialEq, Eq)]
struct Size {
    rules: usize,
    elements: usize,
}

impl Nat {
    /// Creates or adopts the table, for the calling thread's network namespace. Where the kernel knows owners (6.9 and
    /// later, believed) nobody else can change it while this value lives.
    ///
    /// # Errors
    /// When another process owns the table, or the kernel has no nf_tables.
    pub fn open() -> Result<Self, Error> {
        let mut nftables = Nftables::open().map_err(words("open an nftables socket"))?;
        let owned = claim(&mut nftables)?;
        Ok(Self {
            nftables,
            owned,
            loaded: None,
        })
    }

    /// Makes the table hold exactly this; says whether anything had to be done.
    ///
    /// # Errors
    /// When the kernel refuses: then the next load writes everything again.
    pub fn load(&mut self, firewall: &Firewall) -> Result<bool, Error> {
        if self
            .loaded
            .as_ref()
            .is_some_and(|loaded| loaded.firewall == *firewall)
        {
            return Ok(false);
        }
        let before = self.loaded.take();
        let changed = before.is_some_and(|before| self.change(&before.firewall, firewall));
        if !changed {
            self.load_whole(firewall)?;
        }
        let size = if self.owned { Size::default() } else { self.size()? };
        self.loaded = Some(Loaded {
            firewall: firewall.clone(),
            size,
        });
        Ok(true)
    }

    /// Changes what differs, where that is little; says whether it did. Whatever stands in the way of that, the whole
    /// can still be written.
    fn change(&mut self, before: &Firewall, firewall: &Firewall) -> bool {
        change::between(before, firewall).is_some_and(|batch| self.nftables.commit(&batch).is_ok())
    }

    fn load_whole(&mut self, firewall: &Firewall) -> Result<(), Error> {
        let present: BTreeSet<String> = self
            .nftables
            .chains(FAMILY, TABLE)
            .map_err(words("list the chains of table berth"))?
            .into_iter()
            .map(|chain| chain.name)
            .collect();
        if BASE_CHAINS.iter().all(|(name, ..)| present.contains(*name)) {
            self.replace(firewall, &present)
        } else {
            self.load_first(firewall, &present)
        }
    }

    /// Whether the table was never filled, or somebody took something away since. Changes nothing.
    ///
    /// # Errors
    /// When the kernel refuses the look.
    pub fn is_damaged(&mut self) -> Result<bool, Error> {
        let Some(loaded) = &self.loaded else {
            return Ok(true);
        };
        if self.owned {
            return Ok(false);
        }
        match count(&mut self.nftables) {
            Err(error) if error.is_gone() => Ok(true),
            counted => Ok(loaded.size != counted.map_err(words("count what table berth holds"))?),
        }
    }

    /// Looks whether the table still holds what was loaded; if not, the next load writes it again. Nobody can have
    /// changed a table that is owned, so there is nothing to look at.
    ///
    /// # Errors
    /// When the kernel refuses the look.
    pub fn handle_change(&mut self) -> Result<(), Error> {
        if self.owned {
            return Ok(());
        }
        let size = self.size()?;
        if self.loaded.as_ref().is_some_and(|loaded| loaded.size != size) {
            self.loaded = None;
        }
        Ok(())
    }

    /// What the table holds. Where it is gone it is made again, and holds nothing.
    fn size(&mut self) -> Result<Size, Error> {
        match count(&mut self.nftables) {
            Err(error) if error.is_gone() => {
                self.owned = claim(&mut self.nftables)?;
                Ok(Size::default())
            }
            counted => counted.map_err(words("count what table berth holds")),
        }
    }

    fn load_first(&mut self, firewall: &Firewall, present: &BTreeSet<String>) -> Result<(), Error> {
        let mut content = Batch::new(FAMILY, TABLE);
        for set in &rules::sets() {
            content.add_set(set);
        }
        // A load that was cut short may have left some of it.
        renew(&mut content, firewall, present);
        self.nftables
            .commit(&content)
            .map_err(words("fill the sets of table berth"))?;
        let mut hooks = Batch::new(FAMILY, TABLE);
        for (name, kind, hook, priority) in BASE_CHAINS {
            hooks.add_chain(&Chain::base(name, kind, hook, priority));
        }
        rules::base_chains(&mut hooks, firewall);
        self.nftables
            .commit(&hooks)
            .map_err(words("hook in the chains of table berth"))
    }

    fn replace(&mut self, firewall: &Firewall, present: &BTreeSet<String>) -> Result<(), Error> {
        let mut batch = Batch::new(FAMILY, TABLE);
        renew(&mut batch, firewall, present);
        rules::base_chains(&mut batch, firewall);
        self.nftables
            .commit(&batch)
            .map_err(words("replace the content of table berth"))
    }
}

/// Creates or adopts the table; says whether it is owned.
fn claim(nftables: &mut Nftables) -> Result<bool, Error> {
    let mut create = |flags| nftables.commit(Batch::new(FAMILY, TABLE).add_table(flags));
    let owned = create(TableFlags::OWNED);
    match owned.as_ref().err().and_then(netlink::nft::Error::errno) {
        Some(Errno::EPERM) => return Err(Error::TableOwned),
        // The kernel has no owners, or the table was made without: what is left is to notice changes.
        Some(Errno::EOPNOTSUPP | Errno::EINVAL) => create(TableFlags::NONE).map(|()| false),
        _ => owned.map(|()| true),
    }
    .map_err(words("create the nftables table berth"))
}

fn count(nftables: &mut Nftables) -> Result<Size, netlink::nft::Error> {
    let rules = nftables.rules(FAMILY, TABLE)?.len();
    let mut elements = 0;
    for set in nftables.sets(FAMILY, TABLE)? {
        elements += nftables.elements(FAMILY, TABLE, &set.name)?.len();
    }
    Ok(Size { rules, elements })
}

/// Empties the table, fills its sets, and writes the chains that maps and rules point to. Those of ENIs that are gone
/// go.
fn renew(batch: &mut Batch, firewall: &Firewall, present: &BTreeSet<String>) {
    let wanted = rules::plain_chains(firewall);
    batch.flush_table();
    for set in &rules::sets() {
        batch.flush_set(set.name);
    }
    for chain in wanted.keys() {
        batch.add_chain(&Chain::plain(chain));
    }
    for (set, elements) in rules::elements(firewall) {
        batch.add_elements(set, &Vec::from_iter(elements));
    }
    for (chain, rule) in &wanted {
        batch.add_rule(chain, rule);
    }
    let is_base = |chain: &str| BASE_CHAINS.iter().any(|(name, ..)| *name == chain);
    for chain in present
        .iter()
        .filter(|chain| !wanted.contains_key(*chain) && !is_base(chain))
    {
        batch.delete_chain(chain);
    }
}

fn words(attempt: &'static str) -> impl FnOnce(netlink::nft::Error) -> Error {
    move |source| Error::Nftables { attempt, source }
}
