//! CHECK: compares what was answered (prevResult), what is on record (ledger) and what is (kernel), and names each
//! difference. Changes nothing.

use std::path::Path;

use hostnet::pod::check::Difference;
use ipamd_core::address::Mac;
use ipamd_core::net::pod::PodWiring;
use ipnet::IpNet;
use proto::v1;
use serde_json::Value;

use crate::add;
use crate::client::{CHECK_DEADLINE, Client, is_peers};
use crate::error::CniError;
use crate::netconf::{NetConf, Version};
use crate::request::Request;

/// Checks the pod's interface.
pub(crate) async fn check(request: &Request, conf: &NetConf) -> Result<(), CniError> {
    conf.must_be_at_least("CHECK", Version::V0_4_0)?;
    let missing = || CniError::NotAdded {
        fault: "CHECK needs prevResult".to_owned(),
    };
    let expected = conf.prev_result.as_ref().ok_or_else(missing)?;
    let key = add::key(request, conf)?;
    let mut client = Client::connect().await?;
    let asked = v1::CheckRequest {
        attachment: Some((&key).into()),
    };
    let answer = Client::within(CHECK_DEADLINE, client.ipam.check(asked)).await;
    let answer = match answer {
        Err(status) if is_peers(&status) => return Err(CniError::NotThePeers { verb: "CHECK" }),
        answer => answer.map_err(|status| client.failure(&status))?,
    };
    let recorded = answer.wiring.ok_or_else(|| CniError::Unknown {
        container: key.container.to_string(),
        interface: key.interface.to_string(),
    })?;
    let mut wiring = PodWiring::try_from(recorded).map_err(|source| CniError::Answer { source })?;
    if let Some(mac) = mac_said(expected, &wiring) {
        wiring.pod_mac = mac;
    }
    let mut differences = against_result(&wiring, expected);
    let netns = Path::new(request.netns.as_deref().unwrap_or_default());
    let found = hostnet::pod::check::check(netns, &wiring).await;
    let found = found.map_err(|source| CniError::Kernel {
        doing: "look at the pod's network".to_owned(),
        source,
    })?;
    let found = found
        .iter()
        .filter(|difference| is_promised(expected, difference));
    differences.extend(found.map(ToString::to_string));
    differences.extend(answer.problems);
    if differences.is_empty() {
        Ok(())
    } else {
        Err(CniError::Differs { differences })
    }
}

/// The MAC that the result gives the pod's interface: a later plugin may have chosen another and said so.
fn mac_said(result: &Value, wiring: &PodWiring) -> Option<Mac> {
    let ours = |interface: &&Value| {
        let text = |key| interface.get(key).and_then(Value::as_str).unwrap_or_default();
        text("name") == wiring.pod_name.as_str() && !text("sandbox").is_empty()
    };
    let interfaces = result.get("interfaces")?.as_array()?;
    interfaces.iter().find(ours)?.get("mac")?.as_str()?.parse().ok()
}

/// Whether the result promises the opposite. Routes that it does not list are a later plugin's affair.
fn is_promised(result: &Value, difference: &Difference) -> bool {
    match difference {
        Difference::NoRoute { destination } => lists(result, "routes", "dst", &destination.to_string()),
        Difference::NoDevice { .. }
        | Difference::Mac { .. }
        | Difference::Mtu { .. }
        | Difference::Down { .. }
        | Difference::NoAddress { .. }
        | Difference::NoNeighbour { .. }
        | Difference::NoRule { .. }
        | Difference::NoHostRoute { .. } => true,
    }
}

fn lists(result: &Value, list: &str, key: &str, wanted: &str) -> bool {
    let items = result.get(list).and_then(Value::as_array).into_iter().flatten();
    items
        .into_iter()
        .any(|item| item.get(key).and_then(Value::as_str) == Some(wanted))
}

/// What the result promises of ours and the record does not hold. Later plugins may have added to the result.
fn against_result(wiring: &PodWiring, result: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    for address in wiring.addresses().iter().map(IpNet::from) {
        if !lists(result, "ips", "address", &address.to_string()) {
            differences.push(format!("prevResult lacks {address}, which is on record"));
        }
    }
    for name in [&wiring.host_name, &wiring.pod_name] {
        if !lists(result, "interfaces", "name", name.as_str()) {
            differences.push(format!(
                "prevResult lacks the interface {name}, which is on record"
            ));
        }
    }
    differences
}
