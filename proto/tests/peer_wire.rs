//! The bytes of the peer's messages, built by hand from the field numbers and types of amazon-vpc-cni-k8s v1.23: what its
//! plugin and its daemon put on the wire, and what ours must.
//!
//! A byte before each value says field and type: number × 8 + 2 for text and messages, + 0 for numbers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use std::fmt::Debug;

use prost::Message;
use proto::peer;

/// Both directions: ours writes exactly these bytes, and reads them.
fn is_on_the_wire<M: Message + Default + PartialEq + Debug>(message: &M, bytes: &[u8]) {
    assert_eq!(message.encode_to_vec(), bytes, "{message:?}");
    assert_eq!(&M::decode(bytes).unwrap(), message);
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn add_network_request() {
    let message = peer::AddNetworkRequest {
        k8s_pod_name: text("web"),
        k8s_pod_namespace: text("ns"),
        k8s_pod_infra_container_id: text("c1"),
        netns: text("/n"),
        if_name: text("eth0"),
        network_name: text("aws-cni"),
        container_id: text("c1"),
        client_version: text("v"),
        requires_multi_nic_attachment: true,
    };
    is_on_the_wire(
        &message,
        b"\x0a\x03web\x12\x02ns\x1a\x02c1\x22\x02/n\x2a\x04eth0\x32\x07aws-cni\x3a\x02c1\x42\x01v\x48\x01",
    );
}

#[test]
fn add_network_reply() {
    let message = peer::AddNetworkReply {
        success: true,
        ip_allocation_metadata: vec![
            peer::IpAllocationMetadata {
                i_pv4_addr: text("10.0.1.30"),
                i_pv6_addr: String::new(),
                device_number: 1,
                route_table_id: 254,
            },
            peer::IpAllocationMetadata {
                i_pv4_addr: String::new(),
                i_pv6_addr: text("fd00::1"),
                device_number: -1,
                route_table_id: 0,
            },
        ],
        use_external_snat: true,
        vp_cv4_cid_rs: vec![text("10.0.0.0/16"), text("10.1.0.0/16")],
        pod_vlan_id: 7,
        pod_enimac: text("m"),
        pod_eni_subnet_gw: text("g"),
        parent_if_index: 3,
        vp_cv6_cid_rs: vec![text("fd00::/56")],
        network_policy_mode: text("standard"),
    };
    let first = b"\x12\x10\x0a\x0910.0.1.30\x18\x01\x20\xfe\x01";
    // A negative int32 takes ten bytes.
    let second = b"\x12\x14\x12\x07fd00::1\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let rest: [&[u8]; 8] = [
        b"\x28\x01",
        b"\x32\x0b10.0.0.0/16",
        b"\x32\x0b10.1.0.0/16",
        b"\x38\x07",
        b"\x42\x01m",
        b"\x4a\x01g",
        b"\x50\x03",
        b"\x62\x09fd00::/56",
    ];
    let bytes = [
        b"\x08\x01".as_slice(),
        first,
        second,
        &rest.concat(),
        b"\x6a\x08standard",
    ]
    .concat();
    is_on_the_wire(&message, &bytes);
}

#[test]
fn a_refused_add_is_an_empty_message() {
    is_on_the_wire(&peer::AddNetworkReply::default(), b"");
}

#[test]
fn del_network() {
    let request = peer::DelNetworkRequest {
        k8s_pod_name: text("web"),
        k8s_pod_namespace: text("ns"),
        k8s_pod_infra_container_id: text("c1"),
        reason: text("PodDeleted"),
        if_name: text("eth0"),
        network_name: text("aws-cni"),
        container_id: text("c1"),
        client_version: String::new(),
        k8s_pod_uid: text("u"),
    };
    is_on_the_wire(
        &request,
        b"\x0a\x03web\x12\x02ns\x1a\x02c1\x2a\x0aPodDeleted\x32\x04eth0\x3a\x07aws-cni\x42\x02c1\x52\x01u",
    );
    let reply = peer::DelNetworkReply {
        success: true,
        ip_allocation_metadata: vec![peer::IpAllocationMetadata {
            i_pv4_addr: text("10.0.1.30"),
            route_table_id: 2,
            ..peer::IpAllocationMetadata::default()
        }],
        pod_vlan_id: 7,
        network_policy_mode: text("none"),
    };
    is_on_the_wire(
        &reply,
        b"\x08\x01\x12\x0d\x0a\x0910.0.1.30\x20\x02\x20\x07\x32\x04none",
    );
}

#[test]
fn network_policy() {
    is_on_the_wire(
        &peer::NetworkPolicyAgentConfigReply {
            network_policy_mode: text("strict"),
            multi_nic_enabled: true,
            node_i_pv4: text("10.0.1.10"),
            node_i_pv6: text("f::1"),
            instance_id: text("i-1"),
            region: text("r"),
        },
        b"\x0a\x06strict\x10\x01\x1a\x0910.0.1.10\x22\x04f::1\x2a\x03i-1\x32\x01r",
    );
    is_on_the_wire(
        &peer::EnforceNpRequest {
            k8s_pod_name: text("web"),
            k8s_pod_namespace: text("ns"),
            network_policy_mode: text("strict"),
            interface_count: 1,
        },
        b"\x0a\x03web\x12\x02ns\x1a\x06strict\x20\x01",
    );
    is_on_the_wire(&peer::EnforceNpReply { success: true }, b"\x08\x01");
    is_on_the_wire(
        &peer::DeleteNpRequest {
            k8s_pod_name: text("web"),
            k8s_pod_namespace: text("ns"),
        },
        b"\x0a\x03web\x12\x02ns",
    );
    is_on_the_wire(&peer::DeleteNpReply { success: true }, b"\x08\x01");
}

#[test]
fn fields_of_other_ages_are_passed_over() {
    // Releases up to 1.19 had text as field 11 of the ADD's answer, and later ones may add fields.
    let newer = b"\x08\x01\x5a\x07fd00::1\xa2\x06\x03new";
    let read = peer::AddNetworkReply::decode(newer.as_slice()).unwrap();
    assert_eq!(
        read,
        peer::AddNetworkReply {
            success: true,
            ..peer::AddNetworkReply::default()
        }
    );
    // Field 2 was text once; read as a message it is garbage without an address.
    let older = b"\x08\x01\x12\x0910.0.1.30";
    let read = peer::AddNetworkReply::decode(older.as_slice()).unwrap();
    assert_eq!(
        read.ip_allocation_metadata,
        [peer::IpAllocationMetadata::default()]
    );
}
