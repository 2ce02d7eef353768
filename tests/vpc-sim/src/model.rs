//! The pure VPC: what EC2 would say and do, as a value that time and requests change.
//!
//! [`Model`] has no clock, no IO and no randomness of its own: every method takes `now`, the time since the model's
//! epoch, which must not go backwards, and everything chosen follows from the seed. Its methods are
//!
//! - *setup* ([`Model::new`], `add_subnet`, `add_group`, `launch`, `terminate` …): what an operator does;
//! - *[`Model::handle`]*: one API call with its caller;
//! - *views* ([`Model::kernel_view`], [`Model::metadata`], describe calls): what each viewer sees, each late in its own
//!   way;
//! - *[`Model::next_change`]*: when to look again;
//! - *faults* ([`Model::inject`], [`Model::remove_fault`]).
//!
//! Invariants, tested with random requests: an address has one holder, a reserved address none; prefixes are aligned and
//! disjoint; no ENI has more slots and no card more ENIs than the instance type allows; the free count of a subnet is
//! exact; a refused call changes nothing.
//!
//! Deliberately absent: trunks and branches, Elastic IP calls, more than one VPC, images and volumes.

mod assign;
mod assign_ipv6;
mod attach;
pub mod audit;
mod chance;
mod cidr_reservation;
mod create;
mod describe;
mod eni;
pub mod error;
pub mod fault;
pub mod id;
pub mod instance;
mod ipv6_pool;
mod launch;
pub mod limits;
pub mod mac;
pub mod metadata;
mod modify;
pub mod pool;
pub mod request;
pub mod response;
pub mod security_group;
pub mod settings;
pub mod setup;
pub mod subnet;
mod tag;
pub mod throttle;
mod timeline;
pub mod view;
mod visibility;

#[cfg(test)]
mod facts;
#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use chance::Chance;
use cidr_reservation::NewReservation;
use describe::Look;
use eni::Eni;
use error::Ec2Error;
use fault::{Effect, Fault, FaultId, Faults};
use id::{EniId, InstanceId, SecurityGroupId, SubnetId, VpcId};
use instance::Instance;
use request::{Call, Caller, CreateEni, Operation, Request, RunInstances, Tags};
use response::{EniDescription, Response};
use security_group::SecurityGroup;
use settings::{Settings, Span};
use subnet::{Subnet, Vpc};
use throttle::{Bucket, Throttle};
use timeline::Facet;

/// How much of the past is kept, for describes made stale by a fault.
const HISTORY: Duration = Duration::from_secs(600);

/// The whole VPC.
#[derive(Clone, Debug)]
pub struct Model {
    settings: Settings,
    chance: Chance,
    vpc: Vpc,
    subnets: BTreeMap<SubnetId, Subnet>,
    groups: BTreeMap<SecurityGroupId, SecurityGroup>,
    default_group: SecurityGroupId,
    instances: BTreeMap<InstanceId, Instance>,
    enis: BTreeMap<EniId, Eni>,
    tokens: BTreeMap<String, Token>,
    launches: BTreeMap<String, (RunInstances, Vec<InstanceId>)>,
    throttle: Throttle,
    faults: Faults,
    public_given: usize,
}

/// What a client token stands for.
#[derive(Clone, Debug)]
struct Token {
    request: CreateEni,
    eni: EniDescription,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It has this answer, which arrives at this time.
    Answered {
        /// What EC2 says.
        result: Result<Response, Ec2Error>,
        /// When the caller hears it.
        at: Duration,
    },
    /// The effect happened (or was refused); the caller never hears of it.
    AnswerLost(Result<Response, Ec2Error>),
    /// Nothing happened yet: give the call to [`Model::handle_released`] when the fault is released.
    HeldBefore(FaultId),
    /// The effect happened; the answer waits for the release of the fault.
    HeldAfter(FaultId, Result<Response, Ec2Error>),
}

impl Model {
    /// A VPC with one CIDR, a default security group and nothing in it.
    #[must_use]
    pub fn new(settings: Settings, cidr: Ipv4Net) -> Self {
        let mut chance = Chance::new(settings.seed);
        let id = VpcId::numbered(chance.draw("vpc", "").bits());
        let default_group = SecurityGroupId::numbered(chance.draw("group", "default").bits());
        let mut model = Self {
            settings,
            chance,
            vpc: Vpc {
                id,
                cidrs: vec![cidr],
                ipv6_cidrs: Vec::new(),
                tags: Facet::new(Tags::new()),
            },
            subnets: BTreeMap::new(),
            groups: BTreeMap::new(),
            default_group,
            instances: BTreeMap::new(),
            enis: BTreeMap::new(),
            tokens: BTreeMap::new(),
            launches: BTreeMap::new(),
            throttle: Throttle::default(),
            faults: Faults::default(),
            public_given: 0,
        };
        model.make_default_group();
        model
    }

