//! EC2's Query API: HTTP and forms in, XML out, in front of the model.
//!
//! What EC2 would refuse is refused with EC2's code; what EC2 has and this simulation does not is refused with
//! `UnsupportedOperation` and its name, never ignored. Signatures are not verified: the access key (on loopback) or the
//! source address (inside the fabric) says who asks.
//!
//! It leaves out every decision about the VPC itself, which is the model's.

mod action;
mod assign;
mod assign_ipv6;
mod auth;
mod cidr_reservation;
mod dns;
mod filter;
mod instance;
mod instance_type;
mod known;
mod launch;
mod network_interface;
mod page;
mod permission;
mod query;
mod security_group;
mod served;
mod subnet;
mod tag;
#[cfg(test)]
mod tests;
mod timestamp;
mod vpc;
mod xml;
mod zone;

pub use auth::{Identify, access_key_of};
pub use dns::private_dns_name;
pub use served::reference;
pub use timestamp::iso8601;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::cloud::{Cloud, CloudGone, Heard};
use crate::model::error::Ec2Error;
use crate::model::request::{Call, Caller};
use crate::model::{Handled, Model};
use query::Params;

/// The largest form that is read. EC2's own limit is not known; a thousand ids take 40 KiB.
const FORM_BYTES: usize = 1 << 20;

/// How long to wait after a failed accept: the usual cause is that file descriptors ran out, and some must come back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The API with what it needs.
#[derive(Clone)]
pub struct Ec2 {
    cloud: Cloud,
    identify: Identify,
    requests: Arc<AtomicU64>,
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum Hangup {
    #[error("a scripted fault loses the answer")]
    Scripted,
    #[error(transparent)]
    CloudGone(#[from] CloudGone),
    #[error("the request could not be built into a response")]
    Http(#[from] http::Error),
}

impl Ec2 {
    /// The API in front of a cloud.
    #[must_use]
    pub fn new(cloud: Cloud, identify: Identify) -> Self {
        Self {
            cloud,
            identify,
            requests: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Accept connections until the future is dropped.
    ///
    /// # Errors
    /// Never: a failed accept is logged and the next one is tried.
    pub async fn serve(self, listener: TcpListener) -> Result<Infallible, CloudGone> {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        connections.spawn(self.clone().serve_connection(stream, peer));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting an API connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn serve_connection(self, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(move |request| self.clone().respond(request, peer));
        let io = TokioIo::new(stream);
        if let Err(error) = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await
        {
            tracing::debug!(%error, %peer, "an API connection ended early");
        }
    }

    async fn respond(
        self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, Hangup> {
        let id = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (status, body) = match self.perform(request, peer, id).await? {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => (
                StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST),
                xml::error(&error, id),
            ),
        };
        let response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "text/xml;charset=UTF-8")
            .header("x-amzn-requestid", id.to_string())
            .body(Full::new(Bytes::from(body)))?;
        Ok(response)
    }

    async fn perform(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        id: RequestId,
    ) -> Result<Result<String, Ec2Error>, Hangup> {
        let caller = match self.identify.caller(&self.cloud, request.headers(), peer).await? {
            Ok(caller) => caller,
            Err(error) => return Ok(Err(error)),
        };
        let parsed = match read_form(request).await.and_then(|form| Params::parse(&form)) {
            Ok(params) => action::parse(params),
            Err(error) => Err(error),
        };
        let action::Parsed {
            dry_run,
            request,
            shape,
        } = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(error)),
        };
        let operation = request.operation();
        let call = Call {
            caller,
            dry_run,
            request,
        };
        match self.cloud.call(call).await? {
            Heard::Nothing => Err(Hangup::Scripted),
            Heard::Answer(answer) => Ok(answer.map(|answer| action::render(operation, &shape, answer, id))),
        }
    }
}

/// One form, carried out on a model at its beginning, with neither HTTP nor waiting: the document that a caller would get.
/// For whoever wants to try a form, fuzzers among them.
pub fn try_form(model: &mut Model, form: &str) -> String {
    let id = RequestId(0);
    let parsed = Params::parse(form).and_then(action::parse);
    let done = parsed.and_then(|parsed| {
        let operation = parsed.request.operation();
        let call = Call {
            caller: Caller::AccessKey("AKIAEXAMPLE".to_owned()),
            dry_run: parsed.dry_run,
            request: parsed.request,
        };
        match model.handle(Duration::ZERO, &call) {
            Handled::Answered { result, .. }
            | Handled::AnswerLost(result)
            | Handled::HeldAfter(_, result) => {
                result.map(|answer| action::render(operation, &parsed.shape, answer, id))
            }
            Handled::HeldBefore(_) => Ok(String::new()),
        }
    });
    done.unwrap_or_else(|error| xml::error(&error, id))
}

/// The query string of a GET, the body of a POST.
async fn read_form(request: Request<Incoming>) -> Result<String, Ec2Error> {
    if request.method() == http::Method::GET {
        return Ok(request.uri().query().unwrap_or_default().to_owned());
    }
    let body = Limited::new(request.into_body(), FORM_BYTES)
        .collect()
        .await
        .map_err(|_| Ec2Error::UnreadableForm)?;
    String::from_utf8(body.to_bytes().to_vec()).map_err(|_| Ec2Error::UnreadableForm)
}

/// The number of a request, shown in the shape of EC2's.
#[derive(Clone, Copy, Debug)]
struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00000000-0000-4000-8000-{:012x}", self.0)
    }
}
