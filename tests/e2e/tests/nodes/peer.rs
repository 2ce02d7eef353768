//! A stand-in for the plugin of amazon-vpc-cni-k8s beside our daemon: it speaks the peer's wire format and wires pods in the
//! peer's layout, as nodes do between the upgrade of the daemon and that of the plugin, or after a way back.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::site::{Site, Wishes, ask, until};
use e2e::socket::dial;
use ipamd_core::id::{AttachmentKey, Pod};
use ipamd_core::net::pod::peer::{table, wiring_on};
use ipamd_core::net::pod::{PodWiring, WiringFacts};
use proto::peer;
use proto::peer::cni_backend_client::CniBackendClient;
use proto::peer::config_server_backend_client::ConfigServerBackendClient;
use tonic::Code;
use vpc_sim::pod::PodName;
use vpc_sim::probe::{Protocol, Responder};

pub(crate) fn add_request(name: &PodName) -> peer::AddNetworkRequest {
    peer::AddNetworkRequest {
        k8s_pod_name: name.name.clone(),
        k8s_pod_namespace: name.namespace.clone(),
        k8s_pod_infra_container_id: name.container.clone(),
        netns: name.netns(),
        if_name: "eth0".to_owned(),
        network_name: "aws-cni".to_owned(),
        container_id: name.container.clone(),
        client_version: String::new(),
        requires_multi_nic_attachment: false,
    }
}

fn del_request(name: &PodName) -> peer::DelNetworkRequest {
    peer::DelNetworkRequest {
        k8s_pod_name: name.name.clone(),
        k8s_pod_namespace: name.namespace.clone(),
        container_id: name.container.clone(),
        if_name: "eth0".to_owned(),
        network_name: "aws-cni".to_owned(),
        reason: "PodDeleted".to_owned(),
        ..peer::DelNetworkRequest::default()
    }
}

/// What the peer's plugin would do with an answer; its MACs are its own.
pub(crate) fn wiring(name: &PodName, given: &peer::IpAllocationMetadata) -> Result<PodWiring> {
    let key = AttachmentKey {
        container: format!("peers-{}", name.container).parse()?,
        interface: "eth0".parse()?,
        network: "aws-cni".parse()?,
    };
    let pod = Pod {
        namespace: name.namespace.parse()?,
        name: name.name.parse()?,
    };
    let facts = WiringFacts {
        veth_prefix: "eni",
        mtu_bytes: 9001,
        node_address: None,
    };
    let table = table(given.route_table_id);
    let address: std::net::Ipv4Addr = given.i_pv4_addr.parse()?;
    Ok(wiring_on(table, &key, &pod, address.into(), facts)?)
}

/// Wires a pod from inside its node, as a plugin does.
pub(crate) async fn wire(node: BorrowedFd<'_>, pod: PathBuf, wiring: PodWiring) -> Result<()> {
    let node = node.try_clone_to_owned()?;
    tokio::task::spawn_blocking(move || {
        netlink::netns::inside(node.as_fd(), || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(hostnet::pod::wire(&pod, &wiring))?)
        })?
    })
    .await?
}

e2e::tests! {
    /// More pods than the primary ENI serves, so that the second ENI's table is used as well.
    async fn the_peers_plugin_works_against_our_daemon(stage) {
        let site = Site::usual(&stage).await?;
        let far = site.add("n2", &PodName::new("far")).await?;
        let responder = Responder::start("far", far.network(), far.place().address)?;
        let mut backend = CniBackendClient::new(dial(&site, "n1").await?);
        let node = site.machine("n1")?.node();
        let mut pods = Vec::new();
        for index in 0..7 {
            let name = PodName::new(&format!("peers-{index}"));
            let namespace = node.add_pod(&name.container).await?;
            let reply = backend.add_network(add_request(&name)).await?.into_inner();
            ensure!(reply.success && !reply.use_external_snat, "{reply:?}");
            ensure!(reply.vp_cv4_cid_rs == ["10.0.0.0/16"], "{reply:?}");
            ensure!(reply == backend.add_network(add_request(&name)).await?.into_inner(), "a repeated ADD");
            let given = reply.ip_allocation_metadata.into_iter().next().context("an address")?;
            let wiring = wiring(&name, &given)?;
            wire(node.network(), node.path(Path::new(&name.netns())), wiring).await?;
            pods.push((name, namespace, given));
        }
        let tables: Vec<i32> = pods.iter().map(|(_, _, given)| given.route_table_id).collect();
        ensure!(tables.contains(&254) && tables.iter().any(|table| *table != 254), "{tables:?}");
        for (name, namespace, given) in &pods {
            let seen = ask(namespace.as_fd(), Protocol::Udp, far.place().address).await?;
            ensure!(seen.seen.ip().to_string() == given.i_pv4_addr, "{} is seen as {}", name.name, seen.seen);
        }
        drop(responder);
        for (name, namespace, given) in pods {
            let reply = backend.del_network(del_request(&name)).await?.into_inner();
            ensure!(reply.success && reply.ip_allocation_metadata == [given], "{reply:?}");
            let again = backend.del_network(del_request(&name)).await.err().context("unknown by now")?;
            ensure!(again.code() == Code::Unknown && again.message().contains("datastore: unknown pod"), "{again}");
            drop(namespace);
            node.remove_pod(&name.container).await?;
        }
        site.nothing_dropped().await
    }

    async fn the_policy_agent_reads_its_configuration(stage) {
        let site = Site::new(&stage, &Wishes::default().with("NETWORK_POLICY_ENFORCING_MODE", "strict")).await?;
        let mut backend = ConfigServerBackendClient::new(dial(&site, "n1").await?);
        let told = until("the node is known", || {
            let mut backend = backend.clone();
            async move { Ok(backend.get_network_policy_configs(()).await?.into_inner()) }
        })
        .await?;
        backend.get_network_policy_configs(()).await?;
        let machine = site.machine("n1")?;
        ensure!(told.network_policy_mode == "strict" && !told.multi_nic_enabled, "{told:?}");
        ensure!(told.node_i_pv4 == machine.primary().to_string() && told.node_i_pv6.is_empty(), "{told:?}");
        ensure!(told.instance_id == machine.instance().to_string() && told.region == "us-east-1", "{told:?}");
        Ok(())
    }

    /// An address that cannot be given, a name that cannot be one, and more interfaces than we give.
    async fn what_the_peers_plugin_is_refused_is_an_answer_without_success(stage) {
        let site = Site::usual(&stage).await?;
        let mut backend = CniBackendClient::new(dial(&site, "n1").await?);
        let name = PodName::new("web");
        for refused in [
            peer::AddNetworkRequest::default(),
            peer::AddNetworkRequest { container_id: "../x".to_owned(), ..add_request(&name) },
            peer::AddNetworkRequest { if_name: String::new(), ..add_request(&name) },
            peer::AddNetworkRequest { requires_multi_nic_attachment: true, ..add_request(&name) },
        ] {
            let reply = backend.add_network(refused.clone()).await?.into_inner();
            ensure!(reply == peer::AddNetworkReply::default(), "{refused:?}: {reply:?}");
        }
        let unknown = backend.del_network(peer::DelNetworkRequest::default()).await.err().context("unknown")?;
        ensure!(unknown.message().contains("datastore: unknown pod"), "{unknown}");
        Ok(())
    }
}
