//! Instance metadata, version 2.
//!
//! The instance is known by the address a connection comes from, as in a VPC, where that address was checked before. The
//! answer to a token request is sent with the instance's hop limit as IP TTL, so that it dies on its way to a pod behind the
//! node's routing: such a request hangs, it is not refused (AWS documentation, "Instance metadata options").
//!
//! It leaves out version 1 (every instance here requires tokens) and what no CNI and no SDK reads. Over IPv6 it answers
//! only instances whose options say so, as EC2 does. What is said, and
//! how late, is the model's.

mod answer;
mod document;
#[cfg(test)]
mod tests;
mod token;
mod tree;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};

use crate::cloud::{Cloud, CloudGone};
use crate::model::Model;
use crate::model::metadata::InstanceMetadata;
use answer::Refusal;
use token::Token;

/// The TTL of everything but the answer to a token request: Linux's default.
const USUAL_TTL: u32 = 64;
const TOKEN_PATH: &str = "latest/api/token";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// How long to wait after a failed accept: the usual cause is that file descriptors ran out, and some must come back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Pretend = Arc<dyn Fn(SocketAddr) -> Option<IpAddr> + Send + Sync>;

/// The metadata service with what it needs.
#[derive(Clone)]
pub struct Imds {
    cloud: Cloud,
    source: Pretend,
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum Hangup {
    #[error("{0} is the address of no interface")]
    Nobody(SocketAddr),
    #[error("setting how many hops the connection travels")]
    Ttl(#[source] io::Error),
    #[error(transparent)]
    CloudGone(#[from] CloudGone),
    #[error("building the response")]
    Http(#[from] http::Error),
}

impl Imds {
    /// The service inside the fabric, where source addresses are true.
    #[must_use]
    pub fn new(cloud: Cloud) -> Self {
        Self::pretending(cloud, |peer| Some(peer.ip()))
    }

    /// The service outside of it, where `source` says which address of the VPC a peer pretends to come from.
    #[must_use]
    pub fn pretending(
        cloud: Cloud,
        source: impl Fn(SocketAddr) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        Self {
            cloud,
            source: Arc::new(source),
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
                    Ok((stream, _)) => {
                        connections.spawn(self.clone().serve_connection(stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting a metadata connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Serve one connection to its end.
    pub async fn serve_connection(self, stream: TcpStream) {
        if let Err(error) = self.try_serve_connection(stream).await {
            tracing::debug!(%error, "a metadata connection was not served");
        }
    }

    async fn try_serve_connection(self, stream: TcpStream) -> io::Result<()> {
        let peer = stream.peer_addr()?;
        // The same socket twice: one half speaks HTTP, the other sets the TTL between requests.
        let stream = stream.into_std()?;
        let socket = Arc::new(stream.try_clone()?);
        let io = TokioIo::new(TcpStream::from_std(stream)?);
        let service = service_fn(move |request| self.clone().respond(request, peer, Arc::clone(&socket)));
        if let Err(error) = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await
        {
            tracing::debug!(%error, %peer, "a metadata connection ended early");
        }
        Ok(())
    }

    async fn respond(
        self,
        request: Request<Incoming>,
        peer: SocketAddr,
        socket: Arc<std::net::TcpStream>,
    ) -> Result<Response<Full<Bytes>>, Hangup> {
        let address = (self.source)(peer).ok_or(Hangup::Nobody(peer))?;
        let asker = self
            .cloud
            .change(move |model, now| known(model, now, address))
            .await?;
        let Known {
            now,
            metadata,
            answered,
        } = asker.ok_or(Hangup::Nobody(peer))?;
        if !answered {
            return std::future::pending().await;
        }
        let path = request.uri().path().trim_matches('/');
        let is_token_request = request.method() == Method::PUT && path == TOKEN_PATH;
        let ttl = if is_token_request {
            u32::from(metadata.hop_limit)
        } else {
            USUAL_TTL
        };
        set_hops(&socket, peer, ttl).map_err(Hangup::Ttl)?;
        let result = if is_token_request {
            give_token(now, &metadata, request.headers())
        } else {
            read(now, &metadata, request.method(), path, request.headers())
        };
        Ok(answer::build(result)?)
    }
}

/// How far what is sent from now on travels, in the family that is spoken.
fn set_hops(socket: &std::net::TcpStream, peer: SocketAddr, hops: u32) -> io::Result<()> {
    match peer.ip() {
        IpAddr::V4(_) => socket.set_ttl(hops),
        IpAddr::V6(_) => {
            let hops = i32::try_from(hops).map_err(io::Error::other)?;
            Ok(setsockopt(socket, sockopt::Ipv6Ttl, &hops)?)
        }
    }
}

/// Who asks, and when.
struct Known {
    now: Duration,
    metadata: InstanceMetadata,
    /// Whether the service hears this address at all.
    answered: bool,
}

fn known(model: &Model, now: Duration, address: IpAddr) -> Option<Known> {
    let (_, instance) = model.sender(now, address)?;
    let metadata = model.metadata(now, &instance)?;
    let spoken = address.is_ipv4() || metadata.over_ipv6;
    Some(Known {
        now,
        answered: spoken && model.services_answer(now, address),
        metadata,
    })
}

/// What is said, and how long the token that allowed it still lives.
struct Said {
    text: String,
    token_lives: Duration,
}

fn give_token(now: Duration, metadata: &InstanceMetadata, headers: &HeaderMap) -> Result<Said, Refusal> {
    if !metadata.enabled || headers.contains_key("x-forwarded-for") {
        return Err(Refusal(StatusCode::FORBIDDEN));
    }
    let token_lives = headers
        .get(TTL_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(token::life)
        .ok_or(Refusal(StatusCode::BAD_REQUEST))?;
    let token = Token {
        instance: metadata.id.clone(),
        expires: now + token_lives,
    };
    Ok(Said {
        text: token.to_string(),
        token_lives,
    })
}

fn read(
    now: Duration,
    metadata: &InstanceMetadata,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Said, Refusal> {
    if !metadata.enabled {
        return Err(Refusal(StatusCode::FORBIDDEN));
    }
    if method != Method::GET && method != Method::HEAD {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED));
    }
    let token_lives = headers
        .get(TOKEN_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<Token>().ok())
        .filter(|token| token.instance == metadata.id)
        .and_then(|token| token.expires.checked_sub(now))
        .filter(|left| !left.is_zero())
        .ok_or(Refusal(StatusCode::UNAUTHORIZED))?;
    let text = tree::of(metadata)
        .read(path)
        .ok_or(Refusal(StatusCode::NOT_FOUND))?;
    Ok(Said { text, token_lives })
}
