//! What a daemon tells of itself, live, as data, and from a dump that was saved.

use anyhow::{Context, Result, ensure};
use e2e::site::{Site, until};
use serde_json::Value;

async fn told(site: &Site, arguments: &[&str]) -> Result<String> {
    let arguments = [&["explain"], arguments].concat();
    let node = site.machine("n1")?.node();
    let output = node.run(&site.ipamd().to_string_lossy(), &arguments).await?;
    Ok(String::from_utf8(output.stdout)?)
}

e2e::tests! {
    async fn a_saved_dump_tells_what_the_daemon_told(stage) {
        let site = Site::usual(&stage).await?;
        site.add_all("n1", &["a", "b"]).await?;
        let path = std::env::temp_dir().join(format!("berth-dump-{}", std::process::id()));
        let file = path.to_str().context("a path in UTF-8")?;
        // Until nothing is under way, each answer is of another moment.
        let same = until("a dump tells what the daemon tells", || async {
            let live = told(&site, &[]).await?;
            std::fs::write(&path, told(&site, &["--dump"]).await?)?;
            let saved = told(&site, &[file]).await?;
            ensure!(saved == live, "live:\n{live}\nsaved:\n{saved}");
            let live: Value = serde_json::from_str(&told(&site, &["--json"]).await?)?;
            let saved: Value = serde_json::from_str(&told(&site, &["--json", file]).await?)?;
            ensure!(live == saved, "live: {live}\nsaved: {saved}");
            ensure!(live["not_ready"].is_null(), "{live}");
            let enis = live["enis"].as_array().context("a list of ENIs")?;
            ensure!(enis.iter().any(|eni| eni["pods"] == 2), "{live}");
            Ok(())
        })
        .await;
        std::fs::remove_file(&path)?;
        same?;
        Ok(())
    }
}
