//! Our own service: translation only.

use std::time::Duration;

use ipamd_core::id::{AttachmentKey, Pod};
use ipamd_core::ledger::AddRequest;
use proto::v1;
use proto::v1::ipam_server::Ipam;
use tokio::sync::{mpsc, oneshot};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

use crate::daemon::{Message, Refusal};

/// How long an ADD may wait for an address: below the shim's own deadline of 65 s, so that the shim hears why.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The service behind the socket.
pub(super) struct Service {
    messages: mpsc::Sender<Message>,
}

impl Service {
    pub(super) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self { messages }
    }

    /// Asks the daemon and waits for its answer.
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let gone = || refused(&Refusal::Ending);
        self.messages.send(message(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

#[tonic::async_trait]
impl Ipam for Service {
    async fn add(&self, request: Request<v1::AddRequest>) -> Result<Response<v1::AddReply>, Status> {
        let v1::AddRequest {
            attachment,
            pod,
            netns,
        } = request.into_inner();
        let pod: Pod = pod
            .unwrap_or_default()
            .try_into()
            .map_err(|fault| invalid(&fault))?;
        let request = AddRequest {
            key: key(attachment)?,
            pod,
            netns,
        };
        let guard = GaveUp(Some(self.messages.clone()));
        let ask = self.ask(|reply| Message::Add { request, reply });
        let lease = match tokio::time::timeout(LONGEST_WAIT, ask).await {
            Ok(answer) => answer?,
            Err(_) => Err(Refusal::WaitedTooLong { waited: LONGEST_WAIT }),
        };
        let lease = lease.map_err(|refusal| refused(&refusal))?;
        guard.disarm();
        Ok(Response::new(v1::AddReply {
            wiring: Some((&lease.wiring).into()),
        }))
    }

    async fn del(&self, request: Request<v1::DelRequest>) -> Result<Response<v1::DelReply>, Status> {
        let key = key(request.into_inner().attachment)?;
        let wiring = self
            .ask(|reply| Message::Del { key, reply })
            .await?
            .map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(v1::DelReply {
            wiring: wiring.as_ref().map(Into::into),
        }))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckReply>, Status> {
        let key = key(request.into_inner().attachment)?;
        let wiring = self.ask(|reply| Message::Check { key, reply }).await?;
        Ok(Response::new(v1::CheckReply {
            wiring: wiring.as_ref().map(Into::into),
        }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let reason = self.ask(|reply| Message::Status { reply }).await?;
        Ok(Response::new(v1::StatusReply {
            ready: reason.is_none(),
            reason: reason.unwrap_or_default(),
        }))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        let text = self.ask(|reply| Message::Explain { reply }).await?;
        Ok(Response::new(v1::ExplainReply { text }))
    }
}

fn key(attachment: Option<v1::Attachment>) -> Result<AttachmentKey, Status> {
    let missing = proto::ConvertError::Missing { field: "attachment" };
    attachment
        .ok_or(missing)
        .and_then(TryInto::try_into)
        .map_err(|fault| invalid(&fault))
}

fn invalid(fault: &proto::ConvertError) -> Status {
    let cause = std::error::Error::source(fault)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Status::invalid_argument(format!("{fault}{cause}"))
}

/// A refusal with its stable code and next step, for the shim to pass on.
fn refused(refusal: &Refusal) -> Status {
    let code = if refusal.is_transient() {
        Code::Unavailable
    } else {
        Code::FailedPrecondition
    };
    let mut status = Status::new(code, refusal.to_string());
    let metadata = status.metadata_mut();
    metadata.insert(proto::CODE, MetadataValue::from(refusal.code()));
    if let Ok(next) = MetadataValue::try_from(refusal.next_step()) {
        metadata.insert(proto::NEXT_STEP, next);
    }
    status
}

/// Tells the daemon that a caller may have gone away, unless it was answered.
struct GaveUp(Option<mpsc::Sender<Message>>);

impl GaveUp {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for GaveUp {
    fn drop(&mut self) {
        if let Some(messages) = &self.0 {
            // With a full queue the daemon is about to look at everything anyway.
            let _ = messages.try_send(Message::CallerGone);
        }
    }
}
