//! The documents that a plugin prints, for each version of the protocol. Pure.

use ipamd_core::net::pod::PodWiring;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::error::CniError;
use crate::netconf::{NetConf, Version};

/// The kernel's `RT_SCOPE_LINK` (uapi/linux/rtnetlink.h), which results since 1.1.0 name.
const SCOPE_LINK: u8 = 253;

/// What results have only since 1.1.0, by list.
const SINCE_1_1_0: [(&str, &[&str]); 2] = [
    ("interfaces", &["mtu", "socketPath", "pciID"]),
    ("routes", &["mtu", "advmss", "priority", "table", "scope"]),
];

/// The result of an ADD: ours, after that of the plugins before us.
pub(crate) fn result(conf: &NetConf, wiring: &PodWiring, netns: &str) -> Value {
    let mut result = match &conf.prev_result {
        Some(Value::Object(previous)) => previous.clone(),
        Some(_) | None => Map::new(),
    };
    let mut interfaces = taken(&mut result, "interfaces");
    let pod_interface = interfaces.len() + 1;
    let mtu = wiring.mtu_bytes;
    interfaces.push(json!({"name": wiring.host_name, "mac": wiring.host_mac, "mtu": mtu}));
    interfaces.push(json!({"name": wiring.pod_name, "mac": wiring.pod_mac, "mtu": mtu, "sandbox": netns}));
    let mut ips = taken(&mut result, "ips");
    let mut routes = taken(&mut result, "routes");
    for leg in wiring.legs() {
        let (own, gateway) = (IpNet::from(leg.address), IpNet::from(leg.gateway));
        let everything = if gateway.addr().is_ipv4() {
            "0.0.0.0/0"
        } else {
            "::/0"
        };
        ips.push(json!({"address": own, "interface": pod_interface}));
        routes.push(json!({"dst": gateway, "scope": SCOPE_LINK}));
        routes.push(json!({"dst": everything, "gw": leg.gateway}));
    }
    for (key, list) in [("interfaces", interfaces), ("ips", ips), ("routes", routes)] {
        result.insert(key.to_owned(), Value::Array(list));
    }
    in_version(conf.version, &mut result);
    Value::Object(result)
}

/// The list under a key, out of the result; empty where there is none.
fn taken(result: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match result.remove(key) {
        Some(Value::Array(list)) => list,
        Some(_) | None => Vec::new(),
    }
}

/// Leaves out what the version does not have, and adds what it demands. Keys that nobody knows pass.
fn in_version(version: Version, result: &mut Map<String, Value>) {
    result.insert("cniVersion".to_owned(), json!(version.text()));
    result.retain(|key, value| !(key == "dns" && value.as_object().is_some_and(Map::is_empty)));
    if version < Version::V1_1_0 {
        for (list, keys) in SINCE_1_1_0 {
            for item in items(result, list) {
                item.retain(|key, _| !keys.contains(&key.as_str()));
            }
        }
    }
    for ip in items(result, "ips") {
        if version < Version::V1_0_0 {
            let address = ip.get("address").and_then(Value::as_str).unwrap_or_default();
            let family = if address.contains(':') { "6" } else { "4" };
            ip.entry("version").or_insert(json!(family));
        } else {
            // The family went with 1.0.0.
            ip.remove("version");
        }
    }
}

fn items<'r>(
    result: &'r mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'r mut Map<String, Value>> {
    let items = result.get_mut(list).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The versions that we speak; the caller's is repeated where it named one.
pub(crate) fn versions(said: Option<&str>) -> Value {
    json!({
        "cniVersion": said.unwrap_or(Version::NEWEST.text()),
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
        "cniVersion": said.unwrap_or(Version::NEWEST.text()),
        "code": error.code(),
        "msg": error.to_string(),
        "details": details,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CNI: ADD-3, ADD-4.
    #[test]
    fn a_result_is_put_into_the_words_of_its_version() {
        let newest = json!({
            "interfaces": [{"name": "eth0", "mtu": 9001, "sandbox": "/x"}],
            "ips": [{"address": "10.0.1.30/32"}, {"address": "2001:db8::1/128", "version": "6"}],
            "routes": [{"dst": "0.0.0.0/0", "scope": 253}],
            "dns": {}, "unknown": {"kept": true},
        });
        let words = |version| {
            let mut result = newest.as_object().unwrap().clone();
            in_version(version, &mut result);
            Value::Object(result)
        };
        let plain = json!({
            "interfaces": [{"name": "eth0", "sandbox": "/x"}],
            "ips": [{"address": "10.0.1.30/32"}, {"address": "2001:db8::1/128"}],
            "routes": [{"dst": "0.0.0.0/0"}],
            "unknown": {"kept": true}, "cniVersion": "1.0.0",
        });
        assert_eq!(words(Version::V1_0_0), plain);
        let mut old = plain.clone();
        old["ips"] = json!([
            {"address": "10.0.1.30/32", "version": "4"},
            {"address": "2001:db8::1/128", "version": "6"},
        ]);
        old["cniVersion"] = json!("0.4.0");
        assert_eq!(words(Version::V0_4_0), old);
        assert_eq!(words(Version::V1_1_0)["interfaces"][0]["mtu"], 9001);
    }
}
