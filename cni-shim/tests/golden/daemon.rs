//! A stand-in for the daemon: answers as it is told, and notes what it was asked.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ipamd_core::id::{AttachmentKey, Pod};
use ipamd_core::net::diff::NetOp;
use ipamd_core::net::pod::{self, Leg, PodWiring, WiringFacts};
use proto::v1;
use proto::v1::ipam_server::{Ipam, IpamServer};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

/// The node's address.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);

/// What the daemon is told to answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This wiring.
    Wiring(PodWiring),
    /// Nothing is on record.
    Nothing,
    /// This wiring, and the policy agent must be told in this mode.
    Policed(PodWiring, &'static str),
    /// This is stale.
    Stale(Vec<PodWiring>),
    /// This wiring, and that is wrong with the node.
    Problem(PodWiring, &'static str),
    /// Pods can be served.
    Ready,
    /// No pod can be served, for this reason; pods that are there may suffer.
    NotReady(&'static str, bool),
    /// No, with a stable code and the next step.
    Refusal(Code, u32, &'static str, &'static str),
}

#[derive(Debug)]
struct Heart {
    answer: Answer,
    asked: Vec<String>,
}

/// Ends when dropped.
pub(crate) struct Daemon {
    heart: Arc<Mutex<Heart>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Serves the example's wiring on a node that has its address.
    pub(crate) fn serve() -> Self {
        let heart = Arc::new(Mutex::new(Heart {
            answer: Answer::Wiring(wiring()),
            asked: Vec::new(),
        }));
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let service = Service(heart.clone());
        let thread = std::thread::spawn(move || {
            block_on(async {
                give_the_node_its_address().await;
                let socket = Path::new(proto::SOCKET);
                std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
                let listener = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
                ready.send(()).unwrap();
                let router = tonic::transport::Server::builder().add_service(IpamServer::new(service));
                let until = async { drop(ended.await) };
                router
                    .serve_with_incoming_shutdown(listener, until)
                    .await
                    .unwrap();
                std::fs::remove_file(socket).unwrap();
            });
        });
        is_ready.recv().unwrap();
        Self {
            heart,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub(crate) fn will_answer(&self, answer: Answer) {
        self.heart.lock().unwrap().answer = answer;
    }

    /// What was asked since the last look, in order.
    pub(crate) fn was_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.heart.lock().unwrap().asked)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = ended
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// What the daemon answers unless told otherwise.
pub(crate) fn wiring() -> PodWiring {
    wiring_of("c1", Ipv4Addr::new(10, 0, 1, 30))
}

/// The wiring of a container of the pod default/web-0.
pub(crate) fn wiring_of(container: &str, address: Ipv4Addr) -> PodWiring {
    let key = AttachmentKey {
        container: container.parse().unwrap(),
        interface: "eth0".parse().unwrap(),
        network: "aws-cni".parse().unwrap(),
    };
    let pod = Pod {
        namespace: "default".parse().unwrap(),
        name: "web-0".parse().unwrap(),
    };
    let facts = WiringFacts {
        veth_prefix: "eni",
        mtu_bytes: 9001,
        node_address: Some(NODE),
    };
    pod::wiring(&key, &pod, address.into(), facts).unwrap()
}

/// The usual wiring with something else in its IPv4.
pub(crate) fn with_leg(change: impl FnOnce(&mut Leg<Ipv4Addr>)) -> PodWiring {
    let mut wiring = wiring();
    change(wiring.v4.as_mut().unwrap());
    wiring
}

/// The usual wiring with another address.
pub(crate) fn at(address: [u8; 4]) -> PodWiring {
    with_leg(|leg| leg.address = address.into())
}

/// Runs async code to its end on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(work)
}

async fn give_the_node_its_address() {
    let routing = hostnet::Routing::open().unwrap();
    let loopback = routing.link_by_name("lo").await.unwrap().unwrap().index;
    let address = ipnet::Ipv4Net::from(NODE);
    for op in [
        NetOp::SetUp { index: loopback },
        NetOp::AddAddress {
            index: loopback,
            address,
        },
    ] {
        hostnet::apply::apply(&routing, op).await.unwrap();
    }
}

/// An answer that is a refusal, as the daemon says it.
fn refused(answer: &Answer) -> Result<(), Status> {
    let Answer::Refusal(kind, code, reason, next) = answer else {
        return Ok(());
    };
    let mut status = Status::new(*kind, *reason);
    let metadata = status.metadata_mut();
    metadata.insert(proto::CODE, MetadataValue::from(*code));
    metadata.insert(proto::NEXT_STEP, MetadataValue::from_static(next));
    Err(status)
}

struct Service(Arc<Mutex<Heart>>);

impl Service {
    fn mode(&self) -> String {
        match &self.0.lock().unwrap().answer {
            Answer::Policed(_, mode) => (*mode).to_owned(),
            _ => String::new(),
        }
    }

    fn answer(&self, verb: &str, attachment: Option<v1::Attachment>) -> Result<Option<v1::Wiring>, Status> {
        let mut heart = self.0.lock().unwrap();
        let attachment = attachment.unwrap_or_default();
        heart.asked.push(format!(
            "{verb} {}/{}/{}",
            attachment.network, attachment.container_id, attachment.interface
        ));
        match &heart.answer {
            Answer::Wiring(wiring) | Answer::Policed(wiring, _) | Answer::Problem(wiring, _) => {
                Ok(Some(wiring.into()))
            }
            refusal => refused(refusal).map(|()| None),
        }
    }
}

#[tonic::async_trait]
impl Ipam for Service {
    async fn add(&self, request: Request<v1::AddRequest>) -> Result<Response<v1::AddReply>, Status> {
        let wiring = self.answer("add", request.into_inner().attachment)?;
        Ok(Response::new(v1::AddReply {
            wiring,
            network_policy_mode: self.mode(),
        }))
    }

    async fn del(&self, request: Request<v1::DelRequest>) -> Result<Response<v1::DelReply>, Status> {
        let wiring = self.answer("del", request.into_inner().attachment)?;
        Ok(Response::new(v1::DelReply {
            wiring,
            network_policy_mode: self.mode(),
        }))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckReply>, Status> {
        let wiring = self.answer("check", request.into_inner().attachment)?;
        let problems = match &self.0.lock().unwrap().answer {
            Answer::Problem(_, problem) => vec![(*problem).to_owned()],
            _ => Vec::new(),
        };
        Ok(Response::new(v1::CheckReply { wiring, problems }))
    }

    async fn gc(&self, request: Request<v1::GcRequest>) -> Result<Response<v1::GcReply>, Status> {
        let request = request.into_inner();
        let mut heart = self.0.lock().unwrap();
        let valid: Vec<String> = request
            .valid
            .into_iter()
            .map(|valid| valid.container_id)
            .collect();
        heart
            .asked
            .push(format!("gc {} [{}]", request.network, valid.join(" ")));
        assert_ne!(request.as_of_nanos, 0);
        refused(&heart.answer)?;
        let stale = match &heart.answer {
            Answer::Stale(stale) => stale.clone(),
            _ => Vec::new(),
        };
        let stale = stale.iter().map(|wiring| v1::Stale {
            attachment: None,
            wiring: Some(wiring.into()),
        });
        Ok(Response::new(v1::GcReply {
            stale: stale.collect(),
        }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        self.answer("status", None)?;
        let (reason, impaired) = match &self.0.lock().unwrap().answer {
            Answer::NotReady(reason, impaired) => (*reason, *impaired),
            _ => ("", false),
        };
        Ok(Response::new(v1::StatusReply {
            ready: reason.is_empty(),
            reason: reason.to_owned(),
            impaired,
        }))
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }
}
