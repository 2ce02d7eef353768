//! The number that `max-pods` prints is the number that the daemon can serve.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use e2e::runner::Stage;
use e2e::site::{Site, Wishes};
use e2e::traces::explained;

/// A type, whether it gives prefixes, what `max-pods` says, and the pods that have an address of their own: EKS's formula
/// adds two pods in the host's network to the addresses (eni-max-pods.txt of amazon-vpc-cni-k8s), and caps the sum.
const SAMPLE: [(&str, bool, usize, usize); 5] = [
    ("t3.small", false, 11, 9),
    ("t3.medium", false, 17, 15),
    ("m5.large", false, 29, 27),
    ("c5.xlarge", false, 58, 56),
    ("m5.large", true, 110, 110),
];

async fn fill(
    stage: &Stage,
    instance_type: &'static str,
    prefixes: bool,
    printed: usize,
    pods: usize,
) -> Result<()> {
    let wishes = Wishes {
        instance_type,
        ..Wishes::default()
    };
    let wishes = wishes.with("ENABLE_PREFIX_DELEGATION", &prefixes.to_string());
    let site = Site::new(stage, &wishes).await?;
    let mut arguments = vec!["--instance-type", instance_type];
    arguments.extend(prefixes.then_some("--cni-prefix-delegation-enabled"));
    let max_pods = stage.tools.binaries.max_pods.to_string_lossy().into_owned();
    let answer = site.machine("n1")?.node().run(&max_pods, &arguments).await?;
    let number: usize = String::from_utf8(answer.stdout)?.trim().parse()?;
    ensure!(number == printed, "max-pods says {number}");

    let names: Vec<String> = (0..pods).map(|pod| format!("p{pod}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let served = site.add_all("n1", &names).await?;
    let addresses: BTreeSet<Ipv4Addr> = served.iter().map(|pod| pod.address).collect();
    ensure!(addresses.len() == pods, "two pods share an address");
    let told = explained(&site, "n1").await?;
    ensure!(
        told.contains(&format!("{pods} addresses are in use (0 requests wait);")),
        "{told}"
    );
    ensure!(
        told.contains(&format!(" of at most {pods} should be held")),
        "{told}"
    );
    site.nothing_dropped().await
}

e2e::tests! {
    async fn a_node_serves_as_many_pods_as_max_pods_says(stage) {
        for (instance_type, prefixes, printed, pods) in SAMPLE {
            let filled = fill(&stage, instance_type, prefixes, printed, pods).await;
            filled.with_context(|| format!("{instance_type}, prefixes: {prefixes}"))?;
        }
        Ok(())
    }
}
