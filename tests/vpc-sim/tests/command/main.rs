//! The command as its users have it: the real binary, as root and as a user without rights, and nothing left behind.

#![expect(clippy::print_stderr, reason = "what is skipped is said aloud")]

#[cfg(test)]
mod run;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use run::{everyone, said};

#[test]
fn a_run_in_the_background_lives_until_it_is_told_to_end() {
    for run in everyone() {
        let Some(up) = run.up(&["--detach"]) else { continue };
        assert!(up.contains("vpc-sim exec NODE"), "{up}");
        assert!(
            run.refuses(&["up", "--detach"])
                .contains("vpc-sim down --name default")
        );
        let nodes = run.does(&["nodes"]);
        assert_eq!(nodes.lines().count(), 2, "{nodes}");
        for ends in [["n1", "n2"], ["n1", "internet"], ["internet", "n2"]] {
            let seen = run.does(&["ping", ends[0], ends[1]]);
            assert_eq!(seen.matches("answered").count(), 2, "{seen}");
        }
        assert!(run.does(&["ping", "n1", "n2"]).contains("(node n1)"));
        assert!(run.does(&["drops"]).contains("nothing was dropped"));
        run.does(&["down"]);
        assert!(run.is_gone(), "{:?}", run.processes());
        assert!(run.refuses(&["nodes"]).contains("start one with `vpc-sim up`"));
    }
}

#[test]
fn a_command_on_a_node_has_our_streams_and_we_have_its_exit_code() {
    for run in everyone() {
        if run.up(&["--detach"]).is_none() {
            continue;
        }
        let script = "read line; echo $line on $(hostname); echo trouble >&2; exit 7";
        let output = run.exec("n2", &["sh", "-c", script], "hello\n");
        let (out, errors) = said(&output);
        assert_eq!((out.as_str(), errors.as_str()), ("hello on n2\n", "trouble\n"));
        assert_eq!(output.status.code(), Some(7));
        let output = run.exec(
            "n1",
            &["sh", "-c", "ls /sys/class/net; echo $AWS_ENDPOINT_URL_EC2"],
            "",
        );
        let (out, _) = said(&output);
        assert!(out.contains("lo") && out.contains("http://10.0."), "{out}");
        assert!(!out.contains("docker"), "{out}");
        let output = run.exec("n1", &["no-such-program"], "");
        assert_ne!(output.status.code(), Some(0));
        assert!(said(&output).1.contains("no-such-program"));
    }
}

#[test]
fn a_scenarios_groups_filter_and_its_nodes_have_ipv6() {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/groups.yaml");
    for run in everyone() {
        if run.up(&["--detach", scenario]).is_none() {
            continue;
        }
        let there = run.does(&["ping", "web", "client"]);
        assert_eq!(there.matches("answered").count(), 2, "{there}");
        let back = run.refuses(&["ping", "client", "web"]);
        assert!(back.contains("sg-in"), "{back}");
        let asking = "exec 3<>/dev/tcp/fd00:ec2::254/80 &&
            printf 'GET /latest/meta-data/mac HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3";
        let output = run.exec("client", &["bash", "-c", asking], "");
        let (out, errors) = said(&output);
        // Metadata hears the instance by its IPv6 address, and asks for a token.
        assert!(out.contains("401"), "{out}{errors}");
        run.does(&["down"]);
    }
}

#[test]
fn what_is_dropped_is_explained() {
    for run in everyone() {
        if run.up(&["--detach"]).is_none() {
            continue;
        }
        let forge = "ip address add 10.99.0.1/32 dev lo &&
            ip route replace 10.0.16.0/20 via 10.0.0.1 src 10.99.0.1";
        let output = run.exec("n1", &["sh", "-c", forge], "");
        if !output.status.success() {
            eprintln!(
                "SKIPPED: no source can be forged without iproute2: {:?}",
                said(&output)
            );
            continue;
        }
        let silence = run.refuses(&["ping", "n1", "n2"]);
        assert_eq!(silence.matches("NO ANSWER").count(), 2, "{silence}");
        for text in [silence, run.does(&["drops"])] {
            assert!(
                text.contains("of n1")
                    && text.contains("srccheck: a packet left by an ENI that does not own"),
                "{text}"
            );
        }
    }
}

#[test]
fn faults_come_and_go() {
    let run = &everyone()[0];
    if run.up(&["--detach"]).is_none() {
        return;
    }
    assert!(run.does(&["faults", "list"]).contains("no faults"));
    let add = ["faults", "add", "AttachNetworkInterface"];
    let one = run.does(&[&add[..], &["throttle", "--count", "2", "--about", "eni-1"]].concat());
    assert_eq!(one, "fault 1\n");
    run.does(&[&add[..], &["slow=1.5"]].concat());
    let list = run.does(&["faults", "list"]);
    assert!(
        list.contains("1  AttachNetworkInterface about eni-1  throttle  at most 2 times"),
        "{list}"
    );
    assert!(
        list.contains("2  AttachNetworkInterface  slow=1.5  until removed"),
        "{list}"
    );
    run.does(&["faults", "remove", "1"]);
    run.does(&["faults", "release", "2"]);
    assert!(run.does(&["faults", "list"]).contains("no faults"));
    assert!(
        run.refuses(&["faults", "remove", "1"])
            .contains("vpc-sim faults list")
    );
    assert!(
        run.refuses(&[&add[..], &["explode"]].concat())
            .contains("lose-answer")
    );
    assert!(
        run.refuses(&["faults", "add", "RunInstance", "deny"])
            .contains("CreateNetworkInterface")
    );
}

