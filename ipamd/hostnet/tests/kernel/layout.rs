//! Look, compare, apply: until there is nothing left to do, and with strangers left alone.

use ipamd_core::net::TableId;
use netlink::{Address, Family, Mark, Route, Rule, Scope};

use crate::example::{Node, SECOND_TABLE, wanted, wiring};
use crate::sandbox::{Namespace, in_namespace};

in_namespace! {
    async fn a_fresh_node_settles_and_everything_twice_is_success() {
        let node = Node::boot().await;
        let pod = Namespace::new();
        let web = wiring("web", 1, [10, 0, 1, 30]);
        hostnet::pod::wire(pod.path(), &web).await.unwrap();
        let wanted = wanted(&[&web]);
        let first = node.pass(&wanted).await;
        assert!(!first.is_empty());
        assert_eq!(node.settle(&wanted).await, 0, "one pass is enough");
        for op in first {
            hostnet::apply::apply(&node.routing, op).await.unwrap();
        }
        assert_eq!(node.settle(&wanted).await, 0, "doing it again changes nothing");
    }

    async fn what_is_gone_already_is_success() {
        use ipamd_core::net::diff::NetOp::{RemoveAddress, RemoveRoute, RemoveRule};
        let node = Node::boot().await;
        let wanted = wanted(&[]);
        node.settle(&wanted).await;
        let seen = node.seen().await;
        let second = node.index("ens6").await;
        for rule in wanted.rules() {
            for _ in 0..2 {
                hostnet::apply::apply(&node.routing, RemoveRule(rule)).await.unwrap();
            }
        }
        for route in wanted.routes(&seen) {
            for _ in 0..2 {
                hostnet::apply::apply(&node.routing, RemoveRoute(route)).await.unwrap();
            }
        }
        let own = RemoveAddress { index: second, address: "10.0.1.11/24".parse().unwrap() };
        for _ in 0..2 {
            hostnet::apply::apply(&node.routing, own).await.unwrap();
        }
        assert!(node.settle(&wanted).await > 0, "and all of it comes back");
    }

    async fn a_secondary_device_is_loose_mindful_of_marks_and_has_no_connected_route() {
        let node = Node::boot().await;
        node.settle(&wanted(&[])).await;
        let link = node.routing.link_by_name("ens6").await.unwrap().unwrap();
        assert_eq!((link.ipv4.rp_filter, link.ipv4.src_valid_mark), (2, true));
        assert_eq!((link.mtu_bytes, link.up), (9001, true));
        let main = node.routing.routes(Family::V4, TableId::MAIN.0).await.unwrap();
        assert!(main.iter().all(|route| route.out != Some(link.index)), "{main:?}");
    }

    async fn a_device_that_went_down_and_up_gets_its_routes_again() {
        let node = Node::boot().await;
        let pod = Namespace::new();
        let web = wiring("web", 1, [10, 0, 1, 30]);
        hostnet::pod::wire(pod.path(), &web).await.unwrap();
        let wanted = wanted(&[&web]);
        node.settle(&wanted).await;
        for device in ["ens6", "eniweb"] {
            node.set_up(device, false).await;
            node.set_up(device, true).await;
        }
        assert_eq!(node.settle(&wanted).await, 1);
    }

    async fn a_wrong_address_is_replaced_without_losing_the_right_one() {
        let node = Node::boot().await;
        let second = node.index("ens6").await;
        // Of the same subnet and first, so the kernel makes ours depend on it.
        let old = Address::new(second, "10.0.1.99/24".parse().unwrap());
        node.routing.add_address(&old).await.unwrap();
        node.set_up("ens6", true).await;
        let wanted = wanted(&[]);
        node.pass(&wanted).await;
        assert_eq!(node.settle(&wanted).await, 0, "one pass is enough");
    }

    async fn strangers_rules_and_routes_survive() {
        let node = Node::boot().await;
        let second = node.index("ens6").await;
        let rules = foreign_rules();
        for rule in &rules {
            node.routing.add_rule(rule).await.unwrap();
        }
        let wanted = wanted(&[]);
        node.settle(&wanted).await;
        let routes = foreign_routes(second);
        for route in &routes {
            node.routing.add_route(route).await.unwrap();
        }
        assert_eq!(node.settle(&wanted).await, 0);
        let found = node.routing.rules(Family::V4).await.unwrap();
        for rule in &rules {
            assert!(found.contains(rule), "{rule} is gone");
        }
        for route in &routes {
            let found = node.routing.routes(Family::V4, route.table).await.unwrap();
            assert!(found.contains(route), "{route:?} is gone");
        }
    }

    async fn leftovers_in_the_pods_table_go_whatever_their_metric() {
        let node = Node::boot().await;
        let wanted = wanted(&[]);
        node.settle(&wanted).await;
        let second = node.index("ens6").await;
        let net = |text: &str| text.parse().unwrap();
        let mut stray = Route::new(net("10.0.1.77/32"), TableId::PODS.0);
        stray.out = Some(second);
        stray.scope = Scope::Link;
        let mut far = Route { metric: 7, destination: net("10.0.1.78/32"), ..stray.clone() };
        far.scope = Scope::Universe;
        let hole = Route::blackhole(net("10.0.9.0/28"), TableId::PODS.0);
        let high = Route { metric: 9, ..Route::blackhole(net("10.0.9.16/28"), TableId::PODS.0) };
        for route in [stray, far, hole, high] {
            node.routing.add_route(&route).await.unwrap();
        }
        assert_eq!(node.settle(&wanted).await, 1);
        assert_eq!(node.seen().await.routes, wanted.routes(&node.seen().await));
    }
}

/// The peer's per-pod rules, kube-proxy-like marks, and rules at our priorities that are not of our shapes.
fn foreign_rules() -> Vec<Rule> {
    let pod = Some("10.0.1.44/32".parse().unwrap());
    let rule = |priority, table| Rule::new(Family::V4, priority, table);
    let mark = |value, mask| Some(Mark { value, mask });
    vec![
        Rule {
            to: pod,
            ..rule(512, TableId::MAIN.0)
        },
        Rule {
            from: pod,
            ..rule(1536, SECOND_TABLE.0)
        },
        Rule {
            mark: mark(0x4000, 0x4000),
            ..rule(1536, 700)
        },
        Rule {
            mark: mark(0x100, 0x100),
            ..rule(1024, 700)
        },
        Rule {
            iif: Some("ens5".to_owned()),
            ..rule(513, 700)
        },
        Rule {
            from: Some("10.0.1.10/32".parse().unwrap()),
            ..rule(32765, 700)
        },
        rule(100, 700),
    ]
}

/// Routes of a table of somebody else's, of main, and beside ours in an ENI's table.
fn foreign_routes(out: u32) -> Vec<Route> {
    let route = |net: &str, table| Route {
        out: Some(out),
        scope: Scope::Link,
        ..Route::new(net.parse().unwrap(), table)
    };
    vec![
        route("10.9.0.0/16", 700),
        route("10.9.0.0/16", TableId::MAIN.0),
        route("10.9.0.0/16", SECOND_TABLE.0),
    ]
}
