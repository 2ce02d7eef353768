//! Every nftables primitive: accepted by the kernel and read back.

use netlink::nft::{
    Base, Batch, Chain, ChainInfo, ChainKind, Comparison, CtKey, Datatype, Element, Expression, Family, Fib,
    FibFlags, FibResult, Hook, MapsTo, MetaKey, NatFlags, Nftables, Register, Rule, Set, TableFlags, Value,
    Verdict, ifname,
};
use nix::errno::Errno;

use crate::sandbox::in_namespace;

const R: Register = Register::FIRST;

in_namespace! {
    async fn tables_chains_and_flags() {
        let mut nft = Nftables::open().unwrap();
        for family in [Family::Inet, Family::Ip, Family::Ip6, Family::Arp] {
            let mut batch = Batch::new(family, "t");
            batch.add_table(TableFlags::NONE).add_chain(&Chain::plain("p"));
            batch.add_chain(&Chain::base("b", ChainKind::Filter, Hook::Input, -10));
            nft.commit(&batch).unwrap();
            let chains = nft.chains(family, "t").unwrap();
            let hook = if family == Family::Arp { 0 } else { 1 };
            let base = ChainInfo {
                name: "b".to_owned(),
                kind: Some("filter".to_owned()),
                hook: Some(hook),
                priority: Some(-10),
            };
            assert_eq!(chains.len(), 2);
            assert!(chains.contains(&base), "{chains:?}");
        }
        assert_eq!(nft.tables().unwrap().len(), 4);
        let mut batch = Batch::new(Family::Ip, "t");
        nft.commit(batch.delete_table()).unwrap();
        assert_eq!(nft.tables().unwrap().len(), 3);
        assert!(nft.commit(&batch).unwrap_err().is_gone());
    }

    async fn an_owned_table_is_its_sockets_alone() {
        let mut owner = Nftables::open().unwrap();
        let mut batch = Batch::new(Family::Inet, "berth");
        batch.add_table(TableFlags::OWNED).add_chain(&Chain::plain("x"));
        owner.commit(&batch).unwrap();
        let mut other = Nftables::open().unwrap();
        assert_eq!(other.commit(&batch).unwrap_err().errno(), Some(Errno::EPERM));
        let table = other.tables().unwrap().remove(0);
        assert_eq!(table.flags, TableFlags::OWNED);
        assert!(table.owner.is_some());
        drop(owner);
        assert_eq!(other.tables().unwrap()[0].owner, None);
        other.commit(&batch).unwrap();
        assert!(other.tables().unwrap()[0].owner.is_some());
    }

    async fn a_refusal_names_its_message_and_undoes_all() {
        let mut nft = Nftables::open().unwrap();
        let mut batch = Batch::new(Family::Inet, "t");
        batch.add_table(TableFlags::NONE);
        batch.add_chain(&Chain::plain("here"));
        batch.add_verdict("nowhere", Verdict::Drop);
        batch.add_chain(&Chain::plain("later"));
        let error = nft.commit(&batch).unwrap_err();
        assert_eq!(error.to_string(), "add a rule to chain nowhere on table inet t (message 3 of 4)");
        assert!(error.is_gone());
        assert_eq!(nft.tables().unwrap(), []);
        // And the socket is in step again.
        let mut batch = Batch::new(Family::Inet, "t");
        nft.commit(batch.add_table(TableFlags::NONE)).unwrap();
        assert_eq!(nft.tables().unwrap().len(), 1);
    }

    async fn sets_and_maps_read_back() {
        let mut nft = Nftables::open().unwrap();
        let mut batch = Batch::new(Family::Inet, "t");
        batch.add_table(TableFlags::NONE).add_chain(&Chain::plain("c")).add_counter("n");
        let set = |name, key, ranges, maps_to| Set { name, key, ranges, maps_to };
        use Datatype::{Ether, IfName, Ipv4, Ipv6, Mark};
        batch.add_set(&set("ranges", &[Ipv4], true, MapsTo::Nothing));
        batch.add_set(&set("ranges6", &[Ipv6], true, MapsTo::Nothing));
        batch.add_set(&set("pairs", &[IfName, Ether], false, MapsTo::Nothing));
        batch.add_set(&set("verdicts", &[Mark], false, MapsTo::Verdicts));
        batch.add_set(&set("ranged", &[Ipv4], true, MapsTo::Verdicts));
        batch.add_set(&set("marks", &[IfName], false, MapsTo::Data(Mark)));
        batch.add_set(&set("counts", &[IfName], false, MapsTo::Counters));
        let goto = Value::Verdict(Verdict::Goto("c".to_owned()));
        let net = |text: &str| Element::net(text.parse().unwrap());
        let elements = [
            ("ranges", net("10.0.0.0/16")),
            ("ranges", net("10.1.0.0/16")),
            ("ranges6", net("fd00::/80")),
            ("pairs", Element::concat(&[&ifname("eni-a"), &[2, 0, 0, 0, 0, 1]])),
            ("verdicts", Element::new(5_u32.to_ne_bytes()).to(goto.clone())),
            ("ranged", net("10.0.0.0/28").to(goto)),
            ("marks", Element::new(ifname("eni-a")).to(Value::Data(7_u32.to_ne_bytes().to_vec()))),
            ("counts", Element::new(ifname("eni-a")).to(Value::Counter("n".to_owned()))),
        ];
        for (name, element) in &elements {
            batch.add_elements(name, std::slice::from_ref(element));
        }
        nft.commit(&batch).unwrap();
        assert_eq!(nft.sets(Family::Inet, "t").unwrap().len(), 7);
        for (name, element) in &elements {
            let read = nft.elements(Family::Inet, "t", name).unwrap();
            let start = read.iter().find(|it| it.key == element.key && !it.range_end).unwrap();
            assert_eq!(start.value, element.value, "{name}");
            if let Some(end) = &element.end {
                assert!(read.iter().any(|it| it.range_end && it.key == *end), "{name}: {read:?}");
            }
        }
        let mut batch = Batch::new(Family::Inet, "t");
        for (name, element) in &elements[1..] {
            batch.delete_elements(name, std::slice::from_ref(element));
        }
        batch.flush_set("ranges");
        nft.commit(&batch).unwrap();
        for (name, _) in &elements {
            assert_eq!(nft.elements(Family::Inet, "t", name).unwrap(), [], "{name}");
        }
        let error = nft.elements(Family::Inet, "t", "none").unwrap_err();
        assert!(error.is_gone());
    }

    async fn a_set_of_everything_means_everything() {
        let mut nft = Nftables::open().unwrap();
        let mut batch = Batch::new(Family::Inet, "t");
        batch.add_table(TableFlags::NONE);
        batch.add_set(&Set { name: "all", key: &[Datatype::Ipv4], ranges: true, maps_to: MapsTo::Nothing });
        batch.add_elements("all", &[Element::net("0.0.0.0/0".parse().unwrap())]);
        nft.commit(&batch).unwrap();
        assert_eq!(nft.elements(Family::Inet, "t", "all").unwrap().len(), 1);
    }

    async fn thousands_of_elements_go_in_one_transaction() {
        let mut nft = Nftables::open().unwrap();
        let mut batch = Batch::new(Family::Inet, "t");
        batch.add_table(TableFlags::NONE);
        batch.add_set(&Set { name: "s", key: &[Datatype::Ipv4], ranges: false, maps_to: MapsTo::Nothing });
        let elements: Vec<Element> = (0..20_000_u32).map(|n| Element::new(n.to_be_bytes())).collect();
        batch.add_elements("s", &elements);
        nft.commit(&batch).unwrap();
        assert_eq!(nft.elements(Family::Inet, "t", "s").unwrap().len(), 20_000);
    }

    async fn every_expression_is_accepted_and_listed() {
        let mut nft = Nftables::open().unwrap();
        let mut batch = Batch::new(Family::Inet, "t");
        batch.add_table(TableFlags::NONE).add_counter("n");
        batch.add_set(&Set { name: "s", key: &[Datatype::Ipv4], ranges: false, maps_to: MapsTo::Nothing });
        batch.add_set(&Set { name: "m", key: &[Datatype::Ipv4], ranges: false, maps_to: MapsTo::Data(Datatype::Ipv4) });
        batch.add_set(&Set { name: "v", key: &[Datatype::Ipv4], ranges: false, maps_to: MapsTo::Verdicts });
        batch.add_set(&Set { name: "o", key: &[Datatype::IfName], ranges: false, maps_to: MapsTo::Counters });
        batch.add_chain(&Chain::plain("f"));
        batch.add_chain(&Chain::base("pre", ChainKind::Filter, Hook::Prerouting, -90));
        batch.add_chain(&Chain::base("nat", ChainKind::Nat, Hook::Postrouting, 100));
        batch.add_chain(&Chain::base("dnat", ChainKind::Nat, Hook::Prerouting, -100));
        let rows = expressions();
        for (chain, expressions, names) in &rows {
            batch.add_rule(chain, &Rule::new(expressions.clone()).comment(names.join(" ")));
        }
        nft.commit(&batch).unwrap();
        let read = nft.rules(Family::Inet, "t").unwrap();
        assert_eq!(read.len(), rows.len());
        for (chain, _, names) in &rows {
            let comment = names.join(" ");
            let found = read.iter().find(|rule| rule.comment.as_ref() == Some(&comment) && rule.chain == *chain);
            assert_eq!(&found.unwrap().expressions, names);
        }
        assert!(read.iter().any(|rule| rule.counter.is_some()));
        assert_eq!(nft.counters(Family::Inet, "t").unwrap()[0].name, "n");

        let handle = read[0].handle;
        let mut batch = Batch::new(Family::Inet, "t");
        batch.delete_rule(&read[0].chain, handle);
        nft.commit(&batch).unwrap();
        assert_eq!(nft.rules(Family::Inet, "t").unwrap().len(), rows.len() - 1);
        let mut batch = Batch::new(Family::Inet, "t");
        batch.flush_table().delete_set("s").delete_counter("n").delete_chain("f");
        nft.commit(&batch).unwrap();
        assert_eq!(nft.rules(Family::Inet, "t").unwrap(), []);
    }
}

