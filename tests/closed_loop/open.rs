//! Seeds whose lives end badly for defects that are known and open: left out of the default lives, so that others are
//! seen. `BERTH_LOOP_SEED=n` tells the story of each. Whoever mends a defect takes its seeds off, and whoever changes what
//! the daemon does when may find others of the same kinds.
//!
//! The kinds: (a) a daemon that restarts within a minute of giving an address back, under a late describe, forgets that it
//! did and hands it out; (b) an operator detaches or untags an ENI with pods, whose addresses count as held for as long
//! as the pods live, and whose place a foreign one may have taken; (c) a look that is repeated, because something changed
//! meanwhile, is a second one within the hour, or is under way when the rest is checked; (d) the only ENI with addresses
//! has no device, and whether the kernel works at all cannot be told.

/// The seeds.
pub(crate) const OPEN: &[u64] = &[];
