//! The peer's layout, for comparison: for every pod a route in main, a rule to it at priority 512 and one from it at 1536
//! (amazon-vpc-cni-k8s v1.23.1, cmd/routed-eni-cni-plugin/driver/driver.go), and no table of pods.
//!
//! Only the rules of pods that are there are met by packets; those of others are walked over all the same, so they need
//! no devices. The pod that is there has its rules in their midst.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use ipnet::{IpNet, Ipv4Net};
use netlink::{Family, Route, Routing, Rule, Scope};

use crate::device;

const TO_POD: u32 = 512;
const FROM_POD: u32 = 1536;
const OUR_PODS_RULE: u32 = 513;
const OUR_PODS_TABLE: u32 = 5120;
const MAIN: u32 = 254;

/// Lays rules for so many pods, from however many there are; gives how many rules there are then. The daemon must be
/// away, or it mends this.
pub(crate) fn lay(pods: u32, own: Ipv4Addr) -> Result<usize> {
    device::runtime()?.block_on(async {
        let routing = Routing::open().context("open a netlink socket")?;
        move_own_route(&routing, own).await?;
        for rule in routing.rules(Family::V4).await.context("list the rules")? {
            if [TO_POD, FROM_POD, OUR_PODS_RULE].contains(&rule.priority) && rule.mark.is_none() {
                routing.delete_rule(&rule).await.context("remove a rule")?;
            }
        }
        for number in 0..pods {
            let address = match number == pods / 2 {
                true => own,
                false => Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + number),
            };
            let net = IpNet::V4(Ipv4Net::from(address));
            let mut to_pod = Rule::new(Family::V4, TO_POD, MAIN);
            to_pod.to = Some(net);
            let mut from_pod = Rule::new(Family::V4, FROM_POD, MAIN);
            from_pod.from = Some(net);
            for rule in [to_pod, from_pod] {
                routing.add_rule(&rule).await.context("add a rule")?;
            }
        }
        Ok(routing.rules(Family::V4).await.context("list the rules")?.len())
    })
}

/// The route to the pod that is there, from our table of pods to main.
async fn move_own_route(routing: &Routing, own: Ipv4Addr) -> Result<()> {
    let own = IpNet::V4(Ipv4Net::from(own));
    let routes = routing
        .routes(Family::V4, OUR_PODS_TABLE)
        .await
        .context("list the pods' routes")?;
    let ours = routes
        .into_iter()
        .find(|route| route.destination == own && route.out.is_some());
    let Some(ours) = ours else {
        return Ok(());
    };
    let mut in_main = Route::new(own, MAIN);
    (in_main.out, in_main.scope) = (ours.out, Scope::Link);
    routing
        .replace_route(&in_main)
        .await
        .context("route the pod in main")
}
