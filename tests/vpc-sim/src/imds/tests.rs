//! Metadata over loopback, byte by byte; the peer pretends to be the primary address of a node.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::cloud::Heard;
use crate::model::Model;
use crate::model::id::InstanceId;
use crate::model::instance::{Launch, LaunchEni};
use crate::model::request::{Call, Caller, Request as Ask, Wanted};
use crate::model::response::{Response, Zone};
use crate::model::settings::Settings;
use crate::model::subnet::NewSubnet;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Service {
    cloud: Cloud,
    node: InstanceId,
    imds: Imds,
}

/// What was answered.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Service {
    fn start(instance_type: &str, change: impl Fn(&mut Launch)) -> Self {
        let mut model = Model::new(Settings::instant(1), "10.0.0.0/16".parse().expect("a CIDR"));
        model.add_ipv6_cidr("2001:db8::/56".parse().expect("a CIDR"));
        let zone = Zone {
            name: "us-east-1a".to_owned(),
            id: "use1-az1".to_owned(),
        };
        let dual = NewSubnet {
            ipv6_cidr: Some("2001:db8::/64".parse().expect("a CIDR")),
            ..NewSubnet::plain("10.0.1.0/24".parse().expect("a CIDR"), zone.clone())
        };
        let subnet = model.add_subnet(dual).expect("a good subnet");
        let single = NewSubnet::plain("10.0.2.0/24".parse().expect("a CIDR"), zone);
        let other = model.add_subnet(single).expect("a good subnet");
        let mut launch = Launch::plain(instance_type.parse().expect("known"), subnet);
        launch.more.push(LaunchEni {
            subnet: other,
            network_card: 0,
            device_index: 1,
            secondary_addresses: 2,
        });
        change(&mut launch);
        let node = model.launch(Duration::ZERO, &launch).expect("launches");
        let told = model.metadata(Duration::ZERO, &node).expect("it runs");
        let address = told.primary_address().expect("a primary address");
        let cloud = Cloud::start(model);
        let imds = Imds::pretending(cloud.clone(), move |_| Some(address.into()));
        Self { cloud, node, imds }
    }

    fn plain() -> Self {
        Self::start("c5.large", |_| {})
    }

    /// A connection, and the server's end of it.
    async fn connect(&self) -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("has an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let server = accepted.expect("accepts").0.into_std().expect("a socket");
        let end = server.try_clone().expect("a second handle");
        let server = TcpStream::from_std(server).expect("a socket");
        tokio::spawn(self.imds.clone().serve_connection(server));
        (client.expect("connects"), end)
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let (mut client, _) = self.connect().await;
        ask_on(&mut client, method, path, headers).await
    }

    async fn token(&self) -> String {
        self.ask(
            "PUT",
            "/latest/api/token",
            "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n",
        )
        .await
        .body
    }

    async fn get(&self, path: &str) -> Answer {
        let token = self.token().await;
        let headers = format!("X-aws-ec2-metadata-token: {token}\r\n");
        self.ask("GET", &format!("/latest/{path}"), &headers).await
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// A new IPv6 address of the primary ENI.
    async fn ipv6_address(&self) -> Ipv6Addr {
        let id = self.text(&format!("{}interface-id", self.eni(0).await)).await;
        let call = Call {
            caller: Caller::Instance(self.node.clone()),
            dry_run: false,
            request: Ask::AssignIpv6Addresses {
                eni: id.parse().expect("an id"),
                wanted: Wanted::Addresses(1),
            },
        };
        match self.cloud.call(call).await.expect("runs") {
            Heard::Answer(Ok(Response::AssignedIpv6 { addresses, .. })) => addresses[0],
            other => panic!("expected an address: {other:?}"),
        }
    }

    /// The path of the ENI with this device number.
    async fn eni(&self, index: u32) -> String {
        for mac in self.text("meta-data/network/interfaces/macs/").await.lines() {
            let path = format!("meta-data/network/interfaces/macs/{mac}");
            if self.text(&format!("{path}device-number")).await == index.to_string() {
                return path;
            }
        }
        panic!("no interface has device number {index}");
    }
}

