//! What the runtime kept of an ADD's result, read when nobody else knows what there was. Pure.
//!
//! Ours tell all by the host end's MAC. Results of amazon-vpc-cni-k8s hide numbers where others have names: the route
//! table as the container interface's `mac`, the ENI's device number as the `sandbox` of an invented interface. Its pods
//! live on when the plugin is replaced, and are deleted by ours. Left out: its branch-ENI pods.

use std::net::IpAddr;

use hostnet::pod::Remains;
use ipamd_core::id::AttachmentKey;
use ipamd_core::net::TableId;
use ipamd_core::net::eni::Place;
use ipamd_core::net::pod::{host_mac, peer};
use ipnet::IpNet;
use serde_json::Value;

/// First letters of the peer's invented interface.
const DUMMY: &str = "dummy";

/// The MAC of the invented interface of a pod that has no branch ENI.
const NO_VLAN: &str = "0";

/// What there is to take away, as far as the result tells. `None` for results of neither.
pub(crate) fn remains(key: &AttachmentKey, result: &Value) -> Option<Remains> {
    ours(key, result).or_else(|| peers(key, result))
}

/// The host end's MAC follows from the attachment, so it tells ours from those of other plugins and of younger pods;
/// without it the device is left to its namespace.
fn ours(key: &AttachmentKey, result: &Value) -> Option<Remains> {
    let mac = host_mac(key);
    let host = interfaces(result).find(|interface| text(interface, "mac").parse() == Ok(mac))?;
    Some(Remains {
        host_name: text(host, "name").parse().ok()?,
        host_mac: Some(mac),
        addresses: addresses(result),
        table: TableId::PODS,
        rules: Vec::new(),
    })
}

fn peers(key: &AttachmentKey, result: &Value) -> Option<Remains> {
    let dummy = interfaces(result).find(|it| text(it, "name").starts_with(DUMMY))?;
    if text(dummy, "mac") != NO_VLAN {
        return None;
    }
    let container = interfaces(result).find(|it| text(it, "name") == key.interface.as_str())?;
    let host = interfaces(result).find(|it| text(it, "sandbox").is_empty() && *it != dummy)?;
    let table = match text(container, "mac").parse() {
        Ok(number) => peer::table(number),
        // Before release 1.20 there was only the device number, on the first card.
        Err(_) => Place {
            network_card: 0,
            device_index: text(dummy, "sandbox").parse().ok()?,
        }
        .table(),
    };
    let addresses = addresses(result);
    Some(Remains {
        host_name: text(host, "name").parse().ok()?,
        host_mac: None,
        table: TableId::MAIN,
        rules: addresses
            .iter()
            .flat_map(|address| peer::rules(*address, table))
            .collect(),
        addresses,
    })
}

fn interfaces(result: &Value) -> impl Iterator<Item = &Value> {
    let list = result.get("interfaces").and_then(Value::as_array);
    list.into_iter().flatten()
}

fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let addresses = ips.filter_map(|ip| text(ip, "address").parse::<IpNet>().ok());
    addresses.map(|net| net.addr()).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> AttachmentKey {
        AttachmentKey {
            container: "c1".parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            network: "aws-cni".parse().unwrap(),
        }
    }

    /// CNI: ADD-12.
    #[test]
    fn our_result_of_any_version_tells_the_device_and_the_address() {
        let key = key();
        let result = json!({
            "interfaces": [
                {"name": "cni0", "mac": "02:00:00:00:00:01"},
                {"name": "enib5faff8a083", "mac": host_mac(&key)},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x"},
            ],
            "ips": [{"version": "4", "address": "10.0.1.30/32", "interface": 2}],
        });
        let remains = remains(&key, &result).unwrap();
        assert_eq!(remains.host_name.as_str(), "enib5faff8a083");
        assert_eq!(remains.addresses, [IpAddr::from([10, 0, 1, 30])]);
        assert_eq!((remains.table, remains.rules.len()), (TableId::PODS, 0));
    }

    /// CNI: ADD-12.
    #[test]
    fn the_peers_results_of_all_ages_tell_the_table() {
        for (mac, device, rules) in [
            (json!("254"), "0", 1),
            (json!("2"), "1", 2),
            (json!(""), "1", 2),
            (Value::Null, "0", 1),
        ] {
            let result = json!({
                "interfaces": [
                    {"name": "enib5faff8a083"},
                    {"name": "eth0", "mac": mac, "sandbox": "/var/run/netns/cni-1"},
                    {"name": "dummyb5faff8a083", "mac": "0", "sandbox": device},
                ],
                "ips": [{"version": "4", "interface": 1, "address": "10.0.97.30/32"}],
                "dns": {},
            });
            let remains = remains(&key(), &result).unwrap();
            assert_eq!(remains.host_name.as_str(), "enib5faff8a083");
            assert_eq!(remains.host_mac, None);
            assert_eq!(
                (remains.table, remains.rules.len()),
                (TableId::MAIN, rules),
                "{mac}"
            );
        }
    }

    #[test]
    fn results_of_neither_tell_nothing() {
        for nothing in [
            json!({}),
            json!({"interfaces": []}),
            json!({"interfaces": [{"name": "eni1", "mac": "2"}]}),
            json!({"interfaces": [{"name": "cni0", "mac": "02:00:00:00:00:01"}]}),
            json!({"interfaces": [{"name": "vlanb5faff8a083"}, {"name": "eth0", "mac": "0", "sandbox": "/x"},
                {"name": "dummyb5faff8a083", "mac": "7"}]}),
        ] {
            assert_eq!(remains(&key(), &nothing), None, "{nothing}");
        }
    }
}
