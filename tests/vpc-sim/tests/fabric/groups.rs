//! P14: security groups are stateful, and each ENI tracks for itself.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use netlink::{Family, Rule};
use vpc_sim::fabric::Reason;
use vpc_sim::model::id::SecurityGroupId;
use vpc_sim::model::security_group::{Allowed, Peer, Ports, Traffic};
use vpc_sim::probe::{Protocol, Question, ask};

use crate::facts::{BOTH, facts};
use crate::rig::{LIMIT, PORT, Rig, at, everything, host, ip};

facts! {
    /// Nothing comes in that no rule lets in, and the ENI that refused is named.
    async fn p14_ingress_is_refused(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        let eni = rig.n2.eni1.clone();
        rig.eni(&eni).ingress = BTreeSet::new();
        rig.apply().await;
        for protocol in BOTH {
            rig.n1.ask(protocol, rig.n2.primary).await.unwrap_err();
        }
        rig.only_dropped(&eni, Reason::GroupIn);
    }

    /// Nothing goes out that no rule lets out.
    async fn p14_egress_is_refused(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        let eni = rig.n1.eni1.clone();
        rig.eni(&eni).egress = BTreeSet::new();
        rig.apply().await;
        for protocol in BOTH {
            rig.n1.ask(protocol, rig.n2.primary).await.unwrap_err();
        }
        rig.only_dropped(&eni, Reason::GroupOut);
    }

    /// Answers need no rule, in either direction, and also not through the internet gateway.
    async fn p14_answers_pass(mut rig) {
        let internet = ip("198.51.100.7");
        let far = vpc_sim::probe::Responder::start("internet", rig.fabric.internet(), at(internet)).unwrap();
        let _responders = (rig.n1.responder(rig.n1.primary), rig.n2.responder(rig.n2.primary), far);
        let (asker, asked) = (rig.n1.eni1.clone(), rig.n2.eni1.clone());
        rig.eni(&asker).ingress = BTreeSet::new();
        rig.eni(&asked).egress = BTreeSet::new();
        rig.apply().await;
        for protocol in BOTH {
            rig.n1.ask(protocol, rig.n2.primary).await.unwrap();
            rig.n1.ask(protocol, internet).await.unwrap();
        }
        rig.nothing_dropped();
        rig.n2.ask(Protocol::Udp, rig.n1.primary).await.unwrap_err();
        rig.only_dropped(&asked, Reason::GroupOut);
    }

    /// A rule is about a protocol, a range of ports and a range of addresses.
    async fn p14_rules_choose_protocol_port_and_peer(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        let eni = rig.n2.eni1.clone();
        let own: Ipv4Net = rig.n1.primary.into();
        let tcp = |first, last| Traffic::Tcp(Ports { first, last });
        let rows = [
            ("its port", tcp(PORT, PORT), own, true),
            ("a range around it", tcp(PORT - 9, PORT + 9), "10.0.0.0/16".parse().unwrap(), true),
            ("the port below", tcp(PORT - 1, PORT - 1), own, false),
            ("the port above", tcp(PORT + 1, PORT + 1), own, false),
            ("the other protocol", Traffic::Udp(Ports { first: PORT, last: PORT }), own, false),
            ("the protocol by number", Traffic::Protocol(6), own, true),
            ("somebody else", tcp(PORT, PORT), "10.0.2.0/24".parse().unwrap(), false),
        ];
        for (name, traffic, peer, passes) in rows {
            rig.eni(&eni).ingress = BTreeSet::from([Allowed { traffic, peer: Peer::Ipv4(peer) }]);
            rig.apply().await;
            let answer = rig.n1.ask(Protocol::Tcp, rig.n2.primary).await;
            assert_eq!(answer.is_ok(), passes, "{name}");
        }
        rig.only_dropped(&eni, Reason::GroupIn);
    }

    /// A rule that names a group means the addresses of the ENIs in it, also those that are assigned later.
    async fn p14_a_group_is_its_members_addresses(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        let (member, eni) = (rig.n1.eni2.clone(), rig.n2.eni1.clone());
        let group = SecurityGroupId::numbered(7);
        rig.eni(&member).groups = BTreeSet::from([group.clone()]);
        rig.eni(&eni).ingress = BTreeSet::from([Allowed { traffic: Traffic::All, peer: Peer::Group(group) }]);
        rig.eni(&member).addresses.remove(&ip("10.0.1.22"));
        let pods = [("first", "10.0.1.21"), ("later", "10.0.1.22"), ("in-a-prefix", "10.0.1.70")];
        let mut wired = Vec::new();
        for (name, address) in pods {
            wired.push(rig.n1.pod(name, ip(address)).await);
            rig.n1.send_by_secondary(ip(address)).await;
        }
        rig.apply().await;
        wired[0].ask(Protocol::Tcp, rig.n2.primary).await.unwrap();
        wired[2].ask(Protocol::Tcp, rig.n2.primary).await.unwrap();
        rig.nothing_dropped();
        rig.eni(&member).addresses.insert(ip("10.0.1.22"));
        rig.apply().await;
        wired[1].ask(Protocol::Tcp, rig.n2.primary).await.unwrap();
        rig.nothing_dropped();
        rig.n1.ask(Protocol::Tcp, rig.n2.primary).await.unwrap_err();
        rig.only_dropped(&eni, Reason::GroupIn);
    }

    /// A reply that leaves by another ENI than its question came is not established there.
    async fn p14_a_reply_through_another_eni_needs_a_rule(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        let (asker, other) = (rig.n1.eni1.clone(), rig.n2.eni2.clone());
        rig.eni(&asker).ingress = BTreeSet::new();
        rig.eni(&other).source_dest_check = false;
        rig.eni(&other).egress = BTreeSet::new();
        rig.apply().await;
        rig.n1.ask(Protocol::Udp, rig.n2.primary).await.unwrap();
        rig.nothing_dropped();
        let mut wrong_way = Rule::new(Family::V4, 100, 10_002);
        wrong_way.from = Some(host(rig.n2.primary));
        rig.n2.routing().add_rule(&wrong_way).await.unwrap();
        rig.n1.ask(Protocol::Udp, rig.n2.primary).await.unwrap_err();
        rig.only_dropped(&other, Reason::GroupOut);
        // With a rule it passes, and the asker knows its own connection whichever way the answer comes.
        rig.eni(&other).egress = everything();
        rig.apply().await;
        rig.n1.ask(Protocol::Udp, rig.n2.primary).await.unwrap();
        rig.only_dropped(&other, Reason::GroupOut);
    }

    /// With nothing to filter nothing is tracked, before and after.
    async fn p14_nothing_is_tracked_without_need(mut rig) {
        let _responder = rig.n2.responder(rig.n2.primary);
        let eni = rig.n2.eni1.clone();
        assert!(!tracks(&rig));
        rig.eni(&eni).ingress = BTreeSet::new();
        rig.apply().await;
        assert!(tracks(&rig));
        rig.eni(&eni).ingress = everything();
        rig.apply().await;
        assert!(!tracks(&rig));
        let question = Question::new(Protocol::Tcp, at(rig.n2.primary), LIMIT);
        ask(rig.n1.network(), &question).await.unwrap();
        rig.nothing_dropped();
    }
}

/// Whether the chains are loaded that make the kernel track connections.
fn tracks(rig: &Rig) -> bool {
    let mut nft = netlink::nft::Nftables::open_in(rig.fabric.namespace()).unwrap();
    let chains = nft.chains(netlink::nft::Family::Inet, "vpc").unwrap();
    ["track", "leaving", "arriving"]
        .iter()
        .any(|name| chains.iter().any(|chain| chain.name == *name))
}