async fn ask_on(client: &mut TcpStream, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: imds\r\n{headers}\r\n");
    client.write_all(request.as_bytes()).await.expect("sends");
    let read = tokio::time::timeout(PATIENCE, read_answer(client));
    read.await.expect("in time")
}

async fn read_answer(client: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let headers: BTreeMap<String, String> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers["content-length"].parse().expect("a length");
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.expect("a body");
    Answer {
        status: status.expect("a status"),
        headers,
        body: String::from_utf8(body).expect("text"),
    }
}

#[tokio::test]
async fn a_token_is_given_for_a_good_ttl_and_only_then() {
    let service = Service::plain();
    let rows = [("1", 200), ("21600", 200), ("0", 400), ("21601", 400), ("x", 400)];
    for (ttl, status) in rows {
        let header = format!("X-aws-ec2-metadata-token-ttl-seconds: {ttl}\r\n");
        let answer = service.ask("PUT", "/latest/api/token", &header).await;
        assert_eq!(answer.status, status, "{ttl}");
        if status == 200 {
            assert_eq!(answer.headers[TTL_HEADER], ttl);
        }
    }
    assert_eq!(service.ask("PUT", "/latest/api/token", "").await.status, 400);
}

#[tokio::test]
async fn a_forwarded_token_request_is_forbidden() {
    let service = Service::plain();
    let headers = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\nX-Forwarded-For: 10.0.0.9\r\n";
    assert_eq!(service.ask("PUT", "/latest/api/token", headers).await.status, 403);
}

#[tokio::test]
async fn a_missing_wrong_foreign_or_expired_token_is_401() {
    let service = Service::plain();
    let expired = Token {
        instance: service.node.clone(),
        expires: Duration::ZERO,
    };
    let foreign = Token {
        instance: InstanceId::numbered(1),
        expires: Duration::from_secs(3600),
    };
    let rows = [
        String::new(),
        "nonsense".to_owned(),
        expired.to_string(),
        foreign.to_string(),
    ];
    for token in rows {
        let header = format!("X-aws-ec2-metadata-token: {token}\r\n");
        let answer = service.ask("GET", "/latest/meta-data/instance-id", &header).await;
        assert_eq!(answer.status, 401, "{token}");
    }
    assert_eq!(
        service
            .ask("GET", "/latest/meta-data/instance-id", "")
            .await
            .status,
        401
    );
    assert_eq!(service.get("meta-data/instance-id").await.status, 200);
}

#[tokio::test]
async fn a_disabled_service_is_403() {
    let service = Service::start("c5.large", |launch| launch.metadata_enabled = false);
    let header = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    assert_eq!(service.ask("PUT", "/latest/api/token", header).await.status, 403);
    assert_eq!(service.ask("GET", "/latest/meta-data/", "").await.status, 403);
}

#[tokio::test]
async fn a_path_without_a_value_is_404_and_absence_is_information() {
    let service = Service::plain();
    let eni = service.eni(1).await;
    let absent = [
        "meta-data/ipv6".to_owned(),
        "meta-data/nonsense".to_owned(),
        "meta-data/iam/security-credentials-extended/".to_owned(),
        format!("{eni}network-card"),
        format!("{eni}ipv4-prefix"),
        format!("{eni}ipv6s"),
        format!("{eni}public-ipv4s"),
        format!("{eni}vpc-ipv6-cidr-blocks"),
    ];
    for path in absent {
        assert_eq!(service.get(&path).await.status, 404, "{path}");
    }
    assert!(!service.text(&eni).await.contains("ipv4-prefix"));
}

#[tokio::test]
async fn lists_are_lines_and_the_final_slash_does_not_matter() {
    let service = Service::plain();
    let macs = service.text("meta-data/network/interfaces/macs/").await;
    assert_eq!(macs.lines().count(), 2);
    assert!(macs.lines().all(|mac| mac.ends_with('/')));
    assert_eq!(service.text("meta-data/network/interfaces/macs").await, macs);
    assert_eq!(service.text("meta-data/network/interfaces/").await, "macs/");
    let top = service.text("meta-data/").await;
    for name in ["instance-id", "mac", "network/", "placement/", "iam/"] {
        assert!(top.lines().any(|line| line == name), "{name} in {top}");
    }
    assert_eq!(
        service.text("meta-data/instance-id/").await,
        service.node.to_string()
    );
}

