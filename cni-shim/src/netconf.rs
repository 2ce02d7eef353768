//! The network configuration, and the versions of the protocol that we speak. Pure.

use ipamd_core::id::NetworkName;
use serde_json::Value;

use crate::error::CniError;

/// A version of the CNI protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
}

impl Version {
    /// Every version that ADD accepts.
    pub(crate) const ALL: [Self; 4] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0];

    /// As it is written.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
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
}

impl NetConf {
    pub(crate) fn parse(input: &[u8]) -> Result<Self, CniError> {
        let conf: serde_json::Map<String, Value> =
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
        })
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
            (r#"{"cniVersion":"1.1.0","name":"n","type":"t"}"#, 1),
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
