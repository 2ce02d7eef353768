//! `ipamd explain`: what a node sees, wants and waits for, from the daemon that runs here or from a dump of another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use ipamd_core::explain::{BadDump, Dump};
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
    /// The file of a dump.
    #[error("read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The dump in it.
    #[error("understand {}", .path.display())]
    Dump {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: BadDump,
    },
    /// It has no JSON.
    #[error("write the explanation as JSON")]
    Json(#[from] serde_json::Error),
}

/// In which form it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sentences, one a line.
    Prose,
    /// A JSON document.
    Json,
    /// What can be explained elsewhere.
    Dump,
}

/// What a saved dump tells.
///
/// # Errors
/// When the file cannot be read or is no dump.
pub fn explain_file(path: &Path, form: Form) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let dump = Dump::parse(&text).map_err(|source| Error::Dump {
        path: path.to_owned(),
        source,
    })?;
    let told = dump.explain();
    match form {
        Form::Prose => Ok(told.to_string()),
        Form::Json => Ok(serde_json::to_string_pretty(&told)?),
        Form::Dump => Ok(text),
    }
}

/// The daemon's own words.
///
/// # Errors
/// When there is no daemon, or it does not answer in time.
pub async fn explain(socket: &Path, form: Form) -> Result<String, Error> {
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
    let told = answer.into_inner();
    Ok(match form {
        Form::Prose => told.text,
        Form::Json => told.json,
        Form::Dump => told.dump,
    })
}
