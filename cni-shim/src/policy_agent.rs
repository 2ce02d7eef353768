//! The network policy agent: told of each pod that comes and goes, where the daemon says that there is one.

use std::path::Path;
use std::time::Duration;

use ipamd_core::id::Pod;
use proto::peer;
use proto::peer::np_backend_client::NpBackendClient;

use crate::client::Client;
use crate::connection::Connection;
use crate::error::CniError;

/// How long the agent may take to listen (the peer's plugin: 2 s): it restarts with the node's daemons.
const DIAL_DEADLINE: Duration = Duration::from_secs(2);

/// Between two tries to connect.
const DIAL_AGAIN: Duration = Duration::from_millis(50);

/// How long the agent may take to load what it enforces. The peer waits for ever; a runtime does not.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Pods have one interface.
const INTERFACES: i32 = 1;

/// Policies hold for the pod from now on.
pub(crate) async fn enforce(pod: &Pod, mode: &str) -> Result<(), CniError> {
    let asked = peer::EnforceNpRequest {
        k8s_pod_name: pod.name.to_string(),
        k8s_pod_namespace: pod.namespace.to_string(),
        network_policy_mode: mode.to_owned(),
        interface_count: INTERFACES,
    };
    let mut agent = NpBackendClient::new(connect().await?);
    let answer = Client::within(CALL_DEADLINE, agent.enforce_np_to_pod(asked)).await;
    match answer {
        Ok(answer) if answer.success => Ok(()),
        Ok(_) => Err(failed("it did not enforce policies on the pod".to_owned())),
        Err(status) => Err(failed(status.message().to_owned())),
    }
}

/// The pod goes. What the agent makes of that is its own affair; only one that cannot be told is tried again.
pub(crate) async fn forget(pod: &Pod) -> Result<(), CniError> {
    let asked = peer::DeleteNpRequest {
        k8s_pod_name: pod.name.to_string(),
        k8s_pod_namespace: pod.namespace.to_string(),
    };
    let mut agent = NpBackendClient::new(connect().await?);
    let _ = Client::within(CALL_DEADLINE, agent.delete_pod_np(asked)).await;
    Ok(())
}

async fn connect() -> Result<Connection, CniError> {
    let mut last = None;
    let tries = tokio::time::timeout(DIAL_DEADLINE, async {
        loop {
            match Connection::open(Path::new(proto::POLICY_AGENT)).await {
                Ok(connection) => return connection,
                Err(reason) => last = Some(reason),
            }
            tokio::time::sleep(DIAL_AGAIN).await;
        }
    });
    tries.await.map_err(|_| failed(last.unwrap_or_default()))
}

fn failed(reason: String) -> CniError {
    CniError::PolicyAgent { reason }
}
