//! Asks `ipamd` over its unix socket, with a deadline.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::v1::ipam_client::IpamClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status};

use crate::error::{CniError, chain};

/// Longer than the 60 s that an ADD may wait in the daemon's line, so that the daemon says why.
pub(crate) const ADD_DEADLINE: Duration = Duration::from_secs(65);
/// A DEL changes one record; after this the release is recorded in a file instead.
pub(crate) const DEL_DEADLINE: Duration = Duration::from_secs(5);
/// A CHECK only looks.
pub(crate) const CHECK_DEADLINE: Duration = Duration::from_secs(5);

/// A connection to the daemon.
pub(crate) struct Client {
    pub(crate) ipam: IpamClient<Channel>,
    socket: PathBuf,
}

impl Client {
    /// Connects, or says why not.
    pub(crate) async fn connect() -> Result<Self, CniError> {
        let socket = Path::new(proto::SOCKET);
        let away = |reason: String| CniError::Daemon {
            socket: socket.to_owned(),
            reason,
        };
        let connector =
            tower::service_fn(
                move |_: Uri| async move { UnixStream::connect(socket).await.map(TokioIo::new) },
            );
        // The address is never looked at: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://ipamd");
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| away(chain(Some(&error))))?;
        Ok(Self {
            ipam: IpamClient::new(channel),
            socket: socket.to_owned(),
        })
    }

    /// Waits for an answer, at most as long as the deadline.
    pub(crate) async fn within<T>(
        deadline: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let late = || Status::deadline_exceeded(format!("no answer within {} s", deadline.as_secs()));
        tokio::time::timeout(deadline, call)
            .await
            .map_err(|_| late())?
            .map(Response::into_inner)
    }

    /// What a failed call means to the runtime.
    pub(crate) fn failure(&self, status: &Status) -> CniError {
        let text = |key| status.metadata().get(key).and_then(|value| value.to_str().ok());
        let code = text(proto::CODE).and_then(|code| code.parse().ok());
        match (code, status.code()) {
            (None, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown) => {
                CniError::Daemon {
                    socket: self.socket.clone(),
                    reason: status.message().to_owned(),
                }
            }
            (code, kind) => CniError::Refused {
                reason: status.message().to_owned(),
                code: code.unwrap_or(100),
                transient: kind == Code::Unavailable,
                next_step: text(proto::NEXT_STEP)
                    .unwrap_or("see the log of ipamd")
                    .to_owned(),
            },
        }
    }
}
