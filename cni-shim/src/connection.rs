//! One HTTP/2 connection to whoever listens on a unix socket. The plugin asks once or twice and ends, so there is no
//! reconnecting, no buffering and no balancing.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::error::chain;

/// Never looked up, but HTTP/2 wants one: the socket says who it is.
const AUTHORITY: &str = "localhost";

/// The connection; copies share it.
#[derive(Clone)]
pub(crate) struct Connection(SendRequest<Body>);

impl Connection {
    /// Connects, or says why not.
    pub(crate) async fn open(socket: &Path) -> Result<Self, String> {
        let stream = UnixStream::connect(socket).await;
        let stream = stream.map_err(|error| chain(Some(&error)))?;
        let opened = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, driver) = opened.map_err(|error| chain(Some(&error)))?;
        // Whoever asks hears of its end by their answer.
        tokio::spawn(async { drop(driver.await) });
        Ok(Self(sender))
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(context).map_err(|error| broken(&error))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        *request.uri_mut() = absolute(std::mem::take(request.uri_mut()));
        let answer = self.0.send_request(request);
        Box::pin(async { answer.await.map_err(|error| broken(&error)) })
    }
}

/// The path of a method with what HTTP/2 wants before it.
fn absolute(path: Uri) -> Uri {
    let mut parts = path.into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static(AUTHORITY));
    // All three parts are there, so it is one.
    Uri::from_parts(parts).unwrap_or_default()
}

fn broken(error: &hyper::Error) -> Status {
    Status::unavailable(chain(Some(error)))
}
