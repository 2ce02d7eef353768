//! The command `vpc-sim`.

mod arguments;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::Parser;
use vpc_sim::control::{Answer, NewFault, PodId, Request, client};
use vpc_sim::folder::RunName;
use vpc_sim::holder;
use vpc_sim::serve::Serve;
use vpc_sim::up::{self, Up};

use arguments::{Arguments, Command, FaultCommand, PodCommand, Start};

fn main() -> ExitCode {
    if let Err(error) = take_part() {
        return fail(&error);
    }
    let command = Arguments::parse().command;
    let is_background = matches!(&command, Command::Up(start) if start.background);
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            if is_background {
                up::tell_failure(&format_args!("{error:#}"));
            }
            fail(&error)
        }
    }
}

/// A part of a world takes other arguments than a user's, and does not come back.
fn take_part() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().map(OsString::into_string);
    match arguments.nth(1) {
        Some(Ok(first)) if first.starts_with(holder::ROLE_PREFIX) => {
            holder::enter_world()?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(serve) => {
            let serve = Serve {
                listen: serve.listen,
                seed: serve.seed,
                instant: serve.instant,
                epoch: SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .context("reading the clock")?,
            };
            let serving = runtime()?.block_on(serve.run(&mut std::io::stdout()));
            serving.context("serving the API").map(|()| ExitCode::SUCCESS)
        }
        Command::Up(start) => start_run(start),
        Command::Down { run } => {
            client::down(&run.name)?;
            show("down");
            Ok(ExitCode::SUCCESS)
        }
        Command::Exec { run, node, command } => match client::exec(&run.name, &node, &command)? {},
        Command::Nodes { run } => ask(&run.name, &Request::Nodes),
        Command::Ping { run, from, to } => ask(&run.name, &Request::Ping { from, to }),
        Command::Drops { run } => ask(&run.name, &Request::Drops),
        Command::Pod { command } => match command {
            PodCommand::Add { run, node, pod } => ask(
                &run.name,
                &Request::PodAdd {
                    node,
                    pod: pod.into(),
                },
            ),
            PodCommand::Del { run, node, pod } => ask(
                &run.name,
                &Request::PodDel {
                    node,
                    pod: pod.into(),
                },
            ),
            PodCommand::List { run } => ask(&run.name, &Request::PodList),
        },
        Command::Faults { command } => match command {
            FaultCommand::List { run } => ask(&run.name, &Request::FaultList),
            FaultCommand::Add {
                run,
                operation,
                effect,
                count,
                about,
            } => {
                let fault = NewFault {
                    operation,
                    effect,
                    count,
                    about,
                };
                ask(&run.name, &Request::FaultAdd(fault))
            }
            FaultCommand::Remove { run, id } | FaultCommand::Release { run, id } => {
                ask(&run.name, &Request::FaultEnd { id })
            }
        },
    }
}

impl From<arguments::PodName> for PodId {
    fn from(pod: arguments::PodName) -> Self {
        Self {
            namespace: pod.namespace,
            name: pod.name,
        }
    }
}

fn start_run(start: Start) -> anyhow::Result<ExitCode> {
    let up = Up {
        scenario: start.scenario,
        name: start.run.name,
        ipamd: start.ipamd,
        cni_shim: start.cni_shim,
        conflist: start.conflist,
        seed: start.seed,
    };
    if !holder::is_inside() {
        // Said before anything is made.
        up.scenario()?;
    }
    if start.detach && !start.background {
        return detach(&up.name);
    }
    let world = up::enter(&up.name, start.background)?;
    runtime()?.block_on(up.live(&world, start.background))?;
    Ok(ExitCode::SUCCESS)
}

fn detach(name: &RunName) -> anyhow::Result<ExitCode> {
    let given = std::env::args().skip(2);
    let arguments: Vec<String> = ["up".to_owned(), "--background".to_owned()]
        .into_iter()
        .chain(given)
        .collect();
    Up::detach(&arguments, &mut std::io::stdout())?;
    let flag = match name.to_string().as_str() {
        "default" => String::new(),
        name => format!(" --name {name}"),
    };
    show("It runs in the background. Go on with");
    for (command, what) in [
        ("nodes", "which nodes there are"),
        ("exec NODE -- COMMAND", "a command on one of them"),
        ("ping A B", "who reaches whom, and as whom it is seen"),
        ("drops", "what the VPC dropped, and what usually is wrong then"),
        ("down", "the end of it"),
    ] {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let line = format!("vpc-sim {verb}{flag} {rest}");
        show(&format!("  {line:<40}  {what}"));
    }
    let log = vpc_sim::folder::log_of(name);
    show(&format!("It writes what happens to {}", log.display()));
    Ok(ExitCode::SUCCESS)
}

fn ask(name: &RunName, request: &Request) -> anyhow::Result<ExitCode> {
    match client::ask(name, request)? {
        Answer::Refused { reason } => Err(client::Error::Refused(reason).into()),
        answer => {
            show(&answer.to_string());
            Ok(if answer.is_good() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("starting the asynchronous runtime")
}

fn show(text: &str) {
    use std::io::Write;
    // Nobody reads any more, as under `head`: then nobody misses it.
    drop(writeln!(std::io::stdout(), "{text}"));
}

#[expect(clippy::print_stderr, reason = "the last word of a command that failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("vpc-sim: {error:#}");
    ExitCode::FAILURE
}
