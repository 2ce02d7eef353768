//! The instance's own type, from instance metadata version 2. Used only when asked for.

use std::time::Duration;

/// Where metadata answers on every instance (EC2 user guide, "Instance metadata service").
const ENDPOINT: &str = "http://169.254.169.254";

/// The variable with which every AWS SDK lets the endpoint be replaced.
const ENDPOINT_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// A node that has metadata answers in milliseconds; one second is what the SDKs wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why metadata could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("getting a token from {endpoint}: {cause}")]
    Token { endpoint: String, cause: ureq::Error },
    #[error("reading instance-type from {endpoint}: {cause}")]
    Type { endpoint: String, cause: ureq::Error },
}

/// The type of the instance that this runs on.
pub(crate) fn instance_type() -> Result<String, Fault> {
    let endpoint = std::env::var(ENDPOINT_VARIABLE).unwrap_or_else(|_| ENDPOINT.to_owned());
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build()
        .into();
    let token = agent
        .put(format!("{endpoint}/latest/api/token"))
        .header("X-aws-ec2-metadata-token-ttl-seconds", "60")
        .send_empty()
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .map_err(|cause| Fault::Token {
            endpoint: endpoint.clone(),
            cause,
        })?;
    agent
        .get(format!("{endpoint}/latest/meta-data/instance-type"))
        .header("X-aws-ec2-metadata-token", token)
        .call()
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .map(|text| text.trim().to_owned())
        .map_err(|cause| Fault::Type { endpoint, cause })
}
