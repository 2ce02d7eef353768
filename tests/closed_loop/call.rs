//! The core's actions as requests to the model, and the model's answers as effects and faults: the only file that knows
//! both. What the crate `ec2` does with the SDK's types is done here with the model's.

use std::collections::BTreeMap;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::address::{Block, Mac};
use ipamd_core::id::{InstanceId, IntentId};
use ipamd_core::moment::Moment;
use ipamd_core::snapshot::{Owner, SeenAttachment, SeenEni, Snapshot};
use ipamd_core::tag;
use vpc_sim::model::error::Ec2Error;
use vpc_sim::model::request::{AttachEni, Call, Caller, CreateEni, Describe, EniChange, Request, Wanted};
use vpc_sim::model::response::{AttachmentDescription, AttachmentStatus, EniDescription, Response};

/// An identifier of ours as the model's, or the other way round: both are EC2's text.
pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: impl ToString) -> T {
    text.to_string().parse().unwrap()
}

/// The calls that an action makes, one after the other.
pub(crate) fn calls(action: &Action, instance: &InstanceId) -> Vec<Call> {
    let request = match action {
        Action::CreateEni(new) => Request::CreateNetworkInterface(CreateEni {
            subnet: id(&new.subnet),
            description: format!("aws-K8S-{}", new.instance),
            groups: new.groups.iter().map(id).collect(),
            primary: None,
            wanted: match new.addresses.0 {
                0 => Wanted::Nothing,
                count => Wanted::Addresses(count),
            },
            wanted_ipv6: Wanted::Nothing,
            tags: new.tags.clone(),
            client_token: Some(format!("berth-{}-{}", new.instance, new.intent)),
        }),
        Action::AttachEni {
            eni,
            instance,
            device_index,
        } => Request::AttachNetworkInterface(AttachEni {
            eni: id(eni),
            instance: id(instance),
            device_index: *device_index,
            network_card: 0,
        }),
        Action::DeleteOnTermination { eni, attachment } => Request::ModifyNetworkInterfaceAttribute {
            eni: id(eni),
            change: EniChange::DeleteOnTermination {
                attachment: id(attachment),
                delete: true,
            },
        },
        Action::AssignAddresses { eni, count } => Request::AssignPrivateIpAddresses {
            eni: id(eni),
            wanted: Wanted::Addresses(count.0),
        },
        Action::UnassignAddresses { eni, addresses } => Request::UnassignPrivateIpAddresses {
            eni: id(eni),
            addresses: addresses.iter().copied().collect(),
            prefixes: Vec::new(),
        },
        Action::DetachEni { attachment, .. } => Request::DetachNetworkInterface {
            attachment: id(attachment),
        },
        Action::DeleteEni { eni } => Request::DeleteNetworkInterface { eni: id(eni) },
        Action::ReadEni { .. } => describe(),
        Action::ReadAll { .. } => return vec![by(instance, describe()), by(instance, describe())],
    };
    vec![by(instance, request)]
}

fn by(instance: &InstanceId, request: Request) -> Call {
    Call {
        caller: Caller::Instance(id(instance)),
        dry_run: false,
        request,
    }
}

/// Filters are applied to the answer, as the API's front does.
fn describe() -> Request {
    Request::DescribeNetworkInterfaces(Describe {
        ids: Vec::new(),
        narrowed: true,
    })
}

