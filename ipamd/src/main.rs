//! `ipamd`: reads arguments, environment and clock origin, builds the edges, runs the daemon, sets the exit code.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use ipamd::config::{Config, LogTarget};
use ipamd::daemon;
use ipamd::explain::Form;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Exit codes of sysexits.h: wrong usage and a wrong configuration are told apart from everything else.
const EX_USAGE: u8 = 64;
const EX_CONFIG: u8 = 78;
const FAILED: u8 = 1;

/// Crates whose events the operator's level is for; others are heard when they warn.
const OURS: [&str; 3] = ["ipamd", "ec2", "hostnet"];

/// Two are enough: the work is one owner's, and the rest is waiting.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => daemon(),
        ["explain"] => explain(None, Form::Prose),
        ["explain", "--json"] => explain(None, Form::Json),
        ["explain", "--dump"] => explain(None, Form::Dump),
        ["explain", "--json", file] | ["explain", file, "--json"] => {
            explain(Some(Path::new(file)), Form::Json)
        }
        ["explain", file] if !file.starts_with('-') => explain(Some(Path::new(file)), Form::Prose),
        ["--version"] => say(&format!("ipamd {}", env!("CARGO_PKG_VERSION"))),
        ["--help" | "-h"] => say(USAGE),
        _ => {
            complain(&format!("unknown arguments {arguments:?}\n{USAGE}"));
            ExitCode::from(EX_USAGE)
        }
    }
}

/// What can be asked for. Settings come from the environment, as the peer's do.
const USAGE: &str = "usage: ipamd            run the daemon; settings come from the environment
       ipamd explain [--json | --dump]
                        say what the running daemon sees, wants and waits for; or write down everything
                        that its decisions depend on
       ipamd explain [--json] FILE
                        say the same of a dump that was saved, on any machine
       ipamd --version";

fn explain(file: Option<&Path>, form: Form) -> ExitCode {
    if let Some(file) = file {
        return tell(ipamd::explain::explain_file(file, form).map_err(anyhow::Error::from));
    }
    let socket = std::env::var_os("BERTH_SOCKET").map_or_else(|| PathBuf::from(proto::SOCKET), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = runtime.context("start the runtime").and_then(|runtime| {
        runtime
            .block_on(ipamd::explain::explain(&socket, form))
            .map_err(anyhow::Error::from)
    });
    tell(told)
}

fn tell(told: anyhow::Result<String>) -> ExitCode {
    match told {
        Ok(text) => say(&text),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn say(text: &str) -> ExitCode {
    println!("{}", text.trim_end());
    ExitCode::SUCCESS
}

fn daemon() -> ExitCode {
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
    match run(config, &warnings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended");
            complain(&format!("{error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

fn run(config: Config, warnings: &[ipamd::config::Warning]) -> anyhow::Result<()> {
    start_log(&config)?;
    for warning in warnings {
        tracing::warn!(variable = warning.variable, "{}", warning.text);
    }
    tracing::info!(config = ?config, "effective configuration");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    // On a worker: a question and its answer then stay on the thread that took the call.
    let daemon = runtime.spawn(daemon::run(config));
    let ended = runtime.block_on(daemon).context("the daemon broke off")?;
    ended.context("run the daemon")
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let ours = OURS.map(|target| (target, config.process.log_level));
    let filter = Targets::new().with_default(LevelFilter::WARN).with_targets(ours);
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal());
    match &config.process.log {
        LogTarget::Stderr => log.with(lines.with_writer(std::io::stderr)).init(),
        LogTarget::Stdout => log.with(lines).init(),
        LogTarget::File(path) => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
            }
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("open the log {}", path.display()))?;
            let lines = lines.with_ansi(false).with_writer(std::sync::Mutex::new(file));
            log.with(lines).init();
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
