//! `AssignIpv6Addresses` and `UnassignIpv6Addresses`. Neither has a client token: repeating one repeats its effect.
//!
//! Unlike in IPv4 no address is the primary one, and an ENI may have none. Which codes EC2 gives for a full ENI and for a
//! subnet without IPv6 is not documented; those here are assumed.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;

use super::Model;
use super::assign::{UNATTACHED_SLOTS, without};
use super::chance::Draw;
use super::eni::{Eni, Holdings};
use super::error::Ec2Error;
use super::id::EniId;
use super::pool::TakeError;
use super::request::{Wanted, WantedIpv6};
use super::response::Response;
use super::subnet::Subnet;

impl Model {
    pub(crate) fn assign_ipv6(
        &mut self,
        now: Duration,
        id: &EniId,
        wanted: &WantedIpv6,
    ) -> Result<Response, Ec2Error> {
        let eni = self.named_eni(now, id)?;
        self.check_ipv6_room(now, eni, wanted)?;
        let (mut held, subnet) = (eni.held(now).clone(), eni.subnet.clone());
        let mut draw = self.chance.draw("assign-ipv6", id.as_str());
        let (addresses, prefixes) = take(self.subnet_mut(&subnet)?, wanted, &mut draw)?;
        held.ipv6.extend(&addresses);
        held.ipv6_prefixes.extend(&prefixes);
        let span = self.settings.delays.metadata_assigned;
        let listed = now + self.lag("assign-metadata", id.as_str(), span);
        self.set_holdings(now, id, held, listed)?;
        Ok(Response::AssignedIpv6 {
            eni: id.clone(),
            addresses,
            prefixes,
        })
    }

    fn check_ipv6_room(&self, now: Duration, eni: &Eni, wanted: &WantedIpv6) -> Result<(), Ec2Error> {
        let instance = eni.attached(now).and_then(|at| self.instances.get(&at.instance));
        let Some(info) = instance.map(|instance| instance.info) else {
            let slots = eni.held(now).ipv6_slots().saturating_add(wanted.slots());
            return if slots > UNATTACHED_SLOTS {
                Err(Ec2Error::Ipv6Limit)
            } else {
                Ok(())
            };
        };
        if !info.ipv6_supported {
            return Err(Ec2Error::Ipv6Unsupported(info.instance_type.clone()));
        }
        if wanted.is_prefixes() && !info.holds_prefixes() {
            return Err(Ec2Error::PrefixesUnsupported(info.instance_type.clone()));
        }
        if eni.held(now).ipv6_slots().saturating_add(wanted.slots()) > info.ipv6_per_eni as usize {
            return Err(Ec2Error::Ipv6Limit);
        }
        Ok(())
    }

    /// All or nothing; what is freed is free at once.
    pub(crate) fn unassign_ipv6(
        &mut self,
        now: Duration,
        id: &EniId,
        addresses: &[Ipv6Addr],
        prefixes: &[Ipv6Net],
    ) -> Result<Response, Ec2Error> {
        let eni = self.named_eni(now, id)?;
        let (held, subnet) = (eni.held(now).clone(), eni.subnet.clone());
        let known = addresses.iter().all(|address| held.ipv6.contains(address))
            && prefixes.iter().all(|prefix| held.ipv6_prefixes.contains(prefix));
        if !known {
            return Err(Ec2Error::NotAssigned(id.clone()));
        }
        let left = Holdings {
            ipv6: without(&held.ipv6, addresses),
            ipv6_prefixes: without(&held.ipv6_prefixes, prefixes),
            ..held
        };
        if let Some(ipv6) = &mut self.subnet_mut(&subnet)?.ipv6 {
            ipv6.pool.give_back(addresses, prefixes);
        }
        let span = self.settings.delays.metadata_unassigned;
        let unlisted = now + self.lag("unassign-metadata", id.as_str(), span);
        self.set_holdings(now, id, left, unlisted)?;
        Ok(Response::UnassignedIpv6 {
            eni: id.clone(),
            addresses: addresses.to_vec(),
            prefixes: prefixes.to_vec(),
        })
    }
}

/// Take what is wanted, or nothing.
pub(crate) fn take(
    subnet: &mut Subnet,
    wanted: &WantedIpv6,
    draw: &mut Draw,
) -> Result<(Vec<Ipv6Addr>, Vec<Ipv6Net>), Ec2Error> {
    if *wanted == Wanted::Nothing {
        return Ok((Vec::new(), Vec::new()));
    }
    let id = subnet.id.clone();
    let pool = match &mut subnet.ipv6 {
        Some(ipv6) => &mut ipv6.pool,
        None => return Err(Ec2Error::NoIpv6(id)),
    };
    match wanted {
        Wanted::Nothing => Ok((Vec::new(), Vec::new())),
        Wanted::Addresses(count) => Ok((pool.take_addresses(*count, draw)?, Vec::new())),
        Wanted::ExplicitAddresses(list) => {
            pool.take_exactly(list).map_err(refused)?;
            Ok((list.clone(), Vec::new()))
        }
        Wanted::Prefixes(count) => Ok((Vec::new(), pool.take_blocks(*count, draw)?)),
        Wanted::ExplicitPrefixes(list) => {
            pool.take_exact_blocks(list).map_err(refused)?;
            Ok((Vec::new(), list.clone()))
        }
    }
}

fn refused(error: TakeError<Ipv6Addr>) -> Ec2Error {
    match error {
        TakeError::Taken(address) => Ec2Error::AlreadyAssigned(address.into()),
        TakeError::Unusable(address) => Ec2Error::InvalidValue {
            parameter: "ipv6Address".to_owned(),
            value: address.to_string(),
            reason: "Address does not fall within the subnet's usable address range.",
        },
    }
}
