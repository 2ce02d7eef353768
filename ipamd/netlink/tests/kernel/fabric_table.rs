//! The tables of a simulated VPC router: source checks by route, MAC checks, ARP per subnet, stateless translation.

use netlink::nft::{
    Base, Batch, Chain, ChainKind, Comparison, Count, Datatype, Element, Expression, Family, Fib, FibFlags,
    FibResult, Hook, MapsTo, MetaKey, Nftables, Register, Rule, Set, TableFlags, Value, Verdict, ifname,
};

use crate::sandbox::in_namespace;

const R: Register = Register::FIRST;

in_namespace! {
    async fn the_fabrics_tables_load() {
        let mut nft = Nftables::open().unwrap();
        nft.commit(&router()).unwrap();
        nft.commit(&arp()).unwrap();
        nft.commit(&gateway()).unwrap();
        assert_eq!(nft.rules(Family::Inet, "vpc").unwrap().len(), 7);
        assert_eq!(nft.rules(Family::Arp, "vpc").unwrap().len(), 3);
        let zero = Count { packets: 0, bytes: 0 };
        let counters = nft.counters(Family::Inet, "vpc").unwrap();
        assert!(counters.iter().all(|counter| counter.count == zero));
        assert_eq!(counters.len(), 3);
        if std::env::var_os("SHOW_RULESET").is_some() {
            std::process::Command::new("nft").args(["list", "ruleset"]).status().unwrap();
        }
    }
}

#[expect(clippy::too_many_lines, reason = "one table, from top to bottom")]
fn router() -> Batch {
    use Expression as E;
    let mut batch = Batch::new(Family::Inet, "vpc");
    batch.add_table(TableFlags::NONE);
    for counter in ["badmac", "srccheck", "nohost"] {
        batch.add_counter(counter);
    }
    let set = |name, key, maps_to| Set {
        name,
        key,
        ranges: false,
        maps_to,
    };
    batch.add_set(&set("nosrcdst", &[Datatype::IfName], MapsTo::Nothing));
    batch.add_set(&set(
        "enimac",
        &[Datatype::IfName, Datatype::Ether],
        MapsTo::Nothing,
    ));
    batch.add_set(&set("rtb", &[Datatype::IfName], MapsTo::Data(Datatype::Mark)));
    batch.add_elements(
        "enimac",
        &[Element::concat(&[&ifname("eni-a1"), &[2, 0, 0, 0, 0, 1]])],
    );
    let table = Value::Data(101_u32.to_ne_bytes().to_vec());
    batch.add_elements("rtb", &[Element::new(ifname("eni-a1")).to(table)]);
    batch.add_chain(&Chain::base("pre", ChainKind::Filter, Hook::Prerouting, -300));
    batch.add_chain(&Chain::base("routed", ChainKind::Filter, Hook::Prerouting, 0));
    let dropped = |counter: &str| vec![E::NamedCounter(counter.to_owned()), E::Verdict(Verdict::Drop)];
    let name = E::Meta(MetaKey::IifName, R);
    for device in ["igw0\0", "lo\0"] {
        let accept = vec![
            name.clone(),
            E::name_begins(R, Comparison::Is, device),
            E::Verdict(Verdict::Accept),
        ];
        batch.add_rule("pre", &Rule::new(accept));
    }
    let four = vec![
        E::Meta(MetaKey::NfProto, R),
        E::Compare(R, Comparison::Is, vec![2]),
    ];
    let mac = vec![
        name.clone(),
        E::Payload(Base::Link, 6, 6, Register(4)),
        E::NotInSet(R, "enimac".to_owned()),
    ];
    batch.add_rule("pre", &Rule::new([four.clone(), mac, dropped("badmac")].concat()));
    let checked = vec![name.clone(), E::NotInSet(R, "nosrcdst".to_owned())];
    let source = E::no_route(FibFlags::SOURCE | FibFlags::IIF, R).to_vec();
    batch.add_rule(
        "pre",
        &Rule::new([four, checked, source, dropped("srccheck")].concat()),
    );
    batch.add_rule(
        "pre",
        &Rule::new(vec![
            name.clone(),
            E::FromMap(R, "rtb".to_owned(), R),
            E::SetMeta(MetaKey::Mark, R),
        ]),
    );
    let fib = Fib {
        flags: FibFlags::DESTINATION,
        result: FibResult::AddressType,
    };
    let local = vec![
        E::Fib(fib, R),
        E::Compare(R, Comparison::Is, 2_u32.to_ne_bytes().to_vec()),
    ];
    batch.add_rule(
        "routed",
        &Rule::new([local, vec![E::Verdict(Verdict::Accept)]].concat()),
    );
    let eni = vec![name, E::name_begins(R, Comparison::Is, "eni-")];
    let nowhere = E::no_route(FibFlags::DESTINATION | FibFlags::MARK, R).to_vec();
    batch.add_rule("routed", &Rule::new([eni, nowhere, dropped("nohost")].concat()));
    batch
}