#[tokio::test]
async fn every_path_that_a_cni_and_the_sdk_read_is_there() {
    let service = Service::start("c5.large", |launch| launch.public = true);
    let primary = service.eni(0).await;
    let expected = [
        ("meta-data/instance-type".to_owned(), "c5.large"),
        ("meta-data/placement/availability-zone".to_owned(), "us-east-1a"),
        ("meta-data/placement/region".to_owned(), "us-east-1"),
        ("meta-data/iam/security-credentials/".to_owned(), "node"),
        (format!("{primary}device-number"), "0"),
        (format!("{primary}owner-id"), "123456789012"),
        (format!("{primary}subnet-ipv4-cidr-block"), "10.0.1.0/24"),
        (format!("{primary}vpc-ipv4-cidr-block"), "10.0.0.0/16"),
        (format!("{primary}vpc-ipv4-cidr-blocks"), "10.0.0.0/16"),
    ];
    for (path, text) in expected {
        assert_eq!(service.text(&path).await, text, "{path}");
    }
    let local = service.text("meta-data/local-ipv4").await;
    assert_eq!(service.text(&format!("{primary}local-ipv4s")).await, local);
    let public = service.text(&format!("{primary}public-ipv4s")).await;
    assert_eq!(
        service
            .text(&format!("{primary}ipv4-associations/{public}"))
            .await,
        local
    );
    let mac = service.text("meta-data/mac").await;
    assert!(primary.ends_with(&format!("{mac}/")));
    for key in ["interface-id", "subnet-id", "vpc-id", "security-group-ids"] {
        let text = service.text(&format!("{primary}{key}")).await;
        assert!(text.contains('-'), "{key}: {text}");
    }
    let secondary = service.eni(1).await;
    assert_eq!(
        service
            .text(&format!("{secondary}local-ipv4s"))
            .await
            .lines()
            .count(),
        3
    );
}

#[tokio::test]
async fn prefixes_and_network_cards_are_shown_where_they_exist() {
    let service = Service::start("p5.48xlarge", |_| {});
    let eni = service.eni(1).await;
    assert_eq!(service.text(&format!("{eni}network-card")).await, "0");
    let id = service.text(&format!("{eni}interface-id")).await;
    let call = Call {
        caller: Caller::Instance(service.node.clone()),
        dry_run: false,
        request: Ask::AssignPrivateIpAddresses {
            eni: id.parse().expect("an id"),
            wanted: Wanted::Prefixes(2),
        },
    };
    service.cloud.call(call).await.expect("runs");
    let prefixes = service.text(&format!("{eni}ipv4-prefix")).await;
    assert_eq!(prefixes.lines().filter(|line| line.ends_with("/28")).count(), 2);
}

#[tokio::test]
async fn ipv6_is_shown_where_there_is_some_and_its_keys_are_absent_elsewhere() {
    let service = Service::plain();
    let keys = [
        "ipv6s",
        "ipv6-prefix",
        "subnet-ipv6-cidr-blocks",
        "vpc-ipv6-cidr-blocks",
    ];
    let (primary, secondary) = (service.eni(0).await, service.eni(1).await);
    assert_eq!(service.get("meta-data/ipv6").await.status, 404);
    for key in keys {
        assert_eq!(
            service.get(&format!("{secondary}{key}")).await.status,
            404,
            "{key}"
        );
    }
    let told = service.text(&secondary).await;
    assert!(!told.lines().any(|key| key.contains("ipv6")), "{told}");
    // The primary ENI is in the subnet with IPv6.
    assert_eq!(
        service.text(&format!("{primary}subnet-ipv6-cidr-blocks")).await,
        "2001:db8::/64"
    );
    assert_eq!(
        service.text(&format!("{primary}vpc-ipv6-cidr-blocks")).await,
        "2001:db8::/56"
    );
    for key in ["ipv6s", "ipv6-prefix"] {
        assert_eq!(service.get(&format!("{primary}{key}")).await.status, 404, "{key}");
    }
    let id = service.text(&format!("{primary}interface-id")).await;
    for wanted in [Wanted::Addresses(2), Wanted::Prefixes(1)] {
        let call = Call {
            caller: Caller::Instance(service.node.clone()),
            dry_run: false,
            request: Ask::AssignIpv6Addresses {
                eni: id.parse().expect("an id"),
                wanted,
            },
        };
        service.cloud.call(call).await.expect("runs");
    }
    let addresses = service.text(&format!("{primary}ipv6s")).await;
    assert_eq!(addresses.lines().count(), 2);
    let first = addresses.lines().next().expect("two");
    assert_eq!(service.text("meta-data/ipv6").await, first);
    assert!(
        service
            .text(&format!("{primary}ipv6-prefix"))
            .await
            .ends_with("/80")
    );
}

