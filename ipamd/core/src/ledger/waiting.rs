//! The line of requests that wait for an address: first come, first served, bounded by the caller.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::AddRequest;
use crate::id::AttachmentKey;
use crate::moment::Moment;

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingAdd {
    /// Its place.
    pub ticket: Ticket,
    /// What it asks for.
    pub request: AddRequest,
    /// Since when it waits.
    pub since: Moment,
}

/// The line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Waiting {
    line: VecDeque<WaitingAdd>,
    last: u64,
}

impl Waiting {
    /// Joins the line at its end.
    pub fn push(&mut self, request: AddRequest, now: Moment) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.line.push_back(WaitingAdd {
            ticket,
            request,
            since: now,
        });
        ticket
    }

    /// Takes the first out of the line.
    pub fn pop(&mut self) -> Option<WaitingAdd> {
        self.line.pop_front()
    }

    /// Takes every request of an attachment out of the line: they are answered alike.
    pub fn take(&mut self, key: &AttachmentKey) -> VecDeque<WaitingAdd> {
        let (taken, left) = self
            .line
            .drain(..)
            .partition(|waiting| waiting.request.key == *key);
        self.line = left;
        taken
    }

    /// Takes one out of the line, wherever it is.
    pub fn remove(&mut self, ticket: Ticket) {
        self.line.retain(|waiting| waiting.ticket != ticket);
    }

    /// Takes every request of an attachment out of the line: it was deleted.
    pub fn forget(&mut self, key: &AttachmentKey) {
        self.line.retain(|waiting| waiting.request.key != *key);
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Those that wait, first first.
    pub fn iter(&self) -> impl Iterator<Item = &WaitingAdd> {
        self.line.iter()
    }
}
