//! `AssignPrivateIpAddresses` and `UnassignPrivateIpAddresses`. Neither has a client token: repeating one repeats its
//! effect.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::Model;
use super::create::take;
use super::eni::{Eni, Holdings};
use super::error::Ec2Error;
use super::id::EniId;
use super::request::Wanted;
use super::response::Response;
use super::timeline::Seen;

/// Slots of an ENI that is attached to nothing: the most that any instance type has (assumed).
pub(crate) const UNATTACHED_SLOTS: usize = 64;

impl Model {
    pub(crate) fn assign(
        &mut self,
        now: Duration,
        id: &EniId,
        wanted: &Wanted,
    ) -> Result<Response, Ec2Error> {
        let eni = self.named_eni(now, id)?;
        self.check_room(now, eni, wanted)?;
        let (mut held, subnet) = (eni.held(now).clone(), eni.subnet.clone());
        let mut draw = self.chance.draw("assign", id.as_str());
        let (addresses, prefixes) = take(&mut self.subnet_mut(&subnet)?.pool, wanted, &mut draw)?;
        held.secondary.extend(&addresses);
        held.prefixes.extend(&prefixes);
        let listed = now
            + self.lag(
                "assign-metadata",
                id.as_str(),
                self.settings.delays.metadata_assigned,
            );
        self.set_holdings(now, id, held, listed)?;
        Ok(Response::Assigned {
            eni: id.clone(),
            addresses,
            prefixes,
        })
    }

    fn check_room(&self, now: Duration, eni: &Eni, wanted: &Wanted) -> Result<(), Ec2Error> {
        let info = eni
            .attached(now)
            .and_then(|at| self.instances.get(&at.instance))
            .map(|instance| instance.info);
        let slots = info.map_or(UNATTACHED_SLOTS, |info| info.ipv4_per_eni as usize);
        if let Some(info) = info.filter(|info| wanted.is_prefixes() && !info.holds_prefixes()) {
            return Err(Ec2Error::PrefixesUnsupported(info.instance_type.clone()));
        }
        if eni.held(now).slots().saturating_add(wanted.slots()) > slots {
            return Err(Ec2Error::AddressLimit);
        }
        Ok(())
    }

    /// All or nothing; what is freed is free at once.
    pub(crate) fn unassign(
        &mut self,
        now: Duration,
        id: &EniId,
        addresses: &[Ipv4Addr],
        prefixes: &[Ipv4Net],
    ) -> Result<Response, Ec2Error> {
        let eni = self.named_eni(now, id)?;
        let (held, subnet) = (eni.held(now).clone(), eni.subnet.clone());
        if addresses.contains(&held.primary) {
            return Err(Ec2Error::PrimaryAddress(held.primary));
        }
        let known = addresses.iter().all(|address| held.secondary.contains(address))
            && prefixes.iter().all(|prefix| held.prefixes.contains(prefix));
        if !known {
            return Err(Ec2Error::NotAssigned(id.clone()));
        }
        let left = Holdings {
            secondary: without(&held.secondary, addresses),
            prefixes: without(&held.prefixes, prefixes),
            ..held
        };
        self.subnet_mut(&subnet)?.pool.give_back(addresses, prefixes);
        let unlisted = now
            + self.lag(
                "unassign-metadata",
                id.as_str(),
                self.settings.delays.metadata_unassigned,
            );
        self.set_holdings(now, id, left, unlisted)?;
        Ok(Response::Done)
    }

    pub(crate) fn set_holdings(
        &mut self,
        now: Duration,
        id: &EniId,
        held: Holdings,
        metadata: Duration,
    ) -> Result<(), Ec2Error> {
        let seen = Seen {
            now,
            api: now + self.lag("holdings-seen", id.as_str(), self.settings.delays.api_changed),
            metadata,
            kernel: now + self.lag("holdings-packets", id.as_str(), self.settings.delays.packets),
        };
        self.eni_mut(id)?.holdings.set(held, seen);
        Ok(())
    }
}

/// What is left of a list.
pub(crate) fn without<T: Clone + PartialEq>(all: &[T], gone: &[T]) -> Vec<T> {
    all.iter().filter(|item| !gone.contains(item)).cloned().collect()
}
