//! Environment → [`Request`], by a table of what each verb needs. Reports everything that is missing or wrong at once.

use std::collections::BTreeMap;

use ipamd_core::id::{ContainerId, IfName, Malformed, Pod};

use crate::error::{CniError, bad_variable};

/// What the runtime wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

impl Verb {
    const ALL: [Self; 6] = [
        Self::Add,
        Self::Del,
        Self::Check,
        Self::Gc,
        Self::Status,
        Self::Version,
    ];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    pub(crate) fn parse(environment: &BTreeMap<String, String>) -> Result<Self, CniError> {
        let given = environment.get("CNI_COMMAND").cloned().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|verb| verb.text() == given)
            .ok_or(CniError::Verb { given })
    }

    /// The variables that the specification demands for this verb.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc => &["CNI_PATH"],
            Self::Status | Self::Version => &[],
        }
    }
}

/// What the environment says. Verbs that name no container have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) container: Option<ContainerId>,
    pub(crate) interface: Option<IfName>,
    pub(crate) netns: Option<String>,
    pub(crate) pod: Pod,
    /// `K8S_POD_INFRA_CONTAINER_ID` and `K8S_POD_UID` of CNI_ARGS, for the peer's daemon; empty where not given.
    pub(crate) infra_container: String,
    pub(crate) pod_uid: String,
    /// `IP` of CNI_ARGS: a wish for a certain address.
    pub(crate) fixed_address: Option<String>,
    /// `CNI_NETNS_OVERRIDE`: the plugin's own namespace is meant.
    pub(crate) may_use_own_namespace: bool,
}

impl Request {
    pub(crate) fn parse(verb: Verb, environment: &BTreeMap<String, String>) -> Result<Self, CniError> {
        let value = |name: &str| {
            environment
                .get(name)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        let missing = verb.needs().iter().filter(|name| value(name).is_none());
        let mut faults: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
        let container = parsed(value("CNI_CONTAINERID"), "CNI_CONTAINERID", &mut faults);
        let interface = parsed(value("CNI_IFNAME"), "CNI_IFNAME", &mut faults);
        let args = args(value("CNI_ARGS").unwrap_or_default(), &mut faults);
        match pod(&args, &mut faults) {
            Some(pod) if faults.is_empty() => Ok(Self {
                container,
                interface,
                netns: value("CNI_NETNS").map(str::to_owned),
                pod,
                infra_container: arg(&args, "K8S_POD_INFRA_CONTAINER_ID").to_owned(),
                pod_uid: arg(&args, "K8S_POD_UID").to_owned(),
                fixed_address: args.get("IP").map(|wish| (*wish).to_owned()),
                may_use_own_namespace: matches!(
                    value("CNI_NETNS_OVERRIDE"),
                    Some("1" | "true" | "TRUE" | "True")
                ),
            }),
            _ => Err(CniError::Environment { faults }),
        }
    }
}

fn parsed<T: std::str::FromStr<Err = Malformed>>(
    text: Option<&str>,
    variable: &str,
    faults: &mut Vec<String>,
) -> Option<T> {
    match text?.parse() {
        Ok(value) => Some(value),
        Err(malformed) => {
            faults.push(bad_variable(variable)(malformed));
            None
        }
    }
}

/// Keys of CNI_ARGS that Kubernetes runtimes send.
const KNOWN: [&str; 6] = [
    "IP",
    "IgnoreUnknown",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_INFRA_CONTAINER_ID",
    "K8S_POD_UID",
];

fn args<'a>(args: &'a str, faults: &mut Vec<String>) -> BTreeMap<&'a str, &'a str> {
    let mut pairs = BTreeMap::new();
    for part in args.split(';').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) if !value.contains('=') => drop(pairs.insert(key, value)),
            _ => faults.push(format!("CNI_ARGS: {part:?} is not KEY=VALUE")),
        }
    }
    let tolerant = matches!(
        pairs.get("IgnoreUnknown"),
        Some(&("1" | "t" | "T" | "true" | "TRUE" | "True"))
    );
    let strangers = pairs.keys().filter(|key| !tolerant && !KNOWN.contains(key));
    faults.extend(strangers.map(|key| format!("CNI_ARGS: unknown key {key:?} without IgnoreUnknown=1")));
    pairs
}

fn arg<'a>(pairs: &BTreeMap<&str, &'a str>, key: &str) -> &'a str {
    pairs.get(key).copied().unwrap_or_default()
}

fn pod(pairs: &BTreeMap<&str, &str>, faults: &mut Vec<String>) -> Option<Pod> {
    let get = |key| arg(pairs, key);
    let namespace = parsed(
        Some(get("K8S_POD_NAMESPACE")),
        "CNI_ARGS: K8S_POD_NAMESPACE",
        faults,
    );
    let name = parsed(Some(get("K8S_POD_NAME")), "CNI_ARGS: K8S_POD_NAME", faults);
    Some(Pod {
        namespace: namespace?,
        name: name?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(verb: Verb, pairs: &[(&str, &str)]) -> Result<Request, String> {
        let environment = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Request::parse(verb, &environment).map_err(|error| error.to_string())
    }

    const WHOLE: [(&str, &str); 3] = [
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
    ];

    #[test]
    fn everything_missing_is_named_at_once() {
        let error = parse(Verb::Add, &[]).unwrap_err();
        for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(parse(Verb::Del, &[("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")]).is_ok());
        assert!(parse(Verb::Status, &[]).is_ok());
    }

    #[test]
    fn bad_names_are_refused() {
        for (key, value) in [
            ("CNI_CONTAINERID", "../etc"),
            ("CNI_IFNAME", "a/b"),
            ("CNI_IFNAME", "0123456789abcdef"),
        ] {
            let mut pairs = WHOLE.to_vec();
            pairs.retain(|(name, _)| *name != key);
            pairs.push((key, value));
            assert!(
                parse(Verb::Add, &pairs).unwrap_err().contains(key),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn args_are_a_map_in_any_order() {
        let with = |args| parse(Verb::Add, &[&WHOLE[..], &[("CNI_ARGS", args)]].concat());
        let request = with("K8S_POD_NAME=web-0;IgnoreUnknown=1;X=y;K8S_POD_NAMESPACE=default").unwrap();
        assert_eq!(request.pod.to_string(), "default/web-0");
        assert!(with("X=y").unwrap_err().contains("unknown key"));
        assert!(with("K8S_POD_NAME=a=b").unwrap_err().contains("KEY=VALUE"));
        assert_eq!(
            with("IP=10.0.0.9").unwrap().fixed_address.as_deref(),
            Some("10.0.0.9")
        );
        assert!(with("").is_ok());
    }
}
