//! The plugin beside the daemon and the plugin of amazon-vpc-cni-k8s, and beside the network policy agent.

use std::path::Path;

use hostnet::Family;
use ipamd_core::id::{AttachmentKey, Pod as PodOf};
use ipamd_core::net::pod::peer::{table, wiring_on};
use ipamd_core::net::pod::{PodWiring, WiringFacts};
use proto::peer::{AddNetworkReply, IpAllocationMetadata};
use serde_json::json;

use crate::daemon::{Answer, Daemon, block_on, wiring};
use crate::node::{cni, devices, recorded};
use crate::peer::{PeersDaemon, PolicyAgent, allocation};
use crate::sandbox::{Pod, in_sandbox};

in_sandbox! {
    fn the_peers_daemon_gives_an_address_that_is_wired_in_its_layout() {
        let (daemon, pod) = (PeersDaemon::serve(), Pod::new());
        let conf = json!({"mtu": "8951", "vethPrefix": "eni"});
        let result = cni("ADD", &pod, &conf).result();
        assert_eq!(result["ips"][0]["address"], "10.0.1.30/32");
        let wanted = peers_wiring("c1", 8951);
        assert_eq!(block_on(hostnet::pod::check::check(Path::new(pod.path()), &wanted)).unwrap(), []);
        assert_eq!(pod_rules(), [(512, 254), (1536, 2)]);
        let asked = daemon.with(|daemon| daemon.added.remove(0));
        let said = [asked.k8s_pod_namespace, asked.k8s_pod_name, asked.container_id, asked.if_name, asked.network_name, asked.netns, asked.client_version];
        assert_eq!(said, ["default", "web-0", "c1", "eth0", "aws-cni", "/run/netns/pod", ""]);
        assert_eq!(cni("ADD", &pod, &conf).result(), result, "a repeated ADD");

        for _ in 0..2 {
            assert!(cni("DEL", &pod, &json!({"prevResult": result})).succeeded_silently());
            assert_eq!(pod_rules(), []);
            assert_eq!(devices(), ["gone*", "lo"]);
        }
        let deleted = daemon.with(|daemon| daemon.deleted.remove(0));
        assert_eq!((deleted.reason.as_str(), deleted.container_id.as_str()), ("PodDeleted", "c1"));
        assert_eq!(recorded(), Vec::<String>::new());
    }

    fn a_prefix_of_the_operators_own_is_known_on_the_way_back() {
        let (_daemon, pod) = (PeersDaemon::serve(), Pod::new());
        let conf = json!({"vethPrefix": "pod"});
        let result = cni("ADD", &pod, &conf).result();
        assert!(result["interfaces"][0]["name"].as_str().unwrap().starts_with("pod"));
        assert!(cni("DEL", &pod, &conf).succeeded_silently());
        assert_eq!(devices(), ["gone*", "lo"]);
    }

    fn what_the_peers_daemon_does_not_know_is_released() {
        let (daemon, pod) = (PeersDaemon::serve(), Pod::new());
        let unknown = "1 error occurred:\n\t* datastore: unknown pod\n\n";
        daemon.with(|daemon| daemon.del = Err(unknown.to_owned()));
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
        assert_eq!(recorded().len(), 0);
        daemon.with(|daemon| daemon.del = Err("the API server is away".to_owned()));
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
        assert_eq!(recorded().len(), 1, "recorded for later");
    }

    fn a_refusal_of_the_peers_daemon_is_tried_again() {
        let (daemon, pod) = (PeersDaemon::serve(), Pod::new());
        daemon.with(|daemon| daemon.add = AddNetworkReply::default());
        assert_eq!(cni("ADD", &pod, &json!({})).error_code(), 11);
        assert_eq!(devices(), ["lo"]);
    }

    fn an_answer_that_cannot_be_wired_is_given_back() {
        let (daemon, pod) = (PeersDaemon::serve(), Pod::new());
        let of = |change: fn(&mut AddNetworkReply)| {
            let mut reply = AddNetworkReply { success: true, ip_allocation_metadata: allocation(), ..AddNetworkReply::default() };
            change(&mut reply);
            reply
        };
        for (reply, what) in [
            (of(|reply| reply.pod_vlan_id = 5), "a branch ENI"),
            (of(|reply| reply.ip_allocation_metadata.clear()), "no address"),
            (of(|reply| reply.ip_allocation_metadata.extend(allocation())), "several interfaces"),
            (of(|reply| reply.ip_allocation_metadata = vec![IpAllocationMetadata { i_pv6_addr: "2001:db8".to_owned(), ..IpAllocationMetadata::default() }]), "2001:db8"),
        ] {
            daemon.with(|daemon| daemon.add = reply);
            let said = cni("ADD", &pod, &json!({}));
            assert_eq!(said.error_code(), 124, "{what}");
            assert!(said.document.unwrap()["msg"].as_str().unwrap().contains(what), "{what}");
            let reason = daemon.with(|daemon| daemon.deleted.remove(0).reason);
            assert_eq!(reason, "SetupNSFailed");
            assert_eq!(devices(), ["lo"]);
        }
    }

    fn an_ipv6_address_is_wired_as_the_peer_would() {
        let (daemon, pod) = (PeersDaemon::serve(), Pod::new());
        let given = IpAllocationMetadata { i_pv6_addr: "2001:db8::1".to_owned(), route_table_id: 254, ..IpAllocationMetadata::default() };
        let reply = AddNetworkReply { success: true, ip_allocation_metadata: vec![given], ..AddNetworkReply::default() };
        daemon.with(|daemon| daemon.add = reply);
        let result = cni("ADD", &pod, &json!({})).result();
        assert_eq!(result["ips"][0]["address"], "2001:db8::1/128");
        assert_eq!(result["routes"][1], json!({"dst": "::/0", "gw": "fe80::1"}));
        assert_eq!(devices(), ["eni*", "lo"]);
    }

    fn status_check_and_gc_beside_the_peers_daemon() {
        let (_daemon, pod) = (PeersDaemon::serve(), Pod::new());
        let newest = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
        assert!(cni("STATUS", &pod, &newest).succeeded_silently(), "its socket is there only while it serves");
        assert_eq!(cni("GC", &pod, &newest).error_code(), 125);
        let result = cni("ADD", &pod, &json!({})).result();
        assert_eq!(cni("CHECK", &pod, &json!({"prevResult": result})).error_code(), 125);
    }

    /// CNI: ADD-12, DEL-4.
    fn a_pod_that_the_peers_plugin_made_is_deleted_by_its_result() {
        let pod = Pod::new();
        let made = PodWiring { host_mac: "0a:00:00:00:00:01".parse().unwrap(), ..peers_wiring("c1", 9001) };
        block_on(hostnet::pod::wire(Path::new(pod.path()), &made)).unwrap();
        assert_eq!(pod_rules(), [(512, 254), (1536, 2)]);
        let name = made.host_name.as_str();
        let result = json!({
            "cniVersion": "0.4.0",
            "interfaces": [
                {"name": name},
                {"name": "eth0", "mac": "2", "sandbox": pod.path()},
                {"name": name.replace("eni", "dummy"), "mac": "0", "sandbox": "1"},
            ],
            "ips": [{"version": "4", "interface": 1, "address": "10.0.1.30/32"}],
            "dns": {},
        });
        let daemon = Daemon::serve();
        daemon.will_answer(Answer::Nothing);
        assert!(cni("DEL", &pod, &json!({"prevResult": result})).succeeded_silently());
        assert_eq!(pod_rules(), []);
        assert_eq!(devices(), ["eni*", "lo"], "the device goes with its namespace");
    }

    fn the_policy_agent_is_told_of_pods_that_come_and_go() {
        let (daemon, agent, pod) = (Daemon::serve(), PolicyAgent::serve(), Pod::new());
        daemon.will_answer(Answer::Policed(wiring(), "strict"));
        let result = cni("ADD", &pod, &json!({})).result();
        assert!(cni("DEL", &pod, &json!({"prevResult": result})).succeeded_silently());
        assert_eq!(agent.with(|agent| agent.asked.split_off(0)), ["enforce default/web-0 strict 1", "forget default/web-0"]);

        agent.with(|agent| agent.succeeds = false);
        assert_eq!(cni("ADD", &pod, &json!({})).error_code(), 11);
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently(), "what the agent makes of it is its affair");
    }

    fn without_the_policy_agent_no_pod_begins_and_an_end_is_told_again() {
        let (daemon, pod) = (Daemon::serve(), Pod::new());
        daemon.will_answer(Answer::Policed(wiring(), "standard"));
        let said = cni("ADD", &pod, &json!({}));
        assert_eq!(said.error_code(), 11);
        assert!(said.document.unwrap()["msg"].as_str().unwrap().contains("policy agent"));
        assert_eq!(cni("DEL", &pod, &json!({})).error_code(), 11);
        assert_eq!(devices(), ["gone*", "lo"], "everything else is done");
        daemon.will_answer(Answer::Nothing);
        assert!(cni("DEL", &pod, &json!({})).succeeded_silently());
    }

    fn the_peers_daemon_may_want_policies_too() {
        let (daemon, agent, pod) = (PeersDaemon::serve(), PolicyAgent::serve(), Pod::new());
        daemon.with(|daemon| daemon.add.network_policy_mode = "none".to_owned());
        cni("ADD", &pod, &json!({})).result();
        assert_eq!(agent.with(|agent| agent.asked.split_off(0)), ["enforce default/web-0 none 1"]);
    }
}

fn peers_wiring(container: &str, mtu_bytes: u32) -> PodWiring {
    let key = AttachmentKey {
        container: container.parse().unwrap(),
        interface: "eth0".parse().unwrap(),
        network: "aws-cni".parse().unwrap(),
    };
    let pod = PodOf {
        namespace: "default".parse().unwrap(),
        name: "web-0".parse().unwrap(),
    };
    let facts = WiringFacts {
        veth_prefix: "eni",
        mtu_bytes,
        node_address: None,
    };
    wiring_on(
        table(2),
        &key,
        &pod,
        std::net::Ipv4Addr::new(10, 0, 1, 30).into(),
        facts,
    )
    .unwrap()
}

/// Priority and table of the rules for pods.
fn pod_rules() -> Vec<(u32, u32)> {
    let rules = block_on(async { hostnet::Routing::open().unwrap().rules(Family::V4).await.unwrap() });
    let of_pods = rules
        .into_iter()
        .filter(|rule| rule.from.is_some() || rule.to.is_some());
    of_pods.map(|rule| (rule.priority, rule.table)).collect()
}
