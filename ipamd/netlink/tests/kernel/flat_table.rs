//! The whole table of the flat node layout, with example data: loaded in two transactions, then replaced in one.

use netlink::nft::{
    Base, Batch, Chain, ChainKind, Comparison, CtKey, Datatype, Element, Expression, Family, Fib, FibFlags,
    FibResult, Hook, MapsTo, MetaKey, NatFlags, Nftables, Register, Rule, Set, TableFlags, Value, Verdict,
    ifname,
};

use crate::sandbox::in_namespace;

const R: Register = Register::FIRST;
const MASK: u32 = 0xff;
const FAMILY: Family = Family::Inet;
const NAME: &str = "berth";

in_namespace! {
    async fn the_flat_layout_loads_and_replaces_in_one_transaction() {
        let mut nft = Nftables::open().unwrap();
        let mut first = Batch::new(FAMILY, NAME);
        first.add_table(TableFlags::OWNED);
        sets(&mut first);
        fill(&mut first);
        plain_chains(&mut first);
        nft.commit(&first).unwrap();
        let mut second = Batch::new(FAMILY, NAME);
        base_chains(&mut second);
        rules(&mut second);
        nft.commit(&second).unwrap();
        let loaded = nft.rules(FAMILY, NAME).unwrap().len();
        assert_eq!(nft.sets(FAMILY, NAME).unwrap().len(), 8);
        assert_eq!(nft.chains(FAMILY, NAME).unwrap().len(), 9);

        let mut replace = Batch::new(FAMILY, NAME);
        replace.flush_table();
        for set in SETS {
            replace.flush_set(set.name);
        }
        fill(&mut replace);
        chain_rules(&mut replace);
        rules(&mut replace);
        nft.commit(&replace).unwrap();
        assert_eq!(nft.rules(FAMILY, NAME).unwrap().len(), loaded);
        assert_eq!(nft.elements(FAMILY, NAME, "local4").unwrap().len(), 4);
        if std::env::var_os("SHOW_RULESET").is_some() {
            std::process::Command::new("nft").args(["list", "ruleset"]).status().unwrap();
        }
    }
}

const SETS: [Set<'static>; 8] = [
    set("local4", Datatype::Ipv4, true, MapsTo::Nothing),
    set("pods4", Datatype::Ipv4, true, MapsTo::Nothing),
    set("single4", Datatype::Ipv4, false, MapsTo::Verdicts),
    set("prefix4", Datatype::Ipv4, true, MapsTo::Verdicts),
    set("prefix6", Datatype::Ipv6, true, MapsTo::Verdicts),
    set("arrive", Datatype::IfName, false, MapsTo::Verdicts),
    set("inward", Datatype::IfName, false, MapsTo::Verdicts),
    set("back", Datatype::Mark, false, MapsTo::Verdicts),
];

