//! The transaction between two contents of our table that differ only in elements and in the chains of ENIs: what comes
//! and goes with ENIs and addresses. What stays is not touched, so nothing is lost that passes meanwhile.

use ipamd_core::net::Firewall;
use netlink::nft::{Batch, Chain, Element};

use super::{FAMILY, TABLE, rules};

/// `None` where a base chain's rules differ.
pub(super) fn between(before: &Firewall, after: &Firewall) -> Option<Batch> {
    if !rules::have_same_base_chains(before, after) {
        return None;
    }
    let mut batch = Batch::new(FAMILY, TABLE);
    let (old, new) = (rules::plain_chains(before), rules::plain_chains(after));
    // Chains come before the elements that point to them and go after those.
    for (chain, rule) in new.iter().filter(|(chain, _)| !old.contains_key(*chain)) {
        batch.add_chain(&Chain::plain(chain)).add_rule(chain, rule);
    }
    change_elements(&mut batch, before, after);
    for chain in old.keys().filter(|chain| !new.contains_key(*chain)) {
        batch.flush_chain(chain).delete_chain(chain);
    }
    Some(batch)
}

fn change_elements(batch: &mut Batch, before: &Firewall, after: &Firewall) {
    let (old, mut new) = (rules::elements(before), rules::elements(after));
    for (set, old) in old {
        let new = new.remove(set).unwrap_or_default();
        let gone: Vec<Element> = old.difference(&new).cloned().collect();
        let fresh: Vec<Element> = new.difference(&old).cloned().collect();
        // Ranges that grow or move overlap with what they were.
        batch.delete_elements(set, &gone).create_elements(set, &fresh);
    }
}
