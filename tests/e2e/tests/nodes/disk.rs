//! A disk below the daemon's journal that takes nothing more, and one that takes its time.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, Wishes, until};
use e2e::socket;
use e2e::traces::{self, explained};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use vpc_sim::pod::{self, Pod, PodName};

const FOLDER: &str = "/run/aws-node/berth";

/// Room for the journal of a few dozen pods.
const SIZE: &str = "size=256k";

/// More leases than fit into what is left of the journal's last page (4 KiB), and as many as are free.
const MORE: usize = 9;
const WARM: &str = "12";

/// What the daemon takes for a disk: all that is not a tmpfs.
const A_DISK: [&str; 4] = ["-t", "ramfs", "ramfs", FOLDER];
const A_SMALL_TMPFS: [&str; 6] = ["-t", "tmpfs", "-o", SIZE, "tmpfs", FOLDER];

/// A node whose journal is on this file system.
async fn site_on(stage: &Stage, mount: &[&str]) -> Result<Site> {
    let wishes = Wishes {
        daemons: false,
        ..Wishes::default()
    };
    let wishes = wishes
        .with("IP_COOLDOWN_PERIOD", "1")
        .with("WARM_IP_TARGET", WARM);
    let site = Site::new(stage, &wishes).await?;
    let node = site.machine("n1")?.node();
    for (program, arguments) in [("mkdir", ["-p", FOLDER].as_slice()), ("mount", mount)] {
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

/// How long the slow disk takes for each sync of the journal.
const SYNC: Duration = Duration::from_millis(400);

/// Longer than any answer takes on a busy machine.
const LONG_SYNC: Duration = Duration::from_secs(3);

/// A node's daemon whose disk is slow for as long as this lives: strace holds back each of its syncs.
struct SlowDisk(Child);

impl SlowDisk {
    async fn below(site: &Site, node: &str, sync: Duration) -> Result<Self> {
        let daemon = site.daemon(node).await?.to_string();
        let inject = format!("inject=fdatasync:delay_enter={}", sync.as_micros());
        let mut strace = Command::new("strace")
            .args([
                "-f",
                "-e",
                "trace=fdatasync",
                "-e",
                &inject,
                "-o",
                "/dev/null",
                "-p",
                &daemon,
            ])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start strace")?;
        let words = strace.stderr.take().context("strace's words")?;
        let said = BufReader::new(words).lines().next_line().await?;
        let said = said.context("strace said nothing")?;
        ensure!(said.contains("attached"), "strace: {said}");
        Ok(Self(strace))
    }

    async fn end(mut self) -> Result<()> {
        self.0.kill().await.context("end strace")
    }
}

/// Whether a thread of the process is in `fdatasync` (Linux, Documentation/filesystems/proc.rst, `/proc/<pid>/syscall`).
fn is_syncing(process: &str) -> Result<bool> {
    let number = nix::libc::SYS_fdatasync.to_string();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end meanwhile.
        let call = std::fs::read_to_string(task?.path().join("syscall")).unwrap_or_default();
        if call.split_whitespace().next() == Some(&number) {
            return Ok(true);
        }
    }
    Ok(false)
}

e2e::tests! {
    async fn a_slow_disk_makes_pods_wait_and_nothing_else(stage) {
        let site = site_on(&stage, &A_DISK).await?;
        let first = site.add("n1", &PodName::new("first")).await?;
        let disk = SlowDisk::below(&site, "n1", SYNC).await?;
        let node = site.machine("n1")?.node();
        let names = ["a", "b", "c", "d"].map(PodName::new);
        let adds = futures::future::try_join_all(names.iter().map(|name| site.add("n1", name)));
        // What needs no record is answered meanwhile, within its own deadlines.
        let status = async {
            let conf = json!({"cniVersion": "1.1.0", "name": "aws-cni", "type": "aws-cni"});
            let environment = [("CNI_COMMAND", "STATUS"), ("CNI_PATH", "/opt/cni/bin")];
            let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let said = pod::exec(node, site.plugin(), &environment.into(), &conf).await?;
            ensure!(said.status.success(), "{said:?}");
            pod::check(node, site.plugin(), &first).await.context("CHECK")
        };
        let (added, told) = tokio::join!(adds, status);
        told?;
        let mut pods = added?;
        ensure!(pods.iter().all(|pod| pod.took >= SYNC), "an ADD was answered before it was on disk");
        let gone = pods.pop().context("a pod")?;
        site.del("n1", gone).await?;
        disk.end().await?;
        pods.push(first);
        site.kill("n1").await?;
        site.start("n1").await?;
        pods.push(site.add("n1", &PodName::new("later")).await?);
        let addresses: BTreeSet<_> = pods.iter().map(|pod| pod.address).collect();
        ensure!(addresses.len() == pods.len(), "an address has two holders: {addresses:?}");
        for pod in &pods {
            pod::check(node, site.plugin(), pod).await?;
        }
        for pod in pods {
            site.del("n1", pod).await?;
        }
        traces::none(&site, "n1").await
    }

    async fn a_slow_disk_keeps_no_probe_waiting(stage) {
        let site = site_on(&stage, &A_DISK).await?;
        let daemon = site.daemon("n1").await?.to_string();
        let disk = SlowDisk::below(&site, "n1", LONG_SYNC).await?;
        let name = PodName::new("slow");
        let probed = async {
            until("the journal is synced", || async {
                ensure!(is_syncing(&daemon)?);
                Ok(())
            }).await?;
            let mut health = HealthClient::new(socket::dial(&site, "n1").await?);
            let service = String::new();
            health.check(HealthCheckRequest { service }).await?;
            ensure!(is_syncing(&daemon)?, "the probe was answered only after the sync");
            Ok(())
        };
        let (added, probed) = tokio::join!(site.add("n1", &name), probed);
        probed?;
        disk.end().await?;
        site.del("n1", added?).await
    }

    async fn a_full_disk_is_named_and_nothing_is_lost(stage) {
        let site = site_on(&stage, &A_SMALL_TMPFS).await?;
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
