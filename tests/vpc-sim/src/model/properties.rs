//! Random life: whatever is asked for in whatever order, at whatever speed, no invariant of the model breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::eni::Eni;
use super::id::{AttachmentId, EniId, InstanceId, SubnetId};
use super::instance::Launch;
use super::request::{
    AttachEni, Call, Caller, CreateEni, Describe, EniSource, LaunchedEni, MetadataOptions, Request,
    RunInstances, Tags, Wanted, WantedIpv6,
};
use super::response::{Response, Zone};
use super::settings::Settings;
use super::subnet::NewSubnet;
use super::timeline::Viewer;
use super::{Handled, Model};

/// One thing that happens; numbers choose among what exists.
#[derive(Clone, Debug)]
enum Step {
    Create {
        subnet: usize,
        wanted: Wanted,
        wanted_ipv6: WantedIpv6,
    },
    Attach {
        eni: usize,
        node: usize,
        index: u32,
    },
    Detach {
        eni: usize,
    },
    Delete {
        eni: usize,
    },
    Assign {
        eni: usize,
        wanted: Wanted,
    },
    Unassign {
        eni: usize,
        addresses: usize,
        prefixes: usize,
    },
    AssignIpv6 {
        eni: usize,
        wanted: WantedIpv6,
    },
    UnassignIpv6 {
        eni: usize,
        addresses: usize,
        prefixes: usize,
    },
    Run {
        subnet: usize,
        wanted: Wanted,
        wanted_ipv6: WantedIpv6,
        most: u32,
    },
    Terminate {
        node: usize,
    },
    Wait {
        millis: u64,
    },
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let explicit = prop::collection::vec((0..3u8, any::<u8>()), 1..3);
    let blocks = prop::collection::vec((0..3u8, any::<u8>()), 1..3);
    prop_oneof![
        Just(Wanted::Nothing),
        (0..12u32).prop_map(Wanted::Addresses),
        (0..5u32).prop_map(Wanted::Prefixes),
        explicit.prop_map(|list| {
            let addresses = list.into_iter().map(|(c, d)| Ipv4Addr::new(10, 0, c, d));
            Wanted::ExplicitAddresses(addresses.collect())
        }),
        blocks.prop_map(|list| {
            let block = |(c, d)| Ipv4Net::new(Ipv4Addr::new(10, 0, c, d), 28);
            Wanted::ExplicitPrefixes(list.into_iter().filter_map(|place| block(place).ok()).collect())
        }),
    ]
}

