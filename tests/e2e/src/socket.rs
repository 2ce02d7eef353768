//! The daemon's socket, spoken to from outside its node.

use std::path::Path;

use anyhow::Result;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::site::Site;

/// Connects to the daemon of a node.
///
/// # Errors
/// When nobody listens.
pub async fn dial(site: &Site, node: &str) -> Result<Channel> {
    // Through its link `/var/run` the path would lead to our own.
    let socket = proto::SOCKET.replace("/var/run", "/run");
    let socket = site.machine(node)?.node().path(Path::new(&socket));
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://ipamd");
    Ok(endpoint.connect_with_connector(connector).await?)
}