/// What the action's calls came to; `begun` is when the first was made.
pub(crate) fn effect(
    action: &Action,
    responses: Vec<Response>,
    instance: &InstanceId,
    begun: Moment,
) -> Effect {
    let mut responses = responses.into_iter();
    match (action, responses.next()) {
        (Action::CreateEni(new), Some(Response::Created { eni, .. })) => Effect::Created(SeenEni {
            owner: Owner::Ours(Some(new.intent)),
            ..see(&eni, instance)
        }),
        (Action::AttachEni { .. }, Some(Response::Attached { attachment, .. })) => {
            Effect::Attached(id(attachment))
        }
        (Action::AssignAddresses { .. }, Some(Response::Assigned { addresses, .. })) => {
            Effect::Assigned(addresses.into_iter().collect())
        }
        (Action::ReadEni { eni }, Some(Response::Enis(enis))) => {
            let found = enis.iter().find(|found| found.id.as_str() == eni.as_str());
            Effect::Read(found.map(|found| see(found, instance)))
        }
        (Action::ReadAll { .. }, Some(Response::Enis(attached))) => {
            let Some(Response::Enis(tagged)) = responses.next() else {
                panic!("the second half of a read is missing");
            };
            let attached = attached.iter().filter(|eni| is_on(eni, instance));
            let tagged = tagged
                .iter()
                .filter(|eni| eni.tags.get(tag::INSTANCE).map(String::as_str) == Some(instance.as_str()));
            let elsewhere = |eni: &&EniDescription| eni.attachment.is_some() && !is_on(eni, instance);
            let enis: BTreeMap<_, _> = attached
                .chain(tagged)
                .filter(|eni| !elsewhere(eni))
                .map(|eni| see(eni, instance))
                .map(|eni| (eni.id.clone(), eni))
                .collect();
            Effect::ReadAll(Snapshot { at: begun, enis })
        }
        (
            Action::DeleteOnTermination { .. }
            | Action::UnassignAddresses { .. }
            | Action::DetachEni { .. }
            | Action::DeleteEni { .. },
            Some(Response::Done),
        ) => Effect::Done,
        (action, response) => panic!("{action:?} was answered by {response:?}"),
    }
}

/// What the product makes of a refusal.
pub(crate) fn fault(action: &Action, error: &Ec2Error, instance: &InstanceId) -> Fault {
    let subject = match action {
        Action::CreateEni(new) => new.subnet.to_string(),
        Action::AttachEni { eni, .. }
        | Action::DeleteOnTermination { eni, .. }
        | Action::AssignAddresses { eni, .. }
        | Action::UnassignAddresses { eni, .. }
        | Action::DetachEni { eni, .. }
        | Action::DeleteEni { eni } => eni.to_string(),
        Action::ReadEni { .. } | Action::ReadAll { .. } => instance.to_string(),
    };
    ec2::fault::by_code(error.code(), &error.to_string(), action.operation(), &subject)
}

fn is_on(eni: &EniDescription, instance: &InstanceId) -> bool {
    let attachment = eni.attachment.as_ref();
    attachment.is_some_and(|attachment| attachment.instance.as_str() == instance.as_str())
}

/// An ENI as the daemon sees it; mirrors `see` of the crate `ec2`.
pub(crate) fn see(eni: &EniDescription, instance: &InstanceId) -> SeenEni {
    let secondary = eni.secondary.iter().copied().map(Block::Secondary);
    SeenEni {
        id: id(&eni.id),
        mac: Mac(eni.mac.0),
        subnet: id(&eni.subnet),
        primary_ip: eni.primary,
        blocks: secondary
            .chain(eni.prefixes.iter().copied().map(Block::Prefix))
            .collect(),
        attachment: eni.attachment.as_ref().map(see_attachment),
        owner: owner(eni, instance),
    }
}

fn see_attachment(attachment: &AttachmentDescription) -> SeenAttachment {
    SeenAttachment {
        id: id(&attachment.id),
        instance: id(&attachment.instance),
        device_index: attachment.device_index,
        network_card: attachment.network_card,
        delete_on_termination: attachment.delete_on_termination,
        detaching: attachment.status == AttachmentStatus::Detaching,
    }
}

/// Whose an ENI is, by its place and tags.
pub(crate) fn owner(eni: &EniDescription, instance: &InstanceId) -> Owner {
    let place = eni
        .attachment
        .as_ref()
        .map(|at| (at.device_index, at.network_card));
    let value = |key: &str| eni.tags.get(key).map(String::as_str);
    if place == Some((0, 0)) {
        Owner::Primary
    } else if value(tag::NO_MANAGE) == Some("true") || value(tag::INSTANCE) != Some(instance.as_str()) {
        Owner::Foreign
    } else {
        let intent = value(tag::INTENT).and_then(|text| u64::from_str_radix(text, 16).ok());
        Owner::Ours(intent.map(IntentId))
    }
}