fn arp() -> Batch {
    use Expression as E;
    let mut batch = Batch::new(Family::Arp, "vpc");
    batch.add_table(TableFlags::NONE).add_chain(&Chain::plain("s1"));
    batch.add_set(&Set {
        name: "sub",
        key: &[Datatype::IfName],
        ranges: false,
        maps_to: MapsTo::Verdicts,
    });
    let jump = Value::Verdict(Verdict::Jump("s1".to_owned()));
    batch.add_elements("sub", &[Element::new(ifname("eni-a1")).to(jump)]);
    batch.add_chain(&Chain::base("in", ChainKind::Filter, Hook::Input, 0));
    // An ARP message of Ethernet and IPv4 has its target address at byte 24.
    let target = E::Payload(Base::Network, 24, 4, R);
    let metadata = E::Compare(R, Comparison::Is, vec![169, 254, 169, 254]);
    batch.add_rule(
        "in",
        &Rule::new(vec![target.clone(), metadata, E::Verdict(Verdict::Accept)]),
    );
    batch.add_rule(
        "in",
        &Rule::new(vec![
            E::Meta(MetaKey::IifName, R),
            E::VerdictMap(R, "sub".to_owned()),
        ]),
    );
    batch.add_rule(
        "s1",
        &Rule::new(vec![
            target,
            E::Bitwise(R, vec![255, 255, 255, 0], vec![0; 4]),
            E::Compare(R, Comparison::IsNot, vec![10, 0, 1, 0]),
            E::Verdict(Verdict::Drop),
        ]),
    );
    batch
}

fn gateway() -> Batch {
    use Expression as E;
    let mut batch = Batch::new(Family::Ip, "igw");
    batch.add_table(TableFlags::NONE).add_counter("noeip");
    let map = |name| Set {
        name,
        key: &[Datatype::Ipv4],
        ranges: false,
        maps_to: MapsTo::Data(Datatype::Ipv4),
    };
    batch.add_set(&map("pub2priv")).add_set(&map("priv2pub"));
    let private = Value::Data(vec![10, 0, 1, 10]);
    batch.add_elements("pub2priv", &[Element::new([203, 0, 113, 5]).to(private)]);
    batch.add_chain(&Chain::base("in", ChainKind::Filter, Hook::Prerouting, -400));
    batch.add_chain(&Chain::base("out", ChainKind::Filter, Hook::Postrouting, 400));
    for (chain, key, offset, map) in [
        ("in", MetaKey::IifName, 16, "pub2priv"),
        ("out", MetaKey::OifName, 12, "priv2pub"),
    ] {
        batch.add_rule(
            chain,
            &Rule::new(vec![
                E::Meta(key, R),
                E::name_begins(R, Comparison::Is, "igw0\0"),
                E::Payload(Base::Network, offset, 4, R),
                E::FromMap(R, map.to_owned(), R),
                E::SetNetworkPayload {
                    offset,
                    bytes: 4,
                    from: R,
                    checksum_offset: 10,
                    pseudo_header: true,
                },
                E::Verdict(Verdict::Accept),
            ]),
        );
    }
    batch.add_rule(
        "out",
        &Rule::new(vec![
            E::Meta(MetaKey::OifName, R),
            E::name_begins(R, Comparison::Is, "igw0\0"),
            E::NamedCounter("noeip".to_owned()),
            E::Verdict(Verdict::Drop),
        ]),
    );
    batch
}
