//! Our nftables table: whatever was there before, a load leaves exactly what was asked for.

use std::collections::BTreeMap;

use hostnet::Error;
use hostnet::nat::Nat;
use ipamd_core::net::{EniMark, Firewall};
use ipnet::Ipv4Net;
use netlink::nft::{Batch, Family, Nftables, RuleInfo, TableFlags};
use nix::errno::Errno;

use crate::example::firewall;
use crate::sandbox::{Namespace, in_namespace};

const TABLE: &str = "berth";

in_namespace! {
    async fn a_first_load_fills_the_table_and_the_same_again_does_nothing() {
        let mut nat = Nat::open().unwrap();
        assert!(nat.load(&firewall(&[1])).unwrap());
        let content = Content::read();
        for chain in ["early", "at_door", "steer", "egress", "via_1", "via_primary", "arrive_1", "out_first"] {
            assert!(content.rules.contains_key(chain), "{chain} in {content:?}");
        }
        assert_eq!(content, fresh(&firewall(&[1])));
        assert!(!nat.load(&firewall(&[1])).unwrap());
        assert_eq!(content, Content::read());
    }

    async fn a_replace_leaves_what_a_first_load_would() {
        let mut nat = Nat::open().unwrap();
        let mut external = firewall(&[2]);
        external.nat.translate = false;
        external.nat.keep_way_back = false;
        for firewall in [firewall(&[]), firewall(&[1]), firewall(&[1, 2, 3]), firewall(&[3]), external] {
            assert!(nat.load(&firewall).unwrap());
            assert_eq!(Content::read(), fresh(&firewall));
        }
    }

    async fn whatever_came_and_went_the_table_holds_what_a_first_load_would() {
        let wanted = variants();
        let expected: Vec<Content> = wanted.iter().map(fresh).collect();
        let mut nat = Nat::open().unwrap();
        nat.load(&wanted[0]).unwrap();
        let rules = steering_rules();
        for (from, _) in wanted.iter().enumerate() {
            for (to, content) in expected.iter().enumerate() {
                nat.load(&wanted[from]).unwrap();
                nat.load(&wanted[to]).unwrap();
                assert_eq!(Content::read(), *content, "from {from} to {to}");
            }
        }
        assert_eq!(steering_rules(), rules, "rules that stay are not written again");
        let mut external = wanted[0].clone();
        external.nat.translate = false;
        nat.load(&external).unwrap();
        assert_ne!(steering_rules(), rules);
    }

    async fn a_second_owner_is_refused_and_the_next_one_finds_all_in_place() {
        let mut first = Nat::open().unwrap();
        first.load(&firewall(&[1])).unwrap();
        let content = Content::read();
        assert!(matches!(Nat::open(), Err(Error::TableOwned)));
        assert_eq!(tamper(Batch::delete_table), Err(Some(Errno::EPERM)));
        drop(first);
        let mut next = Nat::open().unwrap();
        assert_eq!(content, Content::read(), "adopted as it stands");
        assert_eq!(tamper(Batch::flush_table), Err(Some(Errno::EPERM)), "and owned again");
        assert!(next.load(&firewall(&[1, 2])).unwrap());
        assert_eq!(Content::read(), fresh(&firewall(&[1, 2])));
    }

    async fn where_the_table_has_no_owner_changes_are_noticed_and_mended() {
        tamper(|batch| batch.add_table(TableFlags::NONE)).unwrap();
        let mut nat = Nat::open().unwrap();
        nat.load(&firewall(&[1])).unwrap();
        let content = Content::read();
        nat.handle_change().unwrap();
        assert!(!nat.load(&firewall(&[1])).unwrap(), "nothing happened");
        for harm in [
            (|batch| batch.flush_chain("steer")) as fn(&mut Batch) -> &mut Batch,
            Batch::flush_table,
            |batch| batch.flush_table().delete_chain("egress"),
            |batch| batch.flush_set("inward"),
            Batch::delete_table,
        ] {
            tamper(harm).unwrap();
            nat.handle_change().unwrap();
            assert!(nat.load(&firewall(&[1])).unwrap());
            assert_eq!(Content::read(), content);
        }
    }

    async fn a_load_that_was_cut_short_by_a_crash_is_made_whole() {
        let mut first = Nat::open().unwrap();
        first.load(&firewall(&[1])).unwrap();
        drop(first);
        // As if only the first of the two transactions had happened.
        tamper(|batch| {
            for chain in ["early", "at_door", "steer", "egress"] {
                batch.flush_chain(chain).delete_chain(chain);
            }
            batch
        })
        .unwrap();
        // Meanwhile the number went to another device, and to a prefix that overlaps the old one.
        let mut other = firewall(&[1]);
        let mark = EniMark::new(1).unwrap();
        other.secondary_devices = BTreeMap::from([(mark, "ens7".parse().unwrap())]);
        other.prefixes = BTreeMap::from([("10.0.1.32/27".parse().unwrap(), mark)]);
        let mut next = Nat::open().unwrap();
        assert!(next.load(&other).unwrap());
        assert_eq!(Content::read(), fresh(&other));
    }
}

