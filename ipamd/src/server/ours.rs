//! Our own service: translation only.

use ipamd_core::id::{AttachmentKey, Pod};
use ipamd_core::ledger::AddRequest;
use proto::v1;
use proto::v1::ipam_server::Ipam;
use tokio::sync::oneshot;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

use super::ask::Owner;
use crate::daemon::{Checked, Message, Refusal};

/// The service behind the socket.
pub(super) struct Service {
    owner: Owner,
    network_policy_mode: String,
}

impl Service {
    pub(super) fn new(owner: Owner, network_policy_mode: String) -> Self {
        Self {
            owner,
            network_policy_mode,
        }
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Status> {
        self.owner.ask(message).await.map_err(|refusal| refused(&refusal))
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
        let lease = self
            .owner
            .add(request)
            .await
            .map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(v1::AddReply {
            wiring: Some((&lease.wiring).into()),
            network_policy_mode: self.network_policy_mode.clone(),
        }))
    }

    async fn del(&self, request: Request<v1::DelRequest>) -> Result<Response<v1::DelReply>, Status> {
        let key = key(request.into_inner().attachment)?;
        let lease = self
            .ask(|reply| Message::Del { key, reply })
            .await?
            .map_err(|refusal| refused(&refusal))?;
        // The policy agent has nothing to forget of a pod that nobody knows.
        let mode = lease.as_ref().map(|_| self.network_policy_mode.clone());
        Ok(Response::new(v1::DelReply {
            wiring: lease.map(|lease| (&lease.wiring).into()),
            network_policy_mode: mode.unwrap_or_default(),
        }))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckReply>, Status> {
        let key = key(request.into_inner().attachment)?;
        let Checked { wiring, problems } = self.ask(|reply| Message::Check { key, reply }).await?;
        Ok(Response::new(v1::CheckReply {
            wiring: wiring.as_ref().map(Into::into),
            problems,
        }))
    }

    async fn gc(&self, request: Request<v1::GcRequest>) -> Result<Response<v1::GcReply>, Status> {
        let known = proto::known(request.into_inner()).map_err(|fault| invalid(&fault))?;
        let stale = self
            .ask(|reply| Message::Gc { known, reply })
            .await?
            .map_err(|refusal| refused(&refusal))?;
        let stale = stale.iter().map(|(key, wiring)| v1::Stale {
            attachment: Some(key.into()),
            wiring: Some(wiring.into()),
        });
        Ok(Response::new(v1::GcReply {
            stale: stale.collect(),
        }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let told = self.ask(|reply| Message::Status { reply }).await?;
        let ready = told.is_none();
        let (reason, impaired) = told.map(|told| (told.reason, told.impaired)).unwrap_or_default();
        Ok(Response::new(v1::StatusReply {
            ready,
            reason,
            impaired,
        }))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        let dump = self.ask(|reply| Message::Explain { reply }).await?;
        let told = dump.explain();
        let json = |written: Result<String, serde_json::Error>| {
            written.map_err(|error| Status::internal(format!("write the explanation as JSON: {error}")))
        };
        Ok(Response::new(v1::ExplainReply {
            text: told.to_string(),
            json: json(serde_json::to_string_pretty(&told))?,
            dump: json(serde_json::to_string(&dump))?,
        }))
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
