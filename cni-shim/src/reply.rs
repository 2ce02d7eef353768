//! The documents that a plugin prints, for each version of the protocol. Pure.

use ipamd_core::net::pod::PodWiring;
use serde_json::{Map, Value, json};

use crate::error::CniError;
use crate::netconf::{NetConf, Version};

/// The result of an ADD: ours, after that of the plugins before us.
pub(crate) fn result(conf: &NetConf, wiring: &PodWiring, netns: &str) -> Value {
    let mut result = match &conf.prev_result {
        Some(Value::Object(previous)) => previous.clone(),
        Some(_) | None => Map::new(),
    };
    let mut interfaces = taken(&mut result, "interfaces");
    let pod_interface = interfaces.len() + 1;
    interfaces.push(json!({"name": wiring.host_name, "mac": wiring.host_mac}));
    interfaces.push(json!({"name": wiring.pod_name, "mac": wiring.pod_mac, "sandbox": netns}));
    let mut ips = taken(&mut result, "ips");
    ips.push(address(conf.version, wiring, pod_interface));
    let mut routes = taken(&mut result, "routes");
    routes.push(json!({"dst": format!("{}/32", wiring.gateway)}));
    routes.push(json!({"dst": "0.0.0.0/0", "gw": wiring.gateway}));
    result.insert("cniVersion".to_owned(), json!(conf.version.text()));
    for (key, list) in [("interfaces", interfaces), ("ips", ips), ("routes", routes)] {
        result.insert(key.to_owned(), Value::Array(list));
    }
    Value::Object(result)
}

/// The list under a key, out of the result; empty where there is none.
fn taken(result: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match result.remove(key) {
        Some(Value::Array(list)) => list,
        Some(_) | None => Vec::new(),
    }
}

fn address(version: Version, wiring: &PodWiring, interface: usize) -> Value {
    let address = format!("{}/32", wiring.address);
    match version {
        // The family went with 1.0.0.
        Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => {
            json!({"version": "4", "address": address, "interface": interface})
        }
        Version::V1_0_0 => json!({"address": address, "interface": interface}),
    }
}

/// The versions that we speak; the caller's is repeated where it named one.
pub(crate) fn versions(said: Option<&str>) -> Value {
    json!({
        "cniVersion": said.unwrap_or(Version::V1_0_0.text()),
        "supportedVersions": Version::ALL.map(Version::text),
    })
}

/// An error with its code, its words, its causes and the next step.
pub(crate) fn error(said: Option<&str>, error: &CniError) -> Value {
    let causes = error.causes();
    let details = if causes.is_empty() {
        format!("Next: {}.", error.next_step())
    } else {
        format!("{causes}. Next: {}.", error.next_step())
    };
    json!({
        "cniVersion": said.unwrap_or(Version::V1_0_0.text()),
        "code": error.code(),
        "msg": error.to_string(),
        "details": details,
    })
}
