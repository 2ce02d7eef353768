//! The daemon dies at each of its steps, in a life that reaches them all: a start, pods beyond the first ENI, releases. It
//! is started again, as a DaemonSet does, with and without a reboot of the node before; the runtime tries once more.

use anyhow::{Context, Result, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, Wishes, until};
use e2e::traces;
use hostnet::failpoint::Step;
use vpc_sim::pod::{Pod, PodName};
use vpc_sim::scenario::Pace;

const NODE: &str = "n1";

/// As many pods as need a second ENI on the usual node.
const PODS: usize = 6;

/// At which reaching of a step to die. Early ones are start-up, late ones pods and the cloud's answers.
fn times(step: Step) -> &'static [u32] {
    match step {
        Step::JournalWritten | Step::JournalSynced => &[1, 2, 3, 5, 8],
        Step::CallIntended | Step::CallReturned | Step::OutcomeNoted => &[1, 2, 3, 4, 5],
        Step::KernelChanged => &[1, 2, 4, 8, 13],
        Step::FirewallLoaded | Step::Answered => &[1, 2],
        _ => &[1],
    }
}

fn steps() -> impl Iterator<Item = (Step, u32)> {
    let of_daemon = Step::ALL.iter().filter(|step| step.name().starts_with("daemon-"));
    of_daemon.flat_map(|step| times(*step).iter().map(|time| (*step, *time)))
}

/// A pod that may need one more try, because the daemon died under the first.
async fn add(site: &Site, index: usize) -> Result<Pod> {
    let name = PodName::new(&format!("p{index}"));
    match site.add(NODE, &name).await {
        Ok(pod) => Ok(pod),
        Err(_) => {
            until("the daemon is back", || async {
                ensure!(site.machine(NODE)?.ipamd_process().await.is_some());
                Ok(())
            })
            .await?;
            site.add(NODE, &name.again(&format!("again-{index}"))).await
        }
    }
}

async fn pods(site: &Site) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    for index in 0..PODS {
        pods.push(add(site, index).await?);
    }
    let addresses: std::collections::BTreeSet<_> = pods.iter().map(|pod| pod.address).collect();
    ensure!(
        addresses.len() == PODS,
        "an address has two holders: {addresses:?}"
    );
    Ok(pods)
}

/// A site whose daemon will die at a step, and has releases recorded while it was away.
async fn about_to_die(stage: &Stage, step: Step, time: u32) -> Result<Site> {
    let site = Site::new(
        stage,
        &Wishes {
            daemons: false,
            ec2: Pace::Instant,
            ..Wishes::default()
        }
        .with("IP_COOLDOWN_PERIOD", "0"),
    )
    .await?;
    if step == Step::ReleasesDone {
        site.start(NODE).await?;
        let pod = site.add(NODE, &PodName::new("released")).await?;
        site.kill(NODE).await?;
        site.del(NODE, pod).await?;
    }
    let wish = format!("{}:{time}", step.name());
    // It may die before its socket is seen.
    let _ = site.start_with(NODE, &[("BERTH_DIE_AT", &wish)]).await;
    Ok(site)
}

async fn until_dead(site: &Site, step: Step) -> Result<()> {
    let dead = site.machine(NODE)?.until_ipamd_died();
    let dead = tokio::time::timeout(e2e::site::BOUND, dead).await;
    dead.with_context(|| format!("{} is not reached", step.name()))??;
    Ok(())
}

async fn ends_clean(site: &Site, pods: Vec<Pod>) -> Result<()> {
    for pod in pods {
        site.del(NODE, pod).await?;
    }
    traces::none(site, NODE).await?;
    site.nothing_dropped().await
}

e2e::tests! {
    async fn a_daemon_killed_at_every_step_is_started_again(stage) {
        for (step, time) in steps() {
            let story = async {
                let site = about_to_die(&stage, step, time).await?;
                let again = async {
                    until_dead(&site, step).await?;
                    site.start(NODE).await
                };
                let (pods, again) = tokio::join!(pods(&site), again);
                again?;
                ends_clean(&site, pods?).await
            };
            story.await.with_context(|| format!("{}:{time}", step.name()))?;
        }
        Ok(())
    }

    async fn a_daemon_killed_at_every_step_before_a_reboot_is_started_again(stage) {
        for (step, time) in steps() {
            let story = async {
                let mut site = about_to_die(&stage, step, time).await?;
                // The pods of the first life may or may not get as far as an address.
                let life = async {
                    for index in 0..PODS {
                        let name = PodName::new(&format!("old{index}"));
                        drop(site.add(NODE, &name).await);
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = life => {}
                    dead = until_dead(&site, step) => dead?,
                }
                site.reboot(&stage, NODE).await?;
                site.start(NODE).await?;
                let pods = pods(&site).await?;
                ends_clean(&site, pods).await
            };
            story.await.with_context(|| format!("{}:{time}", step.name()))?;
        }
        Ok(())
    }
}
