//! The JSON documents of instance metadata.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::ec2::{access_key_of, iso8601};
use crate::model::metadata::InstanceMetadata;

/// How long credentials are said to live (observed: about six hours).
const CREDENTIALS_LIVE: Duration = Duration::from_secs(6 * 3600);

/// `dynamic/instance-identity/document`.
pub(super) fn identity(metadata: &InstanceMetadata) -> String {
    pretty(&json!({
        "accountId": metadata.account,
        "architecture": metadata.instance_type.architectures.first(),
        "availabilityZone": metadata.zone.name,
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": "ami-00000000000000000",
        "instanceId": metadata.id.as_str(),
        "instanceType": metadata.instance_type.instance_type,
        "kernelId": null,
        "pendingTime": seconds(metadata.launched_at),
        "privateIp": metadata.primary_address(),
        "ramdiskId": null,
        "region": metadata.region,
        "version": "2017-09-30",
    }))
}

/// `iam/security-credentials/<role>`. SDKs compare the expiration with the clock of their machine, so it follows that
/// clock and not the model's.
pub(super) fn credentials(metadata: &InstanceMetadata) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    pretty(&json!({
        "Code": "Success",
        "LastUpdated": seconds(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": access_key_of(&metadata.id),
        "SecretAccessKey": "simulated/secret/access/key/of/an/instance",
        "Token": format!("simulated-session-token-of-{}", metadata.id),
        "Expiration": seconds(now + CREDENTIALS_LIVE),
    }))
}

/// `iam/info`.
pub(super) fn role(metadata: &InstanceMetadata, role: &str) -> String {
    pretty(&json!({
        "Code": "Success",
        "LastUpdated": seconds(metadata.launched_at),
        "InstanceProfileArn": format!("arn:aws:iam::{}:instance-profile/{role}", metadata.account),
        "InstanceProfileId": "AIPAEXAMPLEEXAMPLE000",
    }))
}

/// Metadata writes whole seconds.
fn seconds(since_1970: Duration) -> String {
    iso8601(Duration::from_secs(since_1970.as_secs())).replace(".000Z", "Z")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
