//! `vpc-sim serve`: the API alone, without namespaces, for whoever develops against EC2's network interfaces.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::cloud::{Cloud, CloudGone};
use crate::ec2::{Ec2, Identify};
use crate::example::{ExampleError, example};
use crate::model::Model;
use crate::model::settings::Settings;

/// What to serve.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// From which everything that is chosen follows.
    pub seed: u64,
    /// Whether nothing is late and nothing is throttled.
    pub instant: bool,
    /// The wall clock at the start, as time since 1970.
    pub epoch: Duration,
}

/// Why serving ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The example VPC cannot be built.
    #[error("preparing what is served")]
    Example(#[from] ExampleError),
    /// The address is taken or not ours.
    #[error("listening on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Nobody reads what is printed.
    #[error("printing where the API listens")]
    Print(#[source] io::Error),
    /// The model's task ended.
    #[error("serving the API")]
    Gone(#[from] CloudGone),
}

impl Serve {
    /// Serve until the process is told to end (SIGINT or SIGTERM).
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn run(self, out: &mut impl Write) -> Result<(), ServeError> {
        let settings = if self.instant {
            Settings::instant(self.seed)
        } else {
            Settings::seeded(self.seed)
        };
        let model = example(Settings {
            epoch: self.epoch,
            ..settings
        })?;
        let api = listen(self.listen).await?;
        let address = api.local_addr().map_err(|source| ServeError::Listen {
            address: self.listen,
            source,
        })?;
        announce(out, address, &model).map_err(ServeError::Print)?;
        let cloud = Cloud::start(model);
        tokio::select! {
            ended = Ec2::new(cloud, Identify::AccessKey).serve(api) => match ended {
                Err(gone) => Err(gone.into()),
                Ok(never) => match never {},
            },
            () = told_to_end() => Ok(()),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

/// The endpoint alone on the first line, for scripts; then what is there.
fn announce(out: &mut impl Write, address: SocketAddr, model: &Model) -> io::Result<()> {
    writeln!(out, "http://{address}")?;
    writeln!(out, "region {}", model.settings().region)?;
    writeln!(out, "vpc {}", model.vpc_id())?;
    for subnet in model.subnet_ids() {
        writeln!(out, "subnet {subnet}")?;
    }
    for instance in model.instance_ids() {
        writeln!(out, "instance {instance}")?;
    }
    out.flush()
}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