#[test]
fn whoever_is_unknown_is_told_from_those_who_are_known() {
    let run = &everyone()[0];
    if run.up(&["--detach"]).is_none() {
        return;
    }
    assert!(
        run.refuses(&["ping", "n1", "n9"])
            .contains("there are n1, n2, internet")
    );
    assert!(
        run.refuses(&["exec", "n9", "--", "true"])
            .contains("no node named n9; there are n1, n2")
    );
    assert!(
        run.refuses(&["pod", "add", "n1", "p1"])
            .contains("--ipamd and --cni-shim")
    );
    assert!(
        run.refuses(&["nodes", "--name", "other"])
            .contains("running are default")
    );
    assert!(run.refuses(&["nodes", "--name", "Other"]).contains("lower-case"));
}

#[test]
fn a_run_that_is_killed_takes_everything_along_and_its_name_is_free() {
    for run in everyone() {
        if run.up(&["--detach"]).is_none() {
            continue;
        }
        let there = ["exec", "n1", "--", "sh", "-c", "echo there; sleep 1000"];
        let mut command = run.command(&there).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "there");
        kill(Pid::from_raw(run.starter()), Signal::SIGKILL).unwrap();
        command.wait().unwrap();
        assert!(
            run::within_seconds(10, || run.processes().is_empty()),
            "{:?}",
            run.processes()
        );
        // A process that ends lets go of its memory, by which it is found, before its files, and so before the lock.
        let is_free = || run.refuses(&["nodes"]).contains("no run named default");
        assert!(run::within_seconds(10, is_free), "{}", run.refuses(&["nodes"]));
        run.up(&["--detach"]).unwrap();
        assert_eq!(run.does(&["nodes"]).lines().count(), 2);
        run.does(&["down"]);
        assert!(run.is_gone(), "{:?}", run.processes());
    }
}

#[test]
fn cgroups_of_a_node_with_a_runtime_go_with_the_run_or_at_the_next_start() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a node cgroups");
        return;
    }
    let nodes = "nodes:\n- {name: n1, type: t3.medium, subnet: a, runtime: true}
- {name: n2, type: t3.medium, subnet: a}\n";
    let subnets = "subnets:\n- {name: a, cidr: 10.0.0.0/20, zone: us-east-1a}\n";
    let users = everyone();
    for other in &users[1..] {
        let scenario = other.file("runtime.yaml", &format!("{nodes}{subnets}"));
        if other.up(&["--detach"]).is_some() {
            other.does(&["down"]);
            assert!(other.refuses(&["up", &scenario]).contains("needs root"));
        }
    }
    let run = &users[0];
    let scenario = run.file("runtime.yaml", &format!("{nodes}{subnets}"));
    for end in ["down", "kill"] {
        run.up(&["--detach", &scenario]).unwrap();
        let starter = run.starter();
        // The node sees its part as the whole, makes cgroups there, and has its processes in it.
        let script =
            "cut -d: -f3 /proc/self/cgroup | sort -u; for h in /sys/fs/cgroup/*/; do mkdir $h/a $h/a/b; done";
        let (out, errors) = said(&run.exec("n1", &["sh", "-c", script], ""));
        assert_eq!((out.as_str(), errors.as_str()), ("/\n", ""));
        let made = run::cgroups_of(starter);
        assert!(
            !made.is_empty() && made.iter().all(|run| run.join("n1/a/b").exists()),
            "{made:?}"
        );
        assert!(
            made.iter().all(|run| !run.join("n2").exists()),
            "only where it was asked for"
        );
        if end == "kill" {
            kill(Pid::from_raw(starter), Signal::SIGKILL).unwrap();
            assert!(run::within_seconds(10, || run.processes().is_empty()));
            let is_free = || run.refuses(&["nodes"]).contains("no run named default");
            assert!(run::within_seconds(10, is_free));
            run.up(&["--detach"]).unwrap();
        }
        run.does(&["down"]);
        assert!(run.is_gone(), "{:?}", run.processes());
        assert_eq!(
            run::cgroups_of(starter),
            Vec::<std::path::PathBuf>::new(),
            "after {end}"
        );
    }
}

#[test]
fn a_run_in_the_foreground_says_what_happens_and_ends_by_a_signal() {
    for run in everyone() {
        if run.up(&["--detach"]).is_none() {
            continue;
        }
        run.does(&["down"]);
        let mut up = run.command(&["up"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(up.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut lines = lines.inspect(|line| assert!(line.contains(" s  "), "{line}"));
        assert!(lines.any(|line| line.contains("  up; end it with")));
        assert_eq!(run.does(&["nodes"]).lines().count(), 2);
        kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(lines.any(|line| line.contains("down, by a signal")));
        assert_eq!(up.wait().unwrap().code(), Some(0));
        assert!(run.is_gone(), "{:?}", run.processes());
    }
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let run = &everyone()[0];
    let scenario = run.file(
        "bad.yaml",
        "subnets: []\nnodes:\n  - {name: n1, type: t3.medium, subnet: a}\n",
    );
    assert!(run.refuses(&["up", &scenario]).contains("line 3"));
    assert!(
        run.refuses(&["up", "--ipamd", "/no/such"])
            .contains("/no/such is no file that can be executed")
    );
    assert!(
        run.refuses(&["up", "--cni-shim", "/bin/true"])
            .contains("needs ipamd")
    );
    if run.up(&["--detach"]).is_none() {
        return;
    }
    run.does(&["down"]);
    let why = run.refuses(&["up", "--detach", "--ipamd", "/bin/false"]);
    assert!(
        why.contains("ipamd on node") && why.contains("ended at once"),
        "{why}"
    );
    assert!(run.is_gone(), "{:?}", run.processes());
}
