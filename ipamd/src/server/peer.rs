//! The peer's services (amazon-vpc-cni-k8s v1.23): its plugin and its policy agent work against us. Translation only.
//!
//! Its plugin wires pods itself, in its own layout: a route in main and rules for each pod. Our routes and rules stand
//! beside them. Left out: branch ENIs, several interfaces a pod, and the version check, which never fails in the builds
//! that there are.

use ipamd_core::address::PodAddresses;
use ipamd_core::id::{AttachmentKey, Malformed, Pod};
use ipamd_core::ledger::{AddRequest, Lease};
use ipamd_core::net::TableId;
use ipamd_core::policy::{Families, Policy};
use ipamd_core::snat::{SnatPolicy, untranslated};
use proto::peer;
use proto::peer::cni_backend_server::CniBackend;
use proto::peer::config_server_backend_server::ConfigServerBackend;
use tonic::{Request, Response, Status};

use super::ask::Owner;
use crate::daemon::{Facts, Message};

/// The services behind the socket.
#[derive(Clone)]
pub(super) struct Service {
    owner: Owner,
    network_policy_mode: String,
    snat: SnatPolicy,
    families: Families,
}

impl Service {
    pub(super) fn new(owner: Owner, network_policy_mode: String, policy: &Policy) -> Self {
        Self {
            owner,
            network_policy_mode,
            snat: policy.snat.clone(),
            families: policy.families,
        }
    }

    async fn facts(&self) -> Result<Facts, Status> {
        let facts = self.owner.ask(|reply| Message::Facts { reply }).await;
        facts.map_err(|refusal| Status::unknown(refusal.to_string()))
    }

    async fn add(&self, asked: peer::AddNetworkRequest) -> Result<peer::AddNetworkReply, Why> {
        if asked.requires_multi_nic_attachment {
            return Err(Why::SeveralInterfaces);
        }
        let request = AddRequest {
            key: key(&asked.container_id, &asked.if_name, &asked.network_name)?,
            pod: Pod {
                namespace: asked.k8s_pod_namespace.parse()?,
                name: asked.k8s_pod_name.parse()?,
            },
            netns: asked.netns,
        };
        let lease = self.owner.add(request).await?;
        let facts = self.owner.ask(|reply| Message::Facts { reply }).await?;
        let cidrs = facts.node.as_ref().map(|node| untranslated(&self.snat, node));
        Ok(peer::AddNetworkReply {
            success: true,
            ip_allocation_metadata: vec![allocation(&lease, &facts)],
            use_external_snat: self.snat.external,
            vp_cv4_cid_rs: cidrs.iter().flatten().map(ToString::to_string).collect(),
            network_policy_mode: self.network_policy_mode.clone(),
            ..peer::AddNetworkReply::default()
        })
    }
}

/// Why the peer's plugin gets no address; it has no field to say so, so the log has it.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("a name in the request")]
    Name(#[from] Malformed),
    #[error(transparent)]
    Refused(#[from] crate::daemon::Refusal),
    #[error("several interfaces for one pod are not served")]
    SeveralInterfaces,
}

fn key(container: &str, interface: &str, network: &str) -> Result<AttachmentKey, Malformed> {
    Ok(AttachmentKey {
        container: container.parse()?,
        interface: interface.parse()?,
        network: network.parse()?,
    })
}

/// Where the address is, in the peer's numbers.
fn allocation(lease: &Lease, facts: &Facts) -> peer::IpAllocationMetadata {
    let place = lease.eni.as_ref().and_then(|eni| facts.places.get(eni));
    let [i_pv4_addr, i_pv6_addr] = lease.wiring.addresses().texts();
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    peer::IpAllocationMetadata {
        i_pv4_addr,
        i_pv6_addr,
        device_number: place.map(|place| number(place.device_index)).unwrap_or_default(),
        route_table_id: number(place.map_or(TableId::MAIN, |place| place.table()).0),
    }
}

#[tonic::async_trait]
impl CniBackend for Service {
    async fn add_network(
        &self,
        request: Request<peer::AddNetworkRequest>,
    ) -> Result<Response<peer::AddNetworkReply>, Status> {
        let reply = self.add(request.into_inner()).await.unwrap_or_else(|why| {
            tracing::warn!(error = %crate::daemon::chain(&why), "the peer's plugin gets no address");
            peer::AddNetworkReply::default()
        });
        Ok(Response::new(reply))
    }

    async fn del_network(
        &self,
        request: Request<peer::DelNetworkRequest>,
    ) -> Result<Response<peer::DelNetworkReply>, Status> {
        let asked = request.into_inner();
        // A key that cannot be one is unknown, and that is success to its plugin.
        let key = key(&asked.container_id, &asked.if_name, &asked.network_name)
            .map_err(|_| Status::unknown(proto::UNKNOWN_POD))?;
        let released = self.owner.ask(|reply| Message::Del { key, reply }).await;
        let released = released.and_then(|released| released);
        let lease = released
            .map_err(|refusal| Status::unknown(refusal.to_string()))?
            .ok_or_else(|| Status::unknown(proto::UNKNOWN_POD))?;
        let facts = self.facts().await?;
        Ok(Response::new(peer::DelNetworkReply {
            success: true,
            ip_allocation_metadata: vec![allocation(&lease, &facts)],
            network_policy_mode: self.network_policy_mode.clone(),
            ..peer::DelNetworkReply::default()
        }))
    }
}

#[tonic::async_trait]
impl ConfigServerBackend for Service {
    async fn get_network_policy_configs(
        &self,
        _: Request<()>,
    ) -> Result<Response<peer::NetworkPolicyAgentConfigReply>, Status> {
        let node = self.facts().await?.node;
        let node = node.ok_or_else(|| Status::unavailable("instance metadata has not been read yet"))?;
        let own = PodAddresses {
            v4: self.families.has_v4().then_some(node.primary_ip),
            v6: node.primary_ip6.filter(|_| self.families.has_v6()),
        };
        let [node_i_pv4, node_i_pv6] = own.texts();
        Ok(Response::new(peer::NetworkPolicyAgentConfigReply {
            network_policy_mode: self.network_policy_mode.clone(),
            multi_nic_enabled: false,
            node_i_pv4,
            node_i_pv6,
            instance_id: node.instance.to_string(),
            region: node.region,
        }))
    }
}
