//! What is known of EC2 and of instance metadata, one test per fact.

mod addresses;
mod faults;
mod groups;
mod instances;
mod ipv6;
mod lifecycle;
mod metadata;
mod places;

use std::net::Ipv4Addr;
use std::time::Duration;

use super::error::Ec2Error;
use super::fault::{Effect, Fault};
use super::id::{AttachmentId, EniId, InstanceId, SubnetId};
use super::instance::{Launch, LaunchEni};
use super::limits;
use super::request::{
    AttachEni, Call, Caller, CreateEni, Describe, EniChange, Operation, Request, Resource, Tags, Wanted,
    WantedIpv6,
};
use super::response::{AttachmentStatus, EniDescription, EniStatus, InstanceState, Response, Zone};
use super::settings::{Delays, Settings, Span};
use super::setup::SetupError;
use super::subnet::NewSubnet;
use super::{Handled, Model};

/// A VPC with two subnets in one zone, one in another, and a c5.large.
struct World {
    model: Model,
    now: Duration,
    subnet: SubnetId,
    other_zone: SubnetId,
    node: InstanceId,
}

impl World {
    fn new(settings: Settings) -> Self {
        let mut model = Model::new(settings, "10.0.0.0/16".parse().expect("a CIDR"));
        let subnet = subnet(&mut model, "10.0.1.0/24", "a");
        let other_zone = subnet_in_b(&mut model);
        let node = launch(&mut model, "c5.large", &subnet);
        Self {
            model,
            now: Duration::ZERO,
            subnet,
            other_zone,
            node,
        }
    }

    fn instant() -> Self {
        Self::new(Settings::instant(1))
    }

    /// No delay but this one.
    fn with(change: impl Fn(&mut Delays)) -> Self {
        let mut settings = Settings::instant(1);
        change(&mut settings.delays);
        Self::new(settings)
    }

    fn handle(&mut self, request: Request) -> Handled {
        let call = Call {
            caller: Caller::Instance(self.node.clone()),
            dry_run: false,
            request,
        };
        self.model.handle(self.now, &call)
    }

    fn ask(&mut self, request: Request) -> Result<Response, Ec2Error> {
        match self.handle(request) {
            Handled::Answered { result, .. } => result,
            other => panic!("expected an answer: {other:?}"),
        }
    }

    fn code(&mut self, request: Request) -> String {
        self.ask(request)
            .expect_err("should be refused")
            .code()
            .to_owned()
    }

    fn create(&mut self, wanted: Wanted) -> EniDescription {
        let create = CreateEni {
            wanted,
            ..CreateEni::plain(self.subnet.clone())
        };
        self.created(create)
    }

    fn create_ipv6(&mut self, wanted_ipv6: WantedIpv6) -> EniId {
        let create = CreateEni {
            wanted_ipv6,
            ..CreateEni::plain(self.subnet.clone())
        };
        self.created(create).id
    }

    fn created(&mut self, create: CreateEni) -> EniDescription {
        match self.ask(Request::CreateNetworkInterface(create)) {
            Ok(Response::Created { eni, .. }) => *eni,
            other => panic!("expected an ENI: {other:?}"),
        }
    }

    fn attach_request(&self, eni: &EniId, device_index: u32) -> Request {
        Request::AttachNetworkInterface(AttachEni {
            eni: eni.clone(),
            instance: self.node.clone(),
            device_index,
            network_card: 0,
        })
    }

    fn attach(&mut self, eni: &EniId, index: u32) -> AttachmentId {
        match self.ask(self.attach_request(eni, index)) {
            Ok(Response::Attached { attachment, .. }) => attachment,
            other => panic!("expected an attachment: {other:?}"),
        }
    }

    fn delete(&mut self, eni: &EniId) -> Result<Response, Ec2Error> {
        self.ask(Request::DeleteNetworkInterface { eni: eni.clone() })
    }

    fn assign(&mut self, eni: &EniId, wanted: Wanted) -> Result<Response, Ec2Error> {
        self.ask(Request::AssignPrivateIpAddresses {
            eni: eni.clone(),
            wanted,
        })
    }

    fn unassign(&mut self, eni: &EniId, addresses: Vec<Ipv4Addr>) -> Result<Response, Ec2Error> {
        self.ask(Request::UnassignPrivateIpAddresses {
            eni: eni.clone(),
            addresses,
            prefixes: Vec::new(),
        })
    }

    fn detach(&mut self, attachment: &AttachmentId) -> Result<Response, Ec2Error> {
        self.ask(Request::DetachNetworkInterface {
            attachment: attachment.clone(),
        })
    }

    fn tag(&mut self, eni: &EniId) {
        let request = Request::CreateTags {
            resources: vec![Resource::Eni(eni.clone())],
            tags: Tags::from([("k".to_owned(), "v".to_owned())]),
        };
        assert_eq!(self.ask(request), Ok(Response::Done));
    }

    fn describe(&mut self, ids: &[&EniId]) -> Result<Vec<EniDescription>, Ec2Error> {
        let request = Request::DescribeNetworkInterfaces(Describe {
            ids: ids.iter().map(|id| (*id).clone()).collect(),
            narrowed: false,
        });
        match self.ask(request)? {
            Response::Enis(list) => Ok(list),
            other => panic!("expected ENIs: {other:?}"),
        }
    }

    fn one(&mut self, id: &EniId) -> EniDescription {
        self.describe(&[id]).expect("described").remove(0)
    }

    fn primary(&mut self) -> EniDescription {
        let all = self.describe(&[]).expect("described");
        let ours = |eni: &EniDescription| eni.attachment.as_ref().is_some_and(|at| at.device_index == 0);
        all.into_iter().find(ours).expect("a primary ENI")
    }

    fn plugged(&self, eni: &EniId) -> bool {
        self.model.kernel_view(self.now).enis.contains_key(eni)
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn listed(&self, eni: &EniId) -> Option<usize> {
        let metadata = self.model.metadata(self.now, &self.node).expect("it runs");
        let found = metadata.enis.into_values().find(|found| found.id == *eni);
        found.map(|found| found.addresses.len())
    }
}

fn subnet(model: &mut Model, cidr: &str, zone: &str) -> SubnetId {
    let new = NewSubnet {
        cidr: cidr.parse().expect("a CIDR"),
        ipv6_cidr: None,
        ipv6_on_creation: false,
        zone: Zone {
            name: format!("us-east-1{zone}"),
            id: format!("use1-az-{zone}"),
        },
        internet: true,
        tags: Tags::new(),
    };
    model.add_subnet(new).expect("a good subnet")
}

fn subnet_in_b(model: &mut Model) -> SubnetId {
    subnet(model, "10.0.2.0/24", "b")
}

fn launch(model: &mut Model, instance_type: &str, subnet: &SubnetId) -> InstanceId {
    let launch = Launch::plain(instance_type.parse().expect("a known type"), subnet.clone());
    model.launch(Duration::ZERO, &launch).expect("launches")
}

const SECOND: Span = Span::exactly(Duration::from_secs(1));
