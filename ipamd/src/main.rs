//! `ipamd`: reads arguments, environment and clock origin, builds the edges, runs the daemon, sets the exit code.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use ipamd::config::{Config, LogTarget};
use ipamd::daemon;
use tracing_subscriber::EnvFilter;

/// Exit codes of sysexits.h: a configuration error is told apart from everything else.
const EX_CONFIG: u8 = 78;
const FAILED: u8 = 1;

/// Two are enough: the work is one owner's, and the rest is waiting.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let (config, warnings) = match Config::parse(&environment) {
        Ok(parsed) => parsed,
        Err(faults) => {
            complain(&format!(
                "the configuration cannot be used; nothing was changed:\n{faults}"
            ));
            return ExitCode::from(EX_CONFIG);
        }
    };
    match run(&config, &warnings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended");
            complain(&format!("{error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

fn run(config: &Config, warnings: &[ipamd::config::Warning]) -> anyhow::Result<()> {
    start_log(config)?;
    for warning in warnings {
        tracing::warn!(variable = warning.variable, "{}", warning.text);
    }
    tracing::info!(config = ?config, "effective configuration");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(daemon::run(config)).context("run the daemon")
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::new(format!(
        "warn,ipamd={0},ec2={0},hostnet={0}",
        config.process.log_level
    ));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal());
    match &config.process.log {
        LogTarget::Stderr => log.with_writer(std::io::stderr).init(),
        LogTarget::Stdout => log.with_writer(std::io::stdout).init(),
        LogTarget::File(path) => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
            }
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("open the log {}", path.display()))?;
            log.with_ansi(false)
                .with_writer(std::sync::Mutex::new(file))
                .init();
        }
    }
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a process that could not do its work"
)]
fn complain(text: &str) {
    eprintln!("ipamd: {text}");
}
