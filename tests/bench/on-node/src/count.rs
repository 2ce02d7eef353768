//! What the programs of one ADD ask of the kernel, counted by strace: a time can hide a fork, a count cannot.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::daemon;
use crate::namespace::Namespace;
use crate::order::Counts;
use crate::plugin::{self, Plugin};

/// Where the traces go: the node's own memory.
const TRACE: &str = "/run/bench-trace";
const DAEMON_TRACE: &str = "/run/bench-trace-daemon";

/// Counts an ADD; `None` where there is no strace.
pub(crate) fn run(plugin: &Plugin) -> Result<Option<Counts>> {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if found.is_err() {
        return Ok(None);
    }
    let namespace = Namespace::make("counted")?;
    let watcher = watch_daemon()?;
    let document = traced(plugin, &namespace)?;
    end(watcher)?;
    plugin.del("counted", &namespace, &document)?;
    let read = |path: &str| std::fs::read_to_string(path).context("read a trace");
    let mut counts = of_plugin(&read(TRACE)?);
    let daemon = of_plugin(&read(DAEMON_TRACE)?);
    (counts.daemon_forks, counts.daemon_namespace_moves) = (daemon.forks, daemon.namespace_moves);
    Ok(Some(counts))
}

/// An ADD under strace; gives the result.
fn traced(plugin: &Plugin, namespace: &Namespace) -> Result<Value> {
    let mut child = Command::new("strace")
        .args(["-f", "-o", TRACE])
        .arg(plugin.program())
        .envs(plugin::environment("ADD", "counted", namespace.path()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start strace")?;
    let mut stdin = child.stdin.take().context("standard input")?;
    stdin
        .write_all(plugin.input(None).as_bytes())
        .context("write to the plugin")?;
    drop(stdin);
    let output = child.wait_with_output().context("wait for strace")?;
    ensure!(output.status.success(), "the ADD under strace failed");
    serde_json::from_slice(&output.stdout).context("read the plugin's document")
}

/// strace on every thread of the daemon; returns once it says that it is attached.
fn watch_daemon() -> Result<Child> {
    let calls = "trace=clone,clone3,fork,vfork,execve,setns";
    let mut child = Command::new("strace")
        .args([
            "-f",
            "-e",
            calls,
            "-o",
            DAEMON_TRACE,
            "-p",
            &daemon::process()?.to_string(),
        ])
        .stderr(Stdio::piped())
        .spawn()
        .context("start strace on the daemon")?;
    let errors = child.stderr.take().context("strace's words")?;
    let first = BufReader::new(errors)
        .lines()
        .next()
        .context("strace said nothing")?;
    let first = first.context("read strace's words")?;
    ensure!(first.contains("attached"), "strace on the daemon: {first}");
    Ok(child)
}

/// An interrupted strace lets go of what it watched and ends.
fn end(mut watcher: Child) -> Result<()> {
    let pid = i32::try_from(watcher.id()).context("a process number")?;
    kill(Pid::from_raw(pid), Signal::SIGINT).context("end strace")?;
    watcher.wait().context("wait for strace").map(drop)
}

/// A line is `PID CALL(ARGUMENTS) = RESULT`; one that another thread interrupted comes in two parts, of which the first
/// has the arguments.
fn of_plugin(trace: &str) -> Counts {
    let mut counts = Counts::default();
    let mut netlink = BTreeSet::new();
    for line in trace.lines() {
        let Some((name, arguments)) = call(line) else {
            continue;
        };
        counts.system_calls += 1;
        let descriptor = arguments.split([',', ')']).next().unwrap_or_default();
        let result = line.rsplit_once(" = ").map(|(_, result)| result.trim());
        let succeeded = result.is_some_and(|result| !result.starts_with('-'));
        match name {
            "clone" | "clone3" | "fork" | "vfork" if !arguments.contains("CLONE_THREAD") => counts.forks += 1,
            "setns" => counts.namespace_moves += 1,
            "socket" if arguments.starts_with("AF_NETLINK") => {
                netlink.extend(result.map(str::to_owned));
            }
            "close" => drop(netlink.remove(descriptor)),
            "sendto" | "sendmsg" | "write" if netlink.contains(descriptor) => counts.netlink_sends += 1,
            "recvfrom" | "recvmsg" | "read" if netlink.contains(descriptor) && succeeded => {
                counts.netlink_receives += 1;
            }
            _ => {}
        }
    }
    counts
}

fn call(line: &str) -> Option<(&str, &str)> {
    let (_, call) = line.split_once(' ')?;
    let (name, arguments) = call.trim_start().split_once('(')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_counted_by_descriptor() {
        let trace = "\
7 execve(\"/x/cni-shim\", [\"cni-shim\"], 0x7ffe /* 6 vars */) = 0
7 socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 4
7 sendto(4, \"PRI\", 3, MSG_NOSIGNAL, NULL, 0) = 3
7 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 9
7 sendto(9, [{nlmsg_len=32, nlmsg_type=RTM_NEWLINK}], 32, 0, {sa_family=AF_NETLINK}, 12) = 32
7 recvfrom(9, 0x7f, 8192, MSG_DONTWAIT, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)
7 recvfrom(9, [{nlmsg_len=36}], 8192, MSG_DONTWAIT, NULL, NULL) = 36
7 setns(8, CLONE_NEWNET) = 0
7 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88) = 12
7 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 13
7 close(9) = 0
7 sendto(9, \"x\", 1, 0, NULL, 0) = 1
7 +++ exited with 0 +++
";
        let counts = of_plugin(trace);
        let expected = Counts {
            forks: 1,
            namespace_moves: 1,
            netlink_sends: 1,
            netlink_receives: 1,
            system_calls: 12,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
    }
}
