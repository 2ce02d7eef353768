//! One `NetOp` to the kernel. Already there and already gone are success, so any of them may be done twice.

use ipamd_core::net::diff::NetOp;
use ipamd_core::net::eni::REVERSE_PATH;
use ipamd_core::net::{self, Route, Rule, Via};
use ipnet::IpNet;
use netlink::{Family, Ipv4Setting, LinkChange, Mark, Routing, Scope};

use crate::Error;
use crate::error::attempt;

/// The metric of a blackhole: the largest, so that any other route to the same destination wins.
const BLACKHOLE_METRIC: u32 = u32::MAX;

/// Does one operation.
///
/// # Errors
/// When the kernel refuses for another reason than that it is done already.
pub async fn apply(routing: &Routing, op: NetOp) -> Result<(), Error> {
    let done = match op {
        NetOp::SetMtu { index, mtu_bytes } => {
            let change = LinkChange {
                mtu_bytes: Some(mtu_bytes),
                ..LinkChange::default()
            };
            routing.change_link(index, &change).await
        }
        NetOp::SetReversePath { index } => {
            let settings = [
                (Ipv4Setting::RpFilter, REVERSE_PATH.rp_filter),
                (Ipv4Setting::SrcValidMark, u32::from(REVERSE_PATH.src_valid_mark)),
            ];
            routing.set_ipv4_conf(index, &settings).await
        }
        NetOp::SetUp { index } => routing.set_up(index).await,
        NetOp::AddAddress { index, address } => {
            let mut wanted = netlink::Address::new(index, IpNet::V4(address));
            wanted.no_prefix_route = true;
            routing.replace_address(&wanted).await
        }
        NetOp::RemoveAddress { index, address } => routing.delete_address(index, IpNet::V4(address)).await,
        NetOp::SetRoute(route) => routing.replace_route(&kernel_route(&route)).await,
        NetOp::RemoveRoute(route) => routing.delete_route(&any_such_route(&route)).await,
        NetOp::AddRule(rule) => routing.add_rule(&kernel_rule(&rule)).await,
        NetOp::RemoveRule(rule) => routing.delete_rule(&kernel_rule(&rule)).await,
    };
    match done {
        Err(error) if is_addition(op) && error.is_exists() => Ok(()),
        Err(error) if is_removal(op) && error.is_gone() => Ok(()),
        done => done.map_err(attempt(format!("apply {op:?}"))),
    }
}

fn is_addition(op: NetOp) -> bool {
    matches!(
        op,
        NetOp::AddAddress { .. } | NetOp::AddRule(_) | NetOp::SetRoute(_)
    )
}

fn is_removal(op: NetOp) -> bool {
    matches!(
        op,
        NetOp::RemoveAddress { .. } | NetOp::RemoveRule(_) | NetOp::RemoveRoute(_)
    )
}

pub(crate) fn kernel_rule(rule: &Rule) -> netlink::Rule {
    let family = match rule.family {
        net::Family::V4 => Family::V4,
        net::Family::V6 => Family::V6,
    };
    let mut wanted = netlink::Rule::new(family, rule.priority, rule.table.0);
    wanted.from = rule.from;
    wanted.to = rule.to;
    wanted.mark = rule.mark.map(|(value, mask)| Mark { value, mask });
    wanted
}

/// What removes a route: whoever wrote it, with whatever metric and scope.
pub(crate) fn any_such_route(route: &Route) -> netlink::Route {
    netlink::Route {
        scope: Scope::Nowhere,
        metric: 0,
        protocol: 0,
        ..kernel_route(route)
    }
}

/// A route in the kernel's words.
pub(crate) fn kernel_route(route: &Route) -> netlink::Route {
    let mut wanted = netlink::Route::new(route.to, route.table.0);
    match route.via {
        Via::Link { index, source } => {
            wanted.out = Some(index);
            wanted.scope = Scope::Link;
            wanted.source = source;
        }
        Via::Gateway { index, gateway } => {
            wanted.out = Some(index);
            wanted.gateway = Some(gateway);
        }
        Via::Blackhole => {
            wanted = netlink::Route::blackhole(route.to, route.table.0);
            wanted.metric = BLACKHOLE_METRIC;
        }
    }
    wanted
}
