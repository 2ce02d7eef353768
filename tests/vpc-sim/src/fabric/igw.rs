//! The internet gateway and the internet behind it.
//!
//! The gateway translates one private address to one public address and back, statelessly, at an MTU of 1500 (AWS
//! documentation, "Internet gateways" and "Network MTU"). The internet is a namespace in which a few addresses of
//! documentation ranges answer; it can be a client too.
//!
//! Left out: translation inside ICMP errors that come from the internet.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::{IpNet, Ipv4Net};
use netlink::nft::{
    Base, Batch, Chain, ChainKind, Comparison, Datatype, Element, Expression as E, Family, Hook, MapsTo,
    MetaKey, Register, Rule, Set, TableFlags, Value, Verdict,
};
use netlink::{LOCAL_TABLE, MAIN_TABLE, Mac, Neighbour, Route, RouteKind, Routing, Scope, VethEnd, VethSpec};

use super::check::{Checks, TABLE as CHECKS, gateway_only_for_public};
use super::{Error, carrier, kernel, settings};

/// The fabric's end of the gateway.
pub(super) const DEVICE: &str = "igw0";
/// The same for a comparison of the whole name.
pub(super) const DEVICE_EXACTLY: &str = "igw0\0";
/// The internet's end.
const FAR_DEVICE: &str = "inet0";
/// Behind the gateway packets are no longer than this (AWS documentation, "Network MTU for your EC2 instance").
const MTU_BYTES: u32 = 1500;
/// Fake next hop on both ends, so that nobody is asked by ARP.
const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 2);
const MAC: Mac = Mac([0x02, 0, 0, 0, 0xff, 0x01]);
const FAR_MAC: Mac = Mac([0x02, 0, 0, 0, 0xff, 0x02]);

/// Private addresses that have a public one; kept beside the checks, which count those that have none.
pub(super) const HAS_PUBLIC: &str = "haseip";

const TABLE: &str = "igw";

/// Hosts of the internet: every address of this range (RFC 5737, TEST-NET-2) answers.
pub const INTERNET: Ipv4Net = match Ipv4Net::new(Ipv4Addr::new(198, 51, 100, 0), 24) {
    Ok(net) => net,
    Err(_) => Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0),
};

const R: Register = Register::FIRST;

/// The gateway of one fabric.
#[derive(Debug)]
pub(super) struct Gateway {
    internet: OwnedFd,
    index: u32,
    public: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

impl Gateway {
    /// Makes the internet and the way there.
    pub(super) async fn install(
        fabric: BorrowedFd<'_>,
        routing: &Routing,
        checks: &mut Checks,
    ) -> Result<Self, Error> {
        let internet = settings::fresh_namespace()?;
        settings::write(internet.as_fd(), &settings::INTERNET)?;
        let far = Routing::open_in(internet.as_fd()).map_err(kernel)?;
        let end = |name, mac| VethEnd {
            name,
            mac: Some(mac),
            mtu_bytes: Some(MTU_BYTES),
            ..VethEnd::default()
        };
        let spec = VethSpec {
            host: end(DEVICE, MAC),
            peer: end(FAR_DEVICE, FAR_MAC),
            peer_namespace: Some(internet.as_fd()),
            ..VethSpec::default()
        };
        routing.create_veth(&spec).await.map_err(kernel)?;
        let index = bring_up(routing, DEVICE, FAR_MAC).await?;
        let far_index = bring_up(&far, FAR_DEVICE, MAC).await?;
        carrier::until_running(fabric, routing, index).await?;
        carrier::until_running(internet.as_fd(), &far, far_index).await?;
        bring_up_loopback(&far).await?;
        let everywhere = default_route(far_index, MAIN_TABLE);
        far.replace_route(&everywhere).await.map_err(kernel)?;
        let here = Route {
            kind: RouteKind::Local,
            out: Some(1),
            scope: Scope::Host,
            ..Route::new(IpNet::V4(INTERNET), LOCAL_TABLE)
        };
        far.replace_route(&here).await.map_err(kernel)?;
        checks.nft.commit(&only_public()).map_err(Error::Firewall)?;
        checks.nft.commit(&translation()).map_err(Error::Firewall)?;
        Ok(Self {
            internet,
            index,
            public: BTreeMap::new(),
        })
    }

    /// The internet's namespace.
    pub(super) fn internet(&self) -> BorrowedFd<'_> {
        self.internet.as_fd()
    }

