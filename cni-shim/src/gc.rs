//! GC: takes back what the runtime no longer knows of this network, and takes it away. An absent list is never an empty
//! one: the cost of that reading is every pod's network.

use std::time::Duration;

use hostnet::failpoint::{self, Step};
use hostnet::pod::Remains;
use ipamd_core::net::pod::PodWiring;
use proto::v1;
use serde_json::{Map, Value};

use crate::client::{Client, GC_DEADLINE, is_peers};
use crate::error::CniError;
use crate::netconf::{NetConf, Version};

/// The list's key, and how early releases of the specification spelled it.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// An attachment, as the runtime names it.
pub(crate) type Named = (String, String);

/// Removes what is stale; `began` is when the runtime's list was at most as old as now.
pub(crate) async fn gc(conf: &NetConf, began: Option<Duration>) -> Result<(), CniError> {
    conf.must_be_at_least("GC", Version::V1_1_0)?;
    let Some(valid) = valid_attachments(&conf.protocol)? else {
        return Ok(());
    };
    let as_of = began.ok_or_else(|| CniError::Conf {
        fault: "the clock cannot be read, so nobody knows how old cni.dev/valid-attachments is".to_owned(),
    })?;
    let late = CniError::Late {
        verb: "GC",
        after: GC_DEADLINE,
    };
    let done = tokio::time::timeout(GC_DEADLINE, collect(conf, valid, as_of)).await;
    done.unwrap_or(Err(late))
}

async fn collect(conf: &NetConf, valid: Vec<Named>, as_of: Duration) -> Result<(), CniError> {
    let mut client = Client::connect().await?;
    let network = conf.network.to_string();
    let named = |(container_id, interface)| v1::Attachment {
        container_id,
        interface,
        network: network.clone(),
    };
    let asked = v1::GcRequest {
        network: network.clone(),
        valid: valid.into_iter().map(named).collect(),
        as_of_nanos: u64::try_from(as_of.as_nanos()).unwrap_or(u64::MAX),
    };
    let answer = match client.ipam.gc(asked).await {
        Err(status) if is_peers(&status) => return Err(CniError::NotThePeers { verb: "GC" }),
        answer => answer.map_err(|status| client.failure(&status))?.into_inner(),
    };
    failpoint::reach(Step::GcAnswered);
    let mut failures = Vec::new();
    for stale in answer.stale {
        if let Err(error) = unwire(stale).await {
            failures.push(error.to_string());
        }
        failpoint::reach(Step::GcUnwired);
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(CniError::Collecting { failures })
    }
}

/// Its namespace may be gone; then so is most of this.
async fn unwire(stale: v1::Stale) -> Result<(), CniError> {
    let missing = CniError::Answer {
        source: proto::ConvertError::Missing {
            field: "stale.wiring",
        },
    };
    let wiring = stale.wiring.ok_or(missing)?;
    let wiring = PodWiring::try_from(wiring).map_err(|source| CniError::Answer { source })?;
    hostnet::pod::unwire(&Remains::from(&wiring))
        .await
        .map_err(|source| CniError::Kernel {
            doing: format!("take the network of {} away", wiring.addresses()),
            source,
        })
}

/// The attachments that the runtime knows; `None` where it says that it says nothing.
pub(crate) fn valid_attachments(protocol: &Map<String, Value>) -> Result<Option<Vec<Named>>, CniError> {
    let given: Vec<(&str, &Value)> = KEYS
        .into_iter()
        .filter_map(|key| Some((key, protocol.get(key)?)))
        .collect();
    let (key, list) = match given.as_slice() {
        [] => {
            return Err(fault(
                "GC needs cni.dev/valid-attachments; without it nobody knows what is stale",
            ));
        }
        [(_, one), (_, other)] if one != other => {
            return Err(fault(
                "cni.dev/valid-attachments and cni.dev/attachments are not the same list",
            ));
        }
        [first, ..] => *first,
    };
    match list {
        // An unset list of Go's.
        Value::Null => Ok(None),
        Value::Array(items) => {
            let named = items
                .iter()
                .enumerate()
                .map(|(index, item)| attachment(item).ok_or(index));
            let named: Result<Vec<Named>, usize> = named.collect();
            named.map(Some).map_err(|index| {
                fault(&format!(
                    "{key}: item {index} is not a containerID with an ifname"
                ))
            })
        }
        other => Err(fault(&format!("{key} is {other}, not a list"))),
    }
}

fn attachment(item: &Value) -> Option<Named> {
    let text = |key| item.get(key)?.as_str().filter(|text| !text.is_empty());
    Some((text("containerID")?.to_owned(), text("ifname")?.to_owned()))
}

fn fault(fault: &str) -> CniError {
    CniError::NotAdded {
        fault: fault.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(protocol: Value) -> Result<Option<usize>, u32> {
        let protocol = protocol.as_object().unwrap();
        valid_attachments(protocol)
            .map(|list| list.map(|list| list.len()))
            .map_err(|error| error.code())
    }

    /// CNI: GC-3, GC-4.
    #[test]
    fn an_absent_list_is_not_an_empty_one() {
        let one = json!([{"containerID": "c1", "ifname": "eth0"}]);
        for (protocol, expected) in [
            (json!({}), Err(7)),
            (json!({"cni.dev/valid-attachments": null}), Ok(None)),
            (json!({"cni.dev/valid-attachments": []}), Ok(Some(0))),
            (json!({"cni.dev/valid-attachments": one}), Ok(Some(1))),
            (json!({"cni.dev/attachments": one}), Ok(Some(1))),
            (
                json!({"cni.dev/attachments": one, "cni.dev/valid-attachments": one}),
                Ok(Some(1)),
            ),
            (
                json!({"cni.dev/attachments": [], "cni.dev/valid-attachments": one}),
                Err(7),
            ),
            (
                json!({"cni.dev/attachments": null, "cni.dev/valid-attachments": one}),
                Err(7),
            ),
            (json!({"cni.dev/valid-attachments": {}}), Err(7)),
            (
                json!({"cni.dev/valid-attachments": [{"containerID": "c1"}]}),
                Err(7),
            ),
            (
                json!({"cni.dev/valid-attachments": [{"containerID": "", "ifname": "eth0"}]}),
                Err(7),
            ),
        ] {
            assert_eq!(read(protocol.clone()), expected, "{protocol}");
        }
    }
}
