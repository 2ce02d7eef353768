//! A connection to the daemon, as the plugin makes it.

use std::path::Path;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use proto::v1;
use proto::v1::ipam_client::IpamClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

pub(crate) async fn connect() -> Result<IpamClient<Channel>> {
    let connector = tower::service_fn(|_: Uri| async move {
        UnixStream::connect(Path::new(proto::SOCKET))
            .await
            .map(TokioIo::new)
    });
    // The address is never looked at: the connector knows where to go.
    let endpoint = Endpoint::from_static("http://ipamd");
    let channel = endpoint
        .connect_with_connector(connector)
        .await
        .context("connect to the daemon")?;
    Ok(IpamClient::new(channel))
}

pub(crate) fn attachment(container: &str) -> Option<v1::Attachment> {
    Some(v1::Attachment {
        container_id: container.to_owned(),
        interface: "eth0".to_owned(),
        network: "aws-cni".to_owned(),
    })
}

pub(crate) fn add_request(container: &str) -> v1::AddRequest {
    v1::AddRequest {
        attachment: attachment(container),
        pod: Some(v1::Pod {
            namespace: "default".to_owned(),
            name: container.to_owned(),
        }),
        netns: "/run/netns/none".to_owned(),
    }
}