    /// What the model was given.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Change delays from now on; what is already scheduled stays.
    pub fn set_delays(&mut self, delays: settings::Delays) {
        self.settings.delays = delays;
    }

    /// The VPC's id.
    #[must_use]
    pub fn vpc_id(&self) -> &VpcId {
        &self.vpc.id
    }

    /// All instances, the ended ones too.
    pub fn instance_ids(&self) -> impl Iterator<Item = &InstanceId> {
        self.instances.keys()
    }

    /// All subnets.
    pub fn subnet_ids(&self) -> impl Iterator<Item = &SubnetId> {
        self.subnets.keys()
    }

    /// Script a fault.
    pub fn inject(&mut self, fault: Fault) -> FaultId {
        self.faults.add(fault)
    }

    /// End a fault; calls it holds are the holder's business.
    pub fn remove_fault(&mut self, id: FaultId) {
        self.faults.remove(id);
    }

    /// Handle one call.
    pub fn handle(&mut self, now: Duration, call: &Call) -> Handled {
        let operation = call.request.operation();
        if !self.take_token(now, &call.request) {
            return self.answer(now, operation, call, Err(Ec2Error::Throttled));
        }
        match self.faults.take(operation, &self.subjects(now, call)) {
            None => {
                let result = self.perform(now, call, Twist::none(now));
                self.answer(now, operation, call, result)
            }
            Some((id, effect)) => self.handle_faulty(now, call, id, effect),
        }
    }

    /// Handle a call that a fault had held before its effect; other faults do not touch it again.
    pub fn handle_released(&mut self, now: Duration, call: &Call) -> Handled {
        let result = self.perform(now, call, Twist::none(now));
        self.answer(now, call.request.operation(), call, result)
    }

    fn handle_faulty(&mut self, now: Duration, call: &Call, id: FaultId, effect: Effect) -> Handled {
        let operation = call.request.operation();
        let mut twist = Twist::none(now);
        let mut slow = Duration::ZERO;
        match effect {
            Effect::Refuse(error) => return self.answer(now, operation, call, Err(error)),
            Effect::Deny => return self.answer(now, operation, call, Err(self.denial(call))),
            Effect::LoseAnswer => return Handled::AnswerLost(self.perform(now, call, twist)),
            Effect::FailAfter(error) => {
                let result = self.perform(now, call, twist).and(Err(error));
                return self.answer(now, operation, call, result);
            }
            Effect::HoldBefore => return Handled::HeldBefore(id),
            Effect::HoldAfter => return Handled::HeldAfter(id, self.perform(now, call, twist)),
            Effect::Slow(by) => slow = by,
            Effect::Stale(by) => twist.look = Look::back(now, by),
            Effect::Partial(hidden) => twist.look.hidden = hidden,
            Effect::NoDevice => twist.device = false,
        }
        let result = self.perform(now, call, twist);
        self.answer(now + slow, operation, call, result)
    }

    fn answer(
        &mut self,
        now: Duration,
        operation: Operation,
        call: &Call,
        result: Result<Response, Ec2Error>,
    ) -> Handled {
        let delays = &self.settings.delays;
        let span = *delays.call_of.get(&operation).unwrap_or(&delays.call);
        let subject = format!("{} {}", call.caller, call.request.subjects().join(" "));
        let at = now + self.lag(operation.name(), &subject, span);
        Handled::Answered { result, at }
    }

    fn take_token(&mut self, now: Duration, request: &Request) -> bool {
        let bucket = Bucket {
            operation: request.operation(),
            narrowed: request.narrowed(),
        };
        match self.settings.buckets.get(&bucket) {
            Some(size) => self.throttle.take(now, bucket, *size),
            None => true,
        }
    }

    /// What a fault may be limited to: the ids in the request, the ENI behind an attachment, the calling instance.
    fn subjects(&self, now: Duration, call: &Call) -> Vec<String> {
        let mut subjects = call.request.subjects();
        match &call.caller {
            Caller::Instance(id) => subjects.push(id.to_string()),
            Caller::AccessKey(key) => subjects.push(key.clone()),
        }
        if let Request::DetachNetworkInterface { attachment } = &call.request
            && let Ok((eni, attachment)) = self.attachment(now, attachment)
        {
            subjects.extend([eni.to_string(), attachment.instance.to_string()]);
        }
        subjects
    }

    fn denial(&self, call: &Call) -> Ec2Error {
        let operation = call.request.operation();
        let subject = call.request.subjects().into_iter().next();
        Ec2Error::Denied {
            account: self.settings.account.clone(),
            principal: call.caller.to_string(),
            operation,
            resource: format!(
                "arn:aws:ec2:{}:{}:{}",
                self.settings.region,
                self.settings.account,
                subject.unwrap_or_else(|| "*".to_owned())
            ),
        }
    }

