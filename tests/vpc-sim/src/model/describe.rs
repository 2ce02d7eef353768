//! What describe calls say: the API's view, at the time of the call or, under a scripted fault, at an earlier one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::eni::Eni;
use super::error::Ec2Error;
use super::id::{EniId, InstanceId, SecurityGroupId, SecurityGroupRuleId, SubnetId, VpcId};
use super::instance::Instance;
use super::limits::{self, InstanceTypeInfo};
use super::request::Describe;
use super::response::{
    AttachmentDescription, AttachmentStatus, EniDescription, EniStatus, Group, GroupDescription,
    InstanceDescription, InstanceState, Response, RuleDescription, SubnetDescription, VpcDescription, Zone,
    ZoneDescription,
};
use super::security_group::{Peer, Rule, SecurityGroup};
use super::subnet::Subnet;
use super::timeline::Viewer;
use super::{HISTORY, Model};

/// Which moment of the API's view is shown, and what is left out of it.
pub(crate) struct Look {
    pub(crate) at: Duration,
    pub(crate) hidden: BTreeSet<String>,
}

impl Model {
    pub(crate) fn describe_subnets(
        &self,
        look: &Look,
        ask: &Describe<SubnetId>,
    ) -> Result<Response, Ec2Error> {
        let all = self
            .subnets
            .iter()
            .map(|(id, subnet)| (id, self.describe_subnet(look, subnet)));
        pick(look, ask, all, |id| Ec2Error::SubnetNotFound(id.clone())).map(Response::Subnets)
    }

    pub(crate) fn describe_vpcs(&self, look: &Look, ask: &Describe<VpcId>) -> Result<Response, Ec2Error> {
        let all = std::iter::once((&self.vpc.id, self.describe_vpc(look)));
        pick(look, ask, all, |id| Ec2Error::VpcNotFound(id.clone())).map(Response::Vpcs)
    }

    /// One missing id fails the whole call, and only the first missing one is named (observed).
    pub(crate) fn describe_enis(&self, look: &Look, ask: &Describe<EniId>) -> Result<Response, Ec2Error> {
        let listed = self
            .enis
            .iter()
            .filter(|(_, eni)| *eni.exists.seen_by(Viewer::Api, look.at))
            .filter_map(|(id, eni)| Some((id, self.describe_eni(Viewer::Api, look.at, eni)?)));
        pick(look, ask, listed, |id| Ec2Error::EniNotFound(id.clone())).map(Response::Enis)
    }

    pub(crate) fn describe_instances(
        &self,
        look: &Look,
        ask: &Describe<InstanceId>,
    ) -> Result<Response, Ec2Error> {
        let listed = self
            .instances
            .iter()
            .filter(|(_, instance)| self.lists(look.at, instance))
            .map(|(id, instance)| (id, self.describe_instance(look.at, instance)));
        pick(look, ask, listed, |id| Ec2Error::InstanceNotFound(id.clone())).map(Response::Instances)
    }

    /// A terminated instance is listed "for a short time" (AWS documentation), here an hour.
    pub(crate) fn lists(&self, at: Duration, instance: &Instance) -> bool {
        const LISTED: Duration = Duration::from_secs(3600);
        let long_gone = at
            .checked_sub(LISTED)
            .is_some_and(|earlier| *instance.state.at(earlier) == InstanceState::Terminated);
        instance.listed <= at && !long_gone
    }

    pub(crate) fn describe_groups(
        &self,
        look: &Look,
        ask: &Describe<SecurityGroupId>,
    ) -> Result<Response, Ec2Error> {
        let listed = self
            .groups
            .iter()
            .filter(|(_, group)| *group.exists.seen_by(Viewer::Api, look.at))
            .map(|(id, group)| (id, self.describe_group(look.at, group)));
        pick(look, ask, listed, |id| Ec2Error::GroupNotFound(id.clone())).map(Response::Groups)
    }

    fn describe_group(&self, at: Duration, group: &SecurityGroup) -> GroupDescription {
        let rules: Vec<Rule> = group.rules.seen_by(Viewer::Api, at).values().cloned().collect();
        let peers = rules.iter().filter_map(|rule| match &rule.allowed.peer {
            Peer::Group(id) => Some((id.clone(), self.groups.get(id)?.name.clone())),
            Peer::Ipv4(_) | Peer::Ipv6(_) => None,
        });
        GroupDescription {
            peers: peers.collect(),
            id: group.id.clone(),
            arn: self.arn("security-group", group.id.as_str()),
            name: group.name.clone(),
            description: group.description.clone(),
            vpc: self.vpc.id.clone(),
            owner: self.settings.account.clone(),
            rules,
            tags: group.tags.seen_by(Viewer::Api, at).clone(),
        }
    }

