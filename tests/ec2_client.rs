//! The EC2 client against the simulated API over the wire, for calls that the daemon makes too rarely for other tests.
//!
//! The SDK takes its endpoint and credentials from the environment, so the test runs itself once more with them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use ec2::{Connection, Ec2};
use ipamd_core::action::Fault;
use ipamd_core::id::EniId;
use ipamd_core::tag;
use tokio::net::TcpListener;
use vpc_sim::cloud::Cloud;
use vpc_sim::ec2::Identify;
use vpc_sim::model::id::SubnetId;
use vpc_sim::model::request::{Call, Caller, CreateEni};
use vpc_sim::model::response::{Response, Zone};
use vpc_sim::model::settings::Settings;
use vpc_sim::model::subnet::NewSubnet;
use vpc_sim::model::{Handled, Model};

const NAME: &str = "what_is_unattached_is_found_by_tag_cluster_and_id";

/// Set in the second run: the VPC, and the ids of three ENIs in the order of their creation.
const THERE: &str = "BERTH_TEST_THERE";

const INSTANCE: &str = "i-00000000000000002";

fn create(model: &mut Model, subnet: &SubnetId, tags: &[(&str, &str)]) -> String {
    let tags: BTreeMap<String, String> = tags
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let call = Call {
        caller: Caller::AccessKey("operator".to_owned()),
        dry_run: false,
        request: CreateEni {
            description: format!("aws-K8S-{INSTANCE}"),
            tags,
            ..CreateEni::plain(subnet.clone())
        }
        .into(),
    };
    match model.handle(Duration::ZERO, &call) {
        Handled::Answered {
            result: Ok(Response::Created { eni, .. }),
            ..
        } => eni.id.to_string(),
        other => panic!("expected an ENI, not {other:?}"),
    }
}

#[tokio::test]
async fn what_is_unattached_is_found_by_tag_cluster_and_id() {
    if let Ok(there) = std::env::var(THERE) {
        return ask(&there).await;
    }
    let mut model = Model::new(Settings::instant(1), "10.0.0.0/16".parse().unwrap());
    let zone = Zone {
        name: "us-east-1a".to_owned(),
        id: "use1-az1".to_owned(),
    };
    let subnet = NewSubnet::plain("10.0.0.0/24".parse().unwrap(), zone);
    let subnet = model.add_subnet(subnet).unwrap();
    let instance = (tag::INSTANCE, INSTANCE);
    let there = [
        model.vpc_id().to_string(),
        create(&mut model, &subnet, &[instance]),
        create(&mut model, &subnet, &[instance, (tag::CLUSTER, "red")]),
        create(&mut model, &subnet, &[]),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = vpc_sim::ec2::Ec2::new(Cloud::start(model), Identify::AccessKey);
    let server = tokio::spawn(server.serve(listener));
    let again = tokio::task::spawn_blocking(move || {
        let own = std::env::current_exe().unwrap();
        let mut again = Command::new(own);
        again.args(["--exact", NAME, "--nocapture"]);
        again
            .env(THERE, there.join(" "))
            .env("AWS_ENDPOINT_URL", endpoint);
        again
            .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret");
        again.status().unwrap()
    });
    assert!(again.await.unwrap().success());
    server.abort();
}

async fn ask(there: &str) {
    let mut there = there.split(' ');
    let vpc = there.next().unwrap().parse().unwrap();
    let ids: Vec<EniId> = there.map(|id| id.parse().unwrap()).collect();
    let connection = Connection {
        region: "us-east-1".to_owned(),
        instance: "i-00000000000000001".parse().unwrap(),
        timeout: Duration::from_secs(10),
    };
    let ec2 = Ec2::connect(connection).await;
    let found = async |cluster, only| -> Result<Vec<EniId>, Fault> {
        let found = ec2.read_unattached(&vpc, cluster, only).await?;
        for eni in &found {
            assert_eq!(eni.description, format!("aws-K8S-{INSTANCE}"));
            assert_eq!(eni.tags[tag::INSTANCE], INSTANCE);
        }
        let mut ids: Vec<EniId> = found.into_iter().map(|eni| eni.id).collect();
        ids.sort();
        Ok(ids)
    };
    let mut tagged = ids[..2].to_vec();
    tagged.sort();
    assert_eq!(found(None, None).await, Ok(tagged));
    assert_eq!(found(Some("red"), None).await, Ok(vec![ids[1].clone()]));
    assert_eq!(found(Some("blue"), None).await, Ok(vec![]));
    assert_eq!(found(None, Some(&ids[0])).await, Ok(vec![ids[0].clone()]));
    assert_eq!(
        found(None, Some(&ids[2])).await,
        Ok(vec![]),
        "it has no instance's tag"
    );
    ec2.delete(&ids[0]).await.unwrap();
    assert_eq!(
        found(None, Some(&ids[0])).await,
        Ok(vec![]),
        "one that is gone is no error"
    );
}
