//! One pod's wiring: what is in the pod and on the node after each step.

use std::net::IpAddr;

use hostnet::Error;
use hostnet::pod::check::{Difference, check};
use hostnet::pod::{Remains, reap, unwire, wire};
use ipamd_core::net::TableId;
use ipamd_core::net::pod::{DOOMED_GROUP, GATEWAY, PodWiring};
use netlink::{
    Address, Family, Link, LinkChange, Neighbour, Route, RouteKind, Routing, Scope, VethEnd, VethSpec,
};

use crate::example::{NODE, Node, index_of, v4, wiring};
use crate::sandbox::{Namespace, in_namespace};

in_namespace! {
    async fn a_wired_pod_has_what_was_promised_and_nothing_else() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let web = web();
        wire(pod.path(), &web).await.unwrap();
        assert_eq!(check(pod.path(), &web).await.unwrap(), []);
        assert_eq!(wire(pod.path(), &web).await.map_err(|error| error.to_string()), Ok(()), "again");

        let host = link(&node.routing, "eniweb").await.unwrap();
        assert_eq!((host.mac.unwrap().0, host.mtu_bytes, host.up), (web.host_mac.0, 9001, true));
        let routes = pods_routes(&node.routing).await;
        assert_eq!(routes.len(), 1);
        let expected = (Some(host.index), Some(IpAddr::V4(NODE)), Scope::Link, RouteKind::Unicast);
        assert_eq!((routes[0].out, routes[0].source, routes[0].scope, routes[0].kind), expected);

        let inside = pod.routing();
        let eth0 = link(&inside, "eth0").await.unwrap();
        assert_eq!((eth0.mac.unwrap().0, eth0.mtu_bytes, eth0.up), (web.pod_mac.0, 9001, true));
        let addresses = inside.addresses(None).await.unwrap();
        let own = Address::new(eth0.index, "10.0.1.30/32".parse().unwrap());
        assert_eq!(addresses, [own]);
        let routes = inside.routes(Family::V4, TableId::MAIN.0).await.unwrap();
        let said: Vec<_> = routes.iter().map(|it| (it.destination.to_string(), it.gateway, it.out)).collect();
        let gateway = IpAddr::V4(GATEWAY);
        assert_eq!(said, [
            ("0.0.0.0/0".to_owned(), Some(gateway), Some(eth0.index)),
            ("169.254.1.1/32".to_owned(), None, Some(eth0.index)),
        ]);
        let neighbour = Neighbour {
            index: eth0.index,
            ip: gateway,
            mac: Some(netlink::Mac(web.host_mac.0)),
            permanent: true,
        };
        assert_eq!(inside.neighbours(Some(eth0.index)).await.unwrap(), [neighbour]);
    }

    async fn neither_end_has_a_link_local_address() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        wire(pod.path(), &web()).await.unwrap();
        for (routing, name) in [(&node.routing, "eniweb"), (&pod.routing(), "eth0")] {
            let index = index_of(routing, name).await;
            let addresses = routing.addresses(Some(index)).await.unwrap();
            assert!(addresses.iter().all(|it| it.address.addr().is_ipv4()), "{name}: {addresses:?}");
        }
    }

    async fn an_interface_of_that_name_is_refused_and_untouched() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let inside = pod.routing();
        stranger(&inside, "eth0").await;
        let before = links(&inside).await;
        let error = wire(pod.path(), &web()).await.unwrap_err();
        assert!(matches!(error, Error::InterfaceExists { .. }), "{error}");
        assert_eq!(links(&inside).await, before);
        assert!(link(&node.routing, "eniweb").await.is_none());
        assert_eq!(pods_routes(&node.routing).await, []);
    }

    async fn another_wiring_under_the_same_names_is_refused_and_untouched() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        wire(pod.path(), &web()).await.unwrap();
        let before = (links(&node.routing).await, pods_routes(&node.routing).await);
        let other = wiring("web", 9, [10, 0, 1, 44]);
        let error = wire(pod.path(), &other).await.unwrap_err();
        assert!(matches!(error, Error::InterfaceExists { .. }), "{error}");
        assert_eq!((links(&node.routing).await, pods_routes(&node.routing).await), before);
        assert_eq!(check(pod.path(), &web()).await.unwrap(), []);
    }

    async fn a_device_of_the_node_that_is_no_pods_is_untouched() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let web = PodWiring { host_name: "lo".parse().unwrap(), ..web() };
        let before = links(&node.routing).await;
        let error = wire(pod.path(), &web).await.unwrap_err();
        assert!(matches!(error, Error::NotAPods { .. }), "{error}");
        assert_eq!(links(&node.routing).await, before);
        assert!(link(&pod.routing(), "eth0").await.is_none());
    }

    async fn a_failed_wiring_leaves_nothing() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        // No device has the source that the node's route should name, so the last step fails.
        let mut web = web();
        web.v4.as_mut().unwrap().node_address = Some([192, 0, 2, 1].into());
        wire(pod.path(), &web).await.unwrap_err();
        assert!(link(&node.routing, "eniweb").await.is_none());
        assert!(link(&pod.routing(), "eth0").await.is_none());
        assert_eq!(pods_routes(&node.routing).await, []);
        // An earlier one: the pod has a default route of somebody else's.
        let inside = pod.routing();
        stranger(&inside, "net1").await;
        let net1 = index_of(&inside, "net1").await;
        inside.set_up(net1).await.unwrap();
        let theirs = Route {
            out: Some(net1),
            scope: Scope::Link,
            ..Route::new("0.0.0.0/0".parse().unwrap(), TableId::MAIN.0)
        };
        inside.add_route(&theirs).await.unwrap();
        wire(pod.path(), &self::web()).await.unwrap_err();
        assert!(link(&node.routing, "eniweb").await.is_none());
        assert!(link(&inside, "eth0").await.is_none());
        assert_eq!(inside.routes(Family::V4, TableId::MAIN.0).await.unwrap(), [theirs]);
    }

    async fn a_pod_that_is_made_again_does_not_wait_for_the_old_namespace() {
        let (node, old, new) = (Node::boot().await, Namespace::new(), Namespace::new());
        let (before, after) = (web(), wiring("web", 2, [10, 0, 1, 31]));
        wire(old.path(), &before).await.unwrap();
        wire(new.path(), &after).await.unwrap();
        assert_eq!(check(new.path(), &after).await.unwrap(), []);
        assert_eq!(doomed(&node.routing).await.len(), 1);
        let destinations = pods_routes(&node.routing).await;
        assert_eq!(destinations.len(), 1, "the old pod's route is gone: {destinations:?}");

        unwire(&Remains::from(&before)).await.unwrap();
        assert_eq!(check(new.path(), &after).await.unwrap(), [], "a late DEL harms nothing");
        reap(&node.routing).await.unwrap();
        assert_eq!(doomed(&node.routing).await, []);
        assert!(link(&old.routing(), "eth0").await.is_none());
        assert_eq!(check(new.path(), &after).await.unwrap(), []);
    }

    async fn an_unwired_pod_is_doomed_and_reaped_and_both_twice_is_success() {
        let node = Node::boot().await;
        let pods: Vec<_> = (1..=3).map(|n| (Namespace::new(), wiring(&format!("web{n}"), n, [10, 0, 1, 30 + n]))).collect();
        for (pod, wiring) in &pods {
            wire(pod.path(), wiring).await.unwrap();
        }
        for _ in 0..2 {
            for (_, wiring) in &pods {
                unwire(&Remains::from(wiring)).await.unwrap();
            }
        }
        assert_eq!(pods_routes(&node.routing).await, []);
        let doomed = doomed(&node.routing).await;
        assert_eq!((doomed.len(), doomed.iter().any(|link| link.up)), (3, false));
        for _ in 0..2 {
            reap(&node.routing).await.unwrap();
        }
        assert_eq!(self::doomed(&node.routing).await, []);
        for (pod, wiring) in &pods {
            wire(pod.path(), wiring).await.unwrap();
        }
    }

    async fn a_pod_whose_devices_numbers_are_taken_is_wired_all_the_same() {
        let (node, first) = (Node::boot().await, Namespace::new());
        wire(first.path(), &web()).await.unwrap();
        let host = link(&node.routing, "eniweb").await.unwrap();
        node.routing.delete_link(host.index).await.unwrap();
        // By another device of the node, by one of the pod, and by what an earlier DEL of the same attachment left.
        let second = Namespace::new();
        numbered_stranger(&node.routing, "theirs", host.index).await;
        wire(second.path(), &web()).await.unwrap();
        assert_eq!(check(second.path(), &web()).await.unwrap(), []);
        for name in ["eniweb", "theirs"] {
            let index = index_of(&node.routing, name).await;
            node.routing.delete_link(index).await.unwrap();
        }
        let third = Namespace::new();
        numbered_stranger(&third.routing(), "theirs", host.index).await;
        wire(third.path(), &web()).await.unwrap();
        assert_eq!(check(third.path(), &web()).await.unwrap(), []);
        let index = index_of(&node.routing, "eniweb").await;
        node.routing.delete_link(index).await.unwrap();
        let fourth = Namespace::new();
        wire(fourth.path(), &web()).await.unwrap();
        assert_eq!(link(&node.routing, "eniweb").await.unwrap().index, host.index, "numbered by us");
        unwire(&Remains::from(&web())).await.unwrap();
        let fifth = Namespace::new();
        wire(fifth.path(), &web()).await.unwrap();
        assert_eq!(check(fifth.path(), &web()).await.unwrap(), []);
    }

    async fn a_pod_whose_namespace_is_gone_can_be_unwired_and_not_wired() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        wire(pod.path(), &web()).await.unwrap();
        drop(pod);
        unwire(&Remains::from(&web())).await.unwrap();
        // The old path is a descriptor's, and another test may have the number by now.
        let gone = std::path::Path::new("/proc/self/fd/gone");
        assert!(matches!(wire(gone, &web()).await, Err(Error::Namespace { .. })));
        assert!(link(&node.routing, "eniweb").await.is_none());
        assert_eq!(pods_routes(&node.routing).await, []);
    }

    async fn check_names_each_difference() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let (web, inside) = (web(), pod.routing());
        let name = || "eth0".parse().unwrap();
        wire(pod.path(), &web).await.unwrap();
        let eth0 = link(&inside, "eth0").await.unwrap().index;
        let host = link(&node.routing, "eniweb").await.unwrap().index;

        let small = LinkChange { mtu_bytes: Some(1400), ..LinkChange::default() };
        inside.change_link(eth0, &small).await.unwrap();
        let mtu = Difference::Mtu { name: name(), wanted: 9001, found: 1400 };
        assert_eq!(check(pod.path(), &web).await.unwrap(), std::slice::from_ref(&mtu));

        let mac = LinkChange { mac: Some(netlink::Mac([2, 0, 0, 0, 9, 9])), ..LinkChange::default() };
        inside.change_link(eth0, &mac).await.unwrap();
        let mac = Difference::Mac { name: name(), wanted: web.pod_mac };
        // With the device's MAC the kernel forgets its neighbours.
        let neighbour = Difference::NoNeighbour { gateway: IpAddr::V4(GATEWAY) };
        assert_eq!(check(pod.path(), &web).await.unwrap(), [mac.clone(), mtu.clone(), neighbour.clone()]);

        let route = pods_routes(&node.routing).await.remove(0);
        node.routing.delete_route(&route).await.unwrap();
        let route = Difference::NoHostRoute { address: IpAddr::V4(v4(&web)) };
        assert_eq!(check(pod.path(), &web).await.unwrap(), [mac, mtu, route, neighbour]);

        inside.set_down(eth0).await.unwrap();
        inside.delete_address(eth0, "10.0.1.30/32".parse().unwrap()).await.unwrap();
        let found = check(pod.path(), &web).await.unwrap();
        for wanted in [
            Difference::Down { name: name() },
            Difference::NoAddress { address: IpAddr::V4(v4(&web)) },
            Difference::NoRoute { destination: "0.0.0.0/0".parse().unwrap() },
            Difference::NoRoute { destination: "169.254.1.1/32".parse().unwrap() },
        ] {
            assert!(found.contains(&wanted), "{wanted} in {found:?}");
        }
        node.routing.delete_link(host).await.unwrap();
        let gone = ["eniweb", "eth0"].map(|name| Difference::NoDevice { name: name.parse().unwrap() });
        assert_eq!(check(pod.path(), &web).await.unwrap(), gone);
    }

    async fn a_route_to_the_pod_by_another_device_or_to_nowhere_is_no_route() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let web = web();
        wire(pod.path(), &web).await.unwrap();
        let route = pods_routes(&node.routing).await.remove(0);
        node.routing.delete_route(&route).await.unwrap();
        for wrong in [
            Route { out: Some(node.index("ens5").await), ..route.clone() },
            Route::blackhole(route.destination, route.table),
        ] {
            node.routing.add_route(&wrong).await.unwrap();
            let missing = Difference::NoHostRoute { address: IpAddr::V4(v4(&web)) };
            assert_eq!(check(pod.path(), &web).await.unwrap(), [missing]);
            node.routing.delete_route(&wrong).await.unwrap();
        }
    }
}

