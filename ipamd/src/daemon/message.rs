//! What the daemon's one task is told, and how it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::checkpoint::Digest;
use ipamd_core::explain::Dump;
use ipamd_core::id::{AttachmentKey, EniId};
use ipamd_core::ledger::hint::Hint;
use ipamd_core::ledger::stale::Known;
use ipamd_core::ledger::{AddRequest, Lease, NotAdded};
use ipamd_core::moment::Moment;
use ipamd_core::net::eni::Place;
use ipamd_core::net::notice::Notice;
use ipamd_core::net::pod::PodWiring;
use ipamd_core::snapshot::Node;
use tokio::sync::oneshot;

use crate::kernel::Pass;
use crate::kernel::keeper::Wish;

/// Answers an ADD.
pub(crate) type AddReply = oneshot::Sender<Result<Lease, Refusal>>;
/// Answers a DEL with what was on record.
pub(crate) type DelReply = oneshot::Sender<Result<Option<Lease>, Refusal>>;
/// Answers a GC with what was taken back.
pub(crate) type GcReply = oneshot::Sender<Result<Vec<(AttachmentKey, PodWiring)>, Refusal>>;

/// What is on record for an attachment, and what of the node's network is not as pods need it.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) wiring: Option<PodWiring>,
    pub(crate) problems: Vec<String>,
}

/// Why no ADD could be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotReady {
    /// One sentence with the next step.
    pub(crate) reason: String,
    /// Pods that are there may have lost their network, too.
    pub(crate) impaired: bool,
}

/// What the peer's plugin and policy agent are told of the node.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The node, once known.
    pub(crate) node: Option<Node>,
    /// Where ENIs are attached.
    pub(crate) places: BTreeMap<EniId, Place>,
}

/// Something that happened, or that somebody asks.
#[derive(Debug)]
pub(crate) enum Message {
    /// An attachment wants an address.
    Add { request: AddRequest, reply: AddReply },
    /// An attachment goes.
    Del { key: AttachmentKey, reply: DelReply },
    /// What is on record for an attachment?
    Check {
        key: AttachmentKey,
        reply: oneshot::Sender<Checked>,
    },
    /// Which attachments of a network the runtime knows; all others go.
    Gc { known: Known, reply: GcReply },
    /// Could an ADD be served? The answer is why not.
    Status {
        reply: oneshot::Sender<Option<NotReady>>,
    },
    /// Where is the node and what does it have?
    Facts { reply: oneshot::Sender<Facts> },
    /// What do you see, want and wait for?
    Explain { reply: oneshot::Sender<Box<Dump>> },
    /// The peer's files are about to have contents with these digests; answered once the journal says so.
    Checkpoint {
        digests: Vec<Digest>,
        reply: oneshot::Sender<bool>,
    },
    /// The peer's files have these contents, and no other.
    CheckpointWritten(BTreeSet<Digest>),
    /// Somebody who waited may have gone.
    CallerGone,
    /// The node's facts, and what metadata listed of its ENIs in a look that began then.
    Node(Box<Node>, Hint, Moment),
    /// A call came back.
    Outcome {
        action: Action,
        outcome: Result<Effect, Fault>,
    },
    /// The kernel forgot the connections of these addresses.
    Forgotten(BTreeSet<IpAddr>),
    /// The node's network changed.
    KernelChanged(Notice),
    /// The node's network was looked at: what should it be like now? Nothing, until the node is known.
    KernelSeen { reply: oneshot::Sender<Option<Wish>> },
    /// It was made so.
    KernelMade(Result<Pass, hostnet::Error>),
    /// The termination signal.
    Terminate,
}

/// Why somebody is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot even wait.
    #[error(transparent)]
    NotAdded(#[from] NotAdded),
    /// It waited as long as it may.
    #[error("no address became free within {} s", .waited.as_secs())]
    WaitedTooLong {
        /// How long.
        waited: Duration,
    },
    /// It was deleted while it waited.
    #[error("the attachment was deleted while it waited for an address")]
    Deleted,
    /// The record cannot be made durable.
    #[error("the journal cannot be written")]
    JournalFailed,
    /// The daemon ends.
    #[error("the daemon is ending")]
    Ending,
}

impl Refusal {
    /// The stable code, from 100 on: CNI reserves those below.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::NotAdded(NotAdded::NodeUnknown) => 101,
            Self::NotAdded(NotAdded::QueueFull { .. }) => 102,
            Self::NotAdded(NotAdded::Name(_)) => 103,
            Self::WaitedTooLong { .. } => 104,
            Self::JournalFailed => 105,
            Self::Ending => 106,
            Self::Deleted => 107,
        }
    }

    /// Whether it passes by itself, so that trying again is right.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::NotAdded(NotAdded::Name(_)))
    }

    /// What the operator can do.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::NotAdded(NotAdded::NodeUnknown) => {
                "wait for instance metadata, or see why ipamd cannot read it in its log"
            }
            Self::NotAdded(NotAdded::QueueFull { .. }) => {
                "schedule fewer pods on this node, or lower its max-pods"
            }
            Self::NotAdded(NotAdded::Name(_)) => "check AWS_VPC_K8S_CNI_VETHPREFIX",
            Self::WaitedTooLong { .. } => "ask `ipamd explain` what the node waits for",
            Self::JournalFailed => "make room or mend the disk below /var/run/aws-node",
            Self::Ending => "it is tried again once the daemon is back",
            Self::Deleted => "nothing: whoever deleted it does not want it any more",
        }
    }
}