    pub(crate) fn describe_rules(
        &self,
        look: &Look,
        ask: &Describe<SecurityGroupRuleId>,
    ) -> Result<Response, Ec2Error> {
        let groups = self
            .groups
            .values()
            .filter(|group| *group.exists.seen_by(Viewer::Api, look.at));
        let all: BTreeMap<&SecurityGroupRuleId, RuleDescription> = groups
            .flat_map(|group| {
                let rules = group.rules.seen_by(Viewer::Api, look.at);
                rules
                    .iter()
                    .map(|(id, rule)| (id, self.describe_rule(&group.id, id, rule)))
            })
            .collect();
        pick(look, ask, all.into_iter(), |id| {
            Ec2Error::RuleIdNotFound(id.clone())
        })
        .map(Response::Rules)
    }

    pub(crate) fn describe_rule(
        &self,
        group: &SecurityGroupId,
        id: &SecurityGroupRuleId,
        rule: &Rule,
    ) -> RuleDescription {
        RuleDescription {
            id: id.clone(),
            arn: self.arn("security-group-rule", id.as_str()),
            group: group.clone(),
            owner: self.settings.account.clone(),
            vpc: self.vpc.id.clone(),
            rule: rule.clone(),
        }
    }

    /// The zones that subnets are in; an unknown name or id fails the whole call.
    pub(crate) fn describe_zones(&self, look: &Look, ask: &Describe<String>) -> Result<Response, Ec2Error> {
        let zones: BTreeSet<&Zone> = self.subnets.values().map(|subnet| &subnet.zone).collect();
        let known = |wanted: &&String| {
            zones
                .iter()
                .any(|zone| zone.name == **wanted || zone.id == **wanted)
        };
        if let Some(unknown) = ask.ids.iter().find(|wanted| !known(wanted)) {
            return Err(Ec2Error::ZoneNotFound(unknown.clone()));
        }
        let wanted = |zone: &&Zone| {
            let named = ask.ids.iter().any(|id| zone.name == *id || zone.id == *id);
            (ask.ids.is_empty() || named) && !look.hidden.contains(&zone.name)
        };
        let described = zones.into_iter().filter(wanted).map(|zone| ZoneDescription {
            zone: zone.clone(),
            region: self.settings.region.clone(),
        });
        Ok(Response::Zones(described.collect()))
    }

    /// A resource name of this account.
    pub(crate) fn arn(&self, kind: &str, id: &str) -> String {
        let settings = &self.settings;
        format!("arn:aws:ec2:{}:{}:{kind}/{id}", settings.region, settings.account)
    }

    pub(crate) fn describe_eni(&self, viewer: Viewer, at: Duration, eni: &Eni) -> Option<EniDescription> {
        let subnet = self.subnets.get(&eni.subnet)?;
        let attributes = eni.attributes.seen_by(viewer, at);
        let holdings = eni.holdings.seen_by(viewer, at);
        let attachment = eni.attachment.seen_by(viewer, at);
        let status = match attachment.as_ref().map(|attachment| attachment.status) {
            None => EniStatus::Available,
            Some(AttachmentStatus::Attaching | AttachmentStatus::Attached) => EniStatus::InUse,
            Some(AttachmentStatus::Detaching) => EniStatus::Detaching,
        };
        Some(EniDescription {
            id: eni.id.clone(),
            mac: eni.mac,
            subnet: eni.subnet.clone(),
            vpc: self.vpc.id.clone(),
            zone: subnet.zone.clone(),
            region: self.settings.region.clone(),
            owner: self.settings.account.clone(),
            requester: eni.requester.clone(),
            status,
            attachment: attachment.as_ref().map(|attachment| AttachmentDescription {
                id: attachment.id.clone(),
                instance: attachment.instance.clone(),
                device_index: attachment.device_index,
                network_card: attachment.network_card,
                status: attachment.status,
                attached_at: self.settings.epoch + attachment.since,
                delete_on_termination: attributes.delete_on_termination,
            }),
            primary: holdings.primary,
            secondary: holdings.secondary.clone(),
            prefixes: holdings.prefixes.clone(),
            ipv6: holdings.ipv6.clone(),
            ipv6_prefixes: holdings.ipv6_prefixes.clone(),
            public: attributes.public.clone(),
            groups: self.named_groups(&attributes.groups),
            description: attributes.description.clone(),
            source_dest_check: attributes.source_dest_check,
            tags: eni.tags.seen_by(viewer, at).clone(),
        })
    }

