//! The daemon is killed at every step of making an ENI, answers are lost, and pods notice nothing.

use anyhow::{Result, ensure};
use e2e::site::{Site, Wishes, until};
use e2e::traces::no_stray;
use e2e::traffic::Flow;
use vpc_sim::model::fault::{Effect, Fault};
use vpc_sim::model::request::Operation;
use vpc_sim::pod::PodName;
use vpc_sim::probe::Responder;

e2e::tests! {
    async fn restart_under_traffic_loses_no_packet(stage) {
        let site = Site::usual(&stage).await?;
        let near = site.add_all("n1", &["a", "b", "c", "d", "e", "f", "g"]).await?;
        let far = site.add("n2", &PodName::new("far")).await?;
        let _responder = Responder::start("far", far.network(), far.place().address)?;
        let flows: Result<Vec<Flow>> =
            near.iter().map(|pod| Flow::start(pod.network(), far.place().address)).collect();
        let flows = flows?;
        for _ in 0..3 {
            site.kill("n1").await?;
            site.start("n1").await?;
            let pod = site.add("n1", &PodName::new("between")).await?;
            ensure!(near.iter().all(|other| other.address != pod.address), "{} has two holders", pod.address);
            site.del("n1", pod).await?;
        }
        for mut flow in flows {
            flow.until_sent(300).await?;
            let count = flow.stop().await?;
            ensure!(count.sent == count.answered, "{count:?}");
        }
        site.nothing_dropped().await
    }

    /// kill -9 before and after the effect of each call of ENI creation, while the simulator holds that call.
    async fn killed_at_every_call_of_eni_creation(stage) {
        let steps = [
            Operation::AssignPrivateIpAddresses,
            Operation::CreateNetworkInterface,
            Operation::AttachNetworkInterface,
            Operation::ModifyNetworkInterfaceAttribute,
        ];
        for operation in steps {
            for effect in [Effect::HoldBefore, Effect::HoldAfter] {
                let site = Site::new(&stage, &Wishes { daemons: false, ..Wishes::default() }).await?;
                let held = site.vpc.cloud().inject(Fault::once(operation, effect.clone())).await?;
                site.start("n1").await?;
                // Six pods need a second ENI, so every call is made; those that wait are tried again, as a runtime does.
                let pods = async {
                    let mut pods = Vec::new();
                    for number in 0..6 {
                        let name = PodName::new(&format!("p{number}"));
                        pods.push(until("the pod gets its address", || site.add("n1", &name)).await?);
                    }
                    anyhow::Ok(pods)
                };
                let kill = async {
                    site.vpc.cloud().until_held(held).await?;
                    site.kill("n1").await?;
                    site.vpc.cloud().release(held).await?;
                    site.start("n1").await
                };
                let (pods, killed) = tokio::join!(pods, kill);
                killed?;
                let addresses: std::collections::BTreeSet<_> = pods?.iter().map(|pod| pod.address).collect();
                ensure!(addresses.len() == 6, "{operation:?} {effect:?}: {addresses:?}");
                no_stray(&site).await?;
                let enis = site.enis("n1")?.len();
                ensure!(enis <= 3, "{operation:?} {effect:?}: {enis} ENIs");
            }
        }
        Ok(())
    }

    async fn a_lost_answer_to_assign_is_looked_up_not_repeated(stage) {
        let site = Site::new(&stage, &Wishes { daemons: false, ..Wishes::default() }).await?;
        site.vpc.cloud().inject(Fault::once(Operation::AssignPrivateIpAddresses, Effect::LoseAnswer)).await?;
        site.start("n1").await?;
        let pods = site.add_all("n1", &["a", "b", "c"]).await?;
        ensure!(pods.len() == 3);
        let primary = site.enis("n1")?.into_iter().find(|eni| eni.device_index == 0);
        ensure!(primary.is_some_and(|eni| eni.addresses.len() == 6), "five secondary addresses, not ten");
        let counts = site.vpc.cloud().call_counts().await?;
        ensure!(counts.get(&Operation::AssignPrivateIpAddresses) == Some(&1), "{counts:?}");
        no_stray(&site).await
    }

    async fn a_del_while_the_daemon_is_away_is_made_up_for(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        let address = pod.address;
        site.kill("n1").await?;
        site.del("n1", pod).await?;
        site.start("n1").await?;
        until("the address is given again", || async {
            let pods = site.add_all("n1", &["a", "b", "c", "d", "e"]).await?;
            let found = pods.iter().any(|pod| pod.address == address);
            for pod in pods {
                site.del("n1", pod).await?;
            }
            ensure!(found, "{address} is still held");
            Ok(())
        })
        .await
    }

    async fn throttled_and_failing_calls_only_delay(stage) {
        let site = Site::new(&stage, &Wishes { daemons: false, ..Wishes::default() }).await?;
        for operation in [Operation::AssignPrivateIpAddresses, Operation::AttachNetworkInterface] {
            let fault = vpc_sim::model::error::Ec2Error::Throttled;
            site.vpc.cloud().inject(Fault::once(operation, Effect::Refuse(fault))).await?;
        }
        site.start("n1").await?;
        site.add_all("n1", &["a", "b", "c", "d", "e", "f"]).await?;
        no_stray(&site).await?;
        site.nothing_dropped().await
    }
}
