//! Asks the owner of the ledger, for every service alike.

use std::time::Duration;

use ipamd_core::ledger::{AddRequest, Lease};
use tokio::sync::{mpsc, oneshot};

use crate::daemon::{Message, Refusal};

/// How long an ADD may wait for an address: below the shim's own deadline of 65 s, so that the shim hears why.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The way to the owner.
#[derive(Clone)]
pub(super) struct Owner(mpsc::Sender<Message>);

impl Owner {
    pub(super) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self(messages)
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0.send(message(reply)).await.map_err(|_| Refusal::Ending)?;
        answer.await.map_err(|_| Refusal::Ending)
    }

    /// Asks for an address and waits for it, as long as an ADD may.
    pub(super) async fn add(&self, request: AddRequest) -> Result<Lease, Refusal> {
        let guard = GaveUp(Some(self.0.clone()));
        let ask = self.ask(|reply| Message::Add { request, reply });
        let lease = match tokio::time::timeout(LONGEST_WAIT, ask).await {
            Ok(answer) => answer??,
            Err(_) => return Err(Refusal::WaitedTooLong { waited: LONGEST_WAIT }),
        };
        guard.disarm();
        Ok(lease)
    }
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
