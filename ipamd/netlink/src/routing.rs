//! One rtnetlink socket in one network namespace, and the two shapes of a request: a change and a dump.
//!
//! Every method takes `&self`; requests of one socket are answered one after another, as the kernel does them anyway.
//! Strict checking is on, so filters of a dump are applied by the kernel, and unknown ones are refused instead of ignored.

pub(crate) mod address;
pub(crate) mod conf;
pub(crate) mod link;
pub(crate) mod link_change;
pub(crate) mod neighbour;
mod refusal;
pub(crate) mod route;
pub(crate) mod rule;
mod socket;
pub(crate) mod veth;

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;

use crate::error::Error;
use crate::netns;
use socket::{Hearing, RoutingSocket};

/// The dump was interrupted by a change (kernel, include/uapi/linux/netlink.h, `NLM_F_DUMP_INTR`).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// How often an interrupted dump is tried: tables change in bursts of microseconds, so a few are plenty.
const DUMP_ATTEMPTS: u32 = 8;

/// An open rtnetlink socket.
///
/// Dropping it closes the socket, which also lets go of the namespace. Lists: `links`, `addresses`, `routes`, `rules`,
/// `neighbours`. Changes: `add_*`, `replace_*`, `delete_*`, `change_link`, `create_veth`, `set_ipv4_conf`.
///
/// Methods are `async` because the kernel may hold a request up for milliseconds behind its one lock; they do hold the
/// thread meanwhile, as any system call does.
#[derive(Debug)]
pub struct Routing {
    socket: Mutex<RoutingSocket>,
}

impl Routing {
    /// A socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        let socket = RoutingSocket::open().map_err(|source| Error::Open {
            what: "rtnetlink",
            source,
        })?;
        Ok(Self {
            socket: Mutex::new(socket),
        })
    }

    /// A socket in `namespace`; the calling thread is back in its own when this returns.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses the socket.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        netns::inside(namespace, Self::open).map_err(|source| Error::Namespace {
            what: "rtnetlink",
            source,
        })?
    }

    /// Sends a change and waits for its acknowledgement.
    async fn change(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        attempt: impl Fn() -> String,
    ) -> Result<(), Error> {
        self.ask(message, NLM_F_REQUEST | NLM_F_ACK | flags, &attempt)
            .await
            .map(drop)
    }

    /// Asks for one thing by name or number.
    async fn get(
        &self,
        message: RouteNetlinkMessage,
        attempt: impl Fn() -> String,
    ) -> Result<Option<RouteNetlinkMessage>, Error> {
        let answer = self.ask(message, NLM_F_REQUEST | NLM_F_ACK, &attempt).await?;
        Ok(answer.messages.into_iter().next())
    }

    /// Asks for a list, again and again (bounded) until it came in one piece.
    async fn dump(
        &self,
        message: RouteNetlinkMessage,
        attempt: impl Fn() -> String,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let answer = self
                .ask(message.clone(), NLM_F_REQUEST | NLM_F_DUMP, &attempt)
                .await?;
            if !answer.interrupted {
                return Ok(answer.messages);
            }
        }
        Err(Error::Interrupted {
            attempt: attempt(),
            attempts: DUMP_ATTEMPTS,
        })
    }

    #[expect(
        clippy::unused_async,
        reason = "callers need not know that the kernel answers within the call"
    )]
    async fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        attempt: &impl Fn() -> String,
    ) -> Result<Answer, Error> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut answer = Answer::default();
        // A request that panicked left nothing behind: answers are told apart by their sequence.
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = socket.ask(request, |reply| answer.hear(reply, attempt));
        heard.map_err(|source| Error::Lost {
            attempt: attempt(),
            source,
        })?;
        match answer.refusal.take() {
            Some(refusal) => Err(refusal),
            None => Ok(answer),
        }
    }
}

/// What came back for one request.
#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
    refusal: Option<Error>,
}

impl Answer {
    fn hear(&mut self, reply: NetlinkMessage<RouteNetlinkMessage>, attempt: &impl Fn() -> String) -> Hearing {
        self.interrupted |= reply.header.flags & NLM_F_DUMP_INTR != 0;
        match reply.payload {
            NetlinkPayload::InnerMessage(message) => {
                self.messages.push(message);
                Hearing::More
            }
            NetlinkPayload::Error(error) => {
                self.refusal = error.code.map(|_| refusal::read(&error, attempt()));
                Hearing::Done
            }
            NetlinkPayload::Done(done) => {
                self.refusal = (done.code < 0).then(|| Error::Refused {
                    attempt: attempt(),
                    explained: String::new(),
                    errno: Errno::from_raw(-done.code),
                });
                Hearing::Done
            }
            _ => Hearing::More,
        }
    }
}