fn wanted_ipv6() -> impl Strategy<Value = WantedIpv6> {
    let place =
        |subnet: u16, block: u16, last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, block, 0, 0, last);
    let explicit = prop::collection::vec((0..3u16, 0..3u16, 0..8u16), 1..3);
    let blocks = prop::collection::vec((0..3u16, 0..3u16), 1..3);
    prop_oneof![
        3 => Just(Wanted::Nothing),
        2 => (0..12u32).prop_map(Wanted::Addresses),
        2 => (0..5u32).prop_map(Wanted::Prefixes),
        1 => explicit.prop_map(move |list| {
            let addresses = list.into_iter().map(|(subnet, block, last)| place(subnet, block, last));
            Wanted::ExplicitAddresses(addresses.collect())
        }),
        1 => blocks.prop_map(move |list| {
            let block = |(subnet, block)| Ipv6Net::new(place(subnet, block, 0), 80);
            Wanted::ExplicitPrefixes(list.into_iter().filter_map(|place| block(place).ok()).collect())
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..40usize;
    prop_oneof![
        5 => (0..3usize, wanted(), wanted_ipv6())
            .prop_map(|(subnet, wanted, wanted_ipv6)| Step::Create { subnet, wanted, wanted_ipv6 }),
        3 => (pick.clone(), wanted_ipv6()).prop_map(|(eni, wanted)| Step::AssignIpv6 { eni, wanted }),
        2 => (pick.clone(), 0..3usize, 0..3usize)
            .prop_map(|(eni, addresses, prefixes)| Step::UnassignIpv6 { eni, addresses, prefixes }),
        1 => (0..3usize, wanted(), wanted_ipv6(), 1..4u32)
            .prop_map(|(subnet, wanted, wanted_ipv6, most)| Step::Run { subnet, wanted, wanted_ipv6, most }),
        9 => (pick.clone(), 0..3usize, 0..5u32).prop_map(|(eni, node, index)| Step::Attach { eni, node, index }),
        2 => pick.clone().prop_map(|eni| Step::Detach { eni }),
        2 => pick.clone().prop_map(|eni| Step::Delete { eni }),
        4 => (pick.clone(), wanted()).prop_map(|(eni, wanted)| Step::Assign { eni, wanted }),
        2 => (pick, 0..3usize, 0..3usize)
            .prop_map(|(eni, addresses, prefixes)| Step::Unassign { eni, addresses, prefixes }),
        1 => (0..60usize).prop_map(|node| Step::Terminate { node }),
        3 => (0..4000u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

fn run(eni: CreateEni, most: u32) -> Request {
    Request::RunInstances(Box::new(RunInstances {
        least: 1,
        most,
        instance_type: "m5.large".parse().expect("known"),
        image: "ami-1".to_owned(),
        zone: None,
        role: None,
        metadata: MetadataOptions::default(),
        tags: Tags::new(),
        enis: vec![LaunchedEni {
            device_index: 0,
            network_card: 0,
            delete_on_termination: most.is_multiple_of(2),
            source: EniSource::New {
                eni: Box::new(eni),
                public: Some(false),
            },
        }],
        client_token: None,
    }))
}

struct Life {
    model: Model,
    now: Duration,
    subnets: Vec<SubnetId>,
    nodes: Vec<InstanceId>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut model = Model::new(Settings::seeded(seed), "10.0.0.0/16".parse().expect("a CIDR"));
        model.add_ipv6_cidr(Ipv6Net::new_assert(
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
            56,
        ));
        let zone = Zone {
            name: "us-east-1a".to_owned(),
            id: "use1-az1".to_owned(),
        };
        let subnets: Vec<SubnetId> = ["10.0.0.0/24", "10.0.1.0/26", "10.0.2.0/28"]
            .into_iter()
            .enumerate()
            .map(|(index, cidr)| {
                // The last one has no IPv6.
                let ipv6 = (index < 2).then(|| Ipv6Addr::new(0x2001, 0xdb8, 0, index as u16, 0, 0, 0, 0));
                let new = NewSubnet {
                    cidr: cidr.parse().expect("a CIDR"),
                    ipv6_cidr: ipv6.map(|base| Ipv6Net::new_assert(base, 64)),
                    ipv6_on_creation: index == 1,
                    zone: zone.clone(),
                    internet: false,
                    tags: Tags::new(),
                };
                model.add_subnet(new).expect("a good subnet")
            })
            .collect();
        let nodes = ["c5.large", "t2.medium", "m5.large"]
            .into_iter()
            .map(|name| {
                let launch = Launch::plain(name.parse().expect("known"), subnets[0].clone());
                model.launch(Duration::ZERO, &launch).expect("launches")
            })
            .collect();
        Self {
            model,
            now: Duration::ZERO,
            subnets,
            nodes,
        }
    }

    fn existing(&self) -> Vec<&Eni> {
        let all = self.model.enis.values();
        all.filter(|eni| *eni.exists.truth.at(self.now)).collect()
    }

    fn nth(&self, index: usize) -> Option<&Eni> {
        let all = self.existing();
        all.get(index % all.len().max(1)).copied()
    }

    fn request(&self, step: &Step) -> Option<Request> {
        match step {
            Step::Create {
                subnet,
                wanted,
                wanted_ipv6,
            } => Some(Request::CreateNetworkInterface(CreateEni {
                wanted: wanted.clone(),
                wanted_ipv6: wanted_ipv6.clone(),
                ..CreateEni::plain(self.subnets[*subnet].clone())
            })),
            Step::Attach { eni, node, index } => Some(Request::AttachNetworkInterface(AttachEni {
                eni: self.nth(*eni)?.id.clone(),
                instance: self.nodes[*node].clone(),
                device_index: *index,
                network_card: 0,
            })),
            Step::Detach { eni } => {
                let attachment = self.nth(*eni)?.attached(self.now).map(|at| at.id.clone());
                Some(Request::DetachNetworkInterface {
                    attachment: attachment.unwrap_or(AttachmentId::numbered(1)),
                })
            }
            Step::Delete { eni } => Some(Request::DeleteNetworkInterface {
                eni: self.nth(*eni)?.id.clone(),
            }),
            Step::Assign { eni, wanted } => Some(Request::AssignPrivateIpAddresses {
                eni: self.nth(*eni)?.id.clone(),
                wanted: wanted.clone(),
            }),
            Step::Unassign {
                eni,
                addresses,
                prefixes,
            } => {
                let eni = self.nth(*eni)?;
                let held = eni.held(self.now);
                Some(Request::UnassignPrivateIpAddresses {
                    eni: eni.id.clone(),
                    addresses: held.secondary.iter().take(*addresses).copied().collect(),
                    prefixes: held.prefixes.iter().take(*prefixes).copied().collect(),
                })
            }
            Step::AssignIpv6 { .. } | Step::UnassignIpv6 { .. } | Step::Run { .. } => {
                self.request_beside(step)
            }
            Step::Terminate { .. } | Step::Wait { .. } => None,
        }
    }

    /// Launches, and what is about IPv6 alone.
    fn request_beside(&self, step: &Step) -> Option<Request> {
        match step {
            Step::AssignIpv6 { eni, wanted } => Some(Request::AssignIpv6Addresses {
                eni: self.nth(*eni)?.id.clone(),
                wanted: wanted.clone(),
            }),
            Step::UnassignIpv6 {
                eni,
                addresses,
                prefixes,
            } => {
                let eni = self.nth(*eni)?;
                let held = eni.held(self.now);
                Some(Request::UnassignIpv6Addresses {
                    eni: eni.id.clone(),
                    addresses: held.ipv6.iter().take(*addresses).copied().collect(),
                    prefixes: held.ipv6_prefixes.iter().take(*prefixes).copied().collect(),
                })
            }
            Step::Run {
                subnet,
                wanted,
                wanted_ipv6,
                most,
            } => {
                let eni = CreateEni {
                    wanted: wanted.clone(),
                    wanted_ipv6: wanted_ipv6.clone(),
                    ..CreateEni::plain(self.subnets[*subnet].clone())
                };
                Some(run(eni, *most))
            }
            Step::Create { .. }
            | Step::Attach { .. }
            | Step::Detach { .. }
            | Step::Delete { .. }
            | Step::Assign { .. }
            | Step::Unassign { .. }
            | Step::Terminate { .. }
            | Step::Wait { .. } => None,
        }
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Wait { millis } => self.now += Duration::from_millis(*millis),
            Step::Terminate { node } => {
                if let Some(node) = self.nodes.get(*node) {
                    self.model.terminate(self.now, node).expect("it exists");
                }
            }
            Step::Create { .. }
            | Step::Attach { .. }
            | Step::Detach { .. }
            | Step::Delete { .. }
            | Step::Assign { .. }
            | Step::Unassign { .. }
            | Step::AssignIpv6 { .. }
            | Step::UnassignIpv6 { .. }
            | Step::Run { .. } => {
                if let Some(request) = self.request(step) {
                    self.ask(request);
                }
            }
        }
        self.check();
    }

    /// A refused call changes nothing.
    fn ask(&mut self, request: Request) {
        let before = self.truth();
        let call = Call {
            caller: Caller::AccessKey("AKIAEXAMPLE".to_owned()),
            dry_run: false,
            request,
        };
        if let Handled::Answered { result: Err(_), .. } = self.model.handle(self.now, &call) {
            assert_eq!(self.truth(), before, "a refused call changed something: {call:?}");
        }
    }

    fn truth(&self) -> BTreeMap<EniId, String> {
        let eventually = self.now + Duration::from_secs(3600);
        let all = self
            .model
            .enis
            .values()
            .filter(|eni| *eni.exists.truth.at(eventually));
        all.map(|eni| {
            (
                eni.id.clone(),
                format!("{:?}", self.model.describe_eni(Viewer::Truth, eventually, eni)),
            )
        })
        .collect()
    }

    fn check(&self) {
        self.check_addresses();
        self.check_ipv6();
        self.check_counts();
        self.check_limits();
        self.check_views();
    }

    fn check_addresses(&self) {
        let mut given = BTreeSet::new();
        let mut used: BTreeMap<SubnetId, u32> = BTreeMap::new();
        for eni in self.existing() {
            let subnet = &self.model.subnets[&eni.subnet];
            let held = eni.held(self.now);
            for prefix in &held.prefixes {
                assert_eq!(
                    (prefix.prefix_len(), prefix.trunc()),
                    (28, *prefix),
                    "{prefix} is not aligned"
                );
            }
            let inside = held.prefixes.iter().flat_map(|prefix| {
                let base = prefix.network().to_bits();
                (0..16).map(move |offset| Ipv4Addr::from_bits(base + offset))
            });
            for address in held.addresses().chain(inside) {
                assert!(given.insert(address), "{address} has two holders");
                assert!(
                    subnet.pool.usable(address),
                    "{address} is outside its subnet or reserved"
                );
                *used.entry(eni.subnet.clone()).or_default() += 1;
            }
        }
        for (id, subnet) in &self.model.subnets {
            let size = 1u32 << (32 - subnet.cidr.prefix_len());
            let expected = size - 5 - used.get(id).copied().unwrap_or(0);
            assert_eq!(
                subnet.pool.available(),
                expected,
                "the free count of {}",
                subnet.cidr
            );
        }
    }

    /// One holder an address, reserved ones none; prefixes aligned, inside and disjoint.
    fn check_ipv6(&self) {
        let mut singles = BTreeSet::new();
        let mut blocks = BTreeSet::new();
        for eni in self.existing() {
            let held = eni.held(self.now);
            let Some(subnet) = &self.model.subnets[&eni.subnet].ipv6 else {
                assert_eq!(held.ipv6_slots(), 0, "{} has IPv6 without a CIDR", eni.id);
                continue;
            };
            for prefix in &held.ipv6_prefixes {
                assert_eq!((prefix.prefix_len(), prefix.trunc()), (80, *prefix), "{prefix}");
                let usable = subnet.pool.usable(prefix.network()) && subnet.pool.usable(prefix.broadcast());
                assert!(
                    usable,
                    "{prefix} is outside its subnet or touches a reserved address"
                );
                assert!(blocks.insert(prefix.network()), "{prefix} has two holders");
            }
            for address in &held.ipv6 {
                assert!(subnet.pool.usable(*address), "{address} is outside or reserved");
                assert!(singles.insert(*address), "{address} has two holders");
            }
        }
        for address in singles {
            let around = Ipv6Net::new_assert(address, 80).trunc().network();
            assert!(!blocks.contains(&around), "{address} is inside somebody's prefix");
        }
    }

    /// Describe counts what is free, and the audit what is there.
    fn check_counts(&self) {
        for subnet in self.model.subnets.values() {
            assert_eq!(
                *subnet.available.last(),
                subnet.pool.available(),
                "{}",
                subnet.cidr
            );
        }
        let audited = self.model.audit(self.now);
        assert_eq!(audited.len(), self.existing().len());
        for (audited, eni) in audited.iter().zip(self.existing()) {
            let held = eni.held(self.now);
            let counted = 1 + audited.secondary + audited.prefixes;
            assert_eq!((&audited.id, counted), (&eni.id, held.slots()));
            assert_eq!(audited.ipv6 + audited.ipv6_prefixes, held.ipv6_slots());
        }
    }

    fn check_limits(&self) {
        let mut cards: BTreeMap<(InstanceId, u32), BTreeSet<u32>> = BTreeMap::new();
        for eni in self.existing() {
            let Some(at) = eni.attached(self.now) else {
                continue;
            };
            let info = self.model.instances[&at.instance].info;
            let held = eni.held(self.now);
            assert!(
                held.slots() <= info.ipv4_per_eni as usize,
                "{} has too many slots",
                eni.id
            );
            assert!(
                held.ipv6_slots() <= info.ipv6_per_eni as usize,
                "{} has too many IPv6 slots",
                eni.id
            );
            let prefixes = held.prefixes.len() + held.ipv6_prefixes.len();
            assert!(
                prefixes == 0 || info.holds_prefixes(),
                "{} cannot have prefixes",
                eni.id
            );
            let indexes = cards.entry((at.instance.clone(), at.network_card)).or_default();
            assert!(indexes.insert(at.device_index), "two ENIs at one device index");
            let most = info.card(at.network_card).expect("the card exists").max_enis;
            assert!(indexes.len() <= most as usize, "too many ENIs on one card");
        }
    }

    /// A device belongs to an ENI that was attached, and in the end every viewer sees the truth.
    fn check_views(&self) {
        let eventually = self.now + Duration::from_secs(3600);
        assert_eq!(self.model.next_change(eventually), None);
        let view = self.model.kernel_view(eventually);
        for eni in self.model.enis.values() {
            let attached = eni.attached(eventually).is_some();
            assert_eq!(view.enis.contains_key(&eni.id), attached, "device of {}", eni.id);
            let listed = *eni.exists.seen_by(Viewer::Api, eventually);
            assert_eq!(listed, *eni.exists.truth.at(eventually), "listing of {}", eni.id);
            if listed {
                let truth = self.model.describe_eni(Viewer::Truth, eventually, eni);
                assert_eq!(self.model.describe_eni(Viewer::Api, eventually, eni), truth);
                assert_eq!(self.model.describe_eni(Viewer::Metadata, eventually, eni), truth);
                assert_eq!(self.model.describe_eni(Viewer::Kernel, eventually, eni), truth);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_requests_never_break_an_invariant(seed: u64, steps in prop::collection::vec(step(), 1..120)) {
        let mut life = Life::new(seed);
        for step in &steps {
            life.live(step);
        }
    }

    #[test]
    fn the_same_seed_and_requests_give_the_same_world(
        seed: u64,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut lives = [Life::new(seed), Life::new(seed)];
        for life in &mut lives {
            for step in &steps {
                life.live(step);
            }
        }
        let [one, other] = lives;
        prop_assert_eq!(one.truth(), other.truth());
    }
}

#[test]
fn describes_never_fail_on_a_whole_list() {
    let mut life = Life::new(3);
    let ask = Request::DescribeNetworkInterfaces(Describe {
        ids: Vec::new(),
        narrowed: true,
    });
    let call = Call {
        caller: Caller::AccessKey("AKIAEXAMPLE".to_owned()),
        dry_run: false,
        request: ask,
    };
    let handled = life.model.handle(life.now, &call);
    assert!(matches!(handled, Handled::Answered { result: Ok(Response::Enis(list)), .. } if list.len() == 3));
}
