//! Who reaches whom, and as whom it is seen.
//!
//! A [`Responder`] sits at an address in any network namespace and answers each TCP connection and UDP datagram with
//! one line: its name and the source address and port that it saw. [`ask`] asks one; [`matrix`] asks all of them from
//! everywhere at once. Sockets are opened by entering the namespace for a moment, so nothing runs there.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::AbortHandle;

/// Longest answer: a name, an address and a port.
const LINE_BYTES: usize = 512;

/// Largest datagram that is answered whole: what fits an IPv4 packet.
const DATAGRAM_BYTES: usize = 65_507;

/// Questions in flight at once in a [`matrix`]: enough to be quick, few enough for anybody's file limit.
const AT_ONCE: usize = 128;

/// Over what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// A connection.
    Tcp,
    /// A datagram.
    Udp,
}

/// What a responder said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its name.
    pub name: String,
    /// The source that it saw.
    pub seen: SocketAddr,
}

/// A question without an answer, or a socket that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace could not be entered.
    #[error("open a socket in another network namespace")]
    Namespace(#[source] netlink::netns::Error),
    /// A responder could not listen.
    #[error("answer at {address} as {name}")]
    Listen {
        /// Who.
        name: String,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The question could not be asked, or was refused.
    #[error("ask {target} by {protocol}")]
    Ask {
        /// Whom.
        target: SocketAddr,
        /// Over what.
        protocol: Protocol,
        /// Why.
        source: io::Error,
    },
    /// Nothing came back in time.
    #[error("ask {target} by {protocol}: no answer within {limit:?}")]
    Silence {
        /// Whom.
        target: SocketAddr,
        /// Over what.
        protocol: Protocol,
        /// How long was waited.
        limit: Duration,
    },
    /// Something else answers there.
    #[error("ask {target} by {protocol}: \"{line}\" is no responder's answer")]
    Nonsense {
        /// Whom.
        target: SocketAddr,
        /// Over what.
        protocol: Protocol,
        /// What came.
        line: String,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Answers at one address until dropped.
#[derive(Debug)]
pub struct Responder {
    tasks: [AbortHandle; 2],
}

impl Drop for Responder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Responder {
    /// Answers TCP and UDP at `address` in `namespace` as `name`, which holds no blanks.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the address is not free there.
    pub fn start(name: &str, namespace: BorrowedFd<'_>, address: SocketAddr) -> Result<Self, Error> {
        let sockets = netlink::netns::inside(namespace, || {
            let tcp = std::net::TcpListener::bind(address)?;
            let udp = std::net::UdpSocket::bind(address)?;
            tcp.set_nonblocking(true)?;
            udp.set_nonblocking(true)?;
            Ok((TcpListener::from_std(tcp)?, UdpSocket::from_std(udp)?))
        });
        let (tcp, udp) = sockets
            .map_err(Error::Namespace)?
            .map_err(|source| Error::Listen {
                name: name.to_owned(),
                address,
                source,
            })?;
        let name: Arc<str> = name.into();
        Ok(Self {
            tasks: [
                tokio::spawn(answer_connections(tcp, Arc::clone(&name))).abort_handle(),
                tokio::spawn(answer_datagrams(udp, name)).abort_handle(),
            ],
        })
    }
}

async fn answer_connections(listener: TcpListener, name: Arc<str>) {
    // An accept that fails is the asker's trouble (it hung up); the listener stays.
    loop {
        if let Ok((mut stream, seen)) = listener.accept().await {
            let line = line(&name, seen);
            tokio::spawn(async move { stream.write_all(line.as_bytes()).await });
        }
    }
}

async fn answer_datagrams(socket: UdpSocket, name: Arc<str>) {
    let mut datagram = vec![0; DATAGRAM_BYTES];
    loop {
        if let Ok((_, seen)) = socket.recv_from(&mut datagram).await {
            // Whether the answer arrives is what the asker is there to find out.
            drop(socket.send_to(line(&name, seen).as_bytes(), seen).await);
        }
    }
}

fn line(name: &str, seen: SocketAddr) -> String {
    format!("{name} {} {}\n", seen.ip(), seen.port())
}

impl FromStr for Answer {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split_whitespace();
        let (Some(name), Some(ip), Some(port)) = (words.next(), words.next(), words.next()) else {
            return Err(());
        };
        Ok(Self {
            name: name.to_owned(),
            seen: SocketAddr::new(ip.parse().map_err(|_| ())?, port.parse().map_err(|_| ())?),
        })
    }
}

/// A question to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Over what.
    pub protocol: Protocol,
    /// Whom.
    pub target: SocketAddr,
    /// With which source; the kernel's choice when none.
    pub source: Option<IpAddr>,
    /// How long to wait for the answer.
    pub limit: Duration,
    /// How many bytes a datagram carries.
    pub bytes: usize,
}

impl Question {
    /// A small question with the source that the kernel chooses.
    #[must_use]
    pub fn new(protocol: Protocol, target: SocketAddr, limit: Duration) -> Self {
        Self {
            protocol,
            target,
            source: None,
            limit,
            bytes: 1,
        }
    }

    /// The same with a source.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }
}

/// Asks from within `namespace`.
///
/// # Errors
/// When the question cannot be asked, is refused, or is not answered in time.
pub async fn ask(namespace: BorrowedFd<'_>, question: &Question) -> Result<Answer, Error> {
    let Question {
        protocol,
        target,
        limit,
        ..
    } = *question;
    let failed = |source| Error::Ask {
        target,
        protocol,
        source,
    };
    let line = match protocol {
        Protocol::Tcp => {
            let socket = netlink::netns::inside(namespace, || tcp(question)).map_err(Error::Namespace)?;
            tokio::time::timeout(limit, converse(socket.map_err(failed)?, target)).await
        }
        Protocol::Udp => {
            let socket = netlink::netns::inside(namespace, || udp(question)).map_err(Error::Namespace)?;
            let socket = socket.and_then(UdpSocket::from_std).map_err(failed)?;
            tokio::time::timeout(limit, exchange(socket, question)).await
        }
    };
    let silence = |_| Error::Silence {
        target,
        protocol,
        limit,
    };
    let line = line.map_err(silence)?.map_err(failed)?;
    line.parse().map_err(|()| Error::Nonsense {
        target,
        protocol,
        line,
    })
}

fn tcp(question: &Question) -> io::Result<TcpSocket> {
    let socket = match question.target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = question.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

fn udp(question: &Question) -> io::Result<std::net::UdpSocket> {
    let any = match question.target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = std::net::UdpSocket::bind(SocketAddr::new(question.source.unwrap_or(any), 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn converse(socket: TcpSocket, target: SocketAddr) -> io::Result<String> {
    let stream: TcpStream = socket.connect(target).await?;
    let mut line = String::new();
    let limit = u64::try_from(LINE_BYTES).unwrap_or(u64::MAX);
    stream.take(limit).read_to_string(&mut line).await?;
    Ok(line)
}

async fn exchange(socket: UdpSocket, question: &Question) -> io::Result<String> {
    socket.connect(question.target).await?;
    socket.send(&vec![b'?'; question.bytes]).await?;
    let mut line = vec![0; LINE_BYTES];
    let length = socket.recv(&mut line).await?;
    line.truncate(length);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Somewhere that asks and is asked.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its responder's name.
    pub name: String,
    /// Where it is.
    pub namespace: Arc<OwnedFd>,
    /// Where its responder listens.
    pub address: SocketAddr,
}

/// One question of a [`matrix`] and what came of it.
#[derive(Debug)]
pub struct Cell {
    /// Who asked.
    pub from: String,
    /// Who was asked.
    pub to: String,
    /// Over what.
    pub protocol: Protocol,
    /// Who answered and what it saw.
    pub result: Result<Answer, Error>,
}

/// Asks every place from every other, by TCP and UDP.
pub async fn matrix(places: &[Place], limit: Duration) -> Vec<Cell> {
    let mut questions = Vec::with_capacity(places.len() * places.len() * 2);
    for from in places {
        for to in places.iter().filter(|to| to.name != from.name) {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                questions.push(cell(from.clone(), to.clone(), protocol, limit));
            }
        }
    }
    futures::stream::iter(questions)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn cell(from: Place, to: Place, protocol: Protocol, limit: Duration) -> Cell {
    let question = Question::new(protocol, to.address, limit);
    Cell {
        result: ask(from.namespace.as_fd(), &question).await,
        from: from.name,
        to: to.name,
        protocol,
    }
}