const fn set(name: &'static str, key: Datatype, ranges: bool, maps_to: MapsTo) -> Set<'static> {
    Set {
        name,
        key: match key {
            Datatype::Ipv4 => &[Datatype::Ipv4],
            Datatype::Ipv6 => &[Datatype::Ipv6],
            Datatype::IfName => &[Datatype::IfName],
            _ => &[Datatype::Mark],
        },
        ranges,
        maps_to,
    }
}

fn sets(batch: &mut Batch) {
    for set in &SETS {
        batch.add_set(set);
    }
    for chain in ["via_1", "via_primary", "arrive_1", "arrive_primary", "out_first"] {
        batch.add_chain(&Chain::plain(chain));
    }
}

fn fill(batch: &mut Batch) {
    let goto = |chain: &str| Value::Verdict(Verdict::Goto(chain.to_owned()));
    let net = |text: &str| Element::net(text.parse().unwrap());
    batch.add_elements("local4", &[net("10.0.0.0/16"), net("100.64.0.0/10")]);
    batch.add_elements("pods4", &[net("10.0.1.20/32"), net("10.0.2.64/28")]);
    batch.add_elements(
        "single4",
        &[Element::ip("10.0.2.30".parse().unwrap()).to(goto("via_1"))],
    );
    batch.add_elements("prefix4", &[net("10.0.2.64/28").to(goto("via_1"))]);
    batch.add_elements("prefix6", &[net("2001:db8:0:2:aaaa::/80").to(goto("via_1"))]);
    batch.add_elements(
        "arrive",
        &[
            Element::new(ifname("ens5")).to(goto("arrive_primary")),
            Element::new(ifname("ens6")).to(goto("arrive_1")),
        ],
    );
    batch.add_elements("inward", &[Element::new(ifname("ens6")).to(goto("via_1"))]);
    batch.add_elements("back", &[Element::new(1_u32.to_ne_bytes()).to(goto("via_1"))]);
}

fn plain_chains(batch: &mut Batch) {
    chain_rules(batch);
}

fn chain_rules(batch: &mut Batch) {
    use Expression as E;
    for (suffix, bits) in [("1", 1), ("primary", 0x80)] {
        batch.add_rule(
            &format!("via_{suffix}"),
            &Rule::new(vec![
                E::Meta(MetaKey::Mark, R),
                stamp(bits),
                E::SetMeta(MetaKey::Mark, R),
            ]),
        );
        batch.add_rule(
            &format!("arrive_{suffix}"),
            &Rule::new(vec![E::Ct(CtKey::Mark, R), stamp(bits), E::SetCt(CtKey::Mark, R)]),
        );
    }
    batch.add_rule(
        "out_first",
        &Rule::new(vec![E::Ct(CtKey::Mark, R), stamp(0x80), E::SetCt(CtKey::Mark, R)]),
    );
    batch.add_verdict("out_first", Verdict::Goto("via_primary".to_owned()));
}

fn base_chains(batch: &mut Batch) {
    batch.add_chain(&Chain::base("early", ChainKind::Filter, Hook::Prerouting, -310));
    batch.add_chain(&Chain::base("at_door", ChainKind::Filter, Hook::Prerouting, -150));
    batch.add_chain(&Chain::base("steer", ChainKind::Filter, Hook::Prerouting, -90));
    batch.add_chain(&Chain::base("egress", ChainKind::Nat, Hook::Postrouting, 100));
}

fn rules(batch: &mut Batch) {
    use Expression as E;
    let iif_map = |map: &str| vec![E::Meta(MetaKey::IifName, R), E::VerdictMap(R, map.to_owned())];
    batch.add_rule("early", &Rule::new(iif_map("inward")));
    let mut door = [new_connection(), local_destination(Comparison::Is)].concat();
    door.extend(iif_map("arrive"));
    batch.add_rule("at_door", &Rule::new(door));
    steer(batch, iif_map("inward"));
    let snat = |address: [u8; 4]| vec![E::Load(R, address.to_vec()), E::Snat4(R, NatFlags::FULLY_RANDOM)];
    let primary = vec![
        E::Meta(MetaKey::OifName, R),
        E::name_begins(R, Comparison::Is, "ens5\0"),
    ];
    let six = vec![E::Load(R, vec![0x20; 16]), E::Snat6(R, NatFlags::FULLY_RANDOM)];
    add(
        batch,
        "egress",
        [
            primary.clone(),
            from_net4([169, 254, 172, 0], 22),
            snat([10, 0, 1, 10]),
        ]
        .concat(),
    );
    add(batch, "egress", [primary.clone(), from_net6(118), six].concat());
    let marked = masked(E::Ct(CtKey::Mark, R), 0x80, Comparison::Is, 0x80);
    let pods = [ipv4(), vec![source4(), E::InSet(R, "pods4".to_owned())]].concat();
    let away = vec![destination4(), E::NotInSet(R, "local4".to_owned())];
    add(
        batch,
        "egress",
        [primary, marked, pods, away, snat([10, 0, 1, 10])].concat(),
    );
}

fn steer(batch: &mut Batch, inward: Vec<Expression>) {
    use Expression as E;
    let drop = || vec![E::Counter, E::Verdict(Verdict::Drop)];
    let goto = |chain: &str| vec![E::Verdict(Verdict::Goto(chain.to_owned()))];
    let into_egress = [
        new_connection(),
        ipv4(),
        vec![destination4()],
        in_prefix([169, 254, 172, 0], 22),
    ]
    .concat();
    add(batch, "steer", [into_egress, drop()].concat());
    batch.add_rule("steer", &Rule::new(inward));
    add(
        batch,
        "steer",
        vec![
            E::Meta(MetaKey::IifName, R),
            E::name_begins(R, Comparison::IsNot, "eni"),
            E::Verdict(Verdict::Return),
        ],
    );
    add(
        batch,
        "steer",
        [
            ipv6(),
            vec![
                E::Payload(Base::Network, 8, 2, R),
                E::Bitwise(R, vec![0xff, 0xc0], vec![0; 2]),
                E::Compare(R, Comparison::Is, vec![0xfe, 0x80]),
                E::Verdict(Verdict::Return),
            ],
        ]
        .concat(),
    );
    let forged = E::no_route(FibFlags::SOURCE | FibFlags::IIF, R).to_vec();
    let batch = add(batch, "steer", [forged, drop()].concat());
    let reply = vec![E::Ct(CtKey::Direction, R), E::Compare(R, Comparison::Is, vec![1])];
    let any = masked(E::Ct(CtKey::Mark, R), MASK, Comparison::IsNot, 0);
    let back = vec![
        E::Ct(CtKey::Mark, R),
        E::Bitwise(R, word(MASK), word(0)),
        E::VerdictMap(R, "back".to_owned()),
    ];
    add(batch, "steer", [reply, any, back].concat());
    let primary = masked(E::Ct(CtKey::Mark, R), 0x80, Comparison::Is, 0x80);
    add(batch, "steer", [primary, goto("via_primary")].concat());
    let unconfirmed = masked(E::Ct(CtKey::Status, R), 8, Comparison::Is, 0);
    let away = [ipv4(), vec![destination4(), E::NotInSet(R, "local4".to_owned())]].concat();
    let start = [new_connection(), unconfirmed].concat();
    let far = local_destination(Comparison::IsNot);
    add(batch, "steer", [start, away, far, goto("out_first")].concat());
    for map in ["single4", "prefix4"] {
        add(
            batch,
            "steer",
            [ipv4(), vec![source4(), E::VerdictMap(R, map.to_owned())]].concat(),
        );
    }
    let source6 = E::Payload(Base::Network, 8, 16, R);
    add(
        batch,
        "steer",
        [ipv6(), vec![source6, E::VerdictMap(R, "prefix6".to_owned())]].concat(),
    );
}

fn add<'a>(batch: &'a mut Batch, chain: &str, expressions: Vec<Expression>) -> &'a mut Batch {
    batch.add_rule(chain, &Rule::new(expressions))
}

