//! A pod of both families, and one of IPv6 alone: wired, looked at, undone, taken away.

use std::net::{IpAddr, Ipv6Addr};

use hostnet::pod::check::{Difference, check};
use hostnet::pod::{Remains, unwire, wire};
use ipamd_core::net::TableId;
use ipamd_core::net::pod::{GATEWAY6, Leg, PodWiring};
use netlink::{Family, Route, Routing};

use crate::example::{Node, index_of, wiring};
use crate::sandbox::{Namespace, in_namespace};

const POD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xa, 1);

in_namespace! {
    async fn a_pod_of_both_families_has_both_and_is_taken_away_whole() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let web = both();
        wire(pod.path(), &web).await.unwrap();
        assert_eq!(check(pod.path(), &web).await.unwrap(), []);
        assert_eq!(wire(pod.path(), &web).await.map_err(|error| error.to_string()), Ok(()), "again");
        let inside = pod.routing();
        let eth0 = index_of(&inside, "eth0").await;
        let own = inside.addresses(Some(eth0)).await.unwrap();
        let own: Vec<IpAddr> = own.iter().filter(|it| !it.unusable).map(|it| it.address.addr()).collect();
        assert_eq!(own, [IpAddr::from([10, 0, 1, 30]), address()], "both can be used, and there is no link-local one");
        let default = inside.routes(Family::V6, TableId::MAIN.0).await.unwrap();
        assert!(default.iter().any(|route| route.gateway == Some(GATEWAY6.into())), "{default:?}");
        let host = index_of(&node.routing, "eniweb").await;
        let to_pod = routes(&node.routing).await;
        assert_eq!((to_pod.len(), to_pod[0].out), (1, Some(host)));
        let speaks = node.routing.addresses(Some(host)).await.unwrap();
        assert!(speaks.iter().any(|it| it.address.addr().is_ipv6() && !it.unusable), "{speaks:?}");
        unwire(&Remains::from(&web)).await.unwrap();
        assert_eq!(routes(&node.routing).await, []);
    }

    async fn a_pod_of_ipv6_alone_whose_namespace_has_none_yet_gets_it() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        for scope in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
            pod.inside(|| std::fs::write(&path, "1")).unwrap();
        }
        let alone = PodWiring { v4: None, ..both() };
        wire(pod.path(), &alone).await.unwrap();
        assert_eq!(check(pod.path(), &alone).await.unwrap(), []);
        assert_eq!(routes(&node.routing).await.len(), 1);
        unwire(&Remains::from(&alone)).await.unwrap();
        assert_eq!(routes(&node.routing).await, []);
    }

    async fn check_names_what_of_ipv6_is_missing() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        let web = both();
        wire(pod.path(), &web).await.unwrap();
        let route = routes(&node.routing).await.remove(0);
        node.routing.delete_route(&route).await.unwrap();
        assert_eq!(check(pod.path(), &web).await.unwrap(), [Difference::NoHostRoute { address: address() }]);
        let inside = pod.routing();
        let eth0 = index_of(&inside, "eth0").await;
        inside.delete_address(eth0, address().into()).await.unwrap();
        let found = check(pod.path(), &web).await.unwrap();
        assert!(found.contains(&Difference::NoAddress { address: address() }), "{found:?}");
    }

    async fn a_wiring_of_both_families_that_fails_leaves_nothing() {
        let (node, pod) = (Node::boot().await, Namespace::new());
        // No device has the source that the node's IPv4 route should name, so the last step but one fails.
        let mut web = both();
        web.v4.as_mut().unwrap().node_address = Some([192, 0, 2, 1].into());
        wire(pod.path(), &web).await.unwrap_err();
        assert!(node.routing.link_by_name("eniweb").await.unwrap().is_none());
        assert!(pod.routing().link_by_name("eth0").await.unwrap().is_none());
        assert_eq!(routes(&node.routing).await, []);
    }
}

fn address() -> IpAddr {
    POD.into()
}

fn both() -> PodWiring {
    let leg = Leg {
        address: POD,
        gateway: GATEWAY6,
        node_address: None,
    };
    PodWiring {
        v6: Some(leg),
        ..wiring("web", 1, [10, 0, 1, 30])
    }
}

/// The node's routes to pods in IPv6.
async fn routes(routing: &Routing) -> Vec<Route> {
    routing.routes(Family::V6, TableId::PODS.0).await.unwrap()
}
