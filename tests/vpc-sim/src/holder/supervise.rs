//! Running one child: passing on the signals that ask to stop, burying orphans, ending with the child's exit code.

use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Error;

/// What a shell says of a child that a signal ended: 128 and the signal.
const SIGNALLED: i32 = 128;

/// Starts `command`, tells `started` its process id, and waits until it has ended. Every other child that ends
/// meanwhile is buried too, which is what a process 1 is for.
pub(crate) fn supervise(
    command: &mut Command,
    what: &str,
    started: impl FnOnce(u32) -> Result<(), Error>,
) -> Result<i32, Error> {
    let child = command.spawn().map_err(|source| Error::Start {
        what: what.to_owned(),
        source,
    })?;
    // Only now: a child inherits what is blocked.
    let signals = block()?;
    started(child.id())?;
    let child = Pid::from_raw(child.id().cast_signed());
    loop {
        // First of all, since the child may have ended before its signal was blocked.
        if let Some(code) = bury(child)? {
            return Ok(code);
        }
        let signal = wait(&signals)?;
        if signal != Signal::SIGCHLD {
            let _gone_already = kill(child, signal);
        }
    }
}

/// Buries children for ever: the whole life of a node's process 1.
pub(crate) fn bury_for_ever() -> Result<i32, Error> {
    let signals = block()?;
    loop {
        if wait(&signals)? == Signal::SIGCHLD {
            bury(Pid::from_raw(0))?;
        }
    }
}

/// Blocks what is waited for.
fn block() -> Result<SigSet, Error> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().map_err(|source| Error::System {
        attempt: "block signals",
        source,
    })?;
    Ok(signals)
}

fn wait(signals: &SigSet) -> Result<Signal, Error> {
    signals.wait().map_err(|source| Error::System {
        attempt: "wait for a signal",
        source,
    })
}

/// Buries every child that has ended; the exit code if `child` is among them.
fn bury(child: Pid) -> Result<Option<i32>, Error> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => return Ok(Some(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(Some(SIGNALLED + signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(source) => {
                return Err(Error::System {
                    attempt: "wait for a child",
                    source,
                });
            }
        }
    }
}