    fn perform(&mut self, now: Duration, call: &Call, twist: Twist) -> Result<Response, Ec2Error> {
        if call.dry_run {
            return Err(Ec2Error::DryRun);
        }
        let result = self.effect(now, call, twist);
        self.note_free_counts(now, self.settings.delays.subnet_count);
        result
    }

    fn effect(&mut self, now: Duration, call: &Call, twist: Twist) -> Result<Response, Ec2Error> {
        match &call.request {
            Request::CreateNetworkInterface(create) => self.create(now, &call.caller, create),
            Request::AttachNetworkInterface(attach) => self.attach(now, attach, twist.device),
            Request::DetachNetworkInterface { attachment } => self.detach(now, attachment),
            Request::DeleteNetworkInterface { eni } => self.delete(now, eni),
            Request::ModifyNetworkInterfaceAttribute { eni, change } => self.modify(now, eni, change),
            Request::AssignPrivateIpAddresses { eni, wanted } => self.assign(now, eni, wanted),
            Request::UnassignPrivateIpAddresses {
                eni,
                addresses,
                prefixes,
            } => self.unassign(now, eni, addresses, prefixes),
            Request::AssignIpv6Addresses { eni, wanted } => self.assign_ipv6(now, eni, wanted),
            Request::UnassignIpv6Addresses {
                eni,
                addresses,
                prefixes,
            } => self.unassign_ipv6(now, eni, addresses, prefixes),
            Request::RunInstances(run) => self.run_instances(now, run),
            Request::TerminateInstances { instances } => self.terminate_instances(now, instances),
            Request::CreateSecurityGroup(new) => self.create_group(now, new),
            Request::DeleteSecurityGroup { group } => self.delete_group(now, group),
            Request::Authorize {
                group,
                rules,
                accounts,
                ..
            } => {
                self.check_accounts(accounts)?;
                self.authorize(now, group, rules)
            }
            Request::Revoke {
                group,
                direction,
                revoked,
                accounts,
            } => {
                self.check_accounts(accounts)?;
                self.revoke(now, group, *direction, revoked)
            }
            Request::CreateSubnetCidrReservation {
                subnet,
                cidr,
                kind,
                description,
                tags,
            } => {
                let new = NewReservation {
                    cidr: *cidr,
                    kind: *kind,
                    description: description.clone(),
                    tags: tags.clone(),
                };
                self.create_reservation(subnet, new)
            }
            Request::DeleteSubnetCidrReservation { reservation } => self.delete_reservation(now, reservation),
            Request::CreateTags { resources, tags } => self.create_tags(now, resources, tags),
            Request::DeleteTags { resources, tags } => self.delete_tags(now, resources, tags),
            Request::DescribeSecurityGroups(ask) => self.describe_groups(&twist.look, ask),
            Request::DescribeSecurityGroupRules(ask) => self.describe_rules(&twist.look, ask),
            Request::DescribeAvailabilityZones(ask) => self.describe_zones(&twist.look, ask),
            Request::DescribeTags(_) => Ok(self.describe_tags(&twist.look)),
            Request::GetSubnetCidrReservations(ask) => self.describe_reservations(&twist.look, ask),
            Request::DescribeNetworkInterfaces(ask) => self.describe_enis(&twist.look, ask),
            Request::DescribeInstances(ask) => self.describe_instances(&twist.look, ask),
            Request::DescribeSubnets(ask) => self.describe_subnets(&twist.look, ask),
            Request::DescribeVpcs(ask) => self.describe_vpcs(&twist.look, ask),
            Request::DescribeInstanceTypes(ask) => describe::describe_types(ask),
        }
    }

    fn lag(&mut self, operation: &'static str, subject: &str, span: Span) -> Duration {
        self.chance.draw(operation, subject).within(span)
    }

    fn named_eni(&self, now: Duration, id: &EniId) -> Result<&Eni, Ec2Error> {
        self.enis
            .get(id)
            .filter(|eni| eni.can_be_named(now))
            .ok_or_else(|| Ec2Error::EniNotFound(id.clone()))
    }

    fn eni_mut(&mut self, id: &EniId) -> Result<&mut Eni, Ec2Error> {
        self.enis
            .get_mut(id)
            .ok_or_else(|| Ec2Error::EniNotFound(id.clone()))
    }

    fn subnet(&self, id: &SubnetId) -> Result<&Subnet, Ec2Error> {
        self.subnets
            .get(id)
            .ok_or_else(|| Ec2Error::SubnetNotFound(id.clone()))
    }

    fn subnet_mut(&mut self, id: &SubnetId) -> Result<&mut Subnet, Ec2Error> {
        self.subnets
            .get_mut(id)
            .ok_or_else(|| Ec2Error::SubnetNotFound(id.clone()))
    }
}

/// How a fault bends a call that is performed.
struct Twist {
    look: Look,
    device: bool,
}

impl Twist {
    fn none(now: Duration) -> Self {
        Self {
            look: Look {
                at: now,
                hidden: BTreeSet::new(),
            },
            device: true,
        }
    }
}
