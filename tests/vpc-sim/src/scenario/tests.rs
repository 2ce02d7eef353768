//! Scenarios: what is read, what is refused, and that the schema says the same.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

const GOOD: &str = "
subnets:
  - {name: a, cidr: 10.0.0.0/20, zone: us-east-1a}
nodes:
  - {name: n1, type: t3.medium, subnet: a}
";

#[test]
fn defaults_fill_what_is_left_out() {
    let scenario = Scenario::parse(GOOD).unwrap();
    assert_eq!(
        (scenario.seed, scenario.vpc.to_string().as_str()),
        (1, "10.0.0.0/16")
    );
    assert_eq!((scenario.ec2, scenario.nodes[0].rp_filter), (Pace::Brisk, 2));
}

#[test]
fn syntax_errors_name_their_line() {
    let error = Scenario::parse("subnets: []\nnodes: []\ncolour: blue\n").unwrap_err();
    assert!(error.to_string().contains("line 3"), "{error}");
}

#[test]
fn every_contradiction_is_named_with_its_line_and_remedy() {
    let error = Scenario::parse(
        "
subnets:
  - {name: a, cidr: 10.0.0.0/20, zone: us-east-1a}
  - {name: b, cidr: 10.0.1.0/24, zone: us-east-1a}
  - {name: c, cidr: 192.168.0.0/24, zone: us-east-1a}
nodes:
  - {name: n1, type: t9.huge, subnet: d, rp_filter: 7}
",
    )
    .unwrap_err()
    .to_string();
    for words in [
        "line 4: 10.0.1.0/24: overlaps",
        "line 5",
        "outside the VPC",
        "t9.huge",
        "add it",
        "rp_filter: 7",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn every_fault_of_ipv6_and_groups_is_named() {
    let error = Scenario::parse(
        "
subnets:
  - {name: a, cidr: 10.0.0.0/20, zone: us-east-1a, ipv6: true}
nodes:
  - {name: n1, type: t3.medium, subnet: a, security_groups: [web, db]}
security_groups:
  - {name: web, ingress: [{protocol: tcp, ports: 90-80, peer: 10.0.0.0/8}, {peer: nobody}]}
  - {name: web, egress: [{protocol: sctp, peer: web}, {protocol: icmp, ports: 8, peer: web}]}
  - {name: default}
",
    )
    .unwrap_err()
    .to_string();
    for words in [
        "line 3: ipv6: true: the VPC has no IPv6",
        "line 5: db: node n1 names no security group",
        "line 7: 90-80: is no range of ports",
        "line 7: nobody: is neither a CIDR nor the name",
        "line 8: web: two security groups",
        "line 8: sctp: all, tcp, udp",
        "line 8: icmp: has no ports",
        "line 9: default: is the name of something else",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(error.lines().count(), 8, "{error}");
}

#[test]
fn a_fault_has_the_line_of_its_own_item() {
    let error = Scenario::parse(
        "nodes:
- name: n1
  type: t3.medium
  subnet: a
- name: n1
  subnet: a
  type: t3.medium
- {name: internet, type: t3.medium, subnet: a}
subnets:
- {name: a, cidr: 10.0.0.0/24, zone: us-east-1a}
- {name: a, cidr: 10.0.0.0/24, zone: us-east-1a}
vpc: 10.0.0.0/8
",
    )
    .unwrap_err()
    .to_string();
    for words in [
        "line 5: n1: two nodes",
        "line 8: internet: is no host name",
        "line 11: a: two subnets",
        "line 11: 10.0.0.0/24: overlaps",
        "line 12: 10.0.0.0/8: a VPC is",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn examples_are_scenarios_and_their_paths_are_relative_to_them() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let bare = Scenario::load(&examples.join("bare.yaml")).unwrap();
    assert_eq!((bare.nodes.len(), bare.ipamd), (2, None));
    let two = Scenario::load(&examples.join("two-nodes.yaml")).unwrap();
    assert!(two.ipamd.unwrap().starts_with(&examples));
}

#[test]
fn the_schema_says_what_the_types_accept() {
    let schema: Value = serde_json::from_str(include_str!("../scenario.schema.json")).unwrap();
    let subnet = json!({"name": "a", "cidr": "10.0.0.0/24", "zone": "us-east-1a", "ipv6": true});
    let rule = json!({"protocol": "tcp", "ports": "80-90", "peer": "g"});
    let group = json!({"name": "g", "ingress": [rule], "egress": []});
    let node = json!({"name": "n", "type": "t3.medium", "subnet": "a", "rp_filter": 2, "runtime": true, "env": {}, "security_groups": ["g"]});
    let whole = json!({
        "seed": 1, "vpc": "10.0.0.0/16", "ipv6": true, "ec2": "real", "security_groups": [group], "subnets": [subnet], "nodes": [node],
        "ipamd": "/a", "cni_shim": "/b",  "env": {"A": "b"},
    });
    agree::<Scenario>(&schema, &whole);
    agree::<Subnet>(&schema["$defs"]["subnet"], &subnet);
    agree::<Group>(&schema["$defs"]["group"], &group);
    agree::<group::GroupRule>(&schema["$defs"]["rule"], &rule);
    agree::<Node>(&schema["$defs"]["node"], &node);
    let paces = serde_json::from_value::<Pace>(json!("?")).unwrap_err();
    assert_eq!(
        named(&paces.to_string()),
        texts(&schema["properties"]["ec2"]["enum"])
    );
    let filters = &schema["$defs"]["node"]["properties"]["rp_filter"];
    assert_eq!(filters["enum"], json!([0, 1, 2]));
}

/// The same properties, the same of them required, nothing else accepted, and each explained.
fn agree<T: DeserializeOwned>(schema: &Value, full: &Value) {
    let unknown = serde_json::from_value::<T>(json!({"?": 0})).err().unwrap();
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(named(&unknown.to_string()), properties.keys().cloned().collect());
    assert_eq!(schema["additionalProperties"], json!(false));
    let required = texts(&schema["required"]);
    for (name, property) in properties {
        let mut without = full.clone();
        assert!(without.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        let is_required = serde_json::from_value::<T>(without).is_err();
        assert_eq!(is_required, required.contains(name), "{name}");
        assert!(property["description"].is_string(), "{name}");
    }
}

/// What serde says that it expected.
fn named(error: &str) -> BTreeSet<String> {
    let expected = error.split_once("expected one of ").unwrap().1;
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn texts(list: &Value) -> BTreeSet<String> {
    let texts = list.as_array().unwrap().iter();
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}
