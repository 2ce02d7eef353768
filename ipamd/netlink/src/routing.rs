//! One rtnetlink socket in one network namespace, and the two shapes of a request: a change and a dump.
//!
//! Several requests may be in flight at once: every method takes `&self`. Strict checking is on, so filters of a dump
//! are applied by the kernel, and unknown ones are refused instead of ignored.

pub(crate) mod address;
pub(crate) mod conf;
pub(crate) mod link;
pub(crate) mod link_change;
pub(crate) mod neighbour;
mod refusal;
pub(crate) mod route;
pub(crate) mod rule;
pub(crate) mod veth;

use std::os::fd::BorrowedFd;

use futures::StreamExt;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, TokioSocket};
use nix::errno::Errno;
use rtnetlink::Handle;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::netns;

/// The dump was interrupted by a change (kernel, include/uapi/linux/netlink.h, `NLM_F_DUMP_INTR`).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// How often an interrupted dump is tried: tables change in bursts of microseconds, so a few are plenty.
const DUMP_ATTEMPTS: u32 = 8;

/// An open rtnetlink socket.
///
/// Making one needs a tokio runtime (either flavour); dropping it closes the socket, which also lets go of the
/// namespace. Lists: `links`, `addresses`, `routes`, `rules`, `neighbours`. Changes: `add_*`, `replace_*`, `delete_*`,
/// `change_link`, `create_veth`, `set_ipv4_conf`.
#[derive(Debug)]
pub struct Routing {
    handle: Handle,
    driver: AbortHandle,
}

impl Drop for Routing {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Routing {
    /// A socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        let socket = socket().map_err(|source| Error::Open {
            what: "rtnetlink",
            source,
        })?;
        let (mut connection, handle, _) = rtnetlink::from_socket(socket);
        // Otherwise an acknowledgement, the end of a list and the death of the connection would look the same.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Self { handle, driver })
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

    async fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
        attempt: &impl Fn() -> String,
    ) -> Result<Answer, Error> {
        let closed = || Error::Closed { attempt: attempt() };
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let mut replies = self.handle.clone().request(request).map_err(|_| closed())?;
        let mut answer = Answer::default();
        while let Some(reply) = replies.next().await {
            answer.interrupted |= reply.header.flags & NLM_F_DUMP_INTR != 0;
            match reply.payload {
                NetlinkPayload::InnerMessage(message) => answer.messages.push(message),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(answer),
                        Some(_) => Err(refusal::read(&error, attempt())),
                    };
                }
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(Error::Refused {
                        attempt: attempt(),
                        explained: String::new(),
                        errno: Errno::from_raw(-done.code),
                    });
                }
                NetlinkPayload::Done(_) => return Ok(answer),
                _ => {}
            }
        }
        Err(closed())
    }
}

/// What came back for one request.
#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

/// Makes the socket say why it refuses (extended acknowledgement) without echoing our own bytes (capped), and check
/// dump requests strictly.
fn socket() -> std::io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    let inner = socket.socket_mut();
    inner.set_cap_ack(true)?;
    inner.set_ext_ack(true)?;
    inner.set_netlink_get_strict_chk(true)?;
    Ok(socket)
}
