//! ADD: ask, wire as told, print. What cannot be wired is given back, unless an earlier ADD of the same attachment
//! stands: then a pod may be using the address, and only its DEL ends that.

use std::path::Path;

use hostnet::failpoint::{self, Step};
use ipamd_core::id::AttachmentKey;
use ipamd_core::net::pod::PodWiring;
use proto::v1;
use serde_json::Value;

use crate::client::{ADD_DEADLINE, Client, is_peers};
use crate::del::{self, Reason};
use crate::error::CniError;
use crate::netconf::NetConf;
use crate::request::Request;
use crate::{peer, policy_agent, reply, tombstone};

/// What a daemon gave.
pub(crate) struct Granted {
    pub(crate) wiring: PodWiring,
    /// When not empty, the policy agent must be told of the pod.
    pub(crate) network_policy_mode: String,
}

/// Makes the pod's interface.
pub(crate) async fn add(request: &Request, conf: &NetConf) -> Result<Value, CniError> {
    refuse_fixed_addresses(request, conf)?;
    let key = key(request, conf)?;
    let netns = request.netns.as_deref().unwrap_or_default();
    look_at_namespace(request, netns)?;
    let mut client = Client::connect().await?;
    settle_old_release(&mut client, request, conf, &key).await?;
    failpoint::reach(Step::AddAsks);
    let granted = ask(&mut client, request, conf, &key).await?;
    failpoint::reach(Step::AddAnswered);
    let wiring = &granted.wiring;
    if let Err(source) = hostnet::pod::wire(Path::new(netns), wiring).await {
        if matches!(hostnet::pod::stands(wiring).await, Ok(false)) {
            give_back(&mut client, request, conf, &key).await;
        }
        return Err(CniError::Kernel {
            doing: format!("wire the pod {}", request.pod),
            source,
        });
    }
    if !granted.network_policy_mode.is_empty() {
        // Address and wiring stay: the runtime's DEL takes them, and a repeated ADD finds them.
        policy_agent::enforce(&request.pod, &granted.network_policy_mode).await?;
    }
    Ok(reply::result(conf, wiring, netns))
}

/// The attachment that the runtime speaks of. The verb table has seen to it that its parts are there.
pub(crate) fn key(request: &Request, conf: &NetConf) -> Result<AttachmentKey, CniError> {
    match (&request.container, &request.interface) {
        (Some(container), Some(interface)) => Ok(AttachmentKey {
            container: container.clone(),
            interface: interface.clone(),
            network: conf.network.clone(),
        }),
        _ => Err(CniError::Environment {
            faults: vec!["CNI_CONTAINERID or CNI_IFNAME is missing".to_owned()],
        }),
    }
}

/// Addresses come from the pool; a wish for a certain one must not be dropped in silence. What was refused can still be
/// deleted, so no other verb looks at this.
fn refuse_fixed_addresses(request: &Request, conf: &NetConf) -> Result<(), CniError> {
    if let Some(wish) = &conf.fixed_addresses {
        return Err(CniError::Unsupported {
            key: "args.cni.ips",
            value: wish.to_string(),
        });
    }
    match &request.fixed_address {
        Some(wish) => Err(CniError::Environment {
            faults: vec![format!(
                "CNI_ARGS: IP={wish} asks for a fixed address, which cannot be honoured"
            )],
        }),
        None => Ok(()),
    }
}

/// Nothing is asked for a namespace that is not there, or that is the node's own.
fn look_at_namespace(request: &Request, netns: &str) -> Result<(), CniError> {
    let doing = || "look at the pod's network namespace".to_owned();
    let own = hostnet::pod::is_own_namespace(Path::new(netns));
    match own.map_err(|source| CniError::Kernel {
        doing: doing(),
        source,
    })? {
        true if !request.may_use_own_namespace => Err(CniError::OwnNamespace {
            netns: netns.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Asks whichever daemon is behind the socket.
async fn ask(
    client: &mut Client,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
) -> Result<Granted, CniError> {
    let asked = v1::AddRequest {
        attachment: Some(key.into()),
        pod: Some((&request.pod).into()),
        netns: request.netns.clone().unwrap_or_default(),
    };
    let answer = match Client::within(ADD_DEADLINE, client.ipam.add(asked)).await {
        Err(status) if is_peers(&status) => return peer::add(client, request, conf, key).await,
        answer => answer.map_err(|status| client.failure(&status))?,
    };
    let missing = CniError::Answer {
        source: proto::ConvertError::Missing { field: "wiring" },
    };
    let wiring = PodWiring::try_from(answer.wiring.ok_or(missing)?);
    Ok(Granted {
        wiring: wiring.map_err(|source| CniError::Answer { source })?,
        network_policy_mode: answer.network_policy_mode,
    })
}

/// A release of this very attachment that waits in a file must not hit the address that is asked for now.
async fn settle_old_release(
    client: &mut Client,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
) -> Result<(), CniError> {
    if !tombstone::exists(key) {
        return Ok(());
    }
    del::release(client, request, conf, key, Reason::Deleted).await?;
    tombstone::remove(key)
}

/// Gives the address of a pod that could not be wired back; if that fails the runtime's DEL will.
async fn give_back(client: &mut Client, request: &Request, conf: &NetConf, key: &AttachmentKey) {
    let _ = del::release(client, request, conf, key, Reason::NotWired).await;
}
