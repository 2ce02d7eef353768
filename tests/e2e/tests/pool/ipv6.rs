//! Pods with IPv6 alone, and with both families: from the prefix at the start to the way back of every address.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use e2e::site::{PATIENCE, Site, Wishes, ask, until};
use netlink::nft::{self, Nftables};
use netlink::{Address, Routing};
use vpc_sim::model::fault::{Effect, Fault};
use vpc_sim::model::request::Operation;
use vpc_sim::pod::{self, Pod, PodName};
use vpc_sim::probe::{self, Protocol, Question, Responder};
use vpc_sim::vpc::PROBE_PORT;

use crate::operator::{held, primary};

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn wishes(ipv4: &str) -> Wishes {
    let wishes = Wishes {
        ipv6: true,
        ..Wishes::default()
    };
    wishes.with("ENABLE_IPv6", "true").with("ENABLE_IPv4", ipv4)
}

fn at(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, PROBE_PORT)
}

/// A pod that answers at all its addresses.
fn respond(pod: &Pod) -> Result<Vec<Responder>> {
    let starts = pod.addresses.iter().map(|address| {
        let name = &pod.name.name;
        Responder::start(name, pod.network(), at(*address)).context("answer")
    });
    starts.collect()
}

/// Everybody reaches everybody, in every family that both have, and is seen with its own address.
async fn all_reach_all(pods: &[Pod]) -> Result<()> {
    for from in pods {
        for to in pods.iter().filter(|to| to.name != from.name) {
            for address in &to.addresses {
                let own = from
                    .addresses
                    .iter()
                    .find(|own| own.is_ipv4() == address.is_ipv4());
                let own = own.context("the same families")?;
                for protocol in BOTH {
                    let answer = ask(from.network(), protocol, at(*address)).await?;
                    ensure!(
                        answer.name == to.name.name && answer.seen.ip() == *own,
                        "{answer:?} to {own}"
                    );
                }
            }
        }
    }
    Ok(())
}

fn ipv6(pod: &Pod) -> Result<Ipv6Addr> {
    let mut all = pod.addresses.iter();
    all.find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    })
    .with_context(|| format!("an IPv6 address of {}", pod.name.name))
}

/// The pod's IPv6 address is of its node's one prefix, which the primary ENI has.
fn is_of_the_prefix(site: &Site, node: &str, pod: &Pod) -> Result<()> {
    let (_, eni) = primary(site, node)?;
    let (prefixes, address) = (&eni.ipv6_prefixes, ipv6(pod)?);
    ensure!(
        prefixes.len() == 1 && prefixes.iter().any(|prefix| prefix.contains(&address)),
        "{address} is not of {prefixes:?}"
    );
    Ok(())
}

async fn explained(site: &Site) -> Result<String> {
    let node = site.machine("n1")?.node();
    let output = node.run(&site.ipamd().to_string_lossy(), &["explain"]).await?;
    Ok(String::from_utf8(output.stdout)?)
}

/// How many packets of pods the node has dropped for their source.
fn forged_packets(site: &Site) -> Result<u64> {
    let node = site.machine("n1")?.node().network();
    let rules = netlink::netns::inside(node, || Nftables::open()?.rules(nft::Family::Inet, "berth"))??;
    Ok(rules
        .iter()
        .filter_map(|rule| rule.counter)
        .map(|count| count.packets)
        .sum())
}

/// The node and a pod of it reach one another, and the node is seen with its own address.
async fn node_and_pod(site: &Site, pod: &Pod) -> Result<()> {
    let network = site.machine("n1")?.node().network();
    let (_, eni) = primary(site, "n1")?;
    let own = IpAddr::V6(*eni.ipv6_addresses.first().context("the node's IPv6 address")?);
    let to = at(ipv6(pod)?.into());
    for protocol in BOTH {
        let answer = ask(network, protocol, to).await?;
        ensure!(answer.seen.ip() == own, "{answer:?} and not {own}");
    }
    let _node = Responder::start("n1", network, at(own))?;
    let answer = ask(pod.network(), Protocol::Udp, at(own)).await?;
    ensure!(answer.seen.ip() == IpAddr::V6(ipv6(pod)?), "{answer:?}");
    Ok(())
}