/// Sets the byte of the mask to `bits` and leaves the others.
fn stamp(bits: u32) -> Expression {
    Expression::Bitwise(R, word(!MASK), word(bits))
}

fn masked(load: Expression, mask: u32, comparison: Comparison, value: u32) -> Vec<Expression> {
    vec![
        load,
        Expression::Bitwise(R, word(mask), word(0)),
        Expression::Compare(R, comparison, word(value)),
    ]
}

fn new_connection() -> Vec<Expression> {
    masked(Expression::Ct(CtKey::State, R), 8, Comparison::IsNot, 0)
}

fn local_destination(comparison: Comparison) -> Vec<Expression> {
    let fib = Fib {
        flags: FibFlags::DESTINATION,
        result: FibResult::AddressType,
    };
    vec![
        Expression::Fib(fib, R),
        Expression::Compare(R, comparison, word(2)),
    ]
}

fn ipv4() -> Vec<Expression> {
    vec![
        Expression::Meta(MetaKey::NfProto, R),
        Expression::Compare(R, Comparison::Is, vec![2]),
    ]
}

fn ipv6() -> Vec<Expression> {
    vec![
        Expression::Meta(MetaKey::NfProto, R),
        Expression::Compare(R, Comparison::Is, vec![10]),
    ]
}

fn source4() -> Expression {
    Expression::Payload(Base::Network, 12, 4, R)
}

fn destination4() -> Expression {
    Expression::Payload(Base::Network, 16, 4, R)
}

fn in_prefix(network: [u8; 4], length: u32) -> Vec<Expression> {
    let mask = (u32::MAX << (32 - length)).to_be_bytes().to_vec();
    vec![
        Expression::Bitwise(R, mask, vec![0; 4]),
        Expression::Compare(R, Comparison::Is, network.to_vec()),
    ]
}

fn from_net4(network: [u8; 4], length: u32) -> Vec<Expression> {
    [ipv4(), vec![source4()], in_prefix(network, length)].concat()
}

fn from_net6(length: u32) -> Vec<Expression> {
    let mask = (u128::MAX << (128 - length)).to_be_bytes().to_vec();
    let network = "fd00::ac:0"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets()
        .to_vec();
    [
        ipv6(),
        vec![
            Expression::Payload(Base::Network, 8, 16, R),
            Expression::Bitwise(R, mask, vec![0; 16]),
            Expression::Compare(R, Comparison::Is, network),
        ],
    ]
    .concat()
}

fn word(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}
