//! One pod's wiring: made in place, undone on failure, checked, and taken away.
//!
//! The veth is born with its peer inside the pod's namespace: moving it there would wait for an RCU grace period. No
//! thread stays in the pod's namespace; a socket opened there remembers it. The host end's MAC follows from the
//! attachment, so it tells whose device bears a name that a re-created pod uses again.
//!
//! Duplicate address detection would cost two seconds wherever it ran: nobody else is on the pair, so the pod's addresses
//! skip it, the pod end has no link-local address, and the host end gets one that skips it only where the pod has IPv6.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use ipamd_core::address::Mac;
use ipamd_core::id::IfName;
use ipamd_core::net::diff::NetOp;
use ipamd_core::net::pod::{DOOMED_GROUP, Leg, PodWiring};
use ipamd_core::net::{Route, Rule, TableId, Via};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{Family, Link, LinkChange, LinkKind, Neighbour, Routing, Scope, VethEnd, VethSpec};

use crate::Error;
use crate::apply::{any_such_route, apply, kernel_route};
use crate::error::attempt;
use crate::failpoint::{self, Step};
use crate::pod::check::Difference;
use crate::sysctl;

pub mod check;

/// Between two looks whether the kernel takes packets for a pod's IPv6 address: its work item usually runs within that.
const LOCAL_ROUTE_PAUSE: Duration = Duration::from_micros(500);

/// What runs so late will not run.
const LOCAL_ROUTE_LIMIT: Duration = Duration::from_secs(5);

/// Opens a pod's network namespace.
///
/// # Errors
/// When there is none at the path.
pub fn open_namespace(path: &Path) -> Result<OwnedFd, Error> {
    netlink::netns::open(path).map_err(|source| Error::Namespace {
        path: path.to_owned(),
        source,
    })
}

/// Whether two paths lead to the same namespace, or this one is the caller's own.
///
/// # Errors
/// When a namespace cannot be looked at.
pub fn is_own_namespace(path: &Path) -> Result<bool, Error> {
    let words = |source| Error::Namespace {
        path: path.to_owned(),
        source,
    };
    let theirs = open_namespace(path)?;
    let own = netlink::netns::current().map_err(words)?;
    let identity = |fd: &OwnedFd| netlink::netns::identity(fd.as_fd());
    Ok(identity(&theirs).map_err(words)? == identity(&own).map_err(words)?)
}

/// Makes a pod's interface. The same wiring again is success; anything else that bears the interface's name is not
/// touched and an error.
///
/// # Errors
/// What failed; then nothing of it is left.
pub async fn wire(path: &Path, wiring: &PodWiring) -> Result<(), Error> {
    let namespace = open_namespace(path)?;
    let host = Routing::open().map_err(attempt("open a netlink socket on the node"))?;
    let pod = Routing::open_in(namespace.as_fd()).map_err(attempt("open a netlink socket in the pod"))?;
    let Some(ends) = create(&host, &pod, &namespace, wiring).await? else {
        return Ok(());
    };
    let done = set_up_both((&host, &pod), &namespace, ends, wiring).await;
    if done.is_err() {
        undo(&host, wiring).await;
    }
    done
}

/// The interface indexes of a pair, each in its own namespace.
#[derive(Clone, Copy, Debug)]
struct Ends {
    host: u32,
    pod: u32,
}

impl Ends {
    /// Chosen by us they need not be read back, which would be a tenth of the wiring's time.
    fn chosen(wiring: &PodWiring) -> Self {
        let index = wiring.chosen_index();
        Self {
            host: index,
            pod: index,
        }
    }

    /// Those of a pair whose indexes the kernel chose.
    async fn read_back(host: &Routing, pod: &Routing, wiring: &PodWiring) -> Result<Self, Error> {
        Ok(Self {
            host: just_made(host, &wiring.host_name).await?,
            pod: just_made(pod, &wiring.pod_name).await?,
        })
    }
}

/// The failure is what the caller must hear; a device that cannot be removed falls with the namespace. One of the same
/// name that another has made meanwhile is not ours.
async fn undo(host: &Routing, wiring: &PodWiring) {
    if let Ok(Some(link)) = find(host, &wiring.host_name).await
        && link.mac == Some(netlink::Mac(wiring.host_mac.0))
    {
        let _ = host.delete_link(link.index).await;
    }
    for rule in &wiring.rules {
        let _ = apply(host, NetOp::RemoveRule(*rule)).await;
    }
}

