//! Subnets: one that runs dry and is refilled, and others that tags offer.

use std::net::Ipv4Addr;

use anyhow::{Context, ensure};
use e2e::site::{Site, Wishes, ask, until};
use vpc_sim::model::response::Zone;
use vpc_sim::model::subnet::NewSubnet;
use vpc_sim::pod::PodName;
use vpc_sim::probe::{Protocol, Responder};

use crate::operator::{attached, give_back, primary, take};

/// Every address of a /28 that EC2 does not reserve, but for one.
fn all_but(taken: Ipv4Addr) -> Vec<Ipv4Addr> {
    let addresses = (4..15).map(|last| Ipv4Addr::new(10, 0, 0, last));
    addresses.filter(|address| *address != taken).collect()
}

e2e::tests! {
    /// While nothing is to be had EC2 is asked whether there is something again, and not changed.
    async fn a_dry_subnet_is_watched_and_not_hammered(stage) {
        let wishes = Wishes { daemons: false, subnet: "10.0.0.0/28", ..Wishes::default() };
        let site = Site::new(&stage, &wishes).await?;
        let (_, eni) = primary(&site, "n1")?;
        let taken = take(&site, &eni.subnet, all_but(eni.primary)).await?;
        site.start("n1").await?;
        site.vpc.cloud().forget_calls().await?;
        let name = PodName::new("late");
        let pod = site.add("n1", &name);
        let refill = async {
            let looked = until("EC2 was asked thrice whether the subnet has something", || async {
                let counts = site.vpc.cloud().call_counts().await?;
                let looks = counts.iter().find(|(operation, _)| operation.name() == "DescribeSubnets");
                ensure!(looks.is_some_and(|(_, count)| *count >= 3), "{counts:?}");
                Ok(())
            });
            looked.await?;
            let changes = site.vpc.cloud().mutating_calls().await?;
            ensure!(changes <= 6, "{changes} mutating calls");
            give_back(&site, taken).await
        };
        let (pod, refilled) = tokio::join!(pod, refill);
        refilled?;
        ensure!(pod?.address.octets()[..3] == [10, 0, 0]);
        Ok(())
    }

    async fn a_subnet_that_is_tagged_takes_what_the_nodes_own_cannot(stage) {
        let wishes = Wishes { daemons: false, subnet: "10.0.0.0/28", ..Wishes::default() };
        let site = Site::new(&stage, &wishes).await?;
        let zone = Zone { name: "us-east-1a".to_owned(), id: "use1-az1".to_owned() };
        let offered = NewSubnet {
            tags: [("kubernetes.io/role/cni".to_owned(), "1".to_owned())].into(),
            ..NewSubnet::plain("10.0.8.0/24".parse()?, zone)
        };
        let more = site.vpc.cloud().change(move |model, _| model.add_subnet(offered)).await??;
        site.start("n1").await?;
        let names: Vec<String> = (1..=12).map(|number| format!("p{number}")).collect();
        let pods = site.add_all("n1", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let enis = attached(&site, "n1")?;
        ensure!(enis.iter().any(|(_, eni)| eni.subnet == more), "{enis:?}");
        let far = pods.iter().find(|pod| pod.address.octets()[2] == 8).context("a pod of the other subnet")?;
        let _responder = Responder::start("far", far.network(), far.place().address)?;
        ask(site.machine("n2")?.node().network(), Protocol::Tcp, far.place().address).await?;
        site.nothing_dropped().await
    }
}
