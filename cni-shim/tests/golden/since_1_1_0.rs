//! The verbs and results of CNI 1.1.0: STATUS, GC, and CHECK's look at the node.

use std::time::Duration;

use ipamd_core::net::pod::PodWiring;
use proto::absence::Absence;
use serde_json::{Value, json};
use tonic::Code;

use crate::daemon::{Answer, Daemon, wiring, wiring_of};
use crate::node::{cni, conf, devices};
use crate::plugin::{Said, run};
use crate::sandbox::{Pod, in_sandbox};

in_sandbox! {
    /// CNI: STA-2, STA-5, CALL-6.
    fn status_says_nothing_when_pods_can_be_served() {
        let daemon = Daemon::serve();
        daemon.will_answer(Answer::Ready);
        assert!(status().succeeded_silently());
        daemon.will_answer(Answer::NotReady("metadata is away", false));
        assert_eq!(status().error_code(), 50);
        daemon.will_answer(Answer::Wiring(wiring()));
        let pod = Pod::new();
        cni("ADD", &pod, &json!({})).result();
    }

    /// CNI: STA-3, STA-4.
    fn status_tells_whether_pods_that_are_there_suffer() {
        let daemon = Daemon::serve();
        for (impaired, code) in [(false, 50), (true, 51)] {
            daemon.will_answer(Answer::NotReady("the kernel refuses rules", impaired));
            let said = status();
            assert_eq!((said.code, said.error_code()), (1, code));
            let message = said.document.unwrap()["msg"].as_str().unwrap().to_owned();
            assert!(message.contains("the kernel refuses rules"), "{message}");
        }
    }

    /// CNI: STA-3, STA-9.
    fn status_fails_at_once_without_a_daemon_that_ever_served() {
        let said = status();
        assert_eq!(said.error_code(), 50, "{said:?}");
        let details = said.document.unwrap()["details"].as_str().unwrap().to_owned();
        assert!(details.contains("ipamd explain"), "{details}");
    }

    /// CNI: STA-9.
    fn status_forgives_a_restart_for_its_grace_and_no_longer() {
        let boot_id = hostnet::sysctl::boot_id().unwrap();
        Absence::default().end(&boot_id, Duration::from_secs(600)).unwrap();
        assert!(status().succeeded_silently());
        assert!(status().succeeded_silently());
        Absence::default().end(&boot_id, Duration::ZERO).unwrap();
        assert_eq!(status().error_code(), 50, "no grace at all");
        Absence::default().end("another boot", Duration::from_secs(600)).unwrap();
        assert_eq!(status().error_code(), 50, "before a reboot is not a restart");
    }

    /// CNI: STA-7.
    fn status_does_not_wait_for_a_daemon_that_hangs() {
        std::fs::create_dir_all(proto::BERTH).unwrap();
        let _deaf = std::os::unix::net::UnixListener::bind(proto::SOCKET).unwrap();
        let began = std::time::Instant::now();
        assert_eq!(status().error_code(), 50);
        assert!(began.elapsed() < Duration::from_secs(5), "a deadline of one second");
    }

    /// CNI: GC-2, GC-5, GC-10.
    fn gc_takes_away_what_the_daemon_says_is_stale() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        cni("ADD", &pod, &json!({})).result();
        let gone = PodWiring { host_name: "eni00000000000".parse().unwrap(), ..wiring_of("c9", [10, 0, 1, 99].into()) };
        daemon.will_answer(Answer::Stale(vec![gone, wiring()]));
        assert!(gc(json!([{"containerID": "c7", "ifname": "eth0"}])).succeeded_silently());
        assert_eq!(daemon.was_asked(), ["add aws-cni/c1/eth0", "gc aws-cni [c7]"]);
        assert_eq!(devices(), ["gone*", "lo"]);
    }

    /// CNI: GC-6.
    fn gc_with_nothing_to_do_succeeds() {
        let daemon = Daemon::serve();
        daemon.will_answer(Answer::Stale(Vec::new()));
        assert!(gc(json!([])).succeeded_silently());
        assert_eq!(daemon.was_asked(), ["gc aws-cni []"]);
    }

    /// CNI: GC-3, GC-4.
    fn gc_asks_nothing_of_the_daemon_unless_the_list_is_there() {
        let daemon = Daemon::serve();
        assert_eq!(run(&environment("GC"), &newest(&json!({}))).error_code(), 7);
        let two = json!({"cni.dev/valid-attachments": [], "cni.dev/attachments": null});
        assert_eq!(run(&environment("GC"), &newest(&two)).error_code(), 7);
        assert!(gc(Value::Null).succeeded_silently());
        assert_eq!(daemon.was_asked(), Vec::<String>::new());
    }

    /// CNI: GC-5.
    fn gc_with_the_daemon_away_is_tried_again() {
        assert_eq!(gc(json!([])).error_code(), 11);
        let daemon = Daemon::serve();
        daemon.will_answer(Answer::Refusal(Code::Unavailable, 105, "the journal cannot be written", "mend the disk"));
        let said = gc(json!([]));
        assert_eq!(said.error_code(), 11);
        assert!(said.document.unwrap()["details"].as_str().unwrap().contains("mend the disk"));
    }

    /// CNI: CHK-4.
    fn check_names_what_is_wrong_with_the_node() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let result = cni("ADD", &pod, &json!({})).result();
        daemon.will_answer(Answer::Problem(wiring(), "the node's network still needs the rule 513: lookup 5120"));
        let said = cni("CHECK", &pod, &json!({"prevResult": result}));
        assert_eq!(said.error_code(), 121);
        assert!(said.document.unwrap()["msg"].as_str().unwrap().contains("rule 513"));
    }

    /// CNI: ADD-3, ADD-5, ADD-6, ADD-7.
    fn a_result_of_1_1_0_has_mtu_and_scope_and_is_what_is() {
        let (_daemon, pod) = (Daemon::serve(), Pod::new());
        let result = cni("ADD", &pod, &json!({"cniVersion": "1.1.0"})).result();
        assert_eq!(result["cniVersion"], "1.1.0");
        for (interface, sandbox) in [(0, None), (1, Some("/run/netns/pod"))] {
            assert_eq!(result["interfaces"][interface]["mtu"], 9001);
            assert_eq!(result["interfaces"][interface]["sandbox"].as_str(), sandbox);
        }
        assert_eq!(result["ips"], json!([{"address": "10.0.1.30/32", "interface": 1}]));
        assert_eq!(result["routes"][0], json!({"dst": "169.254.1.1/32", "scope": 253}));
        assert!(cni("CHECK", &pod, &json!({"cniVersion": "1.1.0", "prevResult": result})).succeeded_silently());
    }
}

fn status() -> Said {
    run(&environment("STATUS"), &newest(&json!({})))
}

fn gc(valid: Value) -> Said {
    run(
        &environment("GC"),
        &newest(&json!({"cni.dev/valid-attachments": valid})),
    )
}

fn environment(verb: &str) -> [(&str, &str); 2] {
    [("CNI_COMMAND", verb), ("CNI_PATH", "/opt/cni/bin")]
}

fn newest(extra: &Value) -> String {
    let mut extra = extra.clone();
    extra["cniVersion"] = json!("1.1.0");
    conf(&extra)
}
