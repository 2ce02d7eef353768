//! Stand-ins for the daemon of amazon-vpc-cni-k8s and for the network policy agent: they answer as they are told, and note
//! what they were asked.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use proto::peer;
use proto::peer::cni_backend_server::{CniBackend, CniBackendServer};
use proto::peer::np_backend_server::{NpBackend, NpBackendServer};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status};

use crate::daemon::block_on;

/// A server on a unix socket; ends when dropped.
pub(crate) struct Served<S> {
    stand_in: Arc<Mutex<S>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Send + 'static> Served<S> {
    fn start(path: &'static str, stand_in: S, router: impl FnOnce(Arc<Mutex<S>>) -> Router) -> Self {
        let stand_in = Arc::new(Mutex::new(stand_in));
        let router = router(stand_in.clone());
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            block_on(async {
                let path = Path::new(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                let listener = UnixListenerStream::new(UnixListener::bind(path).unwrap());
                ready.send(()).unwrap();
                let until = async { drop(ended.await) };
                router
                    .serve_with_incoming_shutdown(listener, until)
                    .await
                    .unwrap();
                std::fs::remove_file(path).unwrap();
            });
        });
        is_ready.recv().unwrap();
        Self {
            stand_in,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Changes what it answers, or looks at what it was asked.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.stand_in.lock().unwrap())
    }
}

impl<S> Drop for Served<S> {
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

/// The peer's daemon.
pub(crate) struct PeersDaemon {
    pub(crate) add: peer::AddNetworkReply,
    /// The answer, or the text of an error of status UNKNOWN.
    pub(crate) del: Result<peer::DelNetworkReply, String>,
    pub(crate) added: Vec<peer::AddNetworkRequest>,
    pub(crate) deleted: Vec<peer::DelNetworkRequest>,
}

/// Where the peer's daemon puts a pod on the second ENI.
pub(crate) fn allocation() -> Vec<peer::IpAllocationMetadata> {
    vec![peer::IpAllocationMetadata {
        i_pv4_addr: "10.0.1.30".to_owned(),
        i_pv6_addr: String::new(),
        device_number: 1,
        route_table_id: 2,
    }]
}

impl PeersDaemon {
    /// Serves one address of a secondary ENI.
    pub(crate) fn serve() -> Served<Self> {
        let stand_in = Self {
            add: peer::AddNetworkReply {
                success: true,
                ip_allocation_metadata: allocation(),
                vp_cv4_cid_rs: vec!["10.0.0.0/16".to_owned()],
                ..peer::AddNetworkReply::default()
            },
            del: Ok(peer::DelNetworkReply {
                success: true,
                ip_allocation_metadata: allocation(),
                ..peer::DelNetworkReply::default()
            }),
            added: Vec::new(),
            deleted: Vec::new(),
        };
        Served::start(proto::SOCKET, stand_in, |stand_in| {
            tonic::transport::Server::builder().add_service(CniBackendServer::new(Backend(stand_in)))
        })
    }
}

struct Backend(Arc<Mutex<PeersDaemon>>);

#[tonic::async_trait]
impl CniBackend for Backend {
    async fn add_network(
        &self,
        request: Request<peer::AddNetworkRequest>,
    ) -> Result<Response<peer::AddNetworkReply>, Status> {
        let mut daemon = self.0.lock().unwrap();
        daemon.added.push(request.into_inner());
        Ok(Response::new(daemon.add.clone()))
    }

    async fn del_network(
        &self,
        request: Request<peer::DelNetworkRequest>,
    ) -> Result<Response<peer::DelNetworkReply>, Status> {
        let mut daemon = self.0.lock().unwrap();
        daemon.deleted.push(request.into_inner());
        daemon.del.clone().map(Response::new).map_err(Status::unknown)
    }
}

/// The network policy agent.
pub(crate) struct PolicyAgent {
    pub(crate) succeeds: bool,
    pub(crate) asked: Vec<String>,
}

impl PolicyAgent {
    pub(crate) fn serve() -> Served<Self> {
        let stand_in = Self {
            succeeds: true,
            asked: Vec::new(),
        };
        Served::start(proto::POLICY_AGENT, stand_in, |stand_in| {
            tonic::transport::Server::builder().add_service(NpBackendServer::new(Agent(stand_in)))
        })
    }
}

struct Agent(Arc<Mutex<PolicyAgent>>);

#[tonic::async_trait]
impl NpBackend for Agent {
    async fn enforce_np_to_pod(
        &self,
        request: Request<peer::EnforceNpRequest>,
    ) -> Result<Response<peer::EnforceNpReply>, Status> {
        let mut agent = self.0.lock().unwrap();
        let peer::EnforceNpRequest {
            k8s_pod_name: name,
            k8s_pod_namespace: namespace,
            network_policy_mode: mode,
            interface_count,
        } = request.into_inner();
        agent
            .asked
            .push(format!("enforce {namespace}/{name} {mode} {interface_count}"));
        let success = agent.succeeds;
        Ok(Response::new(peer::EnforceNpReply { success }))
    }

    async fn delete_pod_np(
        &self,
        request: Request<peer::DeleteNpRequest>,
    ) -> Result<Response<peer::DeleteNpReply>, Status> {
        let mut agent = self.0.lock().unwrap();
        let peer::DeleteNpRequest {
            k8s_pod_name: name,
            k8s_pod_namespace: namespace,
        } = request.into_inner();
        agent.asked.push(format!("forget {namespace}/{name}"));
        let success = agent.succeeds;
        Ok(Response::new(peer::DeleteNpReply { success }))
    }
}
