//! The network configuration, and the versions of the protocol that we speak. Pure.

use ipamd_core::id::NetworkName;
use serde_json::{Map, Value};

use crate::error::CniError;

/// A version of the CNI protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl Version {
    /// Every version that ADD accepts.
    pub(crate) const ALL: [Self; 5] = [
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// The one that is said where the input says none.
    pub(crate) const NEWEST: Self = Self::V1_1_0;

    /// As it is written.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

/// What the plugin needs of the configuration. Unknown keys are tolerated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetConf {
    pub(crate) version: Version,
    pub(crate) network: NetworkName,
    /// The result of the plugin before us, or of our own ADD.
    pub(crate) prev_result: Option<Value>,
    /// `args.cni.ips`: a wish for certain addresses (CNI conventions, "ips").
    pub(crate) fixed_addresses: Option<Value>,
    /// Keys that belong to the protocol itself: they begin with `cni.dev/`.
    pub(crate) protocol: Map<String, Value>,
    /// The peer's `vethPrefix` and `mtu`, which its daemon leaves to its plugin. Ours tells them, so these are looked at
    /// only beside the peer's.
    veth_prefix: Option<String>,
    mtu: Option<Value>,
}

/// The peer's defaults (its plugin's `vethPrefix` and `mtu`); the MTU is a VPC's, in bytes.
const VETH_PREFIX: &str = "eni";
const MTU_BYTES: u32 = 9001;

/// What the peer's plugin takes for an MTU; anything else is its default.
const MTU_BOUNDS: std::ops::RangeInclusive<u32> = 576..=MTU_BYTES;

impl NetConf {
    pub(crate) fn parse(input: &[u8]) -> Result<Self, CniError> {
        let conf: Map<String, Value> =
            serde_json::from_slice(input).map_err(|source| CniError::Decode { source })?;
        let text = |key: &'static str| match conf.get(key) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(other) => Err(CniError::Conf {
                fault: format!("{key} is {other}, not a string"),
            }),
        };
        let given = text("cniVersion")?;
        let version = Version::ALL.into_iter().find(|version| version.text() == given);
        let version = version.ok_or_else(|| CniError::Version {
            given: given.to_owned(),
        })?;
        let network = text("name")?.parse().map_err(|fault| CniError::Conf {
            fault: format!("name: {fault}"),
        })?;
        if text("type")?.is_empty() {
            return Err(CniError::Conf {
                fault: "type is missing".to_owned(),
            });
        }
        let prev_result = match conf.get("prevResult") {
            None | Some(Value::Null) => None,
            Some(Value::Object(result)) if result.is_empty() => None,
            Some(result @ Value::Object(_)) => Some(result.clone()),
            Some(other) => {
                return Err(CniError::Conf {
                    fault: format!("prevResult is {other}, not an object"),
                });
            }
        };
        let wish = conf.get("args").and_then(|args| args.get("cni")?.get("ips"));
        let fixed_addresses = wish.filter(|wish| !wish.is_null() && wish.as_array() != Some(&Vec::new()));
        Ok(Self {
            version,
            network,
            prev_result,
            fixed_addresses: fixed_addresses.cloned(),
            veth_prefix: conf.get("vethPrefix").and_then(Value::as_str).map(str::to_owned),
            mtu: conf.get("mtu").cloned(),
            protocol: conf
                .into_iter()
                .filter(|(key, _)| key.starts_with("cni.dev/"))
                .collect(),
        })
    }

    /// The first letters of host ends beside the peer's daemon.
    pub(crate) fn veth_prefix(&self) -> &str {
        self.veth_prefix.as_deref().unwrap_or(VETH_PREFIX)
    }

    /// The MTU of pods beside the peer's daemon, which writes it as a string.
    pub(crate) fn mtu_bytes(&self) -> u32 {
        let said = match &self.mtu {
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Number(number)) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Some(_) | None => None,
        };
        said.filter(|mtu| MTU_BOUNDS.contains(mtu)).unwrap_or(MTU_BYTES)
    }

    /// Refuses a verb that the configuration's version does not have.
    pub(crate) fn must_be_at_least(&self, verb: &'static str, least: Version) -> Result<(), CniError> {
        if self.version < least {
            return Err(CniError::VerbNeeds {
                verb,
                version: least.text(),
            });
        }
        Ok(())
    }
}

/// The version that the input names, whether or not the rest of it is usable: errors repeat it.
pub(crate) fn version_said(input: &[u8]) -> Option<String> {
    let conf: Value = serde_json::from_slice(input).ok()?;
    conf.get("cniVersion")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(input: &str) -> u32 {
        NetConf::parse(input.as_bytes()).map_or_else(|error| error.code(), |_| 0)
    }

    /// CNI: CONF-1, CONF-2, CONF-3.
    #[test]
    fn each_fault_has_the_specifications_code() {
        for (input, expected) in [
            (r#"{"cniVersion":"0.4.0","name":"aws-cni","type":"aws-cni"}"#, 0),
            (
                r#"{"cniVersion":"1.0.0","name":"n","type":"t","unknown":[1],"prevResult":{}}"#,
                0,
            ),
            ("", 6),
            ("[]", 6),
            (r#"{"cniVersion":"0.4.0""#, 6),
            (r#"{"name":"n","type":"t"}"#, 1),
            (r#"{"cniVersion":"1.1.0","name":"n","type":"t"}"#, 0),
            (r#"{"cniVersion":"1.2.0","name":"n","type":"t"}"#, 1),
            (r#"{"cniVersion":"0.2.0","name":"n","type":"t"}"#, 1),
            (r#"{"cniVersion":4,"name":"n","type":"t"}"#, 7),
            (r#"{"cniVersion":"0.4.0","type":"t"}"#, 7),
            (r#"{"cniVersion":"0.4.0","name":"../n","type":"t"}"#, 7),
            (r#"{"cniVersion":"0.4.0","name":"n"}"#, 7),
            (
                r#"{"cniVersion":"0.4.0","name":"n","type":"t","prevResult":[]}"#,
                7,
            ),
        ] {
            assert_eq!(code(input), expected, "{input}");
        }
    }
}
