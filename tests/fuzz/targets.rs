//! What strangers' bytes go through, each by a function that must neither panic nor hang: the fuzzer's targets, and the
//! corpus as plain tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ec2::Ec2;
use ipamd::config::Config;
use ipamd_core::action::NewEni;
use ipamd_core::address::{AddressCount, Ask};
use ipamd_core::checkpoint::{self, Allocation};
use ipamd_core::explain::Dump;
use ipamd_core::id::{AttachmentKey, EniAttachmentId, EniId, InstanceId, IntentId, Pod, VpcId};
use ipamd_core::ledger::Ledger;
use ipamd_core::ledger::journal::{self, Present};
use ipamd_core::moment::{Moment, Stamp};
use ipamd_core::net::pod::{PodWiring, device_suffix};
use ipamd_core::net::{NetState, SeenLink};
use ipamd_core::policy::Policy;
use ipamd_core::snapshot::Scope;
use prost::Message;
use proto::{peer, v1};
use vpc_sim::scenario::Scenario;

/// A target: its name, which is also its corpus' folder, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: &[Target] = &[
    ("plugin_input", plugin_input),
    ("plugin_arguments", plugin_arguments),
    ("our_wire", our_wire),
    ("peers_wire", peers_wire),
    ("ec2_query", ec2_query),
    ("scenario", scenario),
    ("journal", journal),
    ("configuration", configuration),
    ("dump", dump),
    ("checkpoint", checkpoint),
    ("metadata", metadata),
    ("ec2_answers", ec2_answers),
];

fn environment(verb: &str, arguments: &str) -> BTreeMap<String, String> {
    [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/pod"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
        ("CNI_ARGS", arguments),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Standard input of the plugin, prevResult and the list of a GC in it. What is refused is refused with a document.
pub fn plugin_input(data: &[u8]) {
    for verb in ["ADD", "DEL", "GC"] {
        if let Err(document) = cni_shim::understand(&environment(verb, ""), data) {
            let document: serde_json::Value = serde_json::from_str(&document).expect("a document");
            assert!(
                document["code"].as_u64().is_some_and(|code| code > 0),
                "{document}"
            );
        }
    }
}

/// CNI_ARGS, and the container's id and interface in front of it.
pub fn plugin_arguments(data: &[u8]) {
    let conf = br#"{"cniVersion": "1.1.0", "name": "aws-cni", "type": "aws-cni"}"#;
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let mut environment = environment("ADD", lines.next().unwrap_or_default());
    for (variable, value) in ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_COMMAND"]
        .into_iter()
        .zip(lines)
    {
        environment.insert(variable.to_owned(), value.to_owned());
    }
    let _ = cni_shim::understand(&environment, conf);
}

/// Our own messages, as the daemon and the plugin read them. The first byte chooses.
pub fn our_wire(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 4 {
        0 => {
            let Ok(asked) = v1::AddRequest::decode(data) else {
                return;
            };
            let _ = AttachmentKey::try_from(asked.attachment.unwrap_or_default());
            let _ = Pod::try_from(asked.pod.unwrap_or_default());
        }
        1 => {
            let Ok(wiring) = v1::Wiring::decode(data).map(PodWiring::try_from) else {
                return;
            };
            if let Ok(wiring) = wiring {
                assert_eq!(PodWiring::try_from(v1::Wiring::from(&wiring)), Ok(wiring));
            }
        }
        2 => {
            let _ = v1::GcRequest::decode(data).map(proto::known);
        }
        _ => {
            let name = String::from_utf8_lossy(data);
            if let Some(key) = proto::tombstone_key(&name) {
                assert_eq!(proto::tombstone_name(&key), name);
            }
        }
    }
}

/// The peer's messages, as the plugin reads them from its daemon. The first byte chooses.
pub fn peers_wire(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 3 {
        0 => {
            if let Ok(answer) = peer::AddNetworkReply::decode(data) {
                let _ = cni_shim::understand_peer(&answer);
            }
        }
        1 => drop(peer::AddNetworkRequest::decode(data)),
        _ => drop(peer::DelNetworkReply::decode(data)),
    }
}

/// A request to the simulated EC2: its body, read and carried out on a small VPC.
pub fn ec2_query(data: &[u8]) {
    let Ok(mut model) = vpc_sim::example::example(vpc_sim::model::settings::Settings::instant(1)) else {
        return;
    };
    // Several forms, a line each, so that one can build on another.
    for form in String::from_utf8_lossy(data).lines() {
        let document = vpc_sim::ec2::try_form(&mut model, form);
        assert!(document.starts_with("<?xml"), "{document}");
    }
}

/// The daemon's environment, a variable a line. What is refused is refused with words.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let environment = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    match Config::parse(&environment) {
        Ok((_, warnings)) => warnings
            .iter()
            .for_each(|warning| assert!(!warning.variable.is_empty())),
        Err(faults) => assert!(!faults.to_string().is_empty()),
    }
}

/// A saved dump, explained.
pub fn dump(data: &[u8]) {
    let Some(dump) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| Dump::parse(text).ok())
    else {
        return;
    };
    let explanation = dump.explain();
    assert!(!explanation.to_string().is_empty());
    serde_json::to_string(&explanation).expect("an explanation has JSON");
}

/// A scenario.
pub fn scenario(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Scenario::parse(text);
    }
}