fn web() -> PodWiring {
    wiring("web", 1, [10, 0, 1, 30])
}

async fn link(routing: &Routing, name: &str) -> Option<Link> {
    routing.link_by_name(name).await.unwrap()
}

async fn doomed(routing: &Routing) -> Vec<Link> {
    links(routing)
        .await
        .into_iter()
        .filter(|link| link.group == DOOMED_GROUP)
        .collect()
}

/// Every link but for whether it has a carrier: the kernel's link watcher tells that when it gets round to it.
async fn links(routing: &Routing) -> Vec<Link> {
    let links = routing.links().await.unwrap().into_iter();
    links
        .map(|link| Link {
            running: false,
            ..link
        })
        .collect()
}

async fn pods_routes(routing: &Routing) -> Vec<Route> {
    routing.routes(Family::V4, TableId::PODS.0).await.unwrap()
}

/// Somebody else's device of this name.
async fn stranger(routing: &Routing, name: &str) {
    create_stranger(routing, name, None).await;
}

/// Somebody else's device with this index.
async fn numbered_stranger(routing: &Routing, name: &str, index: u32) {
    create_stranger(routing, name, Some(index)).await;
}

async fn create_stranger(routing: &Routing, name: &str, index: Option<u32>) {
    let end = |name, index| VethEnd {
        name,
        index,
        ..VethEnd::default()
    };
    let spec = VethSpec {
        host: end(name, index),
        peer: end("other", None),
        ..VethSpec::default()
    };
    routing.create_veth(&spec).await.unwrap();
}
