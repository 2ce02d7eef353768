//! What becomes of an address when its pod goes, and of a pool when its pods go.

use anyhow::ensure;
use e2e::site::{Site, Wishes, ask, until};
use netlink::conntrack::Conntrack;
use vpc_sim::pod::PodName;
use vpc_sim::probe::{Protocol, Responder};

use crate::operator::{attached, held};

e2e::tests! {
    async fn the_connections_of_a_released_address_are_forgotten(stage) {
        let site = Site::usual(&stage).await?;
        let pods = site.add_all("n1", &["web", "other"]).await?;
        let outside = site.machine("n2")?.node().network();
        for pod in &pods {
            let _responder = Responder::start("web", pod.network(), pod.place().address)?;
            ask(outside, Protocol::Udp, pod.place().address).await?;
        }
        let mut conntrack = netlink::netns::inside(site.machine("n1")?.node().network(), Conntrack::open)??;
        let [gone, stays] = [pods[0].address, pods[1].address];
        ensure!(conntrack.count(&[gone.into()].into())? > 0, "the flow was tracked");
        for pod in pods.into_iter().take(1) {
            site.del("n1", pod).await?;
        }
        let conntrack = std::cell::RefCell::new(conntrack);
        until("they are forgotten", || async {
            let left = conntrack.borrow_mut().count(&[gone.into()].into())?;
            ensure!(left == 0, "{left} connections");
            Ok(())
        })
        .await?;
        ensure!(conntrack.borrow_mut().count(&[stays.into()].into())? > 0, "another pod's are kept");
        Ok(())
    }

    async fn targets_in_addresses_hold_from_empty_to_full_and_back(stage) {
        let wishes = Wishes::default()
            .with("WARM_IP_TARGET", "2")
            .with("MINIMUM_IP_TARGET", "6")
            .with("BERTH_RELEASE_DWELL_SECONDS", "1");
        let site = Site::new(&stage, &wishes).await?;
        let settled = |addresses: usize, enis: usize| {
            let site = &site;
            async move {
                until(&format!("{addresses} addresses on {enis} ENIs"), || async {
                    let (singles, _) = held(site, "n1")?;
                    let there = attached(site, "n1")?.len();
                    ensure!((singles.len(), there) == (addresses, enis), "{} on {there}", singles.len());
                    Ok(())
                })
                .await
            }
        };
        settled(6, 2).await?;
        let names: Vec<String> = (1..=15).map(|number| format!("p{number}")).collect();
        let mut pods = site.add_all("n1", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        settled(15, 3).await?;
        for pod in pods.split_off(4) {
            site.del("n1", pod).await?;
        }
        settled(6, 2).await?;
        for pod in pods {
            site.del("n1", pod).await?;
        }
        settled(6, 2).await?;
        let pod = site.add("n1", &PodName::new("again")).await?;
        site.del("n1", pod).await
    }
}