    fn named_groups(&self, ids: &[SecurityGroupId]) -> Vec<Group> {
        ids.iter()
            .filter_map(|id| {
                Some(Group {
                    id: id.clone(),
                    name: self.groups.get(id)?.name.clone(),
                })
            })
            .collect()
    }

    pub(crate) fn describe_instance(&self, at: Duration, instance: &Instance) -> InstanceDescription {
        let mut enis: Vec<EniDescription> = self
            .enis
            .values()
            .filter_map(|eni| self.describe_eni(Viewer::Api, at, eni))
            .filter(|eni| {
                let attachment = eni.attachment.as_ref();
                attachment.is_some_and(|attachment| attachment.instance == instance.id)
            })
            .collect();
        enis.sort_by_key(|eni| {
            let attachment = eni.attachment.as_ref();
            attachment.map(|attachment| (attachment.network_card, attachment.device_index))
        });
        InstanceDescription {
            id: instance.id.clone(),
            instance_type: instance.info,
            state: *instance.state.at(at),
            zone: instance.zone.clone(),
            owner: self.settings.account.clone(),
            role: instance.role.clone(),
            metadata: instance.metadata,
            image: instance.image.clone(),
            reservation: instance.reservation.clone(),
            launch_index: instance.launch_index,
            client_token: instance.client_token.clone(),
            launched_at: self.settings.epoch + instance.launched,
            tags: instance.tags.seen_by(Viewer::Api, at).clone(),
            enis,
        }
    }

    fn describe_subnet(&self, look: &Look, subnet: &Subnet) -> SubnetDescription {
        SubnetDescription {
            id: subnet.id.clone(),
            vpc: self.vpc.id.clone(),
            zone: subnet.zone.clone(),
            owner: self.settings.account.clone(),
            region: self.settings.region.clone(),
            cidr: subnet.cidr,
            ipv6_cidr: subnet.ipv6.as_ref().map(|ipv6| ipv6.cidr),
            ipv6_on_creation: subnet.ipv6.as_ref().is_some_and(|ipv6| ipv6.on_creation),
            available: *subnet.available.at(look.at),
            public: subnet.internet,
            tags: subnet.tags.seen_by(Viewer::Api, look.at).clone(),
        }
    }

    fn describe_vpc(&self, look: &Look) -> VpcDescription {
        VpcDescription {
            id: self.vpc.id.clone(),
            owner: self.settings.account.clone(),
            cidrs: self.vpc.cidrs.clone(),
            ipv6_cidrs: self.vpc.ipv6_cidrs.clone(),
            tags: self.vpc.tags.seen_by(Viewer::Api, look.at).clone(),
        }
    }
}

impl Look {
    /// The past is kept for ten minutes.
    pub(crate) fn back(now: Duration, by: Duration) -> Self {
        Self {
            at: now.saturating_sub(by.min(HISTORY)),
            hidden: BTreeSet::new(),
        }
    }
}

/// Those asked for, or all; the first missing one fails the call.
fn pick<'a, Id, T>(
    look: &Look,
    ask: &Describe<Id>,
    all: impl Iterator<Item = (&'a Id, T)>,
    missing: impl Fn(&Id) -> Ec2Error,
) -> Result<Vec<T>, Ec2Error>
where
    Id: Ord + ToString + 'a,
{
    let wanted: BTreeSet<&Id> = ask.ids.iter().collect();
    let found: Vec<(&Id, T)> = all
        .filter(|(id, _)| wanted.is_empty() || wanted.contains(id))
        .filter(|(id, _)| !look.hidden.contains(&id.to_string()))
        .collect();
    let known: BTreeSet<&Id> = found.iter().map(|(id, _)| *id).collect();
    match ask.ids.iter().find(|id| !known.contains(id)) {
        Some(id) => Err(missing(id)),
        None => Ok(found.into_iter().map(|(_, item)| item).collect()),
    }
}

pub(crate) fn describe_types(ask: &Describe<String>) -> Result<Response, Ec2Error> {
    let table = limits::table().map_err(|_| Ec2Error::Internal)?;
    let unknown: Vec<String> = ask
        .ids
        .iter()
        .filter(|name| !table.contains_key(*name))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(Ec2Error::InstanceTypeNotFound(unknown));
    }
    let wanted = |info: &&InstanceTypeInfo| ask.ids.is_empty() || ask.ids.contains(&info.instance_type);
    Ok(Response::InstanceTypes(table.values().filter(wanted).collect()))
}
