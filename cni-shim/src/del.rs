//! DEL: always succeeds or is recorded for later: without a namespace, without a prevResult, without a record, without
//! a daemon.

use hostnet::failpoint::{self, Step};
use hostnet::pod::Remains;
use ipamd_core::id::AttachmentKey;
use ipamd_core::net::pod::PodWiring;
use proto::v1;

use crate::client::{Client, DEL_DEADLINE, is_peers};
use crate::error::CniError;
use crate::netconf::NetConf;
use crate::request::Request;
use crate::{add, peer, policy_agent, prev_result, tombstone};

/// Why an address is given back; the peer's daemon counts by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The pod goes.
    Deleted,
    /// The pod could not be wired.
    NotWired,
}

/// What a daemon took back.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// What was on record, to be taken away.
    pub(crate) remains: Option<Remains>,
    /// When not empty, the policy agent must be told that the pod goes.
    pub(crate) network_policy_mode: String,
}

/// Takes the pod's interface away.
pub(crate) async fn del(request: &Request, conf: &NetConf) -> Result<(), CniError> {
    let key = add::key(request, conf)?;
    failpoint::reach(Step::DelAsks);
    let told = match Client::connect().await {
        Ok(mut client) => release(&mut client, request, conf, &key, Reason::Deleted).await,
        Err(away) => Err(away),
    };
    failpoint::reach(Step::DelAnswered);
    let was_told = told.is_ok();
    let Released {
        remains,
        network_policy_mode,
    } = told.unwrap_or_default();
    let kept = conf.prev_result.as_ref();
    let kept = kept.and_then(|result| prev_result::remains(&key, result));
    let unwired = match with_rules_of(remains, kept) {
        Some(remains) => hostnet::pod::unwire(&remains).await,
        None => Ok(()),
    };
    if !was_told {
        tombstone::write(&key)?;
    }
    let forgotten = match network_policy_mode.as_str() {
        "" => Ok(()),
        _ => policy_agent::forget(&request.pod).await,
    };
    unwired.map_err(|source| CniError::Kernel {
        doing: format!("take the network of {key} away"),
        source,
    })?;
    forgotten
}

/// What is on record goes before what the runtime kept. A pod that the peer's plugin made for our daemon has rules that
/// only its result tells of.
fn with_rules_of(recorded: Option<Remains>, kept: Option<Remains>) -> Option<Remains> {
    match (recorded, kept) {
        (Some(mut recorded), Some(kept)) => {
            recorded.rules.extend(kept.rules);
            Some(recorded)
        }
        (recorded, kept) => recorded.or(kept),
    }
}

/// Tells whichever daemon is behind the socket that the attachment goes. What it does not know is released already.
pub(crate) async fn release(
    client: &mut Client,
    request: &Request,
    conf: &NetConf,
    key: &AttachmentKey,
    reason: Reason,
) -> Result<Released, CniError> {
    let asked = v1::DelRequest {
        attachment: Some(key.into()),
    };
    let answer = match Client::within(DEL_DEADLINE, client.ipam.del(asked)).await {
        Err(status) if is_peers(&status) => return peer::del(client, request, conf, key, reason).await,
        answer => answer.map_err(|status| client.failure(&status))?,
    };
    let wiring = answer.wiring.map(PodWiring::try_from).transpose();
    let wiring = wiring.map_err(|source| CniError::Answer { source })?;
    Ok(Released {
        remains: wiring.as_ref().map(Remains::from),
        network_policy_mode: answer.network_policy_mode,
    })
}