async fn set_up_both(
    (host, pod): (&Routing, &Routing),
    namespace: &OwnedFd,
    ends: Ends,
    wiring: &PodWiring,
) -> Result<(), Error> {
    failpoint::reach(Step::PairCreated);
    if wiring.v6.is_some() {
        sysctl::let_speak_ipv6(&wiring.host_name)?;
        sysctl::let_have_ipv6(namespace.as_fd(), &wiring.pod_name)?;
        set_up(host, ends.host).await?;
    } else {
        without_link_local(host, ends.host).await?;
    }
    failpoint::reach(Step::HostEndUp);
    set_up_pod_end(pod, ends.pod, wiring).await?;
    failpoint::reach(Step::PodRouted);
    for leg in wiring.legs() {
        let route = host_route(wiring, leg, ends.host);
        let words = attempt(format!("add the node's route to {}", leg.address));
        host.replace_route(&kernel_route(&route)).await.map_err(words)?;
    }
    for rule in &wiring.rules {
        apply(host, NetOp::AddRule(*rule)).await?;
    }
    failpoint::reach(Step::HostRouted);
    Ok(())
}

/// The index of a device that was made a moment ago.
async fn just_made(routing: &Routing, name: &IfName) -> Result<u32, Error> {
    let link = find(routing, name).await?;
    link.map(|link| link.index)
        .ok_or_else(|| Error::Vanished { name: name.clone() })
}

/// Creates the pair; gives its indexes, or nothing where all of the wiring is there already.
async fn create(
    host: &Routing,
    pod: &Routing,
    namespace: &OwnedFd,
    wiring: &PodWiring,
) -> Result<Option<Ends>, Error> {
    let chosen = Ends::chosen(wiring);
    match host.create_veth(&pair(wiring, namespace, Some(chosen))).await {
        Ok(()) => return Ok(Some(chosen)),
        Err(error) if error.is_exists() => {
            let differences = check::differences(host, pod, wiring).await?;
            if differences.is_empty() {
                return Ok(None);
            }
            clear_the_names(host, pod, wiring, &differences).await?;
        }
        // Only an index is taken, by whatever device.
        Err(error) if error.errno() == Some(nix::errno::Errno::EBUSY) => {}
        Err(error) => return Err(not_created(wiring)(error)),
    }
    // Also an index that is taken answers "exists", for example by what an earlier DEL of this attachment left.
    let spec = pair(wiring, namespace, None);
    host.create_veth(&spec).await.map_err(not_created(wiring))?;
    Ends::read_back(host, pod, wiring).await.map(Some)
}

fn not_created(wiring: &PodWiring) -> impl FnOnce(netlink::Error) -> Error {
    attempt(format!(
        "create {} with {} in the pod",
        wiring.host_name, wiring.pod_name
    ))
}

/// Takes the pair's names from what earlier pods left; whatever else bears them is not touched and an error.
async fn clear_the_names(
    host: &Routing,
    pod: &Routing,
    wiring: &PodWiring,
    differences: &[Difference],
) -> Result<(), Error> {
    // The node's route is the last step of a wiring and the first to go.
    let serves_nobody = |difference: &Difference| {
        matches!(
            difference,
            Difference::NoAddress { .. } | Difference::NoHostRoute { .. }
        )
    };
    let own = differences.iter().any(serves_nobody).then_some(wiring.host_mac);
    if let Some(left) = find(pod, &wiring.pod_name).await?
        && !bury(host, &left, own).await?
    {
        return Err(Error::InterfaceExists {
            name: wiring.pod_name.clone(),
        });
    }
    // The name is a dead pod's of the same name: its namespace still lives.
    if let Some(dead) = find(host, &wiring.host_name).await? {
        if dead.kind != LinkKind::Veth {
            return Err(Error::NotAPods {
                name: wiring.host_name.clone(),
            });
        }
        doom(host, &dead).await?;
    }
    Ok(())
}

fn pair<'a>(wiring: &'a PodWiring, namespace: &'a OwnedFd, indexes: Option<Ends>) -> VethSpec<'a> {
    let end = |name: &'a IfName, mac: Mac, index| VethEnd {
        name: name.as_str(),
        index,
        mac: Some(netlink::Mac(mac.0)),
        mtu_bytes: Some(wiring.mtu_bytes),
        ..VethEnd::default()
    };
    VethSpec {
        host: end(&wiring.host_name, wiring.host_mac, indexes.map(|ends| ends.host)),
        peer: end(&wiring.pod_name, wiring.pod_mac, indexes.map(|ends| ends.pod)),
        peer_namespace: Some(namespace.as_fd()),
        host_up: false,
        queues: None,
    }
}

