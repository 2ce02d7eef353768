//! The asking side: one request, one answer; and the way onto a node.

use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt};

use super::{Answer, Request};
use crate::folder::{self, RunName};
use crate::holder;

/// A world ends in milliseconds; a machine that needs longer than this is stuck.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Why the run cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error(transparent)]
    Run(#[from] folder::Error),
    /// It stopped talking.
    #[error("ask the run {name}; it may just have ended: see `vpc-sim nodes --name {name}`")]
    Ask {
        /// Which.
        name: RunName,
        /// Why.
        source: io::Error,
    },
    /// Another version of this program runs it.
    #[error("understand the run {name}; end it with the program that started it")]
    Understand {
        /// Which.
        name: RunName,
        /// Why.
        source: serde_json::Error,
    },
    /// It did what it should not.
    #[error("{0}")]
    Refused(String),
    /// It does not end.
    #[error("the run {name} did not end within {} s; look for its process with `ps` and kill it", END_LIMIT.as_secs())]
    StillThere {
        /// Which.
        name: RunName,
    },
    /// The command's way onto the node does not begin.
    #[error("start a command on node {node}")]
    Start {
        /// Which.
        node: String,
        /// Why.
        source: io::Error,
    },
}

/// Asks the run of this name.
///
/// # Errors
/// When it is not there or stops talking. What it refuses is an answer.
pub fn ask(name: &RunName, request: &Request) -> Result<Answer, Error> {
    converse(name, request).map(|(answer, _)| answer)
}

/// Runs a command on a node in place of this process: with its terminal, its standard streams, and its exit code.
/// Returns only when that cannot begin.
///
/// # Errors
/// When there is no such run or node.
pub fn exec(name: &RunName, node: &str, command: &[String]) -> Result<std::convert::Infallible, Error> {
    let request = Request::Enter {
        node: node.to_owned(),
    };
    let (env, holder) = match converse(name, &request)? {
        (Answer::Enter { env }, holder) => (env, holder),
        (other, _) => return Err(Error::Refused(other.to_string())),
    };
    let mut enter = Command::new(holder::this_program());
    enter
        .arg(format!("{}enter", holder::ROLE_PREFIX))
        .args([&holder.to_string(), "exec", ""])
        .args(command)
        .envs(env);
    Err(Error::Start {
        node: node.to_owned(),
        source: enter.exec(),
    })
}

/// Ends the run of this name, and returns when nothing of it is left.
///
/// # Errors
/// When there is none, or it does not end.
pub fn down(name: &RunName) -> Result<(), Error> {
    let folder = folder::held_by(name);
    match ask(name, &Request::Down)? {
        Answer::Done => {}
        other => return Err(Error::Refused(other.to_string())),
    }
    let Some(folder) = folder else { return Ok(()) };
    let (ended, told) = mpsc::channel();
    // The lock is let go when the run's first process ends, which is its last one too.
    std::thread::spawn(move || ended.send(folder.lock()));
    match told.recv_timeout(END_LIMIT) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::StillThere { name: name.clone() }),
    }
}

/// The answer and the process that it is said to come from.
fn converse(name: &RunName, request: &Request) -> Result<(Answer, i32), Error> {
    let failed = |source| Error::Ask {
        name: name.clone(),
        source,
    };
    let understand = |source| Error::Understand {
        name: name.clone(),
        source,
    };
    let mut stream = folder::connect(name)?;
    setsockopt(&stream, PassCred, &true).map_err(|error| failed(error.into()))?;
    let mut line = serde_json::to_vec(request).map_err(understand)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let (mut answer, sender) = receive(&stream).map_err(failed)?;
    if !answer.contains(&b'\n') {
        stream
            .shutdown(std::net::Shutdown::Write)
            .and_then(|()| stream.read_to_end(&mut answer))
            .map_err(failed)?;
    }
    if answer.is_empty() {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok((serde_json::from_slice(&answer).map_err(understand)?, sender))
}

/// The first bytes of an answer, with the process that the kernel vouches for.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, i32)> {
    let mut bytes = vec![0; 64 * 1024];
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let length = message.bytes;
    let sender = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
        _ => None,
    });
    bytes.truncate(length);
    Ok((bytes, sender.unwrap_or_default()))
}
