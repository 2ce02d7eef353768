//! `vpc-sim up`: keeps a VPC running, in the foreground with a live view or in the background.
//!
//! The process tree: the user's process (in the foreground) or one that it leaves behind ([`Up::detach`]) claims the
//! run's folder and is the starter of the world ([`enter`]); inside, [`Up::live`] is the simulator. The control socket is
//! made outside and handed in as standard input, because the world's `/run` is its own. When the starter ends, however
//! it ends, so does everything else; if it can, it takes the folder away.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures::future::try_join_all;
use tokio::net::UnixListener;

use crate::cloud::CloudGone;
use crate::control::server::Console;
use crate::folder::{self, RunFolder, RunName};
use crate::holder::{self, World};
use crate::pod::{self, Plugin};
use crate::probe;
use crate::scenario::{self, Scenario};
use crate::story::Story;
use crate::vpc::{self, Vpc, machine};

/// The line by which a run in the background says that all is up; what comes before is passed on.
const UP_LINE: &str = "vpc-sim:up";

/// What begins the last words of a run in the background that could not come up.
const FAILED_LINE: &str = "vpc-sim:failed ";

/// The scenario of whoever names none.
const BARE: &str = include_str!("../examples/bare.yaml");

/// What is to run.
#[derive(Clone, Debug)]
pub struct Up {
    /// Where it is described; two bare nodes when absent.
    pub scenario: Option<PathBuf>,
    /// Under which name.
    pub name: RunName,
    /// The daemon, above the scenario's.
    pub ipamd: Option<PathBuf>,
    /// The CNI plugin, above the scenario's.
    pub cni_shim: Option<PathBuf>,
    /// The plugin's conflist; without it the plugin gets what an EKS node's says.
    pub conflist: Option<PathBuf>,
    /// The seed, above the scenario's.
    pub seed: Option<u64>,
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scenario cannot be used.
    #[error(transparent)]
    Scenario(#[from] scenario::Error),
    /// A program of the nodes cannot be run.
    #[error("the {what} {path} is no file that can be executed; build it, or correct its path", path = .path.display())]
    Program {
        /// Which.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// A conflist is for a plugin.
    #[error(
        "--conflist configures the CNI plugin, and there is none; name it with --cni-shim or in the scenario"
    )]
    NoPlugin,
    /// There is no place for the run.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// There is no world.
    #[error(transparent)]
    World(#[from] holder::Error),
    /// There is no VPC.
    #[error(transparent)]
    Vpc(#[from] vpc::Error),
    /// A daemon does not run.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The conflist cannot be used.
    #[error(transparent)]
    Pod(#[from] pod::Error),
    /// A node does not answer.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// The cloud ended.
    #[error(transparent)]
    Cloud(#[from] CloudGone),
    /// A file or stream of the run cannot be used.
    #[error("{attempt}")]
    Stream {
        /// What was attempted.
        attempt: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A run in the background said why it ended.
    #[error("{0}")]
    Failed(String),
}

fn stream(attempt: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Stream { attempt, source }
}

/// Claims the run's folder and enters a world, in which the program runs again with the control socket as standard
/// input. In the background what is said goes to a log in the folder.
///
/// # Errors
/// When the name is taken or there can be no world. Outside it does not return otherwise.
pub fn enter(name: &RunName, background: bool) -> Result<World, Error> {
    if holder::is_inside() {
        return Ok(holder::enter_world()?);
    }
    if background {
        // Whoever asked for the run may close the terminal.
        nix::unistd::setsid().map_err(|error| stream("leave the terminal")(error.into()))?;
    }
    let folder = RunFolder::claim(name)?;
    let socket = folder.listen()?;
    let hand = stream("hand the control socket and the log to the run");
    nix::unistd::dup2_stdin(&socket).map_err(|error| hand(error.into()))?;
    drop(socket);
    if background {
        nix::unistd::dup2_stderr(folder.log()?).map_err(|error| hand(error.into()))?;
    }
    Ok(holder::enter_world_then(move || drop(folder))?)
}

/// Says to whoever waits for a run in the background why it does not come up.
pub fn tell_failure(error: &dyn std::fmt::Display) {
    let mut out = io::stdout();
    // Nobody waits any more when it was up before.
    drop(writeln!(out, "{FAILED_LINE}{error}").and_then(|()| out.flush()));
}

impl Up {
    /// The scenario with what the command line sets, its programs looked at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn scenario(&self) -> Result<Scenario, Error> {
        let mut scenario = match &self.scenario {
            Some(path) => Scenario::load(path)?,
            None => Scenario::parse(BARE)?,
        };
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        for (flag, setting) in [
            (&self.ipamd, &mut scenario.ipamd),
            (&self.cni_shim, &mut scenario.cni_shim),
        ] {
            if let Some(path) = flag {
                *setting = Some(std::path::absolute(path).map_err(stream("find the current directory"))?);
            }
        }
        scenario.check_programs()?;
        for (what, path) in [("ipamd", &scenario.ipamd), ("cni-shim", &scenario.cni_shim)] {
            if let Some(path) = path.as_ref().filter(|path| !is_program(path)) {
                let path = path.clone();
                return Err(Error::Program { what, path });
            }
        }
        self.plugin(&scenario)?;
        Ok(scenario)
    }

    fn plugin(&self, scenario: &Scenario) -> Result<Option<Plugin>, Error> {
        match (&scenario.cni_shim, &self.conflist) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::NoPlugin),
            (Some(program), None) => Ok(Some(Plugin::plain(program))),
            (Some(program), Some(conflist)) => Ok(Some(Plugin::of(program, conflist)?)),
        }
    }

    /// Starts the run in the background with these arguments of this program, and returns when all is up. What
    /// happens meanwhile is passed on to `out`.
    ///
    /// # Errors
    /// Why it did not come up.
    pub fn detach(arguments: &[String], out: &mut impl Write) -> Result<(), Error> {
        let mut run = Command::new(holder::this_program())
            .arg0("vpc-sim")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(stream("start the run in the background"))?;
        let said = run.stdout.take().map(BufReader::new);
        let mut failure: Option<String> = None;
        for line in said.into_iter().flat_map(BufRead::lines) {
            let line = line.map_err(stream("listen to the run in the background"))?;
            match (&mut failure, line.strip_prefix(FAILED_LINE)) {
                _ if line == UP_LINE => return Ok(()),
                (Some(failure), _) => failure.extend(["\n", &line]),
                (None, Some(reason)) => failure = Some(reason.to_owned()),
                (None, None) => writeln!(out, "{line}").map_err(stream("print"))?,
            }
        }
        let status = run.wait().map_err(stream("wait for the run in the background"))?;
        let killed = || format!("the run ended before it was up, with {status}");
        Err(Error::Failed(failure.unwrap_or_else(killed)))
    }

    /// The run itself, inside its world, until it is told to end by a signal or by `vpc-sim down`.
    ///
    /// # Errors
    /// When the VPC does not come up.
    pub async fn live(&self, world: &World, background: bool) -> Result<(), Error> {
        let listener = control_socket().map_err(stream("take the control socket from standard input"))?;
        let story = Story::begin();
        let scenario = self.scenario()?;
        let vpc = Vpc::start(world, &scenario).await?;
        for (name, machine) in vpc.machines() {
            let (instance, address) = (machine.instance(), machine.primary());
            story.say(&format!("{name}: {instance} boots as {address}."));
        }
        if let Some(ipamd) = &scenario.ipamd {
            let machines = vpc.machines().values();
            try_join_all(machines.map(|machine| machine.start_ipamd(ipamd, &[]))).await?;
            story.say("ipamd runs on all nodes.");
        }
        let console = Arc::new(Console::new(vpc, self.plugin(&scenario)?, story)?);
        story.say(&format!("up; end it with `vpc-sim down --name {}`.", self.name));
        if background {
            say_up().map_err(stream("say that all is up"))?;
        }
        tokio::select! {
            () = Arc::clone(&console).serve(listener) => story.say("down, as asked for."),
            () = story.watch_enis(console.vpc()) => return Err(CloudGone.into()),
            () = story.watch_drops(console.vpc()) => {}
            () = crate::serve::told_to_end() => story.say("down, by a signal."),
        }
        Ok(())
    }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn control_socket() -> io::Result<UnixListener> {
    let socket = StdListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

/// From here on standard output is the log, as standard error was from the start.
fn say_up() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{UP_LINE}")?;
    out.flush()?;
    Ok(nix::unistd::dup2_stdout(io::stderr())?)
}
