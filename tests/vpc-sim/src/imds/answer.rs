//! How metadata answers look on the wire.

use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;

use super::{Said, TTL_HEADER};

/// A refusal: metadata says no more than the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode);

pub(super) fn build(result: Result<Said, Refusal>) -> Result<Response<Full<Bytes>>, http::Error> {
    let response = Response::builder().header(header::SERVER, "EC2ws");
    match result {
        Ok(said) => response
            .header(header::CONTENT_TYPE, "text/plain")
            .header(TTL_HEADER, said.token_lives.as_secs())
            .body(Full::new(Bytes::from(said.text))),
        Err(Refusal(status)) => response
            .status(status)
            .header(header::CONTENT_TYPE, "text/html")
            .body(Full::new(Bytes::from(page(status)))),
    }
}

fn page(status: StatusCode) -> String {
    let title = format!(
        "{} - {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error")
    );
    format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n")
}