/// Deletes a pod's device that an earlier DEL left to its namespace, because a runtime may use the namespace again; or one
/// whose host end has this MAC, which an ADD of this very attachment left unfinished or a DEL overtook. Says whether it was
/// either.
async fn bury(host: &Routing, pod_end: &Link, own: Option<Mac>) -> Result<bool, Error> {
    let links = host.links().await.map_err(attempt("list the node's devices"))?;
    let is_own = |link: &Link| own.is_some_and(|mac| link.mac == Some(netlink::Mac(mac.0)));
    let is_left =
        |link: &&Link| Some(link.index) == pod_end.peer && (link.group == DOOMED_GROUP || is_own(link));
    let Some(doomed) = links.iter().find(is_left) else {
        return Ok(false);
    };
    match host.delete_link(doomed.index).await {
        Err(error) if !error.is_gone() => Err(attempt(format!("delete {}", doomed.name))(error)),
        Ok(()) | Err(_) => Ok(true),
    }
}

/// No link-local address. The mode must be set before the device goes up, in a message of its own.
async fn without_link_local(routing: &Routing, index: u32) -> Result<(), Error> {
    let quiet = LinkChange {
        link_local: Some(false),
        ..LinkChange::default()
    };
    match routing.change_link(index, &quiet).await {
        // A node without IPv6 has nothing to switch off.
        Err(error) if error.errno() == Some(nix::errno::Errno::EAFNOSUPPORT) => Ok(()),
        done => done.map_err(attempt("switch off link-local addresses")),
    }?;
    set_up(routing, index).await
}

async fn set_up(routing: &Routing, index: u32) -> Result<(), Error> {
    routing.set_up(index).await.map_err(attempt("set the device up"))
}

async fn set_up_pod_end(pod: &Routing, index: u32, wiring: &PodWiring) -> Result<(), Error> {
    without_link_local(pod, index).await?;
    failpoint::reach(Step::PodEndUp);
    for leg in wiring.legs() {
        let own = IpNet::from(leg.address);
        let mut address = netlink::Address::new(index, own);
        address.no_dad = leg.address.is_ipv6();
        pod.add_address(&address)
            .await
            .map_err(attempt(format!("give the pod {own}")))?;
    }
    failpoint::reach(Step::PodAddressed);
    for leg in wiring.legs() {
        for route in pod_routes(leg, index) {
            pod.add_route(&route)
                .await
                .map_err(attempt(format!("add the pod's route to {}", route.destination)))?;
        }
        let neighbour = gateway_neighbour(wiring, leg, index);
        pod.replace_neighbour(&neighbour)
            .await
            .map_err(attempt("tell the pod its gateway's MAC"))?;
    }
    match wiring.v6 {
        Some(leg) => await_local_route(pod, leg.address).await,
        None => Ok(()),
    }
}

/// The kernel takes what is sent to a new IPv6 address only a little later, once a work item of its own has run: a pod that
/// is ready sooner would miss its first packets.
async fn await_local_route(pod: &Routing, address: Ipv6Addr) -> Result<(), Error> {
    let own = IpNet::from(IpAddr::V6(address));
    let began = tokio::time::Instant::now();
    loop {
        let routes = pod.routes(Family::V6, netlink::LOCAL_TABLE).await;
        let routes = routes.map_err(attempt("list the pod's local routes"))?;
        if routes.iter().any(|route| route.destination == own) {
            return Ok(());
        }
        if began.elapsed() > LOCAL_ROUTE_LIMIT {
            return Err(Error::NotUsable { address });
        }
        tokio::time::sleep(LOCAL_ROUTE_PAUSE).await;
    }
}

/// The pod's routes: to its gateway, and by it to everything.
fn pod_routes(leg: Leg<IpAddr>, index: u32) -> [netlink::Route; 2] {
    let everything = match leg.gateway {
        IpAddr::V4(_) => IpNet::V4(Ipv4Net::default()),
        IpAddr::V6(_) => IpNet::V6(Ipv6Net::default()),
    };
    let mut on_link = netlink::Route::new(IpNet::from(leg.gateway), TableId::MAIN.0);
    on_link.out = Some(index);
    on_link.scope = Scope::Link;
    let mut default = netlink::Route::new(everything, TableId::MAIN.0);
    default.out = Some(index);
    default.gateway = Some(leg.gateway);
    [on_link, default]
}

fn gateway_neighbour(wiring: &PodWiring, leg: Leg<IpAddr>, index: u32) -> Neighbour {
    let mac = Some(netlink::Mac(wiring.host_mac.0));
    Neighbour {
        index,
        ip: leg.gateway,
        mac,
        permanent: true,
    }
}

