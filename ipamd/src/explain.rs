//! `ipamd explain`: asks the daemon that runs on this node what it sees, wants and waits for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::v1::ExplainRequest;
use proto::v1::ipam_client::IpamClient;
use tokio::net::UnixStream;
use tonic::transport::{Endpoint, Uri};

/// The daemon answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("ask the daemon at {socket}; is ipamd running, and are you root?", socket = .socket.display())]
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It does not answer.
    #[error("the daemon at {socket} does not answer: {reason}", socket = .socket.display())]
    Answer {
        /// Where.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The daemon's own words, a sentence a line.
///
/// # Errors
/// When there is no daemon, or it does not answer in time.
pub async fn explain(socket: &Path) -> Result<String, Error> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://ipamd")
        .timeout(PATIENCE)
        .connect_with_connector(connector)
        .await;
    let channel = channel.map_err(|source| Error::Connect {
        socket: socket.to_owned(),
        source,
    })?;
    let answer = IpamClient::new(channel).explain(ExplainRequest {}).await;
    let answer = answer.map_err(|status| Error::Answer {
        socket: socket.to_owned(),
        reason: status.to_string(),
    })?;
    Ok(answer.into_inner().text)
}