/// The journal: whatever is in it, a state comes out of it, and what that state saves says the same again. What begins with
/// a brace is taken for entries without their checksums, which no fuzzer would guess.
pub fn journal(data: &[u8]) {
    let present = present();
    let entries = match data.first() {
        Some(b'{') => data
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect(),
        _ => journal::decode(data).entries,
    };
    let restored = Ledger::restore(entries, &present);
    let saved: Vec<u8> = restored
        .entries(&present.boot_id, present.at.moment)
        .iter()
        .flat_map(|entry| journal::encode(entry).expect("an entry has JSON"))
        .collect();
    let decoded = journal::decode(&saved);
    assert_eq!(decoded.whole_bytes, saved.len());
    let again = Ledger::restore(decoded.entries, &present);
    assert_eq!(again.leases(), restored.leases());
    assert_eq!(again.intents(), restored.intents());
}

/// The peer's file. What it says is taken over, once, and is in the journal then; and what we write is read back.
pub fn checkpoint(data: &[u8]) {
    let Ok(checkpoint::Claims { claims, .. }) = checkpoint::decode(data) else {
        return;
    };
    let present = present();
    let policy = Policy::default();
    let mut ledger = Ledger::default();
    let devices = claims.iter().filter_map(|claim| device_suffix(&claim.pod));
    let links = devices.zip(1..).filter_map(|(suffix, index)| {
        let link = SeenLink {
            index,
            name: format!("eni{suffix}").parse().ok()?,
            mac: None,
            mtu_bytes: 9001,
            up: true,
            reverse_path: None,
        };
        Some((index, link))
    });
    let seen = NetState {
        links: links.collect(),
        ..NetState::default()
    };
    ledger.take_over(&claims, &seen, &policy, present.at);
    let leases = ledger.leases().values();
    let held: Vec<IpAddr> = leases.flat_map(|lease| lease.wiring.addresses().iter()).collect();
    let once: BTreeSet<IpAddr> = held.iter().copied().collect();
    assert_eq!(once.len(), held.len(), "an address has one holder");
    let entries = ledger.entries(&present.boot_id, present.at.moment);
    assert_eq!(Ledger::restore(entries, &present).leases(), ledger.leases());
    let leases = ledger.leases().iter();
    let ours: Vec<Allocation> = leases.map(|(key, lease)| Allocation::of(key, lease)).collect();
    let written = checkpoint::encode(ours.iter()).expect("the form has JSON");
    let again = checkpoint::decode(&written).expect("our own file is readable");
    assert_eq!((again.claims.len(), again.faults.len()), (ours.len(), 0));
    let twice = ledger.take_over(&again.claims, &seen, &policy, present.at);
    assert_eq!((twice.adopted, twice.ended), (0, 0));
}

/// Instance metadata.
pub fn metadata(data: &[u8]) {
    let pages = pages(&String::from_utf8_lossy(data));
    if let Ok(node) = runtime().block_on(ipamd::imds::understand(&pages)) {
        let mut ledger = Ledger::default();
        ledger.handle_node(node);
        ledger.wanted(&Policy::default()).expect("the node is known");
    }
}

/// Pages by their paths: a line that begins with a slash is a path, and what follows is its page.
pub fn pages(text: &str) -> BTreeMap<String, String> {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    let mut path = String::new();
    for line in text.lines() {
        if line.starts_with('/') {
            line.clone_into(&mut path);
            continue;
        }
        let page = pages.entry(path.clone()).or_default();
        page.push_str(line);
        page.push('\n');
    }
    pages
}

/// What EC2 answers. The first byte chooses the call, and by its highest bit whether the answer is a success.
pub fn ec2_answers(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let instance: InstanceId = "i-0123456789abcdef0".parse().expect("an id");
    let eni: EniId = "eni-0123456789abcdef0".parse().expect("an id");
    let attachment: EniAttachmentId = "eni-attach-0123456789abcdef0".parse().expect("an id");
    let vpc: VpcId = "vpc-0123456789abcdef0".parse().expect("an id");
    let ask = Ask::Addresses(AddressCount(2));
    let ec2 = Ec2::replay(instance.clone(), kind & 0x80 == 0, body);
    runtime().block_on(async {
        match kind % 8 {
            0 => drop(ec2.read_all(Scope::Everything, present().at.moment).await),
            1 => drop(ec2.read_subnets(&vpc, "us-east-1a").await),
            2 => drop(ec2.read_unattached(&vpc, None, None).await),
            3 => drop(ec2.assign(&eni, ask).await),
            4 => drop(ec2.attach(&eni, 1).await),
            5 => drop(ec2.create_eni(&new_eni(instance, ask)).await),
            6 => drop(ec2.detach(&eni, &attachment).await),
            _ => drop(ec2.read(&eni).await),
        }
    });
}

fn new_eni(instance: InstanceId, ask: Ask) -> NewEni {
    NewEni {
        intent: IntentId(1),
        instance,
        subnet: "subnet-0123456789abcdef0".parse().expect("an id"),
        groups: BTreeSet::new(),
        ask,
        wall: present().at.wall,
        tags: BTreeMap::new(),
    }
}

/// A runtime for calls that wait for nothing.
pub fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime")
}

fn present() -> Present {
    Present {
        boot_id: "one".to_owned(),
        at: Stamp {
            moment: Moment(Duration::from_secs(1000)),
            wall: Duration::from_secs(1_700_000_000),
        },
        cooldown: Duration::from_secs(30),
    }
}
