//! gRPC in, messages to the daemon out: the unix socket, who may use it, health.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::unistd::Uid;
use proto::peer::cni_backend_server::CniBackendServer;
use proto::peer::config_server_backend_server::ConfigServerBackendServer;
use proto::v1::ipam_server::IpamServer;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::daemon::Message;

mod ask;
mod ours;
mod peer;

/// The name under which the peer's probe asks for health, beside the empty one.
const HEALTH_NAMES: [&str; 2] = ["", "grpc.health.v1.aws-node"];

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step on the way to an open socket.
    #[error("{attempt} {path}")]
    Socket {
        /// What was attempted.
        attempt: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Tells probes whether pods can be served.
#[derive(Clone)]
pub(crate) struct Health(HealthReporter);

impl Health {
    /// Changes what probes are told.
    pub(crate) async fn set(&self, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in HEALTH_NAMES {
            self.0.set_service_status(name, status).await;
        }
    }
}

/// Opens the socket and serves it in the background, not serving pods at first. A socket that is there already is a dead
/// daemon's: the journal's lock keeps a living one out.
pub(crate) async fn serve(config: &Config, messages: mpsc::Sender<Message>) -> Result<Health, Error> {
    let path = config.process.socket.as_path();
    let words = |attempt| {
        move |source| Error::Socket {
            attempt,
            path: path.to_owned(),
            source,
        }
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(words("create the folder of"))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(words("remove the stale socket"))?,
    }
    let listener = UnixListener::bind(path).map_err(words("listen on"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(words("close to others"))?;
    let (reporter, health) = tonic_health::server::health_reporter();
    let handle = Health(reporter);
    handle.set(false).await;
    let owner = ask::Owner::new(messages);
    let mode = &config.process.network_policy_mode;
    let theirs = peer::Service::new(owner.clone(), mode.clone(), &config.policy);
    let router = tonic::transport::Server::builder()
        .add_service(health)
        .add_service(IpamServer::new(ours::Service::new(owner, mode.clone())))
        .add_service(CniBackendServer::new(theirs.clone()))
        .add_service(ConfigServerBackendServer::new(theirs));
    let incoming =
        UnixListenerStream::new(listener).filter(|stream| stream.as_ref().map_or(true, is_trusted));
    tokio::spawn(async move {
        if let Err(error) = router.serve_with_incoming(incoming).await {
            tracing::error!(%error, "the socket is no longer served");
        }
    });
    Ok(handle)
}

/// Only root, or whoever the daemon itself is, may ask.
fn is_trusted(stream: &UnixStream) -> bool {
    let trusted = |uid: u32| uid == 0 || uid == Uid::effective().as_raw();
    match stream.peer_cred() {
        Ok(credentials) if trusted(credentials.uid()) => true,
        Ok(credentials) => {
            tracing::warn!(uid = credentials.uid(), "refused a caller who is not root");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "refused a caller whose credentials cannot be read");
            false
        }
    }
}
