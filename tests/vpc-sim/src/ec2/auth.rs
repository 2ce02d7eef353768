//! Who asks: by access key on loopback, by source address inside the fabric.
//!
//! The header must look like Signature Version 4 (AWS documentation, "Signature calculation"); the signature itself is not
//! verified, because there are no secrets here.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::cloud::{Cloud, CloudGone};
use crate::model::error::Ec2Error;
use crate::model::id::InstanceId;
use crate::model::request::Caller;

/// How the caller of a request is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identify {
    /// By the access key: that of an instance's role (from metadata) or a user's.
    AccessKey,
    /// By the address it comes from, which the fabric has checked.
    SourceAddress,
}

/// What the keys of instance roles start with (AWS documentation, "IAM identifiers": temporary keys).
const TEMPORARY: &str = "ASIA";

/// The access key that metadata gives to the role of this instance.
#[must_use]
pub fn access_key_of(instance: &InstanceId) -> String {
    let digits = instance.as_str().trim_start_matches("i-0");
    format!("{TEMPORARY}{}", digits.to_ascii_uppercase())
}

fn instance_of(access_key: &str) -> Option<InstanceId> {
    let digits = access_key.strip_prefix(TEMPORARY)?;
    format!("i-0{}", digits.to_ascii_lowercase()).parse().ok()
}

impl Identify {
    pub(crate) async fn caller(
        self,
        cloud: &Cloud,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Result<Caller, Ec2Error>, CloudGone> {
        let key = match access_key(headers) {
            Ok(key) => key,
            Err(error) => return Ok(Err(error)),
        };
        match self {
            Self::SourceAddress => {
                let sender = cloud.sender(peer.ip()).await?;
                Ok(sender
                    .map(|(_, instance)| Caller::Instance(instance))
                    .ok_or(Ec2Error::AuthFailure))
            }
            Self::AccessKey => Ok(Ok(match instance_of(&key) {
                Some(instance) => Caller::Instance(instance),
                None => Caller::AccessKey(key),
            })),
        }
    }
}

/// The access key in the credential scope of the header: `Credential=KEY/date/region/ec2/aws4_request`.
fn access_key(headers: &HeaderMap) -> Result<String, Ec2Error> {
    let header = headers
        .get(AUTHORIZATION)
        .ok_or(Ec2Error::MissingAuthenticationToken)?;
    let scope = header
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("AWS4-HMAC-SHA256 "))
        .filter(|rest| rest.contains("Signature="))
        .and_then(|rest| rest.split("Credential=").nth(1))
        .and_then(|rest| rest.split([',', ' ']).next())
        .ok_or(Ec2Error::AuthFailure)?;
    match scope.split('/').collect::<Vec<_>>().as_slice() {
        [key, _date, _region, "ec2", "aws4_request"] if !key.is_empty() => Ok((*key).to_owned()),
        _ => Err(Ec2Error::AuthFailure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_scope_names_the_access_key() {
        let good = "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
        let rows = [
            (Some(good), Ok("AKIA1".to_owned())),
            (None, Err(Ec2Error::MissingAuthenticationToken)),
            (Some("Basic eA=="), Err(Ec2Error::AuthFailure)),
            (
                Some("AWS4-HMAC-SHA256 Credential=AKIA1, Signature=0"),
                Err(Ec2Error::AuthFailure),
            ),
            (
                Some("AWS4-HMAC-SHA256 Credential=A/1/r/s3/aws4_request, Signature=0"),
                Err(Ec2Error::AuthFailure),
            ),
        ];
        for (header, expected) in rows {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, header.parse().expect("a header value"));
            }
            assert_eq!(access_key(&headers), expected, "{header:?}");
        }
    }

    #[test]
    fn the_key_of_a_role_names_its_instance() {
        let instance = InstanceId::numbered(0x0123_4567_89ab_cdef);
        let key = access_key_of(&instance);
        assert_eq!(key, "ASIA0123456789ABCDEF");
        assert_eq!(instance_of(&key), Some(instance));
        assert_eq!(instance_of("AKIAEXAMPLE"), None);
    }
}