/// Tables that differ by what comes and goes with ENIs and addresses.
fn variants() -> Vec<Firewall> {
    let mark = |number| EniMark::new(number).unwrap();
    let changed = |change: fn(&mut Firewall)| {
        let mut firewall = firewall(&[1, 2]);
        change(&mut firewall);
        firewall
    };
    let mut moved = firewall(&[1, 2]);
    moved.singles = moved.singles.keys().map(|address| (*address, mark(2))).collect();
    let mut other_device = firewall(&[1]);
    other_device.secondary_devices = BTreeMap::from([(mark(1), "ens9".parse().unwrap())]);
    vec![
        firewall(&[]),
        firewall(&[1]),
        firewall(&[1, 2, 3]),
        firewall(&[3]),
        changed(|firewall| firewall.singles.clear()),
        // Neighbours become one range, one of which is in the middle of another.
        changed(|firewall| firewall.pods.extend([net("10.0.1.64/32"), net("10.0.1.65/32")])),
        changed(|firewall| firewall.pods.extend([net("10.0.1.64/26")])),
        changed(|firewall| firewall.nat.untranslated.extend([net("192.168.0.0/17")])),
        changed(|firewall| firewall.nat.untranslated.extend([net("192.168.0.0/16")])),
        moved,
        other_device,
    ]
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// What tells whether rules were written again.
fn steering_rules() -> Vec<u64> {
    let rules = Nftables::open().unwrap().rules(Family::Inet, TABLE).unwrap();
    let steering = rules.iter().filter(|rule| rule.chain == "steer");
    steering.map(|rule| rule.handle).collect()
}

/// What the table holds, without counts and handles.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    /// By chain, in order.
    rules: BTreeMap<String, Vec<RuleInfo>>,
    elements: BTreeMap<String, Vec<String>>,
}

impl Content {
    fn read() -> Self {
        let mut nft = Nftables::open().unwrap();
        let chains = nft.chains(Family::Inet, TABLE).unwrap();
        let mut rules: BTreeMap<_, Vec<_>> =
            chains.into_iter().map(|chain| (chain.name, Vec::new())).collect();
        for rule in nft.rules(Family::Inet, TABLE).unwrap() {
            rules.get_mut(&rule.chain.clone()).unwrap().push(RuleInfo {
                handle: 0,
                counter: None,
                ..rule
            });
        }
        let sets = nft.sets(Family::Inet, TABLE).unwrap();
        let mut elements = BTreeMap::new();
        for set in sets {
            let found = nft.elements(Family::Inet, TABLE, &set.name).unwrap();
            let mut found: Vec<String> = found.iter().map(|element| format!("{element:?}")).collect();
            found.sort();
            elements.insert(set.name, found);
        }
        Self { rules, elements }
    }
}

/// What a first load on an untouched node gives.
fn fresh(firewall: &Firewall) -> Content {
    Namespace::new().inside(|| {
        Nat::open().unwrap().load(firewall).unwrap();
        Content::read()
    })
}

/// Somebody else's transaction on our table.
fn tamper(harm: impl FnOnce(&mut Batch) -> &mut Batch) -> Result<(), Option<Errno>> {
    let mut batch = Batch::new(Family::Inet, TABLE);
    harm(&mut batch);
    let mut nft = Nftables::open().unwrap();
    nft.commit(&batch).map_err(|error| error.errno())
}
