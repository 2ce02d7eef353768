//! What the verbs do beside a daemon, to it and to the kernel.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;

use ipamd_core::net::pod::PodWiring;
use serde_json::{Value, json};
use tonic::Code;

use crate::daemon::{Answer, Daemon, at, block_on, wiring, wiring_of, with_leg};
use crate::node::{cni, conf, devices, environment, recorded};
use crate::plugin::{finish, plugin, said};
use crate::sandbox::{Pod, in_sandbox};

in_sandbox! {
    /// CNI: ADD-1, ADD-6, CHK-7, CHK-9.
    fn an_add_is_repeatable_and_every_address_of_the_result_is_there() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let first = cni("ADD", &pod, &json!({})).result();
        assert_eq!(cni("ADD", &pod, &json!({})).result(), first);
        assert_eq!(daemon.was_asked(), ["add aws-cni/c1/eth0"; 2]);
        assert!(cni("CHECK", &pod, &json!({"prevResult": first})).succeeded_silently());
    }

    /// CNI: ADD-11, CALL-4.
    fn a_refusal_keeps_its_code_and_next_step() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        for (kind, code) in [(Code::Unavailable, 11), (Code::FailedPrecondition, 103)] {
            daemon.will_answer(Answer::Refusal(kind, 103, "no name for the device", "check the prefix"));
            let said = cni("ADD", &pod, &json!({}));
            assert_eq!((said.code, said.error_code()), (1, code), "{said:?}");
            let document = said.document.unwrap();
            assert_eq!(document["msg"], "ipamd: no name for the device");
            assert_eq!(document["details"], "Next: check the prefix.");
            assert_eq!(document["cniVersion"], "0.4.0");
        }
    }

    /// CNI: ADD-10.
    fn what_cannot_be_wired_is_given_back() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        daemon.will_answer(Answer::Wiring(with_leg(|leg| leg.node_address = Some([192, 0, 2, 1].into()))));
        let said = cni("ADD", &pod, &json!({}));
        assert_eq!((said.code, said.error_code()), (1, 120), "{said:?}");
        assert_eq!(daemon.was_asked(), ["add aws-cni/c1/eth0", "del aws-cni/c1/eth0"]);
        assert_eq!(devices(), ["lo"]);
    }

    /// CNI: ADD-2, ADD-10.
    fn an_interface_of_somebody_elses_is_refused_and_the_address_given_back() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let theirs = PodWiring {
            host_name: "other".parse().unwrap(),
            host_mac: "0a:00:00:00:00:01".parse().unwrap(),
            pod_mac: "0a:00:00:00:00:02".parse().unwrap(),
            ..at([10, 0, 9, 9])
        };
        block_on(hostnet::pod::wire(Path::new(pod.path()), &theirs)).unwrap();
        assert_eq!(cni("ADD", &pod, &json!({})).error_code(), 120);
        assert_eq!(daemon.was_asked(), ["add aws-cni/c1/eth0", "del aws-cni/c1/eth0"]);
        assert_eq!(block_on(hostnet::pod::check::check(Path::new(pod.path()), &theirs)).unwrap(), []);
    }

    fn a_repeated_add_that_fails_does_not_give_away_the_address_of_a_living_pod() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        cni("ADD", &pod, &json!({})).result();
        // A later plugin changed something, so this is no longer what was promised.
        daemon.will_answer(Answer::Wiring(PodWiring { mtu_bytes: 1500, ..wiring() }));
        assert_eq!(cni("ADD", &pod, &json!({})).error_code(), 120);
        assert_eq!(daemon.was_asked(), ["add aws-cni/c1/eth0"; 2], "no release");
    }

    fn an_add_settles_the_release_that_was_recorded_for_it() {
        let pod = Pod::new();
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
        assert_eq!(recorded().len(), 1);
        let daemon = Daemon::serve();
        cni("ADD", &pod, &json!({})).result();
        assert_eq!(daemon.was_asked(), ["del aws-cni/c1/eth0", "add aws-cni/c1/eth0"]);
        assert_eq!(recorded(), Vec::<String>::new());
    }

    /// CNI: DEL-1, DEL-3, DEL-4, DEL-5.
    fn a_del_takes_away_what_is_on_record_and_may_be_repeated() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        cni("ADD", &pod, &json!({})).result();
        for _ in 0..2 {
            assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
            assert_eq!(devices(), ["gone*", "lo"]);
        }
        assert_eq!(daemon.was_asked().len(), 3);
        assert_eq!(recorded(), Vec::<String>::new());
    }

    /// CNI: ADD-1, DEL-1.
    fn a_namespace_may_be_used_again_after_a_del() {
        let (_daemon, pod) = (Daemon::serve(), Pod::new());
        let first = cni("ADD", &pod, &json!({})).result();
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
        assert_eq!(cni("ADD", &pod, &json!({})).result(), first);
        assert_eq!(devices(), ["eni*", "lo"]);
    }

    /// CNI: DEL-2, DEL-4.
    /// A DEL overtook the ADD, so what was wired has lost its address; the ADD is tried again.
    fn what_an_overtaken_add_wired_is_made_anew() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        cni("ADD", &pod, &json!({})).result();
        let other = at([10, 0, 1, 31]);
        daemon.will_answer(Answer::Wiring(other.clone()));
        let again = cni("ADD", &pod, &json!({})).result();
        assert_eq!(again["ips"][0]["address"], "10.0.1.31/32");
        assert_eq!(block_on(hostnet::pod::check::check(Path::new(pod.path()), &other)).unwrap(), []);
        assert_eq!(devices(), ["eni*", "lo"]);
    }

    fn a_del_without_record_goes_by_the_previous_result_or_leaves_the_device_to_its_namespace() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let result = cni("ADD", &pod, &json!({})).result();
        daemon.will_answer(Answer::Nothing);
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
        assert_eq!(devices(), ["eni*", "lo"]);
        assert!(cni("DEL", &pod, &json!({"prevResult": {}})).succeeded_silently());
        assert_eq!(devices(), ["eni*", "lo"]);
        assert!(cni("DEL", &pod, &json!({"prevResult": result})).succeeded_silently());
        assert_eq!(devices(), ["gone*", "lo"]);
    }

    /// CNI: DEL-8, DEL-3.
    fn a_del_without_a_daemon_takes_the_network_away_and_records_the_release() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let result = cni("ADD", &pod, &json!({})).result();
        drop(daemon);
        for _ in 0..2 {
            assert!(cni("DEL", &pod, &json!({"prevResult": result})).succeeded_silently());
        }
        assert_eq!(devices(), ["gone*", "lo"]);
        assert_eq!(recorded(), ["aws-cni+c1+eth0"]);
    }

    /// CNI: DEL-8.
    fn a_del_that_the_daemon_cannot_record_is_recorded_for_later() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        daemon.will_answer(Answer::Refusal(Code::Unavailable, 105, "the journal cannot be written", "mend the disk"));
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
        assert_eq!(recorded().len(), 1);
    }

    /// CNI: DEL-7.
    fn a_del_of_an_old_container_harms_no_younger_pod_of_the_same_name() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let old = cni("ADD", &pod, &json!({})).result();
        let again = Pod::at("/run/netns/again");
        let younger = wiring_of("c2", [10, 0, 1, 31].into());
        daemon.will_answer(Answer::Wiring(younger.clone()));
        cni("ADD", &again, &json!({})).result();
        assert_eq!(devices(), ["eni*", "gone*", "lo"]);
        daemon.will_answer(Answer::Nothing);
        assert!(cni("DEL", &pod, &json!({"prevResult": old})).succeeded_silently());
        assert_eq!(block_on(hostnet::pod::check::check(Path::new(again.path()), &younger)).unwrap(), []);
    }

    /// CNI: DEL-7, CHN-2.
    fn a_del_leaves_the_devices_of_the_plugins_before_us_alone() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let before = Pod::at("/run/netns/before");
        let theirs = PodWiring {
            host_name: "cni0".parse().unwrap(),
            host_mac: "0a:00:00:00:00:01".parse().unwrap(),
            ..at([10, 0, 9, 9])
        };
        block_on(hostnet::pod::wire(Path::new(before.path()), &theirs)).unwrap();
        let previous = json!({"interfaces": [{"name": "cni0", "mac": "0a:00:00:00:00:01"}]});
        let result = cni("ADD", &pod, &json!({"prevResult": previous})).result();
        assert_eq!(devices(), ["cni0", "eni*", "lo"]);
        drop(daemon);
        assert!(cni("DEL", &pod, &json!({"prevResult": result})).succeeded_silently());
        assert_eq!(devices(), ["cni0", "gone*", "lo"]);
    }

    /// CNI: CHK-3, CHK-4, CHK-9.
    fn a_check_names_what_differs() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let result = cni("ADD", &pod, &json!({})).result();
        let conf = json!({"prevResult": result});
        assert!(cni("CHECK", &pod, &conf).succeeded_silently());
        daemon.will_answer(Answer::Wiring(PodWiring { mtu_bytes: 1500, ..at([10, 0, 1, 31]) }));
        let said = cni("CHECK", &pod, &conf);
        assert_eq!(said.error_code(), 121);
        let message = said.document.unwrap()["msg"].as_str().unwrap().to_owned();
        for wanted in ["10.0.1.31/32", "eth0 has an MTU of 9001", "has an MTU of 9001 bytes, not 1500", "the pod lacks its address"] {
            assert!(message.contains(wanted), "{wanted}: {message}");
        }
        daemon.will_answer(Answer::Nothing);
        assert_eq!(cni("CHECK", &pod, &conf).error_code(), 3);
        assert_eq!(devices(), ["eni*", "lo"], "a CHECK changes nothing");
    }

    /// CNI: CHK-6.
    fn a_check_allows_what_later_plugins_changed_and_said() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        let tuned = PodWiring { pod_mac: "02:00:00:00:00:09".parse().unwrap(), ..wiring() };
        daemon.will_answer(Answer::Wiring(tuned));
        let mut result = cni("ADD", &pod, &json!({})).result();
        daemon.will_answer(Answer::Wiring(wiring()));
        assert!(cni("CHECK", &pod, &json!({"prevResult": result})).succeeded_silently(), "another MAC");
        result["interfaces"][1]["mac"] = json!(wiring().pod_mac);
        assert_eq!(cni("CHECK", &pod, &json!({"prevResult": result})).error_code(), 121);

        let moved = with_leg(|leg| leg.gateway = [169, 254, 1, 2].into());
        daemon.will_answer(Answer::Wiring(moved));
        let differences = |result: &Value| {
            let said = cni("CHECK", &pod, &json!({"prevResult": result}));
            said.document.unwrap()["msg"].as_str().unwrap().to_owned()
        };
        assert!(differences(&result).contains("the pod lacks its route to 0.0.0.0/0"));
        result["routes"] = json!([]);
        assert!(!differences(&result).contains("route to"));
    }

    /// CNI: CALL-2.
    fn input_that_cannot_be_read_is_code_5() {
        let pod = Pod::new();
        let mut plugin = plugin();
        plugin.envs(environment("ADD", &pod));
        // A folder can be opened, and not read.
        plugin.stdin(Stdio::from(std::fs::File::open("/").unwrap()));
        assert_eq!(said(plugin.output().unwrap()).error_code(), 5);
    }

    /// CNI: CALL-13, CALL-7.
    fn variables_that_are_no_text_are_ignored_unless_they_are_ours() {
        let pod = Pod::new();
        let garbage = std::ffi::OsStr::from_bytes(b"\xff\xfe");
        let with = |variable: &str| {
            let mut plugin = plugin();
            plugin.envs(environment("ADD", &pod)).env(variable, garbage);
            finish(plugin, &conf(&json!({})))
        };
        assert_eq!(with("LESSOPEN").error_code(), 11);
        assert_eq!(with("CNI_CONTAINERID").error_code(), 4);
    }
}
