//! The API over loopback, byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::example::example;
use crate::model::fault::{Effect, Fault};
use crate::model::request::Operation;
use crate::model::settings::Settings;

const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=00\r\n";

struct Api {
    cloud: Cloud,
    address: SocketAddr,
    subnet: String,
}

impl Api {
    async fn start(identify: Identify) -> Self {
        let model = example(Settings::instant(1)).expect("builds");
        let subnet = model.subnet_ids().next().expect("a subnet").to_string();
        let cloud = Cloud::start(model);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("has an address");
        tokio::spawn(Ec2::new(cloud.clone(), identify).serve(listener));
        Self {
            cloud,
            address,
            subnet,
        }
    }

    /// Everything the server sends before it closes the connection.
    async fn raw(&self, request: String) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        read.expect("in time").expect("text");
        answer
    }

    async fn post(&self, headers: &str, form: &str) -> String {
        let length = form.len();
        let head = format!("POST / HTTP/1.1\r\nHost: ec2\r\nConnection: close\r\n{headers}");
        self.raw(format!("{head}Content-Length: {length}\r\n\r\n{form}"))
            .await
    }

    async fn get(&self, form: &str) -> String {
        self.raw(format!(
            "GET /?{form} HTTP/1.1\r\nHost: ec2\r\nConnection: close\r\n{SIGNED}\r\n"
        ))
        .await
    }

    fn create(&self) -> String {
        format!(
            "Action=CreateNetworkInterface&Version=2016-11-15&SubnetId={}",
            self.subnet
        )
    }

    async fn enis(&self) -> usize {
        let answer = self
            .post(SIGNED, "Action=DescribeNetworkInterfaces&Version=2016-11-15")
            .await;
        answer.matches("<networkInterfaceId>").count()
    }
}

fn refused_with(answer: &str, status: u16, code: &str) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(&format!("<Code>{code}</Code>"))
}

#[tokio::test]
async fn post_and_get_are_the_same() {
    let api = Api::start(Identify::AccessKey).await;
    let form = "Action=DescribeVpcs&Version=2016-11-15";
    let (posted, got) = (api.post(SIGNED, form).await, api.get(form).await);
    let body = |answer: &str| answer.split("<vpcSet>").nth(1).map(str::to_owned);
    assert!(posted.starts_with("HTTP/1.1 200 OK"), "{posted}");
    assert_eq!(body(&posted), body(&got));
}

#[tokio::test]
async fn the_front_door_refuses_as_ec2_does() {
    let api = Api::start(Identify::AccessKey).await;
    let vpcs = "Action=DescribeVpcs&Version=2016-11-15";
    let rows = [
        ("", vpcs, 403, "MissingAuthenticationToken"),
        ("Authorization: Basic eA==\r\n", vpcs, 401, "AuthFailure"),
        (SIGNED, "Action=Nonsense&Version=2016-11-15", 400, "InvalidAction"),
        (SIGNED, "Version=2016-11-15", 400, "MissingParameter"),
        (
            SIGNED,
            "Action=DescribeVpcs&Version=2016-11-15&X=1",
            400,
            "UnknownParameter",
        ),
        (
            SIGNED,
            "Action=DescribeVpcs&Version=%zz",
            400,
            "MalformedQueryString",
        ),
    ];
    for (headers, form, status, code) in rows {
        let answer = api.post(headers, form).await;
        assert!(refused_with(&answer, status, code), "{form}: {answer}");
    }
}

#[tokio::test]
async fn a_caller_from_an_address_that_no_eni_has_is_nobody() {
    let api = Api::start(Identify::SourceAddress).await;
    let answer = api.post(SIGNED, "Action=DescribeVpcs&Version=2016-11-15").await;
    assert!(refused_with(&answer, 401, "AuthFailure"), "{answer}");
}

#[tokio::test]
async fn a_lost_answer_ends_the_connection_after_the_effect() {
    let api = Api::start(Identify::AccessKey).await;
    let fault = Fault::once(Operation::CreateNetworkInterface, Effect::LoseAnswer);
    api.cloud.inject(fault).await.expect("runs");
    assert_eq!(api.post(SIGNED, &api.create()).await, "");
    assert_eq!(api.enis().await, 3);
}

#[tokio::test]
async fn scripted_errors_have_their_status_and_text() {
    let api = Api::start(Identify::AccessKey).await;
    let scripted = Ec2Error::Scripted {
        code: "InsufficientSomething".to_owned(),
        message: "a < b".to_owned(),
        status: 500,
    };
    let faults = [
        (Effect::Refuse(Ec2Error::Throttled), 503, "RequestLimitExceeded"),
        (Effect::Deny, 403, "UnauthorizedOperation"),
        (Effect::Refuse(scripted), 500, "InsufficientSomething"),
    ];
    for (effect, status, code) in faults {
        let fault = Fault::once(Operation::CreateNetworkInterface, effect);
        api.cloud.inject(fault).await.expect("runs");
        let answer = api.post(SIGNED, &api.create()).await;
        assert!(refused_with(&answer, status, code), "{answer}");
    }
    assert_eq!(api.enis().await, 2);
}

