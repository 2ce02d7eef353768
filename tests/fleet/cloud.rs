//! The core's actions to the model's calls and back, without a wire between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipamd_core::action::{Action, Effect, Fault, NewEni};
use ipamd_core::address::{AddressCount, Ask, Block, BlockKind, Mac};
use ipamd_core::id::{InstanceId, IntentId};
use ipamd_core::moment::Moment;
use ipamd_core::snapshot::{Owner, Scope, SeenAttachment, SeenEni, SeenSubnet, Snapshot};
use ipamd_core::tag;
use vpc_sim::model::error::Ec2Error;
use vpc_sim::model::request::{
    AttachEni, Call, Caller, CreateEni, Describe, EniChange, Operation, Request, Wanted,
};
use vpc_sim::model::response::{EniDescription, Response};
use vpc_sim::model::{Handled, Model};

/// What EC2 was asked, by operation.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) calls: BTreeMap<Operation, u32>,
    pub(crate) throttled: BTreeMap<Operation, u32>,
}

impl Tally {
    pub(crate) fn totals(&self) -> (u32, u32) {
        (self.calls.values().sum(), self.throttled.values().sum())
    }
}

/// Makes the call that an action stands for; says what came of it, and when that is heard.
pub(crate) fn call(
    model: &mut Model,
    tally: &mut Tally,
    now: Duration,
    instance: &InstanceId,
    action: &Action,
) -> (Result<Effect, Fault>, Duration) {
    let call = Call {
        caller: Caller::Instance(instance.as_str().parse().unwrap()),
        dry_run: false,
        request: request(action),
    };
    let operation = call.request.operation();
    *tally.calls.entry(operation).or_default() += 1;
    let Handled::Answered { result, at } = model.handle(now, &call) else {
        panic!("there are no faults here");
    };
    if result == Err(Ec2Error::Throttled) {
        *tally.throttled.entry(operation).or_default() += 1;
    }
    (
        result
            .map(|response| effect(action, response, instance, now))
            .map_err(fault),
        at,
    )
}

fn request(action: &Action) -> Request {
    match action {
        Action::CreateEni(new) => create(new),
        Action::AttachEni {
            eni,
            instance,
            device_index,
        } => Request::AttachNetworkInterface(AttachEni {
            eni: eni.as_str().parse().unwrap(),
            instance: instance.as_str().parse().unwrap(),
            device_index: *device_index,
            network_card: 0,
        }),
        Action::DeleteOnTermination { eni, attachment } => Request::ModifyNetworkInterfaceAttribute {
            eni: eni.as_str().parse().unwrap(),
            change: EniChange::DeleteOnTermination {
                attachment: attachment.as_str().parse().unwrap(),
                delete: true,
            },
        },
        Action::Assign { eni, ask } => Request::AssignPrivateIpAddresses {
            eni: eni.as_str().parse().unwrap(),
            wanted: wanted(*ask),
        },
        Action::ReadEni { .. } | Action::ReadAll { .. } => Request::DescribeNetworkInterfaces(Describe {
            ids: Vec::new(),
            narrowed: true,
        }),
        Action::ReadSubnets { .. } => Request::DescribeSubnets(Describe {
            ids: Vec::new(),
            narrowed: true,
        }),
        other => panic!("a node that only grows would not {other}"),
    }
}

fn create(new: &NewEni) -> Request {
    Request::CreateNetworkInterface(CreateEni {
        description: format!("aws-K8S-{}", new.instance),
        wanted: wanted(new.ask),
        tags: new.tags.clone(),
        client_token: Some(format!("berth-{}-{}", new.instance, new.intent)),
        ..CreateEni::plain(new.subnet.as_str().parse().unwrap())
    })
}

fn wanted(ask: Ask) -> Wanted {
    match ask.kind() {
        BlockKind::Secondary => Wanted::Addresses(ask.slots()),
        BlockKind::Prefix => Wanted::Prefixes(ask.slots()),
    }
}

