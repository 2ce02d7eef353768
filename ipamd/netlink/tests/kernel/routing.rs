//! Links, addresses, routes, rules, neighbours: written, then read back.

use std::os::fd::AsFd;

use ipnet::IpNet;
use netlink::{
    Address, Family, Ipv4Setting, LinkChange, LinkKind, Mac, Mark, Neighbour, Route, RouteKind, Routing,
    Rule, Scope, VethEnd, VethSpec,
};

use crate::sandbox::{another, in_namespace};

const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

in_namespace! {
    async fn a_veth_is_born_with_both_ends_in_place() {
        let away = another();
        let here = Routing::open().unwrap();
        let there = Routing::open_in(away.as_fd()).unwrap();
        let mut spec = pair();
        spec.peer_namespace = Some(away.as_fd());
        spec.host_up = true;
        here.create_veth(&spec).await.unwrap();

        let host = here.link_by_name("eni-a").await.unwrap().unwrap();
        assert_eq!((host.index, host.mac, host.mtu_bytes), (70, Some(HOST_MAC), 9001));
        assert_eq!((host.group, host.up, host.kind.clone()), (7, true, LinkKind::Veth));
        assert_eq!(host.peer, Some(80));
        let peer = there.link_by_mac(PEER_MAC).await.unwrap().unwrap();
        assert_eq!((peer.index, peer.name.as_str(), peer.up), (80, "ens5", false));
        assert_eq!(peer.mtu_bytes, 9001);
        assert!(here.create_veth(&spec).await.unwrap_err().is_exists());
        assert!(here.link_by_mac(PEER_MAC).await.unwrap().is_none());
    }

    async fn link_changes_are_one_message_and_deletion_goes_by_index_or_group() {
        let here = Routing::open().unwrap();
        here.create_veth(&pair()).await.unwrap();
        let change = LinkChange {
            name: Some("doomed"),
            group: Some(99),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            mtu_bytes: Some(1400),
            ..LinkChange::default()
        };
        here.change_link(70, &change).await.unwrap();
        let link = here.link_by_index(70).await.unwrap().unwrap();
        assert_eq!((link.name.as_str(), link.group, link.mtu_bytes), ("doomed", 99, 1400));
        assert_eq!(link.mac, change.mac);

        here.set_up(70).await.unwrap();
        assert!(here.link_by_index(70).await.unwrap().unwrap().up);
        here.set_down(70).await.unwrap();
        assert!(!here.link_by_index(70).await.unwrap().unwrap().up);

        here.delete_group(99).await.unwrap();
        assert!(here.link_by_index(70).await.unwrap().is_none());
        assert!(here.delete_group(99).await.unwrap_err().is_gone());
        assert!(here.delete_link(70).await.unwrap_err().is_gone());
        assert!(here.delete_group(0).await.is_err());
    }

    async fn no_link_local_address_where_none_is_wanted() {
        let here = Routing::open().unwrap();
        here.create_veth(&pair()).await.unwrap();
        let quiet = LinkChange {
            link_local: Some(false),
            ..LinkChange::default()
        };
        here.change_link(70, &quiet).await.unwrap();
        here.set_up(80).await.unwrap();
        here.set_up(70).await.unwrap();
        // The other end gets its address when the carrier is there, so by then this one would have had its own.
        while here.addresses(Some(80)).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(here.addresses(Some(70)).await.unwrap(), []);
    }

    async fn per_device_settings_are_set_and_read() {
        let here = Routing::open().unwrap();
        here.create_veth(&pair()).await.unwrap();
        let set = [(Ipv4Setting::RpFilter, 2), (Ipv4Setting::SrcValidMark, 1), (Ipv4Setting::ProxyArp, 1)];
        here.set_ipv4_conf(70, &set).await.unwrap();
        let conf = here.link_by_index(70).await.unwrap().unwrap().ipv4;
        assert_eq!((conf.rp_filter, conf.src_valid_mark, conf.proxy_arp), (2, true, true));
        here.set_ipv4_conf(70, &[(Ipv4Setting::RpFilter, 0)]).await.unwrap();
        assert_eq!(here.link_by_index(70).await.unwrap().unwrap().ipv4.rp_filter, 0);
    }

    async fn addresses_of_both_families() {
        let here = Routing::open().unwrap();
        here.create_veth(&pair()).await.unwrap();
        for text in ["10.0.1.5/24", "fd00::5/128"] {
            let mut address = Address::new(70, net(text));
            address.no_prefix_route = true;
            address.no_dad = text.contains(':');
            here.add_address(&address).await.unwrap();
            assert!(here.add_address(&address).await.unwrap_err().is_exists());
            here.replace_address(&address).await.unwrap();
            assert_eq!(here.addresses(Some(70)).await.unwrap(), [address.clone()]);
            here.delete_address(70, address.address).await.unwrap();
            assert!(here.delete_address(70, address.address).await.unwrap_err().is_gone());
        }
        assert_eq!(here.addresses(Some(4711)).await.unwrap(), []);
    }

    async fn routes_of_one_table() {
        let here = Routing::open().unwrap();
        up(&here).await;
        let routes = [
            Route { out: Some(70), scope: Scope::Link, source: Some("10.0.1.5".parse().unwrap()), protocol: 4,
                ..Route::new(net("10.0.1.30/32"), 5120) },
            Route { out: Some(70), gateway: Some("169.254.0.1".parse().unwrap()), on_link: true,
                ..Route::new(net("10.0.1.64/28"), 5120) },
            Route { metric: u32::MAX, ..Route::blackhole(net("10.0.1.64/28"), 5120) },
            Route { out: Some(70), gateway: Some("169.254.0.1".parse().unwrap()), on_link: true, metric: 512,
                ..Route::new(net("0.0.0.0/0"), 5120) },
        ];
        for route in &routes {
            here.add_route(route).await.unwrap();
            assert!(here.add_route(route).await.unwrap_err().is_exists());
            here.replace_route(route).await.unwrap();
        }
        let mut read = here.routes(Family::V4, 5120).await.unwrap();
        read.sort();
        let mut wanted = routes.to_vec();
        wanted.sort();
        assert_eq!(read, wanted);
        for route in &routes {
            here.delete_route(route).await.unwrap();
            assert!(here.delete_route(route).await.unwrap_err().is_gone());
        }
        assert_eq!(here.routes(Family::V4, 5120).await.unwrap(), []);
        assert_eq!(here.routes(Family::V4, 77).await.unwrap(), []);
    }

    async fn ipv6_routes_and_blackholes() {
        let here = Routing::open().unwrap();
        up(&here).await;
        let routes = [
            Route { out: Some(70), metric: 1024, ..Route::new(net("fd00:1::30/128"), 5120) },
            Route { metric: u32::MAX, ..Route::blackhole(net("fd00:1::/80"), 5120) },
            Route { out: Some(70), gateway: Some("fe80::2".parse().unwrap()), metric: 1024,
                ..Route::new(net("::/0"), 5120) },
        ];
        for route in &routes {
            here.replace_route(route).await.unwrap();
        }
        let mut read = here.routes(Family::V6, 5120).await.unwrap();
        read.sort();
        let mut wanted = routes.to_vec();
        wanted.sort();
        assert_eq!(read, wanted);
        assert_eq!(read.iter().filter(|route| route.kind == RouteKind::Blackhole).count(), 1);
        here.delete_route(&routes[1]).await.unwrap();
        assert_eq!(here.routes(Family::V6, 5120).await.unwrap().len(), 2);
    }

    async fn rules_of_both_families() {
        let here = Routing::open().unwrap();
        let rules = [
            Rule::new(Family::V4, 513, 5120),
            Rule { mark: Some(Mark { value: 0x80, mask: 0x80 }), ..Rule::new(Family::V4, 1024, 254) },
            Rule { from: Some(net("10.0.1.5/32")), protocol: 4, ..Rule::new(Family::V4, 1536, 10_001) },
            Rule { to: Some(net("192.0.2.0/24")), iif: Some("eni-a".to_owned()), ..Rule::new(Family::V4, 1535, 254) },
            Rule::new(Family::V6, 513, 5120),
        ];
        for rule in &rules {
            here.add_rule(rule).await.unwrap();
            assert!(here.add_rule(rule).await.unwrap_err().is_exists());
            let read = here.rules(rule.family).await.unwrap();
            assert!(read.contains(rule), "{rule} not in {read:?}");
        }
        for rule in &rules {
            here.delete_rule(rule).await.unwrap();
            assert!(here.delete_rule(rule).await.unwrap_err().is_gone());
        }
        let left: Vec<u32> = here.rules(Family::V4).await.unwrap().iter().map(|rule| rule.table).collect();
        assert_eq!(left, [255, 254, 253]);
    }

    async fn neighbours_and_proxy_delay() {
        let here = Routing::open().unwrap();
        up(&here).await;
        for text in ["169.254.0.1", "fe80::ffff"] {
            let ip = text.parse().unwrap();
            let neighbour = Neighbour { index: 70, ip, mac: Some(PEER_MAC), permanent: true };
            here.add_neighbour(&neighbour).await.unwrap();
            assert!(here.add_neighbour(&neighbour).await.unwrap_err().is_exists());
            here.replace_neighbour(&neighbour).await.unwrap();
            assert!(here.neighbours(Some(70)).await.unwrap().contains(&neighbour));
            assert!(!here.neighbours(Some(80)).await.unwrap().contains(&neighbour));
            here.delete_neighbour(&neighbour).await.unwrap();
            assert!(here.delete_neighbour(&neighbour).await.unwrap_err().is_gone());
        }
        here.answer_proxied_at_once(70, Family::V4).await.unwrap();
        here.answer_proxied_at_once(70, Family::V6).await.unwrap();
    }

    async fn the_kernel_explains_itself() {
        let here = Routing::open().unwrap();
        let route = Route {
            gateway: Some("198.51.100.1".parse().unwrap()),
            ..Route::new(net("0.0.0.0/0"), 254)
        };
        let error = here.add_route(&route).await.unwrap_err();
        assert_eq!(error.to_string(), "add route 0.0.0.0/0 in table 254: Nexthop has invalid gateway");
        assert!(!error.is_exists() && !error.is_gone());
    }

    async fn many_requests_are_in_flight_at_once() {
        let here = Routing::open().unwrap();
        up(&here).await;
        let routes: Vec<Route> = (0..4000_u32)
            .map(|n| IpNet::from(std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes())))
            .map(|to| Route { out: Some(70), scope: Scope::Link, ..Route::new(to, 5120) })
            .collect();
        for result in futures::future::join_all(routes.iter().map(|route| here.add_route(route))).await {
            result.unwrap();
        }
        assert_eq!(here.routes(Family::V4, 5120).await.unwrap().len(), 4000);
    }
}

fn pair() -> VethSpec<'static> {
    VethSpec {
        host: VethEnd {
            name: "eni-a",
            index: Some(70),
            mac: Some(HOST_MAC),
            mtu_bytes: Some(9001),
            group: Some(7),
        },
        peer: VethEnd {
            name: "ens5",
            index: Some(80),
            mac: Some(PEER_MAC),
            mtu_bytes: Some(9001),
            group: None,
        },
        ..VethSpec::default()
    }
}

async fn up(here: &Routing) {
    here.create_veth(&pair()).await.unwrap();
    here.set_up(70).await.unwrap();
    here.set_up(80).await.unwrap();
    here.add_address(&Address::new(70, net("10.0.1.5/32")))
        .await
        .unwrap();
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}
