//! The plugin dies at each of its steps, and the runtime does what runtimes do: DEL, and a new container.

use anyhow::{Context, Result, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, ask};
use e2e::traces;
use hostnet::failpoint::Step;
use serde_json::{Value, json};
use vpc_sim::pod::{self, PodName};
use vpc_sim::probe::{Protocol, Responder};

/// How a node's command tells of signal 9, as shells do.
const KILLED: i32 = 128 + 9;

const NODE: &str = "n1";

fn steps(verb: &str) -> impl Iterator<Item = Step> {
    let prefix = format!("plugin-{verb}-");
    Step::ALL
        .iter()
        .copied()
        .filter(move |step| step.name().starts_with(&prefix))
}

/// Runs a verb that dies at a step. `extra` goes into the configuration.
async fn dies(site: &Site, name: &PodName, verb: &str, step: Step, extra: &Value) -> Result<()> {
    let node = site.machine(NODE)?.node();
    let mut environment = name.environment(verb);
    environment.insert("BERTH_DIE_AT".to_owned(), step.name().to_owned());
    let mut conf = site.plugin().conf().clone();
    let extra = extra.as_object().context("an object")?.clone();
    conf.as_object_mut().context("an object")?.extend(extra);
    let output = pod::exec(node, site.plugin(), &environment, &conf).await?;
    ensure!(
        output.status.code() == Some(KILLED),
        "{verb} does not reach {}: {output:?}",
        step.name()
    );
    Ok(())
}

/// A DEL of whatever is there; it must succeed.
async fn delete(site: &Site, name: &PodName) -> Result<()> {
    let node = site.machine(NODE)?.node();
    let output = pod::run(node, site.plugin(), name, "DEL", None).await?;
    ensure!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    Ok(())
}

/// The pod's next container gets an address at once, and works.
async fn works_again(site: &Site, name: &PodName, step: Step) -> Result<()> {
    let again = name.again(&format!("again-{}", name.container));
    let pod = site.add(NODE, &again).await.with_context(|| step.name())?;
    let _responder = Responder::start("again", pod.network(), pod.place().address)?;
    let node = site.machine(NODE)?.node();
    ask(node.network(), Protocol::Udp, pod.place().address)
        .await
        .with_context(|| step.name())?;
    site.del(NODE, pod).await
}

async fn add_dies(site: &Site, step: Step) -> Result<PodName> {
    let name = PodName::new(step.name());
    site.machine(NODE)?.node().add_pod(&name.container).await?;
    dies(site, &name, "ADD", step, &json!({})).await?;
    Ok(name)
}

/// A release is recorded in a file only while the daemon is away.
async fn del_dies(site: &Site, step: Step) -> Result<PodName> {
    let name = PodName::new(step.name());
    let pod = site.add(NODE, &name).await?;
    let is_away = step == Step::ReleaseRecorded;
    if is_away {
        site.kill(NODE).await?;
    }
    dies(site, &name, "DEL", step, &json!({"prevResult": pod.result})).await?;
    drop(pod);
    Ok(name)
}

/// What a runtime does after a plugin that died: DEL again, and the namespace goes.
async fn clean_up(site: &Site, name: &PodName) -> Result<()> {
    delete(site, name).await?;
    site.machine(NODE)?.node().remove_pod(&name.container).await?;
    delete(site, name).await
}

async fn start_where_away(site: &Site) -> Result<()> {
    match site.machine(NODE)?.ipamd_process().await {
        Some(_) => Ok(()),
        None => site.start(NODE).await,
    }
}

async fn rebooted(stage: &Stage, site: &mut Site, name: &PodName, step: Step) -> Result<()> {
    site.reboot(stage, NODE).await?;
    site.start(NODE).await?;
    // The runtime finds its containers dead and deletes them, as far as it knows of them.
    delete(site, name).await?;
    works_again(site, name, step).await
}

e2e::tests! {
    async fn an_add_killed_at_every_step_is_tried_again_once(stage) {
        let site = Site::usual(&stage).await?;
        for step in steps("add") {
            let name = add_dies(&site, step).await?;
            clean_up(&site, &name).await.with_context(|| step.name())?;
            works_again(&site, &name, step).await?;
        }
        traces::none(&site, NODE).await
    }

    /// kubelet gives up on the dead container later, and meanwhile makes a new one.
    async fn an_add_killed_at_every_step_does_not_stand_in_the_way_of_the_next_container(stage) {
        let site = Site::usual(&stage).await?;
        for step in steps("add") {
            let name = add_dies(&site, step).await?;
            works_again(&site, &name, step).await?;
            clean_up(&site, &name).await.with_context(|| step.name())?;
        }
        traces::none(&site, NODE).await
    }

    async fn an_add_killed_at_every_step_before_a_reboot_leaves_nothing(stage) {
        let mut site = Site::usual(&stage).await?;
        for step in steps("add") {
            let name = add_dies(&site, step).await?;
            rebooted(&stage, &mut site, &name, step).await?;
        }
        traces::none(&site, NODE).await
    }

    async fn a_del_killed_at_every_step_is_tried_again_once(stage) {
        let site = Site::usual(&stage).await?;
        for step in steps("del") {
            let name = del_dies(&site, step).await?;
            clean_up(&site, &name).await.with_context(|| step.name())?;
            start_where_away(&site).await?;
            works_again(&site, &name, step).await?;
        }
        traces::none(&site, NODE).await
    }

    /// The DEL is not repeated: the namespace goes, and a GC of the runtime does the rest.
    async fn a_del_killed_at_every_step_and_forgotten_is_collected(stage) {
        let site = Site::usual(&stage).await?;
        for step in steps("del") {
            let name = del_dies(&site, step).await?;
            start_where_away(&site).await?;
            site.machine(NODE)?.node().remove_pod(&name.container).await?;
            collect(&site, None).await?;
            works_again(&site, &name, step).await?;
        }
        traces::none(&site, NODE).await
    }

    async fn a_del_killed_at_every_step_before_a_reboot_leaves_nothing(stage) {
        let mut site = Site::usual(&stage).await?;
        for step in steps("del") {
            let name = del_dies(&site, step).await?;
            rebooted(&stage, &mut site, &name, step).await?;
        }
        traces::none(&site, NODE).await
    }

    async fn a_gc_killed_at_every_step_is_repeated(stage) {
        let site = Site::usual(&stage).await?;
        for step in steps("gc") {
            let pods = site.add_all(NODE, &["one", "two"]).await?;
            for pod in &pods {
                site.machine(NODE)?.node().remove_pod(&pod.name.container).await?;
            }
            drop(pods);
            collect(&site, Some(step)).await?;
            collect(&site, None).await?;
        }
        traces::none(&site, NODE).await
    }
}

/// A GC of a runtime that knows no pods; dies at the step, if there is one.
async fn collect(site: &Site, step: Option<Step>) -> Result<()> {
    let nobody = PodName::new("nobody");
    let extra = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
    if let Some(step) = step {
        return dies(site, &nobody, "GC", step, &extra).await;
    }
    let mut conf = site.plugin().conf().clone();
    let extra = extra.as_object().context("an object")?.clone();
    conf.as_object_mut().context("an object")?.extend(extra);
    let node = site.machine(NODE)?.node();
    let output = pod::exec(node, site.plugin(), &nobody.environment("GC"), &conf).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}