e2e::tests! {
    async fn pods_have_ipv6_alone_and_no_ipv4_is_got_for_them(stage) {
        let site = Site::new(&stage, &wishes("false")).await?;
        let mut pods = site.add_all("n1", &["a", "b"]).await?;
        pods.extend(site.add_all("n2", &["c"]).await?);
        let responders: Result<Vec<_>> = pods.iter().map(respond).collect();
        let _responders = responders?;
        for (pod, node) in pods.iter().zip(["n1", "n1", "n2"]) {
            ensure!(pod.addresses.len() == 1, "{:?}", pod.addresses);
            is_of_the_prefix(&site, node, pod)?;
            pod::check(site.machine(node)?.node(), site.plugin(), pod).await?;
        }
        all_reach_all(&pods).await?;
        node_and_pod(&site, &pods[0]).await?;
        site.nothing_dropped().await?;
        let (singles, prefixes) = held(&site, "n1")?;
        ensure!(singles.is_empty() && prefixes.is_empty(), "{singles:?} {prefixes:?}");
        site.kill("n1").await?;
        all_reach_all(&pods).await?;
        site.start("n1").await?;
        let later = site.add("n1", &PodName::new("later")).await?;
        ensure!(pods.iter().all(|pod| pod.addresses != later.addresses), "{:?}", later.addresses);
        is_of_the_prefix(&site, "n1", &later)?;
        pods.push(later);
        for (pod, node) in pods.into_iter().zip(["n1", "n1", "n2", "n1"]) {
            site.del(node, pod).await?;
        }
        Ok(())
    }

    async fn pods_have_both_families(stage) {
        let site = Site::new(&stage, &wishes("true")).await?;
        let mut pods = site.add_all("n1", &["a", "b", "c", "d", "e", "f"]).await?;
        pods.extend(site.add_all("n2", &["g"]).await?);
        let responders: Result<Vec<_>> = pods.iter().map(respond).collect();
        let _responders = responders?;
        for pod in &pods {
            let node = if pod.name.name == "g" { "n2" } else { "n1" };
            ensure!(pod.addresses.len() == 2 && pod.addresses[0].is_ipv4(), "{:?}", pod.addresses);
            is_of_the_prefix(&site, node, pod)?;
            pod::check(site.machine(node)?.node(), site.plugin(), pod).await?;
        }
        let enis = site.enis("n1")?;
        let is_elsewhere = |pod: &Pod| enis.iter().any(|eni| eni.device_index > 0 && eni.addresses.contains(&pod.address));
        ensure!(pods.iter().any(is_elsewhere), "one is on a secondary ENI in IPv4: {enis:?}");
        all_reach_all(&pods).await?;
        node_and_pod(&site, &pods[0]).await?;
        site.nothing_dropped().await?;
        // What lasts after a crash with a lost journal is what the kernel has.
        site.kill("n1").await?;
        site.machine("n1")?.node().run("rm", &["-rf", "/run/aws-node/berth"]).await?;
        site.start("n1").await?;
        let later = site.add("n1", &PodName::new("later")).await?;
        let is_anothers = |address: &IpAddr| pods.iter().any(|pod| pod.addresses.contains(address));
        ensure!(!later.addresses.iter().any(is_anothers), "{:?}", later.addresses);
        all_reach_all(&pods).await
    }

    /// Pods keep what they have, the next ones get what the mode says, and a reboot ends them all.
    async fn the_mode_changes_under_pods_and_the_node_reboots(stage) {
        let mut site = Site::new(&stage, &wishes("true")).await?;
        let mut pods = vec![site.add("n1", &PodName::new("both")).await?];
        for (name, ipv4, ipv6, families) in [("four", "true", "false", 1), ("six", "false", "true", 1), ("two", "true", "true", 2)] {
            site.kill("n1").await?;
            site.start_with("n1", &[("ENABLE_IPv4", ipv4), ("ENABLE_IPv6", ipv6)]).await?;
            let pod = site.add("n1", &PodName::new(name)).await?;
            ensure!(pod.addresses.len() == families, "{name} has {:?}", pod.addresses);
            ensure!(pod.addresses[0].is_ipv4() == (ipv4 == "true"), "{name} has {:?}", pod.addresses);
            pods.push(pod);
            for pod in &pods {
                pod::check(site.machine("n1")?.node(), site.plugin(), pod).await.with_context(|| name)?;
            }
        }
        let held: BTreeSet<IpAddr> = pods.iter().flat_map(|pod| pod.addresses.clone()).collect();
        ensure!(held.len() == 6, "an address has two holders: {held:?}");
        let responders = respond(&pods[0])?;
        node_and_pod(&site, &pods[0]).await?;
        drop((responders, pods));
        site.reboot(&stage, "n1").await?;
        site.start("n1").await?;
        let pod = site.add("n1", &PodName::new("later")).await?;
        is_of_the_prefix(&site, "n1", &pod)?;
        let _responders = respond(&pod)?;
        node_and_pod(&site, &pod).await
    }

    async fn an_ipv6_address_that_is_not_the_pods_own_is_not_let_out(stage) {
        let site = Site::new(&stage, &wishes("false")).await?;
        let pods = site.add_all("n1", &["a", "b"]).await?;
        let _responders = respond(&pods[1])?;
        let to = at(ipv6(&pods[1])?.into());
        ask(pods[0].network(), Protocol::Udp, to).await?;
        ensure!(forged_packets(&site)? == 0, "what was honest is counted as forged");
        let forged: Ipv6Addr = u128::from(ipv6(&pods[0])?).wrapping_add(77).into();
        let inside = Routing::open_in(pods[0].network())?;
        let eth0 = inside.link_by_name("eth0").await?.context("eth0")?.index;
        let mut theirs = Address::new(eth0, ipnet::IpNet::from(IpAddr::V6(forged)));
        theirs.no_dad = true;
        inside.add_address(&theirs).await?;
        let question = Question::new(Protocol::Udp, to, PATIENCE / 10).from(forged.into());
        let answer = probe::ask(pods[0].network(), &question).await;
        ensure!(answer.is_err(), "a forged source was answered: {answer:?}");
        // The node's own blackhole would keep the answer, too: what counts is that the question was dropped.
        ensure!(forged_packets(&site)? > 0, "the question was let out");
        Ok(())
    }

    async fn a_subnet_without_ipv6_gives_ipv4_alone_or_says_why_nothing(stage) {
        let without = |ipv4| Wishes { ipv6: false, ..wishes(ipv4) };
        let site = Site::new(&stage, &without("true")).await?;
        let pod = site.add("n1", &PodName::new("a")).await?;
        ensure!(pod.addresses.len() == 1 && pod.addresses[0].is_ipv4(), "{:?}", pod.addresses);
        let told = explained(&site).await?;
        ensure!(told.contains("has no IPv6 CIDR, so pods get IPv4 alone"), "{told}");
        drop(site);
        let site = Site::new(&stage, &without("false")).await?;
        until("the reason is told", || async {
            let told = explained(&site).await?;
            ensure!(told.contains("no address is ready yet") && told.contains("no pod can be served"), "{told}");
            Ok(())
        })
        .await
    }

    async fn a_role_that_may_not_assign_ipv6_is_named(stage) {
        let site = Site::new(&stage, &Wishes { daemons: false, ..wishes("false") }).await?;
        let denied = Fault::always(Operation::AssignIpv6Addresses, Effect::Deny);
        let denied = site.vpc.cloud().inject(denied).await?;
        site.start("n1").await?;
        until("the permission is named", || async {
            let told = explained(&site).await?;
            ensure!(told.contains("ec2:AssignIpv6Addresses"), "{told}");
            Ok(())
        })
        .await?;
        site.vpc.cloud().change(move |model, _| model.remove_fault(denied)).await?;
        let pod = site.add("n1", &PodName::new("a")).await?;
        is_of_the_prefix(&site, "n1", &pod)
    }
}
