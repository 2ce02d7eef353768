//! Who reaches whom, by TCP and UDP, and whom the other side sees; with every setting of the reverse path filter.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use anyhow::{Context, Result, ensure};
use e2e::site::{PATIENCE, Site, Wishes, ask};
use e2e::traffic::Flow;
use hostnet::nat::Nat;
use ipamd_core::net::{EniMark, Firewall, NatRules, SourcePorts};
use vpc_sim::fabric::Reason;
use vpc_sim::pod::Pod;
use vpc_sim::probe::{self, Protocol, Question, Responder};
use vpc_sim::vpc::{INTERNET, PROBE_PORT};

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// A NodePort, as kube-proxy would open one.
const NODE_PORT: u16 = 30_007;

/// A ClusterIP, from the range that EKS uses for 10.x VPCs.
const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 10);

/// What kube-proxy in nftables mode does for one Service with externalTrafficPolicy Local, at its hooks: DNAT at -100 in
/// prerouting and output, a mark of its own, no masquerading, so answers must find their own way back.
fn kube_proxy(endpoint: Ipv4Addr) -> String {
    format!(
        "table ip kube-proxy {{
           chain services {{
             ip daddr {CLUSTER_IP} tcp dport {PROBE_PORT} dnat to {endpoint}:{PROBE_PORT}
             ip daddr {CLUSTER_IP} udp dport {PROBE_PORT} dnat to {endpoint}:{PROBE_PORT}
             fib daddr type local tcp dport {NODE_PORT} meta mark set meta mark or 0x4000 dnat to {endpoint}:{PROBE_PORT}
             fib daddr type local udp dport {NODE_PORT} meta mark set meta mark or 0x4000 dnat to {endpoint}:{PROBE_PORT}
           }}
           chain prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
           chain output {{ type nat hook output priority -100; jump services; }}
         }}"
    )
}