fn host_route(wiring: &PodWiring, leg: Leg<IpAddr>, index: u32) -> Route {
    let via = Via::Link {
        index,
        source: leg.node_address,
    };
    Route {
        table: wiring.table,
        to: leg.address.into(),
        via,
    }
}

async fn find(routing: &Routing, name: &IfName) -> Result<Option<Link>, Error> {
    routing
        .link_by_name(name.as_str())
        .await
        .map_err(attempt(format!("look for {name}")))
}

/// Whether the host end of this very attachment is on the node, whatever else is amiss.
///
/// # Errors
/// When that cannot be seen.
pub async fn stands(wiring: &PodWiring) -> Result<bool, Error> {
    let host = Routing::open().map_err(attempt("open a netlink socket on the node"))?;
    let link = find(&host, &wiring.host_name).await?;
    Ok(link.is_some_and(|link| link.mac == Some(netlink::Mac(wiring.host_mac.0))))
}

/// What is known of a pod's wiring when it goes: from the ledger, or from the result that the runtime kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// The host end's name.
    pub host_name: IfName,
    /// The host end's MAC, which tells whether a device of that name is this attachment's. Without it the device is left
    /// to its namespace.
    pub host_mac: Option<Mac>,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// The table that holds the routes to them.
    pub table: TableId,
    /// Rules of the node for this pod alone.
    pub rules: Vec<Rule>,
}

impl From<&PodWiring> for Remains {
    fn from(wiring: &PodWiring) -> Self {
        Self {
            host_name: wiring.host_name.clone(),
            host_mac: Some(wiring.host_mac),
            addresses: wiring.addresses().iter().collect(),
            table: wiring.table,
            rules: wiring.rules.clone(),
        }
    }
}

/// Takes a pod's wiring away, without entering its namespace: routes at once, then the host end is set down, renamed
/// and put into the doomed group, to be reaped with others. What is gone already is success, and a device of the same
/// name that belongs to a younger pod is left alone.
///
/// # Errors
/// What the kernel refused; everything else was done.
pub async fn unwire(remains: &Remains) -> Result<(), Error> {
    let host = Routing::open().map_err(attempt("open a netlink socket on the node"))?;
    let mut failed = None;
    for rule in &remains.rules {
        failed = apply(&host, NetOp::RemoveRule(*rule)).await.err().or(failed);
    }
    let Some(link) = find(&host, &remains.host_name).await? else {
        return failed.map_or(Ok(()), Err);
    };
    let is_anothers = |mac: Mac| link.mac != Some(netlink::Mac(mac.0));
    if remains.host_mac.is_some_and(is_anothers) {
        return failed.map_or(Ok(()), Err);
    }
    for address in &remains.addresses {
        let route = Route {
            table: remains.table,
            to: (*address).into(),
            via: Via::Link {
                index: link.index,
                source: None,
            },
        };
        match host.delete_route(&any_such_route(&route)).await {
            Err(error) if !error.is_gone() => {
                failed = Some(attempt(format!("remove the route to {address}"))(error))
            }
            Ok(()) | Err(_) => {}
        }
    }
    failpoint::reach(Step::HostRouteGone);
    if remains.host_mac.is_some() {
        doom(&host, &link).await?;
    }
    failed.map_or(Ok(()), Err)
}

/// Sets a host end down and hides it among the doomed. Kernels before 6.2 refuse to rename a link that is up.
async fn doom(host: &Routing, link: &Link) -> Result<(), Error> {
    let name = format!("gone{}", link.index);
    let change = LinkChange {
        name: Some(&name),
        group: Some(DOOMED_GROUP),
        ..LinkChange::default()
    };
    let done = match host.set_down(link.index).await {
        Ok(()) => {
            failpoint::reach(Step::HostEndDown);
            host.change_link(link.index, &change).await
        }
        refused => refused,
    };
    failpoint::reach(Step::HostEndDoomed);
    match done {
        Err(error) if error.is_gone() => Ok(()),
        done => done.map_err(attempt(format!("put {} among the doomed", link.name))),
    }
}

/// Deletes every doomed device in one message: one by one each would wait for its own RCU grace period.
///
/// # Errors
/// When the kernel refuses.
pub async fn reap(host: &Routing) -> Result<(), Error> {
    match host.delete_group(DOOMED_GROUP).await {
        Err(error) if error.is_gone() => Ok(()),
        done => done.map_err(attempt("delete the doomed devices")),
    }
}
