//! A disk that takes nothing more below the daemon's journal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, Wishes, until};
use e2e::traces::{self, explained};
use vpc_sim::pod::{self, Pod, PodName};

const FOLDER: &str = "/run/aws-node/berth";

/// Room for the journal of a few dozen pods.
const SIZE: &str = "size=256k";

/// More leases than fit into what is left of the journal's last page (4 KiB), and as many as are free.
const MORE: usize = 9;
const WARM: &str = "12";

async fn site_on_a_small_disk(stage: &Stage) -> Result<Site> {
    let wishes = Wishes {
        daemons: false,
        ..Wishes::default()
    };
    let wishes = wishes
        .with("IP_COOLDOWN_PERIOD", "1")
        .with("WARM_IP_TARGET", WARM);
    let site = Site::new(stage, &wishes).await?;
    let node = site.machine("n1")?.node();
    let mount = ["-t", "tmpfs", "-o", SIZE, "tmpfs", FOLDER];
    for (program, arguments) in [("mkdir", ["-p", FOLDER].as_slice()), ("mount", &mount)] {
        let output = node.run(program, arguments).await?;
        ensure!(output.status.success(), "{output:?}");
    }
    site.start("n1").await?;
    until("the pool is warm", || async {
        let told = explained(&site, "n1").await?;
        let held = format!("{WARM} are.");
        ensure!(
            told.contains(&held) && !told.contains("is not there yet"),
            "{told}"
        );
        Ok(())
    })
    .await?;
    Ok(site)
}

/// Takes every page that is left.
fn fill(site: &Site) -> Result<PathBuf> {
    let path = site
        .machine("n1")?
        .node()
        .path(&Path::new(FOLDER).join("ballast"));
    let mut ballast = File::create(&path)?;
    loop {
        match ballast.write(&[0; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(path),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes pods until one is refused; what that one is told.
async fn add_until_refused(site: &Site, pods: &mut Vec<Pod>) -> Result<(PodName, String)> {
    let node = site.machine("n1")?.node();
    for number in 0..MORE {
        let name = PodName::new(&format!("more-{number}"));
        match pod::add(node, site.plugin(), &name).await {
            Ok(pod) => pods.push(pod),
            Err(refused) => return Ok((name, refused.to_string())),
        }
    }
    bail!("the disk takes more than it can hold")
}

e2e::tests! {
    async fn a_full_disk_is_named_and_nothing_is_lost(stage) {
        let site = site_on_a_small_disk(&stage).await?;
        let node = site.machine("n1")?.node();
        let mut pods = site.add_all("n1", &["a", "b", "c"]).await?;
        let ballast = fill(&site)?;
        let (refused, told) = add_until_refused(&site, &mut pods).await?;
        ensure!(told.contains("\"code\":11") && told.contains("journal cannot be written"), "{told}");
        ensure!(told.contains("/var/run/aws-node"), "the next step: {told}");
        // The runtime deletes again what it could not be sure of, and tries once more when there is room.
        std::fs::remove_file(ballast)?;
        let deleted = pod::run(node, site.plugin(), &refused, "DEL", None).await?;
        ensure!(deleted.status.success(), "{deleted:?}");
        let again = refused.again("again");
        pods.push(until("the disk takes it again", || site.add("n1", &again)).await?);
        site.kill("n1").await?;
        site.start("n1").await?;
        let addresses: BTreeSet<_> = pods.iter().map(|pod| pod.address).collect();
        ensure!(addresses.len() == pods.len(), "an address has two holders: {addresses:?}");
        until("the address of the refused pod has rested", || async {
            let told = explained(&site, "n1").await?;
            ensure!(told.contains(&format!("{} addresses are in use", pods.len())), "{told}");
            Ok(())
        })
        .await?;
        for pod in pods {
            site.del("n1", pod).await?;
        }
        traces::none(&site, "n1").await
    }
}
