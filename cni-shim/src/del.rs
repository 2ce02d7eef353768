//! DEL: always succeeds or is recorded for later: without a namespace, without a prevResult, without a record, without
//! a daemon.

use std::net::Ipv4Addr;

use hostnet::pod::Remains;
use ipamd_core::id::AttachmentKey;
use ipamd_core::net::pod::{self, PodWiring};
use ipnet::IpNet;
use proto::v1;
use serde_json::Value;

use crate::client::{Client, DEL_DEADLINE};
use crate::error::CniError;
use crate::netconf::NetConf;
use crate::request::Request;
use crate::{add, tombstone};

/// Takes the pod's interface away.
pub(crate) async fn del(request: &Request, conf: &NetConf) -> Result<(), CniError> {
    let key = add::key(request, conf)?;
    let told = tell(&key).await;
    let remains = match &told {
        Ok(Some(wiring)) => Some(Remains::from(wiring)),
        Ok(None) | Err(_) => conf
            .prev_result
            .as_ref()
            .and_then(|result| remains_of(&key, result)),
    };
    let unwired = match remains {
        Some(remains) => hostnet::pod::unwire(&remains).await,
        None => Ok(()),
    };
    if told.is_err() {
        tombstone::write(&key)?;
    }
    unwired.map_err(|source| CniError::Kernel {
        doing: format!("take the network of {key} away"),
        source,
    })
}

/// Tells the daemon; gives what it had on record.
async fn tell(key: &AttachmentKey) -> Result<Option<PodWiring>, CniError> {
    let mut client = Client::connect().await?;
    let asked = v1::DelRequest {
        attachment: Some(key.into()),
    };
    let answer = Client::within(DEL_DEADLINE, client.ipam.del(asked)).await;
    let wiring = answer.map_err(|status| client.failure(&status))?.wiring;
    wiring
        .map(PodWiring::try_from)
        .transpose()
        .map_err(|source| CniError::Answer { source })
}

/// What the runtime kept of our ADD. The host end's MAC follows from the attachment, so it tells ours from those of other
/// plugins and of younger pods; without it the device is left to its namespace.
fn remains_of(key: &AttachmentKey, result: &Value) -> Option<Remains> {
    let host_mac = pod::host_mac(key);
    let interfaces = result.get("interfaces")?.as_array()?;
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let host = interfaces
        .iter()
        .find(|interface| text(interface, "mac").parse() == Ok(host_mac))?;
    let addresses = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let addresses = addresses.filter_map(|ip| match text(ip, "address").parse() {
        Ok(IpNet::V4(net)) => Some(net.addr()),
        Ok(IpNet::V6(_)) | Err(_) => None,
    });
    Some(Remains {
        host_name: text(host, "name").parse().ok()?,
        host_mac: Some(host_mac),
        addresses: addresses.collect::<Vec<Ipv4Addr>>(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn remains_are_read_from_the_result_of_any_version() {
        let key = AttachmentKey {
            container: "c1".parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            network: "aws-cni".parse().unwrap(),
        };
        let result = json!({
            "interfaces": [
                {"name": "cni0", "mac": "02:00:00:00:00:01"},
                {"name": "enib5faff8a083", "mac": pod::host_mac(&key)},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x"},
            ],
            "ips": [{"version": "4", "address": "10.0.1.30/32", "interface": 2}],
        });
        let remains = remains_of(&key, &result).unwrap();
        assert_eq!(remains.host_name.as_str(), "enib5faff8a083");
        assert_eq!(remains.addresses, [Ipv4Addr::new(10, 0, 1, 30)]);
        for nothing in [
            json!({}),
            json!({"interfaces": []}),
            json!({"interfaces": [{"name": "eni1", "mac": "2"}]}),
            json!({"interfaces": [{"name": "cni0", "mac": "02:00:00:00:00:01"}]}),
        ] {
            assert_eq!(remains_of(&key, &nothing), None, "{nothing}");
        }
    }
}
