//! Asks `ipamd` over its unix socket, with a deadline.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::v1::ipam_client::IpamClient;
use tonic::{Code, Response, Status};

use crate::connection::Connection;
use crate::error::CniError;

/// Longer than the 60 s that an ADD may wait in the daemon's line, so that the daemon says why.
pub(crate) const ADD_DEADLINE: Duration = Duration::from_secs(65);
/// A DEL changes one record; after this the release is recorded in a file instead.
pub(crate) const DEL_DEADLINE: Duration = Duration::from_secs(5);
/// A CHECK only looks.
pub(crate) const CHECK_DEADLINE: Duration = Duration::from_secs(5);
/// A STATUS is asked for every few seconds and answered from memory.
pub(crate) const STATUS_DEADLINE: Duration = Duration::from_secs(1);
/// A GC may have a whole node's pods to take away.
pub(crate) const GC_DEADLINE: Duration = Duration::from_secs(30);

/// A connection to the daemon.
pub(crate) struct Client {
    pub(crate) ipam: IpamClient<Connection>,
    connection: Connection,
    socket: PathBuf,
}

/// Whether the daemon behind the socket is the peer's: it knows none of our methods.
pub(crate) fn is_peers(status: &Status) -> bool {
    status.code() == Code::Unimplemented
}

impl Client {
    /// Connects, or says why not.
    pub(crate) async fn connect() -> Result<Self, CniError> {
        let socket = Path::new(proto::SOCKET);
        let connection = Connection::open(socket)
            .await
            .map_err(|reason| CniError::Daemon {
                socket: socket.to_owned(),
                reason,
            })?;
        Ok(Self {
            ipam: IpamClient::new(connection.clone()),
            connection,
            socket: socket.to_owned(),
        })
    }

    /// The connection, for another service behind the same socket.
    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
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
