//! What packets meet, and when anything is seen to change next.

use std::time::Duration;

use super::eni::Eni;
use super::security_group::Direction;
use super::settings::Span;
use super::timeline::Viewer;
use super::view::{EniView, KernelView, SubnetView};
use super::{HISTORY, Model};

impl Model {
    /// What the network cards of all instances look like now.
    #[must_use]
    pub fn kernel_view(&self, now: Duration) -> KernelView {
        KernelView {
            vpc_cidrs: self.vpc.cidrs.iter().copied().collect(),
            vpc_ipv6_cidrs: self.vpc.ipv6_cidrs.iter().copied().collect(),
            subnets: self
                .subnets
                .values()
                .map(|subnet| {
                    let view = SubnetView {
                        cidr: subnet.cidr,
                        ipv6_cidr: subnet.ipv6.as_ref().map(|ipv6| ipv6.cidr),
                        router_mac: subnet.router_mac,
                        internet: subnet.internet,
                    };
                    (subnet.id.clone(), view)
                })
                .collect(),
            enis: self
                .enis
                .values()
                .filter_map(|eni| Some((eni.id.clone(), self.device(now, eni)?)))
                .collect(),
        }
    }

    /// The next moment after `now` at which some viewer sees something new, if nobody asks for anything.
    #[must_use]
    pub fn next_change(&self, now: Duration) -> Option<Duration> {
        let enis = self.enis.values().filter_map(|eni| eni.next_after(now));
        let instances = self.instances.values().filter_map(|instance| {
            let tags = instance.tags.next_after(now);
            let listed = Some(instance.listed).filter(|at| *at > now);
            [instance.state.next_after(now), tags, listed]
                .into_iter()
                .flatten()
                .min()
        });
        let subnets = self.subnets.values().filter_map(|subnet| {
            let tags = subnet.reservations.values().map(|reservation| &reservation.tags);
            tags.chain(std::iter::once(&subnet.tags))
                .filter_map(|tags| tags.next_after(now))
                .chain(subnet.available.next_after(now))
                .min()
        });
        let groups = self.groups.values().filter_map(|group| group.next_after(now));
        enis.chain(instances)
            .chain(subnets)
            .chain(groups)
            .chain(self.vpc.tags.next_after(now))
            .min()
    }

    /// Forget what no viewer can see any more, stale ones included.
    pub(crate) fn forget_history(&mut self, now: Duration) {
        if let Some(horizon) = now.checked_sub(HISTORY) {
            self.enis.retain(|_, eni| eni.keep_after(horizon));
            self.groups.retain(|_, group| group.keep_after(horizon));
            for subnet in self.subnets.values_mut() {
                subnet.available.forget_before(horizon);
            }
        }
    }

    fn device(&self, now: Duration, eni: &Eni) -> Option<EniView> {
        let attachment = eni.attachment.seen_by(Viewer::Kernel, now).as_ref()?;
        let holdings = eni.holdings.seen_by(Viewer::Kernel, now);
        let attributes = eni.attributes.seen_by(Viewer::Kernel, now);
        Some(EniView {
            instance: attachment.instance.clone(),
            device_index: attachment.device_index,
            network_card: attachment.network_card,
            mac: eni.mac,
            subnet: eni.subnet.clone(),
            primary: holdings.primary,
            addresses: holdings.addresses().collect(),
            prefixes: holdings.prefixes.iter().copied().collect(),
            ipv6_addresses: holdings.ipv6.iter().copied().collect(),
            ipv6_prefixes: holdings.ipv6_prefixes.iter().copied().collect(),
            public: attributes.public.clone(),
            source_dest_check: attributes.source_dest_check,
            groups: attributes.groups.iter().cloned().collect(),
            ingress: self.allowed(now, &attributes.groups, Direction::Ingress),
            egress: self.allowed(now, &attributes.groups, Direction::Egress),
        })
    }

    /// Schedule when describe learns how many addresses each subnet has left.
    pub(crate) fn note_free_counts(&mut self, now: Duration, span: Span) {
        for subnet in self.subnets.values_mut() {
            let free = subnet.pool.available();
            if free != *subnet.available.last() {
                let mut draw = self.chance.draw("subnet-count", subnet.id.as_str());
                subnet.available.push(now + draw.within(span), free);
            }
        }
    }
}