fn fault(error: Ec2Error) -> Fault {
    let code = error.code().to_owned();
    match error {
        Ec2Error::Throttled => Fault::Throttled { code },
        Ec2Error::EniNotFound(eni) => Fault::Gone {
            what: eni.to_string(),
        },
        Ec2Error::IncorrectState(_) => Fault::Busy,
        other => panic!("a fleet that grows does not meet {code}: {other}"),
    }
}

fn effect(action: &Action, response: Response, instance: &InstanceId, now: Duration) -> Effect {
    let at = Moment(now);
    match (action, response) {
        (_, Response::Created { eni, .. }) => Effect::Created(see(&eni, instance)),
        (_, Response::Attached { attachment, .. }) => Effect::Attached(attachment.as_str().parse().unwrap()),
        (
            _,
            Response::Assigned {
                addresses, prefixes, ..
            },
        ) => {
            let singles = addresses.into_iter().map(Block::Secondary);
            Effect::Assigned(singles.chain(prefixes.into_iter().map(Block::Prefix)).collect())
        }
        (Action::ReadEni { eni }, Response::Enis(enis)) => {
            let found = enis.iter().find(|seen| seen.id.as_str() == eni.as_str());
            Effect::Read(found.map(|seen| see(seen, instance)))
        }
        (Action::ReadAll { scope, .. }, Response::Enis(enis)) => Effect::ReadAll(Snapshot {
            at,
            scope: *scope,
            enis: of_instance(&enis, instance, *scope),
        }),
        (_, Response::Subnets(subnets)) => {
            let seen = subnets.into_iter().map(|subnet| SeenSubnet {
                id: subnet.id.as_str().parse().unwrap(),
                cidr: subnet.cidr,
                free: AddressCount(subnet.available),
                tags: subnet.tags,
            });
            Effect::Subnets(seen.collect(), at)
        }
        (_, Response::Done) => Effect::Done,
        (action, response) => panic!("{action} has the answer {response:?}"),
    }
}

fn of_instance(
    enis: &[EniDescription],
    instance: &InstanceId,
    scope: Scope,
) -> BTreeMap<ipamd_core::id::EniId, SeenEni> {
    let ours = enis.iter().filter(|eni| {
        let attached = eni.attachment.as_ref();
        let here = attached.is_some_and(|place| place.instance.as_str() == instance.as_str());
        let tagged = eni.tags.get(tag::INSTANCE).map(String::as_str) == Some(instance.as_str());
        here || (scope == Scope::Everything && tagged)
    });
    ours.map(|eni| see(eni, instance))
        .map(|eni| (eni.id.clone(), eni))
        .collect()
}

fn see(eni: &EniDescription, instance: &InstanceId) -> SeenEni {
    let attachment = eni.attachment.as_ref().map(|place| SeenAttachment {
        id: place.id.as_str().parse().unwrap(),
        instance: place.instance.as_str().parse().unwrap(),
        device_index: place.device_index,
        network_card: place.network_card,
        delete_on_termination: place.delete_on_termination,
        detaching: false,
    });
    let is_primary = attachment.as_ref().is_some_and(|place| place.device_index == 0);
    let intent = eni
        .tags
        .get(tag::INTENT)
        .and_then(|text| u64::from_str_radix(text, 16).ok());
    let tagged = eni.tags.get(tag::INSTANCE).map(String::as_str) == Some(instance.as_str());
    let singles = eni.secondary.iter().copied().map(Block::Secondary);
    let blocks: BTreeSet<Block> = singles
        .chain(eni.prefixes.iter().copied().map(Block::Prefix))
        .collect();
    SeenEni {
        id: eni.id.as_str().parse().unwrap(),
        mac: eni.mac.to_string().parse::<Mac>().unwrap(),
        subnet: eni.subnet.as_str().parse().unwrap(),
        primary_ip: eni.primary,
        blocks,
        owner: match (is_primary, tagged) {
            (true, _) => Owner::Primary,
            (false, true) => Owner::Ours(intent.map(IntentId)),
            (false, false) => Owner::Foreign,
        },
        attachment,
    }
}
