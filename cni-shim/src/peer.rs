//! The daemon of amazon-vpc-cni-k8s behind the socket: its answers, put into our words. The pod is wired in its layout.
//!
//! Left out, and refused with the address given back: branch ENIs, several interfaces.

use hostnet::pod::Remains;
use ipamd_core::address::PodAddresses;
use ipamd_core::id::{AttachmentKey, Malformed};
use ipamd_core::net::pod::peer::{table, wiring_on};
use ipamd_core::net::pod::{PodWiring, WiringFacts};
use proto::peer;
use proto::peer::cni_backend_client::CniBackendClient;

use crate::add::Granted;
use crate::client::{ADD_DEADLINE, Client, DEL_DEADLINE};
use crate::del::{Reason, Released};
use crate::error::CniError;
use crate::netconf::NetConf;
use crate::request::Request;

/// Asks for an address.
pub(crate) async fn add(
    client: &mut Client,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
) -> Result<Granted, CniError> {
    let asked = peer::AddNetworkRequest {
        k8s_pod_name: request.pod.name.to_string(),
        k8s_pod_namespace: request.pod.namespace.to_string(),
        k8s_pod_infra_container_id: request.infra_container.clone(),
        netns: request.netns.clone().unwrap_or_default(),
        if_name: key.interface.to_string(),
        network_name: key.network.to_string(),
        container_id: key.container.to_string(),
        client_version: String::new(),
        requires_multi_nic_attachment: false,
    };
    let mut backend = CniBackendClient::new(client.connection());
    let answer = Client::within(ADD_DEADLINE, backend.add_network(asked)).await;
    let answer = answer.map_err(|status| client.failure(&status))?;
    if !answer.success {
        return Err(CniError::Refused {
            reason: "no address was given, and amazon-vpc-cni-k8s says no reason".to_owned(),
            code: 11,
            transient: true,
            next_step: "see the log of aws-node on this node".to_owned(),
        });
    }
    match wiring(&answer, request, conf, key) {
        Ok(wiring) => Ok(Granted {
            wiring,
            network_policy_mode: answer.network_policy_mode,
        }),
        Err(unusable) => {
            // The answer is refused, so the address is nobody's; if this fails the runtime's DEL does it.
            let _ = del(client, request, conf, key, Reason::NotWired).await;
            Err(unusable)
        }
    }
}

pub(crate) fn wiring(
    answer: &peer::AddNetworkReply,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
) -> Result<PodWiring, CniError> {
    let unusable = |what: &str| CniError::PeersAnswer {
        what: what.to_owned(),
    };
    if answer.pod_vlan_id != 0 {
        return Err(unusable("a branch ENI"));
    }
    let given = match answer.ip_allocation_metadata.as_slice() {
        [given] => given,
        [] => return Err(unusable("no address")),
        [_, _, ..] => return Err(unusable("several interfaces")),
    };
    let addresses = addresses(given).ok_or_else(|| {
        unusable(&format!(
            "the address {:?} {:?}",
            given.i_pv4_addr, given.i_pv6_addr
        ))
    })?;
    wired(given, addresses, request, conf, key).map_err(|malformed| CniError::Conf {
        fault: format!("vethPrefix: {malformed}"),
    })
}

/// Gives the address back.
pub(crate) async fn del(
    client: &mut Client,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
    reason: Reason,
) -> Result<Released, CniError> {
    let asked = peer::DelNetworkRequest {
        k8s_pod_name: request.pod.name.to_string(),
        k8s_pod_namespace: request.pod.namespace.to_string(),
        k8s_pod_infra_container_id: request.infra_container.clone(),
        reason: match reason {
            Reason::Deleted => "PodDeleted".to_owned(),
            Reason::NotWired => "SetupNSFailed".to_owned(),
        },
        if_name: key.interface.to_string(),
        network_name: key.network.to_string(),
        container_id: key.container.to_string(),
        client_version: String::new(),
        k8s_pod_uid: match reason {
            Reason::Deleted => request.pod_uid.clone(),
            Reason::NotWired => String::new(),
        },
    };
    let mut backend = CniBackendClient::new(client.connection());
    match Client::within(DEL_DEADLINE, backend.del_network(asked)).await {
        Ok(answer) if answer.success => Ok(Released {
            remains: remains(&answer, request, conf, key),
            network_policy_mode: answer.network_policy_mode,
        }),
        Ok(_) => Err(client.failure(&tonic::Status::unavailable("the release was not done"))),
        Err(status) if status.message().contains(proto::UNKNOWN_POD) => Ok(Released::default()),
        Err(status) => Err(client.failure(&status)),
    }
}

/// What stands of the pod. Its host end bears our MAC only if our plugin made it, and that tells whether it may go.
fn remains(
    answer: &peer::DelNetworkReply,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
) -> Option<Remains> {
    let given = answer.ip_allocation_metadata.first()?;
    let wiring = wired(given, addresses(given)?, request, conf, key).ok()?;
    Some(Remains::from(&wiring))
}

/// What was given; none where it is no address.
fn addresses(given: &peer::IpAllocationMetadata) -> Option<PodAddresses> {
    PodAddresses::parse(&given.i_pv4_addr, &given.i_pv6_addr).ok()
}

/// The wiring that the peer's answer stands for, the same on the way there and back.
fn wired(
    given: &peer::IpAllocationMetadata,
    addresses: PodAddresses,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
) -> Result<PodWiring, Malformed> {
    let facts = WiringFacts {
        veth_prefix: conf.veth_prefix(),
        mtu_bytes: conf.mtu_bytes(),
        node_address: None,
    };
    wiring_on(table(given.route_table_id), key, &request.pod, addresses, facts)
}
