//! EC2 that always says the same, without a socket: whatever it says, the client must neither panic nor hang.

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use ipamd_core::id::InstanceId;

use crate::{Ec2, behavior};

#[derive(Clone, Debug)]
struct Always {
    status: StatusCode,
    body: Vec<u8>,
}

impl HttpConnector for Always {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let body = SdkBody::from(self.body.clone());
        HttpConnectorFuture::ready(Ok(HttpResponse::new(self.status, body)))
    }
}

impl HttpClient for Always {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl Ec2 {
    /// A client for `instance` to which EC2 always answers with this body, as a success or as an error.
    #[must_use]
    pub fn replay(instance: InstanceId, success: bool, body: &[u8]) -> Self {
        let status = if success { 200 } else { 400 };
        let always = Always {
            status: StatusCode::try_from(status).unwrap_or_else(|_| unreachable!("{status} is a status")),
            body: body.to_vec(),
        };
        let credentials = Credentials::new("replay", "replay", None, None, "replay");
        let config = SdkConfig::builder()
            .behavior_version(behavior())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .http_client(always)
            .build();
        Self::over(&config, instance)
    }
}
