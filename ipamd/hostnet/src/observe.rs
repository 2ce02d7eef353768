//! The host's network as a `NetState`. What our words cannot say (other kinds of routes and rules) is left out, and so is
//! never touched.

use std::collections::BTreeSet;

use ipamd_core::address::Mac;
use ipamd_core::net::notice::{LinkNotice, LinkStep, Notice};
use ipamd_core::net::{self, NetState, ReversePath, Route, Rule, SeenLink, TableId, Via};
use ipnet::IpNet;
use netlink::events::{self, Changed};
use netlink::{Family, RouteKind, Routing};
use nix::errno::Errno;

use crate::Error;
use crate::error::attempt;

/// Looks at links, addresses, rules, and the routes of these tables, in an order that never makes a pod's fresh route
/// look older than its device.
///
/// # Errors
/// When the kernel refuses a dump, or it was interrupted too often.
pub async fn observe(routing: &Routing, tables: &BTreeSet<TableId>) -> Result<NetState, Error> {
    let mut state = NetState::default();
    for link in routing.links().await.map_err(attempt("list the node's links"))? {
        if let Some(link) = seen_link(&link) {
            state.links.insert(link.index, link);
        }
    }
    for address in routing
        .addresses(None)
        .await
        .map_err(attempt("list the node's addresses"))?
    {
        if let IpNet::V4(net) = address.address {
            state.addresses.insert((address.index, net));
        }
    }
    for family in [Family::V4, Family::V6] {
        let rules = or_nothing(family, routing.rules(family).await);
        let rules = rules.map_err(attempt("list the node's rules"))?;
        state.rules.extend(rules.iter().filter_map(seen_rule));
        for table in tables {
            let routes = or_nothing(family, routing.routes(family, table.0).await);
            let routes = routes.map_err(attempt(format!("list the routes of table {}", table.0)))?;
            state.routes.extend(routes.iter().filter_map(seen_route));
        }
    }
    Ok(state)
}

/// A kernel without IPv6 has nothing of it.
fn or_nothing<T>(family: Family, listed: Result<Vec<T>, netlink::Error>) -> Result<Vec<T>, netlink::Error> {
    let is_absent = |error: &netlink::Error| {
        family == Family::V6 && matches!(error.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP))
    };
    match listed {
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        listed => listed,
    }
}

/// A notice in our words; `None` for what is said in none of them.
#[must_use]
pub fn notice(changed: Changed) -> Option<Notice> {
    Some(match changed {
        Changed::Link(link, step) => Notice::Link(LinkNotice {
            index: link.index,
            name: link.name,
            group: link.group,
            step: link_step(step),
        }),
        Changed::RouteCame(route) => Notice::RouteCame(seen_route(&route)?),
        Changed::RouteWent(route) => Notice::RouteWent(seen_route(&route)?),
        Changed::Addresses | Changed::Rules => Notice::Other,
        Changed::Neighbours => return None,
        Changed::Firewall => Notice::Firewall,
        Changed::Everything => Notice::Everything,
    })
}

fn link_step(step: events::LinkStep) -> LinkStep {
    match step {
        events::LinkStep::Created => LinkStep::Created,
        events::LinkStep::WentUp => LinkStep::WentUp,
        events::LinkStep::WentDown => LinkStep::WentDown,
        events::LinkStep::Deleted => LinkStep::Deleted,
        events::LinkStep::Other => LinkStep::Other,
    }
}

fn seen_link(link: &netlink::Link) -> Option<SeenLink> {
    Some(SeenLink {
        index: link.index,
        name: link.name.parse().ok()?,
        mac: link.mac.map(|mac| Mac(mac.0)),
        mtu_bytes: link.mtu_bytes,
        up: link.up,
        reverse_path: Some(ReversePath {
            rp_filter: link.ipv4.rp_filter,
            src_valid_mark: link.ipv4.src_valid_mark,
        }),
    })
}

fn seen_rule(rule: &netlink::Rule) -> Option<Rule> {
    if rule.foreign || rule.iif.is_some() {
        return None;
    }
    Some(Rule {
        family: match rule.family {
            Family::V4 => net::Family::V4,
            Family::V6 => net::Family::V6,
        },
        priority: rule.priority,
        from: rule.from,
        to: rule.to,
        mark: rule.mark.map(|mark| (mark.value, mark.mask)),
        table: TableId(rule.table),
    })
}

fn seen_route(route: &netlink::Route) -> Option<Route> {
    let via = match (route.kind, route.out, route.gateway) {
        (RouteKind::Blackhole, _, _) => Via::Blackhole,
        (RouteKind::Unicast, Some(index), None) => Via::Link {
            index,
            source: route.source,
        },
        (RouteKind::Unicast, Some(index), Some(gateway)) => Via::Gateway { index, gateway },
        _ => return None,
    };
    Some(Route {
        table: TableId(route.table),
        to: route.destination,
        via,
    })
}
