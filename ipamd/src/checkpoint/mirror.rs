//! The thread that keeps the peer's files up to date, behind the journal and off the path of an ADD.
//!
//! Before a file has a new content the journal knows its digest; so a file whose digest it does not know was written by
//! somebody else.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hostnet::failpoint::{self, Step};
use tokio::sync::{mpsc, oneshot};

use super::{Change, Sheets};
use crate::daemon::Message;

/// Between two writes: a burst of pods is one write, and whoever reads the file sees the last tenth of a second late.
const BETWEEN: Duration = Duration::from_millis(100);

/// Between two tries where the disk refuses, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The thread that writes the files.
#[derive(Debug)]
pub(crate) struct Mirror {
    changes: Sender<Change>,
    thread: JoinHandle<Sheets>,
}

impl Mirror {
    /// Starts it; what the sheets hold is written at once.
    pub(crate) fn start(sheets: Sheets, messages: mpsc::Sender<Message>) -> Self {
        let (changes, inbox) = channel();
        let task = Task {
            sheets,
            inbox,
            messages,
        };
        let thread = std::thread::spawn(move || task.run());
        Self { changes, thread }
    }

    /// Notes a change, which is in the journal or will be before a file shows it.
    pub(crate) fn note(&self, change: Change) {
        // The thread ends with the daemon only.
        let _ = self.changes.send(change);
    }

    /// Ends it, once nobody answers its questions any more; what was not written is still to be.
    pub(crate) fn end(self) -> Option<Sheets> {
        drop(self.changes);
        self.thread.join().ok()
    }
}

struct Task {
    sheets: Sheets,
    inbox: Receiver<Change>,
    messages: mpsc::Sender<Message>,
}

/// Why a write did not happen.
enum Failure {
    Ended,
    Refused(String),
}

impl Task {
    fn run(mut self) -> Sheets {
        let mut pause = FIRST_PAUSE;
        loop {
            let rest = match self.write() {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    BETWEEN
                }
                Err(Failure::Ended) => return self.finish(),
                Err(Failure::Refused(error)) => {
                    let path = self.sheets.base.display();
                    tracing::error!(%path, error, "the checkpoint file cannot be written; it is tried again");
                    let rest = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    rest
                }
            };
            if !self.hear_for(rest) || !self.await_stale() {
                return self.finish();
            }
        }
    }

    /// Takes changes for so long; says whether the daemon goes on.
    fn hear_for(&mut self, rest: Duration) -> bool {
        let end = Instant::now() + rest;
        loop {
            match self
                .inbox
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(change) => self.sheets.apply(change),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Waits until there is something to write.
    fn await_stale(&mut self) -> bool {
        while !self.sheets.is_stale() {
            match self.inbox.recv() {
                Ok(change) => self.sheets.apply(change),
                Err(_) => return false,
            }
        }
        while let Ok(change) = self.inbox.try_recv() {
            self.sheets.apply(change);
        }
        true
    }

    fn write(&mut self) -> Result<(), Failure> {
        let fresh = self
            .sheets
            .stale()
            .map_err(|error| Failure::Refused(error.to_string()))?;
        let (reply, answer) = oneshot::channel();
        let digests = fresh.values().map(|fresh| fresh.digest.clone()).collect();
        let asked = self
            .messages
            .blocking_send(Message::Checkpoint { digests, reply });
        let recorded = asked.ok().and_then(|()| answer.blocking_recv().ok());
        match recorded {
            None => return Err(Failure::Ended),
            Some(false) => return Err(Failure::Refused("the journal cannot be written".to_owned())),
            Some(true) => {}
        }
        failpoint::reach(Step::CheckpointIntended);
        self.sheets
            .write(fresh)
            .map_err(|error| Failure::Refused(error.to_string()))?;
        let written = Message::CheckpointWritten(self.sheets.digests());
        self.messages.blocking_send(written).map_err(|_| Failure::Ended)
    }

    /// Everything that was told, for the last write.
    fn finish(mut self) -> Sheets {
        while let Ok(change) = self.inbox.recv() {
            self.sheets.apply(change);
        }
        self.sheets
    }
}
