//! The plugin as a runtime calls it for the pod default/web-0, and what is left of it on the node.

use ipamd_core::net::pod::DOOMED_GROUP;
use serde_json::{Value, json};

use crate::daemon::block_on;
use crate::plugin::{Said, run};
use crate::sandbox::Pod;

/// Runs a verb with these keys more in the configuration.
pub(crate) fn cni(verb: &str, pod: &Pod, extra: &Value) -> Said {
    let said = run(&environment(verb, pod), &conf(extra));
    assert!(said.is_at_most_one_document(), "{said:?}");
    assert_eq!(said.errors, "", "nothing on standard error");
    said
}

/// What a runtime sets.
pub(crate) fn environment<'a>(verb: &'a str, pod: &'a Pod) -> [(&'static str, &'a str); 6] {
    [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
        ("CNI_NETNS", pod.path()),
        (
            "CNI_ARGS",
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0",
        ),
    ]
}

/// The configuration with these keys more.
pub(crate) fn conf(extra: &Value) -> String {
    let mut conf = json!({"cniVersion": "0.4.0", "name": "aws-cni", "type": "aws-cni"});
    let more = extra.as_object().unwrap().clone();
    conf.as_object_mut().unwrap().extend(more);
    conf.to_string()
}

/// The node's devices, sorted; pods' without their hash, those that wait to be reaped without their number.
pub(crate) fn devices() -> Vec<String> {
    let links = block_on(async { hostnet::Routing::open().unwrap().links().await.unwrap() });
    let shown = links.into_iter().map(|link| match link.group {
        DOOMED_GROUP => "gone*".to_owned(),
        _ if link.name.starts_with("eni") => "eni*".to_owned(),
        _ => link.name,
    });
    let mut names: Vec<String> = shown.collect();
    names.sort();
    names
}

/// The releases that wait, by their files' names.
pub(crate) fn recorded() -> Vec<String> {
    let Ok(files) = std::fs::read_dir(proto::RELEASED) else {
        return Vec::new();
    };
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.collect()
}
