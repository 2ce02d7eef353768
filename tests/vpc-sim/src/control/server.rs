//! The answering side: what a run does when it is asked.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixCredentials, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::faults::Faults;
use super::ping;
use super::pods::Pods;
use super::{Answer, DropLine, NodeLine, Request};
use crate::cloud::CloudGone;
use crate::fabric::Drop as FabricDrop;
use crate::holder::role::chain;
use crate::pod::Plugin;
use crate::probe::{self, Responder};
use crate::story::Story;
use crate::vpc::machine::Machine;
use crate::vpc::{self, PROBE_PORT, Vpc};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no node named {node}; there are {nodes}")]
    NoNode { node: String, nodes: String },
    #[error(transparent)]
    Pod(#[from] super::pods::Error),
    #[error(transparent)]
    Ping(#[from] ping::Error),
    #[error(transparent)]
    Fault(#[from] super::faults::Error),
    #[error(transparent)]
    Vpc(#[from] vpc::Error),
    #[error(transparent)]
    Cloud(#[from] CloudGone),
    #[error("understand the request: {0}; this run is of another version of vpc-sim than whoever asks")]
    Request(serde_json::Error),
}

/// A running VPC with all that the command can do to it.
#[derive(Debug)]
pub struct Console {
    pub(super) vpc: Vpc,
    pub(super) story: Story,
    pub(super) pods: Pods,
    faults: Faults,
    down: Notify,
    _responders: Vec<Responder>,
}

impl Console {
    /// A console for this VPC, whose pods are wired by this plugin. Nodes begin to answer pings.
    ///
    /// # Errors
    /// When a node's echo port is taken.
    pub fn new(vpc: Vpc, plugin: Option<Plugin>, story: Story) -> Result<Self, probe::Error> {
        let responders = vpc.machines().iter().map(|(name, machine)| {
            let address = (machine.primary(), PROBE_PORT).into();
            Responder::start(name, machine.node().network(), address)
        });
        Ok(Self {
            _responders: responders.collect::<Result<_, _>>()?,
            vpc,
            story,
            pods: Pods::new(plugin),
            faults: Faults::default(),
            down: Notify::new(),
        })
    }

    /// The VPC.
    #[must_use]
    pub fn vpc(&self) -> &Vpc {
        &self.vpc
    }

    /// Answers whoever connects, until somebody asks for the end.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        let accept = async {
            loop {
                // A client that hung up before it was accepted is no trouble of the run's.
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(Arc::clone(&self).converse(stream));
                }
            }
        };
        tokio::select! {
            () = self.down.notified() => {}
            () = accept => {}
        }
    }

    /// A client that stops reading is left alone; what it asked for has happened.
    async fn converse(self: Arc<Self>, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while matches!(stream.read_line(&mut line).await, Ok(length) if length > 0) {
            let request = serde_json::from_str(&line).map_err(Refusal::Request);
            let is_last = matches!(request, Ok(Request::Down));
            let answer = match request {
                Ok(request) => self.answer(request).await,
                Err(refusal) => Err(refusal),
            };
            let (answer, process) = answer.unwrap_or_else(|refusal| {
                let reason = chain(&refusal);
                (Answer::Refused { reason }, None)
            });
            let sent = send(stream.get_mut(), &answer, process).await;
            if is_last {
                self.down.notify_one();
            }
            if sent.is_err() {
                return;
            }
            line.clear();
        }
    }

    /// The answer, and the process that it should seem to come from.
    async fn answer(&self, request: Request) -> Result<(Answer, Option<u32>), Refusal> {
        let answer = match request {
            Request::Enter { node } => {
                let machine = self.machine(&node)?;
                let env = machine.env().clone();
                return Ok((Answer::Enter { env }, Some(machine.node().holder())));
            }
            Request::Nodes => self.nodes().await,
            Request::PodAdd { node, pod } => {
                self.pods
                    .add(self.story, &node, self.machine(&node)?, pod)
                    .await?
            }
            Request::PodDel { node, pod } => {
                self.pods
                    .del(self.story, &node, self.machine(&node)?, pod)
                    .await?
            }
            Request::PodList => self.pods.list().await,
            Request::Ping { from, to } => Answer::Ping(ping::ping(self, &from, &to).await?),
            Request::Drops => Answer::Drops {
                drops: self.explain(&self.vpc.drops().await?),
            },
            Request::FaultList => self.faults.list(self.vpc.cloud()).await?,
            Request::FaultAdd(fault) => self.faults.add(self.vpc.cloud(), fault).await?,
            Request::FaultEnd { id } => self.faults.end(self.vpc.cloud(), id).await?,
            Request::Down => Answer::Done,
        };
        Ok((answer, None))
    }

    fn machine(&self, node: &str) -> Result<&Machine, Refusal> {
        let machines = self.vpc.machines();
        machines.get(node).ok_or_else(|| Refusal::NoNode {
            node: node.to_owned(),
            nodes: machines.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    async fn nodes(&self) -> Answer {
        let mut nodes = Vec::new();
        for (name, machine) in self.vpc.machines() {
            nodes.push(NodeLine {
                name: name.clone(),
                instance: machine.instance().to_string(),
                address: machine.primary(),
                public: self.public_address(machine),
                has_ipamd: machine.ipamd_process().await.is_some(),
            });
        }
        Answer::Nodes { nodes }
    }

    /// By which the internet sees a node.
    pub(super) fn public_address(&self, machine: &Machine) -> Option<std::net::Ipv4Addr> {
        let views = self.vpc.cloud().kernel_view();
        let view = views.borrow();
        view.enis
            .values()
            .find_map(|eni| eni.public.get(&machine.primary()))
            .copied()
    }

    /// Drops as they are told, with the node that each ENI is attached to now.
    pub(super) fn explain(&self, drops: &[FabricDrop]) -> Vec<DropLine> {
        let views = self.vpc.cloud().kernel_view();
        let view = views.borrow();
        let node = |drop: &FabricDrop| {
            let instance = &view.enis.get(&drop.eni)?.instance;
            let mut machines = self.vpc.machines().iter();
            machines
                .find(|(_, machine)| machine.instance() == instance)
                .map(|(name, _)| name.clone())
        };
        let lines = drops.iter().map(|drop| DropLine {
            eni: drop.eni.to_string(),
            node: node(drop),
            reason: drop.reason.word().to_owned(),
            packets: drop.packets,
            explanation: drop.reason.explain().to_owned(),
        });
        lines.collect()
    }
}

/// Sends an answer as from the process that is named, which the kernel allows to the root of a process namespace.
async fn send(stream: &mut UnixStream, answer: &Answer, process: Option<u32>) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let Some(process) = process else {
        return stream.write_all(&line).await;
    };
    let own = UnixCredentials::new();
    let named = UnixCredentials::from(libc::ucred {
        pid: process.cast_signed(),
        uid: own.uid(),
        gid: own.gid(),
    });
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let told = [ControlMessage::ScmCredentials(&named)];
            let bytes = [IoSlice::new(&line)];
            Ok(sendmsg::<()>(
                stream.as_raw_fd(),
                &bytes,
                &told,
                MsgFlags::empty(),
                None,
            )?)
        })
        .await?;
    stream.write_all(line.get(sent..).unwrap_or_default()).await
}