type Row = (&'static str, Vec<Expression>, Vec<&'static str>);

#[expect(clippy::too_many_lines, reason = "a table, one row an expression")]
fn expressions() -> Vec<Row> {
    use Expression as E;
    let ip = |to| E::Payload(Base::Network, 12, 4, to);
    let is = |data: &[u8]| E::Compare(R, Comparison::Is, data.to_vec());
    let mark = 3_u32.to_ne_bytes().to_vec();
    let fib = Fib {
        flags: FibFlags::DESTINATION,
        result: FibResult::AddressType,
    };
    let address = |bytes: usize| E::Load(R, vec![10; bytes]);
    let mut rows = vec![
        (
            "pre",
            vec![
                E::Meta(MetaKey::IifName, R),
                E::name_begins(R, Comparison::IsNot, "eni"),
            ],
            vec!["meta", "cmp"],
        ),
        (
            "pre",
            vec![
                E::Meta(MetaKey::Mark, R),
                E::Bitwise(R, mark.clone(), mark.clone()),
                E::SetMeta(MetaKey::Mark, R),
            ],
            vec!["meta", "bitwise", "meta"],
        ),
        (
            "pre",
            vec![
                E::Ct(CtKey::State, R),
                E::Ct(CtKey::Status, R),
                E::Ct(CtKey::Direction, R),
                E::Counter,
            ],
            vec!["ct", "ct", "ct", "counter"],
        ),
        (
            "pre",
            vec![E::Ct(CtKey::Mark, R), E::SetCt(CtKey::Mark, R)],
            vec!["ct", "ct"],
        ),
        (
            "pre",
            vec![E::Fib(fib, R), is(&2_u32.to_ne_bytes())],
            vec!["fib", "cmp"],
        ),
        (
            "pre",
            vec![
                ip(R),
                E::InSet(R, "s".to_owned()),
                E::NamedCounter("n".to_owned()),
            ],
            vec!["payload", "lookup", "objref"],
        ),
        (
            "pre",
            vec![ip(R), E::NotInSet(R, "s".to_owned()), E::Verdict(Verdict::Drop)],
            vec!["payload", "lookup", "immediate"],
        ),
        (
            "pre",
            vec![ip(R), E::VerdictMap(R, "v".to_owned())],
            vec!["payload", "lookup"],
        ),
        (
            "pre",
            vec![E::Meta(MetaKey::IifName, R), E::CounterMap(R, "o".to_owned())],
            vec!["meta", "objref"],
        ),
        (
            "pre",
            vec![
                E::Random(100, R),
                E::Compare(R, Comparison::Below, vec![0, 0, 0, 9]),
            ],
            vec!["numgen", "cmp"],
        ),
        (
            "pre",
            vec![
                ip(R),
                E::FromMap(R, "m".to_owned(), R),
                E::SetNetworkPayload {
                    offset: 12,
                    bytes: 4,
                    from: R,
                    checksum_offset: 10,
                    pseudo_header: true,
                },
            ],
            vec!["payload", "lookup", "payload"],
        ),
        (
            "pre",
            vec![E::Verdict(Verdict::Jump("f".to_owned()))],
            vec!["immediate"],
        ),
        (
            "nat",
            vec![address(4), E::Snat4(R, NatFlags::FULLY_RANDOM)],
            vec!["immediate", "nat"],
        ),
        (
            "nat",
            vec![
                E::Meta(MetaKey::NfProto, R),
                address(16),
                E::Snat6(R, NatFlags::RANDOM),
            ],
            vec!["meta", "immediate", "nat"],
        ),
        (
            "dnat",
            vec![address(4), E::Dnat4(R, NatFlags::PERSISTENT)],
            vec!["immediate", "nat"],
        ),
        (
            "dnat",
            vec![
                E::Meta(MetaKey::L4Proto, R),
                address(16),
                E::Dnat6(R, NatFlags::NONE),
            ],
            vec!["meta", "immediate", "nat"],
        ),
    ];
    let [lookup, none] = E::no_route(FibFlags::SOURCE | FibFlags::IIF, R);
    rows.push((
        "pre",
        vec![lookup, none, E::Verdict(Verdict::Return)],
        vec!["fib", "cmp", "immediate"],
    ));
    rows
}