/// The least that each action accepts; ids need not exist, because nothing is done.
const LEAST: [(&str, &str); 31] = [
    (
        "AssignIpv6Addresses",
        "NetworkInterfaceId=eni-00000001&Ipv6AddressCount=1",
    ),
    (
        "AssignPrivateIpAddresses",
        "NetworkInterfaceId=eni-00000001&Ipv4PrefixCount=1",
    ),
    (
        "AttachNetworkInterface",
        "NetworkInterfaceId=eni-00000001&InstanceId=i-00000001&DeviceIndex=1",
    ),
    (
        "AuthorizeSecurityGroupEgress",
        "GroupId=sg-00000001&IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0",
    ),
    (
        "AuthorizeSecurityGroupIngress",
        "GroupId=sg-00000001&IpProtocol=-1&CidrIp=0.0.0.0/0",
    ),
    ("CreateNetworkInterface", "SubnetId=subnet-00000001"),
    (
        "CreateSecurityGroup",
        "GroupName=g&GroupDescription=d&VpcId=vpc-00000001",
    ),
    (
        "CreateSubnetCidrReservation",
        "SubnetId=subnet-00000001&Cidr=10.0.1.0/28&ReservationType=prefix",
    ),
    (
        "CreateTags",
        "ResourceId.1=eni-00000001&Tag.1.Key=k&Tag.1.Value=v",
    ),
    ("DeleteNetworkInterface", "NetworkInterfaceId=eni-00000001"),
    ("DeleteSecurityGroup", "GroupId=sg-00000001"),
    (
        "DeleteSubnetCidrReservation",
        "SubnetCidrReservationId=scr-00000001",
    ),
    ("DeleteTags", "ResourceId.1=eni-00000001"),
    ("DescribeAvailabilityZones", ""),
    ("DescribeInstanceTypes", ""),
    ("DescribeInstances", ""),
    ("DescribeNetworkInterfaces", ""),
    ("DescribeSecurityGroupRules", ""),
    ("DescribeSecurityGroups", ""),
    ("DescribeSubnets", ""),
    ("DescribeTags", ""),
    ("DescribeVpcs", ""),
    ("DetachNetworkInterface", "AttachmentId=eni-attach-00000001"),
    ("GetSubnetCidrReservations", "SubnetId=subnet-00000001"),
    (
        "ModifyNetworkInterfaceAttribute",
        "NetworkInterfaceId=eni-00000001&Description.Value=d",
    ),
    (
        "RevokeSecurityGroupEgress",
        "GroupId=sg-00000001&SecurityGroupRuleId.1=sgr-00000001",
    ),
    (
        "RevokeSecurityGroupIngress",
        "GroupId=sg-00000001&SecurityGroupRuleId.1=sgr-00000001",
    ),
    (
        "RunInstances",
        "ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId=subnet-00000001",
    ),
    ("TerminateInstances", "InstanceId.1=i-00000001"),
    (
        "UnassignIpv6Addresses",
        "NetworkInterfaceId=eni-00000001&Ipv6Addresses.1=2001:db8::9",
    ),
    (
        "UnassignPrivateIpAddresses",
        "NetworkInterfaceId=eni-00000001&PrivateIpAddress.1=10.0.1.9",
    ),
];

#[tokio::test]
async fn every_action_can_be_tried_dry_and_be_denied() {
    let api = Api::start(Identify::AccessKey).await;
    assert_eq!(
        LEAST.map(|(action, _)| action),
        Operation::ALL.map(Operation::name)
    );
    for (operation, (action, least)) in Operation::ALL.into_iter().zip(LEAST) {
        let form = format!("Action={action}&Version=2016-11-15&{least}");
        let dry = format!("{form}&DryRun=true");
        if known::has_parameter(action, "DryRun") {
            let answer = api.post(SIGNED, &dry).await;
            assert!(
                refused_with(&answer, 412, "DryRunOperation"),
                "{action}: {answer}"
            );
        } else {
            let answer = api.post(SIGNED, &dry).await;
            assert!(
                refused_with(&answer, 400, "UnknownParameter"),
                "{action}: {answer}"
            );
        }
        let fault = Fault::always(operation, Effect::Deny);
        let fault = api.cloud.inject(fault).await.expect("runs");
        for form in [&form, &dry] {
            let tried = form == &dry && !known::has_parameter(action, "DryRun");
            let answer = api.post(SIGNED, form).await;
            let denied = refused_with(&answer, 403, "UnauthorizedOperation");
            assert!(denied || tried, "{action}: {answer}");
        }
        api.cloud.release(fault).await.expect("runs");
    }
}
