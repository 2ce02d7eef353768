//! What pods leave on a node and in the cloud: nothing, once they are gone.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::site::{Site, until};

/// What `ip` says on a node.
///
/// # Errors
/// When it cannot be run.
pub async fn ip(site: &Site, node: &str, arguments: &[&str]) -> Result<String> {
    let output = site.machine(node)?.node().run("ip", arguments).await?;
    Ok(String::from_utf8(output.stdout)?)
}

/// What the node's daemon says of itself.
///
/// # Errors
/// When it cannot be asked.
pub async fn explained(site: &Site, node: &str) -> Result<String> {
    let ipamd = site.ipamd().to_string_lossy().into_owned();
    let told = site.machine(node)?.node().run(&ipamd, &["explain"]).await?;
    Ok(String::from_utf8(told.stdout)?)
}

/// Waits until a node without pods looks as if it never had any: no devices, routes, namespaces, files, no address in use;
/// and until everything that the cloud holds is on a node and goes with it.
///
/// # Errors
/// What is left.
pub async fn none(site: &Site, node: &str) -> Result<()> {
    until("nothing is left of any pod", || no_trace(site, node)).await?;
    no_stray(site).await
}

/// Waits until everything that the cloud holds is on a node and goes with it.
///
/// # Errors
/// What does not.
pub async fn no_stray(site: &Site) -> Result<()> {
    until("every ENI is attached and goes with its instance", || async {
        let enis = site.vpc.cloud().change(|model, now| model.audit(now)).await?;
        let stray = enis
            .iter()
            .find(|eni| eni.instance.is_none() || !eni.delete_on_termination);
        ensure!(stray.is_none(), "{stray:?}");
        Ok(())
    })
    .await
}

async fn no_trace(site: &Site, node: &str) -> Result<()> {
    let links = ip(site, node, &["-br", "link"]).await?;
    let devices: Vec<&str> = links
        .lines()
        .filter(|link| link.starts_with("eni") || link.starts_with("gone"))
        .collect();
    ensure!(devices.is_empty(), "devices are left: {devices:?}");
    for family in ["-4", "-6"] {
        let routes = ip(
            site,
            node,
            &[family, "route", "show", "table", "5120", "type", "unicast"],
        )
        .await?;
        ensure!(routes.is_empty(), "routes are left: {routes}");
    }
    let rules = ip(site, node, &["rule"]).await?;
    let of_pods =
        |rule: &&str| rule.starts_with("512:") || (rule.starts_with("1536:") && !rule.contains("fwmark"));
    ensure!(rules.lines().find(of_pods).is_none(), "rules are left: {rules}");
    let machine = site.machine(node)?.node();
    let files = |folder: &str| -> Result<Vec<String>> {
        let Ok(entries) = std::fs::read_dir(machine.path(Path::new(folder))) else {
            return Ok(Vec::new());
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let namespaces = files("/run/netns")?;
    ensure!(namespaces.is_empty(), "namespaces are left: {namespaces:?}");
    let releases = files("/run/aws-node/berth/released")?;
    ensure!(releases.is_empty(), "recorded releases are left: {releases:?}");
    let mut own = files("/run/aws-node/berth")?;
    own.retain(|name| !["journal", "journal.lock", "released", "serving"].contains(&name.as_str()));
    ensure!(own.is_empty(), "files are left: {own:?}");
    let told = explained(site, node).await?;
    let in_use = told.lines().find(|line| line.contains("addresses are in use"));
    let in_use = in_use.with_context(|| told.clone())?;
    ensure!(
        in_use.starts_with("0 addresses are in use (0 requests wait)"),
        "{told}"
    );
    Ok(())
}
