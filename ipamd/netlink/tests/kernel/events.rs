//! Notices of changes.

use std::os::fd::AsFd;

use netlink::events::{Changed, Events, LinkStep};
use netlink::nft::{Batch, Nftables, TableFlags};
use netlink::{Family, Route, Routing, Rule, Scope, VethEnd, VethSpec};

use crate::sandbox::{another, in_namespace};

in_namespace! {
    async fn a_rule_and_a_table_are_noticed() {
        let mut events = Events::open().unwrap();
        let here = Routing::open().unwrap();
        here.add_rule(&Rule::new(Family::V4, 513, 5120)).await.unwrap();
        assert_eq!(events.next().await.unwrap(), Changed::Rules);
        let mut batch = Batch::new(netlink::nft::Family::Inet, "t");
        batch.add_table(TableFlags::NONE);
        Nftables::open().unwrap().commit(&batch).unwrap();
        assert_eq!(events.next().await.unwrap(), Changed::Firewall);
    }

    /// Whoever listens can tell a device that is set up for the first time from one that lost its routes.
    async fn every_step_of_a_link_and_its_route_is_noticed() {
        let mut events = Events::open().unwrap();
        let here = Routing::open().unwrap();
        let away = another();
        let end = |name| VethEnd { name, ..VethEnd::default() };
        let spec = VethSpec {
            host: end("eni0"),
            peer: end("eth0"),
            peer_namespace: Some(away.as_fd()),
            host_up: false,
            queues: None,
        };
        here.create_veth(&spec).await.unwrap();
        let link = here.link_by_name("eni0").await.unwrap().unwrap();
        here.set_up(link.index).await.unwrap();
        let mut route = Route::new("10.0.0.9/32".parse().unwrap(), 5120);
        (route.out, route.scope) = (Some(link.index), Scope::Link);
        here.add_route(&route).await.unwrap();
        here.delete_route(&route).await.unwrap();
        here.set_down(link.index).await.unwrap();
        here.set_up(link.index).await.unwrap();
        here.delete_link(link.index).await.unwrap();
        let (mut steps, mut routes) = (Vec::new(), Vec::new());
        while steps.last() != Some(&LinkStep::Deleted) {
            match events.next().await.unwrap() {
                Changed::Link(link, step) if link.name == "eni0" && step != LinkStep::Other => steps.push(step),
                Changed::RouteCame(route) if route.table == 5120 => routes.push((true, route.out)),
                Changed::RouteWent(route) if route.table == 5120 => routes.push((false, route.out)),
                _ => {}
            }
        }
        let up_and_down = [LinkStep::WentUp, LinkStep::WentDown, LinkStep::WentUp];
        assert_eq!(steps.first(), Some(&LinkStep::Created));
        assert_eq!(steps.get(1..4).unwrap(), up_and_down);
        assert_eq!(routes, [(true, Some(link.index)), (false, Some(link.index))]);
    }
}
