//! Pods come and go, also where something is missing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::site::{Site, Wishes, ask, until};
use e2e::traces::ip;
use futures::future::join_all;
use serde_json::Value;
use vpc_sim::pod::{self, Pod, PodName};
use vpc_sim::probe::{Protocol, Responder};

async fn no_trace(site: &Site, node: &str, pod: &Pod) -> Result<()> {
    let address = pod.address.to_string();
    let routes = ip(site, node, &["route", "show", "table", "5120", "type", "unicast"]).await?;
    ensure!(
        !routes.contains(&address),
        "a route to {address} is left:\n{routes}"
    );
    Ok(())
}

e2e::tests! {
    async fn add_gives_an_address_that_works_and_del_takes_it_back(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        let _responder = Responder::start("web", pod.network(), pod.place().address)?;
        let node = site.machine("n1")?;
        let answer = ask(node.node().network(), Protocol::Tcp, pod.place().address).await?;
        ensure!(answer.seen.ip() == node.primary(), "the node speaks to its pods from {}", answer.seen);
        pod::check(node.node(), site.plugin(), &pod).await?;
        let gone = pod.clone();
        site.del("n1", pod).await?;
        no_trace(&site, "n1", &gone).await?;
        site.nothing_dropped().await
    }

    /// CNI: CHK-3, CHK-5.
    async fn check_names_what_is_different(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        let node = site.machine("n1")?.node();
        let host = pod.result["interfaces"][0]["name"].as_str().context("a host interface")?.to_owned();
        node.run("ip", &["route", "del", &format!("{}/32", pod.address), "table", "5120"]).await?;
        node.run("ip", &["link", "set", &host, "mtu", "1400"]).await?;
        let refused = pod::check(node, site.plugin(), &pod).await;
        let Err(pod::Error::Refused { document, .. }) = refused else {
            anyhow::bail!("CHECK found nothing: {refused:?}");
        };
        let message = document["msg"].as_str().unwrap_or_default();
        ensure!(message.contains("1400") && document["code"] == 121, "{document}");
        site.del("n1", pod).await
    }

    /// More pods than addresses: the last waits, and gets the address that another gives back.
    async fn a_pod_beyond_the_pool_waits_its_turn(stage) {
        let site = Site::usual(&stage).await?;
        let names: Vec<String> = (1..=15).map(|number| format!("p{number}")).collect();
        let mut pods = site.add_all("n1", &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let addresses: std::collections::BTreeSet<_> = pods.iter().map(|pod| pod.address).collect();
        ensure!(addresses.len() == 15, "two pods share an address: {addresses:?}");
        ensure!(site.enis("n1")?.len() == 3, "fifteen addresses are three ENIs");
        let first = pods.remove(0);
        let freed = first.address;
        let name = PodName::new("late");
        let late = site.add("n1", &name);
        let release = async {
            until("the sixteenth pod stands in line", || async {
                let log = site.machine("n1")?.ipamd_log();
                ensure!(log.contains("waits for an address") && log.contains("c-late"), "nobody waits");
                Ok(())
            })
            .await?;
            site.del("n1", first).await
        };
        let (late, released) = tokio::join!(late, release);
        released?;
        ensure!(late?.address == freed, "only the freed address was there to give");
        site.nothing_dropped().await
    }

    /// CNI: CALL-11.
    async fn concurrent_pods_get_different_addresses(stage) {
        let site = Site::usual(&stage).await?;
        let names: Vec<PodName> = (1..=12).map(|number| PodName::new(&format!("p{number}"))).collect();
        let pods: Result<Vec<Pod>> =
            join_all(names.iter().map(|name| site.add("n1", name))).await.into_iter().collect();
        let addresses: std::collections::BTreeSet<_> = pods?.iter().map(|pod| pod.address).collect();
        ensure!(addresses.len() == 12, "{addresses:?}");
        Ok(())
    }

    async fn a_repeated_add_gets_the_same_answer(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        let node = site.machine("n1")?.node();
        let output = pod::run(node, site.plugin(), &pod.name, "ADD", None).await?;
        let again: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(again == pod.result, "{again} is not {}", pod.result);
        Ok(())
    }

    /// CNI: DEL-1, DEL-2.
    async fn del_of_what_nobody_knows_succeeds(stage) {
        let site = Site::usual(&stage).await?;
        let node = site.machine("n1")?.node();
        let output = pod::run(node, site.plugin(), &PodName::new("stranger"), "DEL", None).await?;
        ensure!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        Ok(())
    }

    /// CNI: DEL-2, DEL-3.
    async fn del_after_the_namespace_is_gone_gives_the_address_back(stage) {
        let site = Site::usual(&stage).await?;
        let pod = site.add("n1", &PodName::new("web")).await?;
        let (name, address, result) = (pod.name.clone(), pod.address, pod.result.clone());
        let node = site.machine("n1")?.node();
        drop(pod);
        node.remove_pod(&name.container).await?;
        let output = pod::run(node, site.plugin(), &name, "DEL", Some(&result)).await?;
        ensure!(output.status.success(), "{output:?}");
        until("the address is free again", || async {
            let pods = site.add_all("n1", &["a", "b", "c", "d", "e"]).await?;
            let found = pods.iter().any(|pod| pod.address == address);
            for pod in pods {
                site.del("n1", pod).await?;
            }
            ensure!(found, "{address} was not given again");
            Ok(())
        })
        .await
    }

    async fn a_pod_made_again_under_its_name_while_the_old_namespace_lives(stage) {
        let site = Site::usual(&stage).await?;
        let old = site.add("n1", &PodName::new("db-0")).await?;
        let node = site.machine("n1")?;
        let young = site.add("n1", &old.name.again("c-young")).await?;
        let _responder = Responder::start("young", young.network(), young.place().address)?;
        ensure!(ask(node.node().network(), Protocol::Tcp, young.place().address).await?.name == "young");
        // The old container's DEL comes late and must not touch the young one.
        site.del("n1", old).await?;
        ensure!(ask(node.node().network(), Protocol::Udp, young.place().address).await?.name == "young");
        pod::check(node.node(), site.plugin(), &young).await?;
        site.nothing_dropped().await
    }

    async fn a_namespace_that_is_not_there_is_refused_and_holds_nothing(stage) {
        let site = Site::usual(&stage).await?;
        let node = site.machine("n1")?.node();
        let output = pod::run(node, site.plugin(), &PodName::new("nowhere"), "ADD", None).await?;
        let document: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(!output.status.success() && document["code"] == 120, "{document}");
        ensure!(!site.machine("n1")?.ipamd_log().contains("given"), "an address was given for nothing");
        Ok(())
    }

    /// WARM_IP_TARGET and MINIMUM_IP_TARGET: exactly what is wanted is held, and what is too much goes back.
    async fn warm_targets_hold_exactly_what_they_say(stage) {
        let wishes = Wishes::default()
            .with("WARM_IP_TARGET", "2")
            .with("MINIMUM_IP_TARGET", "4")
            .with("BERTH_RELEASE_DWELL_SECONDS", "1");
        let site = Site::new(&stage, &wishes).await?;
        let held = |wanted: usize, on: usize| {
            let site = &site;
            async move {
                until(&format!("{wanted} addresses are held on {on} ENIs"), || async {
                    let enis = site.enis("n1")?;
                    let held: usize = enis.iter().map(|eni| eni.addresses.len() - 1).sum();
                    ensure!((held, enis.len()) == (wanted, on), "{held} are held on {}", enis.len());
                    Ok(())
                })
                .await
            }
        };
        held(4, 1).await?;
        let pods = site.add_all("n1", &["a", "b", "c", "d", "e", "f"]).await?;
        held(8, 2).await?;
        for pod in pods {
            site.del("n1", pod).await?;
        }
        // What the second ENI has is not needed any more.
        held(4, 1).await?;
        Ok(())
    }

    async fn explain_says_what_is_held_and_what_comes_next(stage) {
        let site = Site::usual(&stage).await?;
        site.add_all("n1", &["a", "b"]).await?;
        let program = stage.tools.binaries.ipamd.to_string_lossy().into_owned();
        let output = site.machine("n1")?.node().run(&program, &["explain"]).await?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(text.contains("Pods can be served.") && text.contains("2 pods"), "{text}");
        ensure!(text.contains("2 addresses are in use"), "{text}");
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", &program, "explain"];
        let output = site.machine("n1")?.node().run("setpriv", &nobody).await?;
        ensure!(!output.status.success(), "only root may ask");
        site.kill("n1").await?;
        let output = site.machine("n1")?.node().run(&program, &["explain"]).await?;
        ensure!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("is ipamd running"));
        Ok(())
    }

    async fn a_configuration_fault_stops_the_start_and_names_everything(stage) {
        let wishes = Wishes { daemons: false, ..Wishes::default().with("BERTH_MAX_PODS", "none").with("BERTH_X", "1") };
        let site = Site::new(&stage, &wishes).await?;
        let node = site.machine("n1")?;
        let refused = node.start_ipamd(&stage.tools.binaries.ipamd, &[]).await;
        let Err(vpc_sim::vpc::machine::Error::Ended { status, log, .. }) = refused else {
            anyhow::bail!("it started: {refused:?}");
        };
        ensure!(status.code() == Some(78), "{status}");
        ensure!(log.contains("BERTH_MAX_PODS") && log.contains("BERTH_X"), "{log}");
        tokio::time::timeout(Duration::from_secs(5), site.nothing_dropped()).await?
    }
}
