//! The core's actions as requests to the model, and the model's answers as effects and faults: the only file that knows
//! both. What the crate `ec2` does with the SDK's types is done here with the model's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::address::{AddressCount, Ask, Block, Mac, PrefixCount};
use ipamd_core::id::{EniId, InstanceId, IntentId};
use ipamd_core::moment::Moment;
use ipamd_core::snapshot::{Owner, Scope, SeenAttachment, SeenEni, SeenSubnet, Snapshot, Unattached};
use ipamd_core::tag;
use vpc_sim::model::error::Ec2Error;
use vpc_sim::model::request::{AttachEni, Call, Caller, CreateEni, Describe, EniChange, Request, Wanted};
use vpc_sim::model::response::{
    AttachmentDescription, AttachmentStatus, EniDescription, EniStatus, Response, SubnetDescription,
};

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
            wanted: wanted(new.ask),
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
        Action::Assign { eni, ask } => Request::AssignPrivateIpAddresses {
            eni: id(eni),
            wanted: wanted(*ask),
        },
        Action::AssignPrefix6 { eni } => Request::AssignIpv6Addresses {
            eni: id(eni),
            wanted: Wanted::Prefixes(1),
        },
        Action::Unassign { eni, blocks } => unassign(eni, blocks),
        Action::DetachEni { attachment, .. } => Request::DetachNetworkInterface {
            attachment: id(attachment),
        },
        Action::DeleteEni { eni } => Request::DeleteNetworkInterface { eni: id(eni) },
        Action::ReadEni { .. } => describe(),
        Action::ReadUnattached { .. } => describe(),
        Action::DeleteLeak { eni } => Request::DeleteNetworkInterface { eni: id(eni) },
        Action::ReadSubnets { .. } => Request::DescribeSubnets(Describe {
            ids: Vec::new(),
            narrowed: true,
        }),
        Action::ReadAll {
            scope: Scope::Attached,
            ..
        } => describe(),
        Action::ReadAll {
            scope: Scope::Everything,
            ..
        } => {
            return vec![by(instance, describe()), by(instance, describe())];
        }
    };
    vec![by(instance, request)]
}

fn unassign(eni: &EniId, blocks: &BTreeSet<Block>) -> Request {
    let address = |block: &Block| match block {
        Block::Secondary(address) => Some(*address),
        Block::Prefix(_) => None,
    };
    let prefix = |block: &Block| match block {
        Block::Secondary(_) => None,
        Block::Prefix(net) => Some(*net),
    };
    Request::UnassignPrivateIpAddresses {
        eni: id(eni),
        addresses: blocks.iter().filter_map(address).collect(),
        prefixes: blocks.iter().filter_map(prefix).collect(),
    }
}

fn by(instance: &InstanceId, request: Request) -> Call {
    Call {
        caller: Caller::Instance(id(instance)),
        dry_run: false,
        request,
    }
}

/// What is asked for, in the model's words.
fn wanted(ask: Ask) -> Wanted {
    match ask {
        Ask::Addresses(AddressCount(0)) | Ask::Prefixes(PrefixCount(0)) => Wanted::Nothing,
        Ask::Addresses(AddressCount(count)) => Wanted::Addresses(count),
        Ask::Prefixes(PrefixCount(count)) => Wanted::Prefixes(count),
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
        (
            Action::Assign { .. },
            Some(Response::Assigned {
                addresses, prefixes, ..
            }),
        ) => {
            let addresses = addresses.into_iter().map(Block::Secondary);
            let prefixes = prefixes.into_iter().map(Block::Prefix);
            Effect::Assigned(addresses.chain(prefixes).collect())
        }
        (Action::AssignPrefix6 { .. }, Some(Response::AssignedIpv6 { prefixes, .. })) => {
            Effect::Assigned6(prefixes.into_iter().collect())
        }
        (Action::ReadSubnets { .. }, Some(Response::Subnets(subnets))) => {
            Effect::Subnets(subnets.iter().map(see_subnet).collect(), begun)
        }
        (Action::ReadUnattached { only, .. }, Some(Response::Enis(enis))) => {
            let asked =
                |eni: &&EniDescription| only.as_ref().is_none_or(|only| only.as_str() == eni.id.as_str());
            let unattached = enis
                .iter()
                .filter(|eni| eni.status == EniStatus::Available && eni.tags.contains_key(tag::INSTANCE));
            Effect::Unattached(unattached.filter(asked).map(see_unattached).collect(), begun)
        }
        (Action::ReadEni { eni }, Some(Response::Enis(enis))) => {
            let found = enis.iter().find(|found| found.id.as_str() == eni.as_str());
            Effect::Read(found.map(|found| see(found, instance)))
        }
        (Action::ReadAll { scope, .. }, Some(Response::Enis(attached))) => {
            let tagged = match (scope, responses.next()) {
                (Scope::Everything, Some(Response::Enis(tagged))) => tagged,
                (Scope::Attached, None) => Vec::new(),
                (scope, second) => panic!("{scope:?} was answered by {second:?}, too"),
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
            Effect::ReadAll(Snapshot {
                at: begun,
                scope: *scope,
                enis,
            })
        }
        (
            Action::DeleteOnTermination { .. }
            | Action::Unassign { .. }
            | Action::DetachEni { .. }
            | Action::DeleteLeak { .. }
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
        | Action::Assign { eni, .. }
        | Action::AssignPrefix6 { eni }
        | Action::Unassign { eni, .. }
        | Action::DetachEni { eni, .. }
        | Action::DeleteLeak { eni }
        | Action::DeleteEni { eni } => eni.to_string(),
        Action::ReadEni { .. }
        | Action::ReadAll { .. }
        | Action::ReadUnattached { .. }
        | Action::ReadSubnets { .. } => instance.to_string(),
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
        prefixes6: eni.ipv6_prefixes.iter().copied().collect(),
        attachment: eni.attachment.as_ref().map(see_attachment),
        owner: owner(eni, instance),
    }
}

/// Every address of an ENI that a pod can have.
pub(crate) fn for_pods(eni: &EniDescription) -> impl Iterator<Item = Ipv4Addr> {
    let delegated = eni
        .prefixes
        .iter()
        .flat_map(|net| Block::Prefix(*net).addresses());
    eni.secondary.iter().copied().chain(delegated)
}

/// An unattached ENI as the daemon sees it.
fn see_unattached(eni: &EniDescription) -> Unattached {
    Unattached {
        id: id(&eni.id),
        description: eni.description.clone(),
        tags: eni.tags.clone(),
    }
}

/// A subnet as the daemon sees it.
fn see_subnet(subnet: &SubnetDescription) -> SeenSubnet {
    SeenSubnet {
        id: id(&subnet.id),
        cidr: subnet.cidr,
        free: AddressCount(subnet.available),
        tags: subnet.tags.clone(),
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