    /// The default route of a subnet's table through the gateway.
    pub(super) fn route(&self, table: u32) -> Route {
        default_route(self.index, table)
    }

    /// Makes the gateway translate exactly these private addresses.
    pub(super) fn set_public(
        &mut self,
        checks: &mut Checks,
        wanted: BTreeMap<Ipv4Addr, Ipv4Addr>,
    ) -> Result<(), Error> {
        if wanted == self.public {
            return Ok(());
        }
        let element = |from: &Ipv4Addr, to: &Ipv4Addr| {
            Element::new(from.octets()).to(Value::Data(to.octets().to_vec()))
        };
        let out: Vec<Element> = wanted
            .iter()
            .map(|(private, public)| element(private, public))
            .collect();
        let back: Vec<Element> = wanted
            .iter()
            .map(|(private, public)| element(public, private))
            .collect();
        let known: Vec<Element> = wanted
            .keys()
            .map(|private| Element::new(private.octets()))
            .collect();
        let mut maps = Batch::new(Family::Ip, TABLE);
        maps.flush_set("priv2pub").flush_set("pub2priv");
        maps.add_elements("priv2pub", &out)
            .add_elements("pub2priv", &back);
        let mut set = Batch::new(Family::Inet, CHECKS);
        set.flush_set(HAS_PUBLIC).add_elements(HAS_PUBLIC, &known);
        checks.nft.commit(&maps).map_err(Error::Firewall)?;
        checks.nft.commit(&set).map_err(Error::Firewall)?;
        self.public = wanted;
        Ok(())
    }
}

fn default_route(index: u32, table: u32) -> Route {
    Route {
        out: Some(index),
        gateway: Some(NEXT_HOP.into()),
        on_link: true,
        ..Route::new(IpNet::V4(Ipv4Net::default()), table)
    }
}

async fn bring_up(routing: &Routing, name: &str, neighbour: Mac) -> Result<u32, Error> {
    let link = routing.link_by_name(name).await.map_err(kernel)?;
    let index = link.map(|link| link.index).ok_or_else(|| Error::Lost {
        device: name.to_owned(),
    })?;
    routing.set_up(index).await.map_err(kernel)?;
    let next_hop = Neighbour {
        index,
        ip: NEXT_HOP.into(),
        mac: Some(neighbour),
        permanent: true,
    };
    routing.replace_neighbour(&next_hop).await.map_err(kernel)?;
    Ok(index)
}

/// The loopback is always link 1 of its namespace.
pub(super) async fn bring_up_loopback(routing: &Routing) -> Result<(), Error> {
    routing.set_up(super::LOOPBACK).await.map_err(kernel)
}

fn only_public() -> Batch {
    let mut batch = Batch::new(Family::Inet, CHECKS);
    batch.add_set(&Set {
        name: HAS_PUBLIC,
        key: &[Datatype::Ipv4],
        ranges: false,
        maps_to: MapsTo::Nothing,
    });
    gateway_only_for_public(&mut batch);
    batch
}

/// The translation both ways: before anything else looks when coming in, after everything else when going out.
fn translation() -> Batch {
    let mut batch = Batch::new(Family::Ip, TABLE);
    batch.add_table(TableFlags::NONE);
    for name in ["priv2pub", "pub2priv"] {
        batch.add_set(&Set {
            name,
            key: &[Datatype::Ipv4],
            ranges: false,
            maps_to: MapsTo::Data(Datatype::Ipv4),
        });
    }
    batch.add_chain(&Chain::base("in", ChainKind::Filter, Hook::Prerouting, -400));
    batch.add_chain(&Chain::base("out", ChainKind::Filter, Hook::Postrouting, 400));
    batch.add_rule("in", &translate(MetaKey::IifName, 16, "pub2priv"));
    batch.add_rule("out", &translate(MetaKey::OifName, 12, "priv2pub"));
    // A public address that is nobody's, or one that was just taken away.
    for (chain, key) in [("in", MetaKey::IifName), ("out", MetaKey::OifName)] {
        let nobody = vec![through(key), is_gateway(), E::Verdict(Verdict::Drop)];
        batch.add_rule(chain, &Rule::new(nobody));
    }
    batch
}

fn translate(device: MetaKey, offset: u32, map: &str) -> Rule {
    Rule::new(vec![
        through(device),
        is_gateway(),
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
    ])
}

fn through(key: MetaKey) -> E {
    E::Meta(key, R)
}

fn is_gateway() -> E {
    E::name_begins(R, Comparison::Is, DEVICE_EXACTLY)
}
