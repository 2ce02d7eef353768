//! What others do to a node's ENIs, and what EC2 forbids.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use e2e::site::{Site, Wishes, ask, until};
use vpc_sim::model::fault::{Effect, Fault};
use vpc_sim::model::request::{Operation, Request};
use vpc_sim::pod::PodName;
use vpc_sim::probe::{Protocol, Responder};

use crate::operator::{attached, attachment, call};

e2e::tests! {
    async fn an_eni_that_somebody_detaches_comes_back_with_its_pods(stage) {
        let site = Site::usual(&stage).await?;
        let names: Vec<String> = (1..=8).map(|number| format!("p{number}")).collect();
        let pods = site.add_all("n1", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let (id, eni) = attached(&site, "n1")?.into_iter().find(|(_, eni)| eni.device_index > 0).context("a secondary ENI")?;
        let pod = pods.iter().find(|pod| eni.addresses.contains(&pod.address)).context("a pod on it")?;
        let _responder = Responder::start("web", pod.network(), pod.place().address)?;
        let outside = site.machine("n2")?.node().network();
        ask(outside, Protocol::Tcp, pod.place().address).await?;
        let attachment = attachment(&site, &id).await?;
        call(&site, Request::DetachNetworkInterface { attachment }).await?;
        until("the device is gone", || async {
            ensure!(!attached(&site, "n1")?.iter().any(|(other, _)| *other == id));
            Ok(())
        }).await?;
        until("the pod answers again", || async {
            ensure!(attached(&site, "n1")?.iter().any(|(other, _)| *other == id), "not attached yet");
            ask(outside, Protocol::Tcp, pod.place().address).await?;
            Ok(())
        }).await
    }

    /// A missing permission is named, and a pod that waits is served once it is there.
    async fn a_missing_permission_is_named(stage) {
        let wishes = Wishes { daemons: false, ..Wishes::default() };
        let site = Site::new(&stage, &wishes).await?;
        let denied = Fault::always(Operation::CreateNetworkInterface, Effect::Deny);
        let denied = site.vpc.cloud().inject(denied).await?;
        site.start("n1").await?;
        let names = ["a", "b", "c", "d", "e"];
        let pods = site.add_all("n1", &names).await?;
        let addresses: BTreeSet<_> = pods.iter().map(|pod| pod.address).collect();
        ensure!(addresses.len() == 5);
        let name = PodName::new("f");
        let late = site.add("n1", &name);
        let allow = async {
            until("explain names the permission", || async {
                let told = site.machine("n1")?.node().run(&site.ipamd().to_string_lossy(), &["explain"]).await?;
                let told = String::from_utf8_lossy(&told.stdout).into_owned();
                ensure!(told.contains("ec2:CreateNetworkInterface"), "{told}");
                Ok(())
            })
            .await?;
            site.vpc.cloud().change(move |model, _| model.remove_fault(denied)).await?;
            Ok::<(), anyhow::Error>(())
        };
        let (late, allowed) = tokio::join!(late, allow);
        allowed?;
        late.map(drop)
    }
}
