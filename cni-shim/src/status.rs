//! STATUS: whether an ADD could be served. kubelet asks every few seconds through the runtime and turns the node NotReady
//! on a failure, so only what truly keeps pods out fails it, and a restart of the daemon does not, for its grace.

use proto::absence::Absence;
use proto::v1;

use crate::client::{Client, STATUS_DEADLINE, is_peers};
use crate::error::CniError;
use crate::netconf::{NetConf, Version};

/// Says nothing when an ADD could be served.
pub(crate) async fn status(conf: &NetConf) -> Result<(), CniError> {
    conf.must_be_at_least("STATUS", Version::V1_1_0)?;
    let told = match Client::connect().await {
        Ok(mut client) => {
            let answer = Client::within(STATUS_DEADLINE, client.ipam.status(v1::StatusRequest {})).await;
            answer.or_else(|status| match is_peers(&status) {
                // The peer's socket is there only while its daemon can serve.
                true => Ok(ready()),
                false => Err(client.failure(&status)),
            })
        }
        Err(away) => Err(away),
    };
    match told {
        Ok(told) if told.ready => Ok(()),
        Ok(told) => Err(CniError::Unavailable {
            reason: told.reason,
            impaired: told.impaired,
        }),
        Err(_) if is_restarting() => Ok(()),
        Err(away) => Err(CniError::Unavailable {
            reason: away.to_string(),
            impaired: false,
        }),
    }
}

fn ready() -> v1::StatusReply {
    v1::StatusReply {
        ready: true,
        ..v1::StatusReply::default()
    }
}

/// Whether a daemon of this boot served pods until a moment ago.
fn is_restarting() -> bool {
    let (Ok(boot_id), Some(now)) = (hostnet::sysctl::boot_id(), crate::boot_clock()) else {
        return false;
    };
    Absence::default()
        .length(&boot_id, now)
        .is_some_and(|absence| absence.is_within_grace())
}