/// Loads rules on a node; nft reads them from a file that is there for the moment.
async fn load(site: &Site, node: &str, rules: &str) -> Result<()> {
    let machine = site.machine(node)?;
    let path = std::env::temp_dir().join(format!("berth-rules-{}-{node}", std::process::id()));
    std::fs::write(&path, rules)?;
    let output = machine.node().run("nft", &["-f", &path.to_string_lossy()]).await;
    drop(std::fs::remove_file(&path));
    let output = output?;
    ensure!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

async fn seen(from: BorrowedFd<'_>, to: SocketAddr, name: &str, source: impl Into<IpAddr>) -> Result<()> {
    let source = source.into();
    for protocol in BOTH {
        let answer = ask(from, protocol, to).await?;
        ensure!(
            answer.name == name,
            "{to} by {protocol}: {} answered, not {name}",
            answer.name
        );
        ensure!(
            answer.seen.ip() == source,
            "{to} by {protocol}: {} was seen, not {source}",
            answer.seen.ip()
        );
    }
    Ok(())
}

/// A pod on the primary ENI and one on a secondary, with responders, on one node.
async fn both_kinds(site: &Site, node: &str) -> Result<(Pod, Pod, Vec<Responder>)> {
    let names: Vec<String> = (1..=6).map(|number| format!("{node}-{number}")).collect();
    let mut pods = site
        .add_all(node, &names.iter().map(String::as_str).collect::<Vec<_>>())
        .await?;
    let enis = site.enis(node)?;
    let index = |pod: &Pod| {
        enis.iter()
            .find(|eni| eni.addresses.contains(&pod.address))
            .map(|eni| eni.device_index)
    };
    let secondary = pods.pop().context("six pods")?;
    let primary = pods.swap_remove(0);
    ensure!(
        index(&primary) == Some(0) && index(&secondary).is_some_and(|index| index > 0),
        "{enis:?}"
    );
    let respond = |pod: &Pod| Responder::start(&pod.name.name, pod.network(), pod.place().address);
    let responders = vec![respond(&primary)?, respond(&secondary)?];
    Ok((primary, secondary, responders))
}

/// Waits until the first node reaches both of its pods.
async fn reached(site: &Site, first: &Pod, second: &Pod) -> Result<()> {
    let (node, primary) = (site.machine("n1")?.node(), site.machine("n1")?.primary());
    e2e::site::until("the node reaches both pods again", || async {
        seen(node.network(), first.place().address, &first.name.name, primary).await?;
        seen(node.network(), second.place().address, &second.name.name, primary).await
    })
    .await
}

async fn every_flow(site: &Site) -> Result<()> {
    let (near_first, near_second, _near) = both_kinds(site, "n1").await?;
    let (far_first, far_second, _far) = both_kinds(site, "n2").await?;
    let (n1, n2) = (site.machine("n1")?, site.machine("n2")?);
    let node_port = |node: Ipv4Addr| SocketAddr::new(node.into(), PROBE_PORT);
    let _n1 = Responder::start("n1", n1.node().network(), node_port(n1.primary()))?;
    let _n2 = Responder::start("n2", n2.node().network(), node_port(n2.primary()))?;
    let pods = [&near_first, &near_second, &far_first, &far_second];
    for from in pods {
        for to in pods.iter().filter(|to| to.name != from.name) {
            seen(from.network(), to.place().address, &to.name.name, from.address).await?;
        }
        seen(from.network(), node_port(n1.primary()), "n1", from.address).await?;
        seen(from.network(), node_port(n2.primary()), "n2", from.address).await?;
    }
    for to in pods {
        seen(
            n1.node().network(),
            to.place().address,
            &to.name.name,
            n1.primary(),
        )
        .await?;
        seen(
            n2.node().network(),
            to.place().address,
            &to.name.name,
            n2.primary(),
        )
        .await?;
    }
    let public = |node: &vpc_sim::vpc::machine::Machine| {
        let view = site.vpc.cloud().kernel_view().borrow().clone();
        view.enis
            .values()
            .find_map(|eni| eni.public.get(&node.primary()))
            .copied()
            .context("a public address")
    };
    for pod in [&near_first, &near_second] {
        seen(pod.network(), INTERNET, "internet", public(n1)?).await?;
    }
    seen(n1.node().network(), INTERNET, "internet", public(n1)?).await?;
    eni_addresses(site, &[&near_first, &near_second, &far_first, &far_second]).await?;
    services(site, &near_first, &near_second, [&far_first, &far_second]).await?;
    site.nothing_dropped().await
}

/// The node's own addresses on its secondary ENIs, as targets and as sources.
async fn eni_addresses(site: &Site, pods: &[&Pod]) -> Result<()> {
    let (n1, n2) = (site.machine("n1")?, site.machine("n2")?);
    for eni in site.enis("n1")?.iter().filter(|eni| eni.device_index > 0) {
        let address = SocketAddr::new(eni.primary.into(), PROBE_PORT);
        let _eni = Responder::start("eni", n1.node().network(), address)?;
        for pod in pods {
            seen(pod.network(), address, "eni", pod.address).await?;
        }
        seen(n2.node().network(), address, "eni", n2.primary()).await?;
        let far = SocketAddr::new(n2.primary().into(), PROBE_PORT);
        for protocol in BOTH {
            let question = Question::new(protocol, far, PATIENCE).from(eni.primary.into());
            let answer = probe::ask(n1.node().network(), &question).await?;
            ensure!(answer.seen.ip() == eni.primary, "{answer:?}");
        }
    }
    Ok(())
}

/// Pods of both kinds reach the internet untranslated, which the VPC's gateway drops and counts.
async fn untranslated(stage: &e2e::runner::Stage, variable: &str, value: &str) -> Result<()> {
    let site = Site::new(stage, &Wishes::default().with(variable, value)).await?;
    let (first, second, _responders) = both_kinds(&site, "n1").await?;
    for pod in [&first, &second] {
        let question = Question::new(Protocol::Udp, INTERNET, std::time::Duration::from_millis(300));
        ensure!(
            probe::ask(pod.network(), &question).await.is_err(),
            "{} was translated",
            pod.name.name
        );
        seen(
            site.machine("n1")?.node().network(),
            pod.place().address,
            &pod.name.name,
            site.machine("n1")?.primary(),
        )
        .await?;
    }
    seen(
        first.network(),
        second.place().address,
        &second.name.name,
        first.address,
    )
    .await?;
    let drops = site.vpc.drops().await?;
    let strange = drops.iter().find(|drop| drop.reason != Reason::NoPublicAddress);
    ensure!(
        strange.is_none() && drops.len() >= 2,
        "each pod's own ENI counts: {drops:?}"
    );
    Ok(())
}

/// ClusterIP and NodePort by rules at kube-proxy's hooks, to an endpoint on each kind of ENI, from pods, nodes and the
/// internet; without masquerading, so the endpoint sees who asked.
async fn services(site: &Site, first: &Pod, second: &Pod, far: [&Pod; 2]) -> Result<()> {
    let (n1, n2) = (site.machine("n1")?, site.machine("n2")?);
    let cluster = SocketAddr::new(CLUSTER_IP.into(), PROBE_PORT);
    for endpoint in [first, second] {
        let name = endpoint.name.name.as_str();
        for node in ["n1", "n2"] {
            load(site, node, &kube_proxy(endpoint.address)).await?;
        }
        let others = [first, second, far[0], far[1]]
            .into_iter()
            .filter(|pod| pod.name != endpoint.name);
        for pod in others {
            seen(pod.network(), cluster, name, pod.address).await?;
        }
        let port = SocketAddr::new(n1.primary().into(), NODE_PORT);
        for pod in far {
            seen(pod.network(), port, name, pod.address).await?;
        }
        seen(n2.node().network(), port, name, n2.primary()).await?;
        let public = {
            let view = site.vpc.cloud().kernel_view().borrow().clone();
            view.enis
                .values()
                .find_map(|eni| eni.public.get(&n1.primary()))
                .copied()
                .context("a public address")?
        };
        let fabric = site.vpc.fabric().lock().await;
        let from_outside = SocketAddr::new(public.into(), NODE_PORT);
        for protocol in BOTH {
            let question = Question::new(protocol, from_outside, PATIENCE).from(INTERNET.ip());
            let answer = probe::ask(fabric.internet(), &question).await?;
            ensure!(
                answer.name == name && answer.seen.ip() == INTERNET.ip(),
                "{answer:?}"
            );
        }
        drop(fabric);
        for node in ["n1", "n2"] {
            load(site, node, "delete table ip kube-proxy").await?;
        }
    }
    Ok(())
}

async fn with_rp_filter(stage: &e2e::runner::Stage, rp_filter: u8) -> Result<()> {
    every_flow(
        &Site::new(
            stage,
            &Wishes {
                rp_filter,
                ..Wishes::default()
            },
        )
        .await?,
    )
    .await
}

e2e::tests! {
    async fn every_flow_with_rp_filter_0(stage) {
        with_rp_filter(&stage, 0).await
    }

    async fn every_flow_with_rp_filter_1(stage) {
        with_rp_filter(&stage, 1).await
    }

    async fn every_flow_with_rp_filter_2(stage) {
        with_rp_filter(&stage, 2).await
    }

    async fn excluded_cidrs_are_not_translated(stage) {
        untranslated(&stage, "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "198.51.100.0/24,192.168.0.0/16").await
    }

    async fn everything_can_be_excluded(stage) {
        untranslated(&stage, "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "0.0.0.0/0").await
    }

    async fn external_snat_translates_nothing(stage) {
        untranslated(&stage, "AWS_VPC_K8S_CNI_EXTERNALSNAT", "true").await
    }

    /// A datagram of 3000 bytes fits the VPC and not the internet: the pod hears of it and sends fragments.
    async fn path_mtu_reaches_the_pod(stage) {
        let site = Site::usual(&stage).await?;
        let (first, second, _responders) = both_kinds(&site, "n1").await?;
        for pod in [&first, &second] {
            e2e::site::until("a long datagram passes in fragments", || async {
                let question = Question::new(Protocol::Udp, INTERNET, std::time::Duration::from_millis(300));
                let answer = probe::ask(pod.network(), &Question { bytes: 3000, ..question }).await?;
                ensure!(answer.name == "internet");
                Ok(())
            })
            .await?;
        }
        site.nothing_dropped().await
    }

    /// Others flush rules and links go down; within moments everything stands again.
    async fn what_others_remove_is_repaired(stage) {
        let site = Site::usual(&stage).await?;
        let (first, second, _responders) = both_kinds(&site, "n1").await?;
        let node = site.machine("n1")?.node();
        for rule in ["513", "1024", "1536"] {
            node.run("ip", &["rule", "del", "pref", rule]).await?;
        }
        node.run("ip", &["route", "flush", "table", "5120"]).await?;
        reached(&site, &first, &second).await?;
        // A device that goes down loses its routes without a notice.
        let way = node.command("ip").args(["route", "get", &first.address.to_string()]).output().await?;
        let way = String::from_utf8_lossy(&way.stdout).into_owned();
        let device = way.split(' ').skip_while(|word| *word != "dev").nth(1).context("the pod's device")?;
        node.run("ip", &["link", "set", device, "down"]).await?;
        node.run("ip", &["link", "set", device, "up"]).await?;
        reached(&site, &first, &second).await?;
        seen(second.network(), first.place().address, &first.name.name, second.address).await
    }

    /// A pod cannot speak with an address that it does not hold.
    async fn a_forged_source_goes_nowhere(stage) {
        let site = Site::usual(&stage).await?;
        let (first, second, _responders) = both_kinds(&site, "n1").await?;
        let forged = format!("{}/32", first.address);
        let inside = site.machine("n1")?.node().command_in_pod("ip", &second.name.container)
            .args(["addr", "add", &forged, "dev", "eth0"]).status().await?;
        ensure!(inside.success());
        let question = Question::new(Protocol::Udp, INTERNET, std::time::Duration::from_millis(300));
        let answer = probe::ask(second.network(), &question.from(first.address.into())).await;
        ensure!(answer.is_err(), "{answer:?}");
        site.nothing_dropped().await
    }

    /// SNAT on and off, CIDRs in and out, a hundred times under traffic: nothing is lost and no flow is misled.
    async fn a_hundred_changes_of_the_snat_policy_lose_no_packet(stage) {
        let site = Site::usual(&stage).await?;
        let (first, second, _near) = both_kinds(&site, "n1").await?;
        let (far, _, _far) = both_kinds(&site, "n2").await?;
        let node = site.machine("n1")?;
        let flows = [
            Flow::start(first.network(), far.place().address)?,
            Flow::start(second.network(), far.place().address)?,
            Flow::start(first.network(), INTERNET)?,
            Flow::start(second.network(), INTERNET)?,
        ];
        let rules = settled_rules(&site, node).await?;
        // The daemon's table outlives it; the next owner adopts it, here as the daemon would on a change of policy.
        site.kill("n1").await?;
        let change = || change_policy(&site, node.primary(), &rules);
        let changed = netlink::netns::inside(node.node().network(), change)?;
        changed?;
        site.start("n1").await?;
        let mut counts = Vec::new();
        for mut flow in flows {
            flow.until_sent(300).await?;
            counts.push(flow.stop().await?);
        }
        ensure!(counts.iter().all(|count| count.sent == count.answered), "{counts:?}");
        site.nothing_dropped().await
    }
}

/// The node's rules once every ENI on it has its own.
async fn settled_rules(site: &Site, node: &vpc_sim::vpc::machine::Machine) -> Result<String> {
    e2e::site::until("every ENI has its rule", || async {
        let rules = String::from_utf8(node.node().run("ip", &["rule"]).await?.stdout)?;
        for eni in site.enis("n1")?.iter().filter(|eni| eni.device_index > 0) {
            mark_of(eni.device_index, &rules)?;
        }
        Ok(rules)
    })
    .await
}

/// The number that the daemon gave the ENI at a device index: its rule leads from the mark to the ENI's table.
fn mark_of(device_index: u32, rules: &str) -> Result<EniMark> {
    let table = format!("lookup {}", device_index + 1);
    let of_table = |rule: &&str| rule.starts_with("1536:") && rule.trim_end().ends_with(&table);
    let rule = rules
        .lines()
        .find(of_table)
        .with_context(|| format!("a rule of priority 1536 to {table}: {rules}"))?;
    let (_, mark) = rule.split_once("fwmark 0x").context("a mark")?;
    let (mark, _) = mark.split_once('/').context("a mask")?;
    EniMark::new(u8::from_str_radix(mark, 16)?).context("a number of an ENI")
}

/// A hundred loads of the table, each with another policy.
fn change_policy(site: &Site, primary: Ipv4Addr, rules: &str) -> Result<()> {
    let mut nat = Nat::open()?;
    let enis = site.enis("n1")?;
    for round in 0..100_u32 {
        let mut untranslated: std::collections::BTreeSet<ipnet::Ipv4Net> = ["10.0.0.0/16".parse()?].into();
        if round % 3 == 0 {
            untranslated.insert("192.168.0.0/16".parse()?);
        }
        let mut firewall = Firewall {
            primary_device: "ens5".parse()?,
            secondary_devices: [].into(),
            singles: [].into(),
            prefixes: [].into(),
            pods: [].into(),
            nat: NatRules {
                translate: round % 2 == 0,
                untranslated,
                primary,
                source_ports: SourcePorts::Prng,
                keep_way_back: true,
            },
            veth_prefix: "eni".to_owned(),
        };
        for eni in &enis {
            let pods = eni.addresses.iter().filter(|address| **address != eni.primary);
            firewall
                .pods
                .extend(pods.clone().map(|address| ipnet::Ipv4Net::from(*address)));
            if eni.device_index > 0 {
                let mark = mark_of(eni.device_index, rules)?;
                firewall
                    .secondary_devices
                    .insert(mark, format!("ens{}", 5 + eni.device_index).parse()?);
                firewall.singles.extend(pods.map(|address| (*address, mark)));
            }
        }
        nat.load(&firewall)?;
    }
    Ok(())
}