#[tokio::test]
async fn only_instances_whose_options_say_so_are_answered_over_ipv6() {
    for over_ipv6 in [false, true] {
        let service = Service::start("c5.large", |launch| launch.metadata_ipv6 = over_ipv6);
        let address = service.ipv6_address().await;
        let imds = Imds::pretending(service.cloud.clone(), move |_| Some(address.into()));
        let service = Service { imds, ..service };
        let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
        let asked = service.ask("PUT", "/latest/api/token", ttl);
        let heard = tokio::time::timeout(Duration::from_millis(300), asked).await;
        assert_eq!(heard.is_ok_and(|answer| answer.status == 200), over_ipv6);
    }
}

#[tokio::test]
async fn documents_are_json_with_the_members_that_sdks_read() {
    let service = Service::plain();
    let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let identity = read(service.text("dynamic/instance-identity/document").await);
    assert_eq!(identity["region"], "us-east-1");
    assert_eq!(identity["instanceId"], service.node.to_string());
    assert_eq!(identity["privateIp"], service.text("meta-data/local-ipv4").await);
    let credentials = read(service.text("meta-data/iam/security-credentials/node").await);
    assert_eq!(credentials["Code"], "Success");
    for key in [
        "AccessKeyId",
        "SecretAccessKey",
        "Token",
        "Expiration",
        "LastUpdated",
    ] {
        assert!(credentials[key].is_string(), "{key}");
    }
    assert_eq!(
        credentials["AccessKeyId"],
        crate::ec2::access_key_of(&service.node)
    );
}

#[tokio::test]
async fn the_answer_to_a_token_request_travels_as_far_as_the_hop_limit_and_others_as_usual() {
    for limit in [1, 2] {
        let service = Service::start("c5.large", |launch| launch.hop_limit = limit);
        let (mut client, server) = service.connect().await;
        let header = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
        let token = ask_on(&mut client, "PUT", "/latest/api/token", header).await.body;
        assert_eq!(server.ttl().expect("a socket"), u32::from(limit));
        let header = format!("X-aws-ec2-metadata-token: {token}\r\n");
        let answer = ask_on(&mut client, "GET", "/latest/meta-data/mac", &header).await;
        assert_eq!((answer.status, server.ttl().expect("a socket")), (200, USUAL_TTL));
    }
}

#[tokio::test]
async fn the_hop_limit_holds_over_ipv6_too() {
    let listener = TcpListener::bind("[::1]:0").await.expect("listens");
    let address = listener.local_addr().expect("has an address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (server, peer) = accepted.expect("accepts");
    let _client = client.expect("connects");
    let socket = server.into_std().expect("a socket");
    set_hops(&socket, peer, 2).expect("a good socket");
    let hops = nix::sys::socket::getsockopt(&socket, sockopt::Ipv6Ttl);
    assert_eq!(hops, Ok(2));
}

#[tokio::test]
async fn nobody_hears_nothing() {
    let service = Service::plain();
    let stranger = Imds::new(service.cloud.clone());
    let service = Service {
        imds: stranger,
        ..service
    };
    let (mut client, _) = service.connect().await;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: imds\r\n\r\n")
        .await
        .expect("sends");
    let mut heard = Vec::new();
    let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut heard)).await;
    assert!(read.is_ok() && heard.is_empty());
}
