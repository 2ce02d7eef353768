//! `CreateNetworkInterface` and `DeleteNetworkInterface`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use super::assign::UNATTACHED_SLOTS;
use super::chance::Draw;
use super::eni::{Attributes, Eni, Holdings};
use super::error::Ec2Error;
use super::id::{EniId, SecurityGroupId, SubnetId};
use super::mac::Mac;
use super::pool::{Pool, TakeError};
use super::request::{Caller, CreateEni, Tags, Wanted, WantedIpv6};
use super::response::{EniDescription, Response};
use super::subnet::Subnet;
use super::timeline::{Facet, Seen, Viewer};
use super::{Model, Token};

/// A new ENI whose references were checked.
pub(crate) struct NewEni {
    pub(crate) subnet: SubnetId,
    pub(crate) description: String,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) primary: Option<Ipv4Addr>,
    pub(crate) wanted: Wanted,
    pub(crate) wanted_ipv6: WantedIpv6,
    pub(crate) tags: Tags,
    pub(crate) requester: String,
}

impl Model {
    /// The same token with the same parameters gives the same ENI, also after it was deleted; with others it is refused.
    pub(crate) fn create(
        &mut self,
        now: Duration,
        caller: &Caller,
        create: &CreateEni,
    ) -> Result<Response, Ec2Error> {
        if let Some(known) = create
            .client_token
            .as_ref()
            .and_then(|token| self.tokens.get(token))
        {
            return if known.request == *create {
                Ok(self.created_before(now, known.clone()))
            } else {
                Err(Ec2Error::TokenMismatch)
            };
        }
        let eni = self.create_afresh(now, caller, create)?;
        if let Some(token) = &create.client_token {
            let known = Token {
                request: create.clone(),
                eni: eni.clone(),
            };
            self.tokens.insert(token.clone(), known);
        }
        Ok(Response::Created {
            eni: Box::new(eni),
            client_token: create.client_token.clone(),
        })
    }

    fn created_before(&self, now: Duration, known: Token) -> Response {
        let eni = self
            .enis
            .get(&known.eni.id)
            .filter(|eni| *eni.exists.truth.at(now))
            .and_then(|eni| self.describe_eni(Viewer::Truth, now, eni))
            .unwrap_or(known.eni);
        Response::Created {
            eni: Box::new(eni),
            client_token: known.request.client_token,
        }
    }

    fn create_afresh(
        &mut self,
        now: Duration,
        caller: &Caller,
        create: &CreateEni,
    ) -> Result<EniDescription, Ec2Error> {
        self.check_quotas(now, create)?;
        let new = NewEni {
            subnet: create.subnet.clone(),
            description: create.description.clone(),
            groups: self.groups_or_default(now, &create.groups)?,
            primary: create.primary,
            wanted: create.wanted.clone(),
            wanted_ipv6: create.wanted_ipv6.clone(),
            tags: create.tags.clone(),
            requester: caller.to_string(),
        };
        // Not the client token: SDKs make random ones, and a run shall be the same with the same seed.
        let subject = format!("{caller} {}", create.subnet);
        let draw = self.chance.draw("create", &subject);
        let id = self.make_eni(now, new, draw)?;
        let visible = now + self.lag("created", id.as_str(), self.settings.delays.api_created);
        let seen = Seen {
            api: visible,
            ..Seen::at_once(now)
        };
        self.eni_mut(&id)?.exists.set(true, seen);
        self.enis
            .get(&id)
            .and_then(|eni| self.describe_eni(Viewer::Truth, now, eni))
            .ok_or(Ec2Error::EniNotFound(id))
    }

    fn check_quotas(&self, now: Duration, create: &CreateEni) -> Result<(), Ec2Error> {
        let quotas = &self.settings.quotas;
        let enis = self.enis.values().filter(|eni| *eni.exists.truth.at(now)).count();
        if create.tags.len() > quotas.tags {
            return Err(Ec2Error::TagQuota(quotas.tags));
        }
        if create.groups.len() > quotas.groups_per_eni {
            return Err(Ec2Error::GroupQuota);
        }
        if enis >= quotas.enis {
            return Err(Ec2Error::EniQuota);
        }
        if create.wanted.slots() >= UNATTACHED_SLOTS || create.wanted_ipv6.slots() > UNATTACHED_SLOTS {
            return Err(Ec2Error::AddressLimit);
        }
        Ok(())
    }

    /// Make the record; nobody knows of it before `exists` is set.
    pub(crate) fn make_eni(&mut self, now: Duration, new: NewEni, mut draw: Draw) -> Result<EniId, Ec2Error> {
        self.forget_history(now);
        let id = self.fresh_eni_id(&mut draw);
        let mac = self.fresh_mac(&mut draw);
        let holdings = take_first(self.subnet_mut(&new.subnet)?, &new, &mut draw)?;
        let attributes = Attributes {
            description: new.description,
            groups: new.groups,
            source_dest_check: true,
            delete_on_termination: false,
            public: BTreeMap::new(),
        };
        let eni = Eni {
            id: id.clone(),
            mac,
            subnet: new.subnet,
            requester: new.requester,
            exists: Facet::new(false),
            attachment: Facet::new(None),
            holdings: Facet::new(holdings),
            attributes: Facet::new(attributes),
            tags: Facet::new(new.tags),
        };
        self.enis.insert(id.clone(), eni);
        Ok(id)
    }

    fn fresh_eni_id(&self, draw: &mut Draw) -> EniId {
        loop {
            let id = EniId::numbered(draw.bits());
            if !self.enis.contains_key(&id) {
                return id;
            }
        }
    }

    /// A locally administered address that no ENI and no router has.
    pub(crate) fn fresh_mac(&self, draw: &mut Draw) -> Mac {
        loop {
            let [a, b, c, d, e, ..] = draw.bits().to_be_bytes();
            let mac = Mac([0x02, a, b, c, d, e]);
            let taken = self.enis.values().any(|eni| eni.mac == mac)
                || self.subnets.values().any(|subnet| subnet.router_mac == mac);
            if !taken {
                return mac;
            }
        }
    }

    pub(crate) fn delete(&mut self, now: Duration, id: &EniId) -> Result<Response, Ec2Error> {
        let eni = self.named_eni(now, id)?;
        if eni.attached(now).is_some() {
            return Err(Ec2Error::EniInUse(id.clone()));
        }
        let gone = now + self.lag("deleted", id.as_str(), self.settings.delays.api_deleted);
        self.remove_eni(
            id,
            Seen {
                api: gone,
                ..Seen::at_once(now)
            },
        );
        Ok(Response::Done)
    }

    /// It stops existing, and its addresses are free at once.
    pub(crate) fn remove_eni(&mut self, id: &EniId, seen: Seen) {
        let Some(eni) = self.enis.get_mut(id) else {
            return;
        };
        eni.exists.set(false, seen);
        let held = eni.held(seen.now).clone();
        let subnet = eni.subnet.clone();
        if let Some(subnet) = self.subnets.get_mut(&subnet) {
            let addresses: Vec<Ipv4Addr> = held.addresses().collect();
            subnet.pool.give_back(&addresses, &held.prefixes);
            if let Some(ipv6) = &mut subnet.ipv6 {
                ipv6.pool.give_back(&held.ipv6, &held.ipv6_prefixes);
            }
        }
    }
}

/// The primary address and what is wanted beside it, in both families: all or nothing.
fn take_first(subnet: &mut Subnet, new: &NewEni, draw: &mut Draw) -> Result<Holdings, Ec2Error> {
    let holdings = take_first_ipv4(&mut subnet.pool, new, draw)?;
    match take_ipv6(subnet, &new.wanted_ipv6, draw) {
        Ok((ipv6, ipv6_prefixes)) => Ok(Holdings {
            ipv6,
            ipv6_prefixes,
            ..holdings
        }),
        Err(error) => {
            let addresses: Vec<Ipv4Addr> = holdings.addresses().collect();
            subnet.pool.give_back(&addresses, &holdings.prefixes);
            Err(error)
        }
    }
}

/// What is wanted in IPv6; what the subnet gives of itself when nothing is.
fn take_ipv6(
    subnet: &mut Subnet,
    wanted: &WantedIpv6,
    draw: &mut Draw,
) -> Result<(Vec<Ipv6Addr>, Vec<Ipv6Net>), Ec2Error> {
    let gives = subnet.ipv6.as_ref().is_some_and(|ipv6| ipv6.on_creation);
    match wanted {
        Wanted::Nothing if gives => super::assign_ipv6::take(subnet, &Wanted::Addresses(1), draw),
        wanted => super::assign_ipv6::take(subnet, wanted, draw),
    }
}

fn take_first_ipv4(pool: &mut Pool, new: &NewEni, draw: &mut Draw) -> Result<Holdings, Ec2Error> {
    let primary = match new.primary {
        Some(address) => {
            pool.take_exactly(&[address]).map_err(|error| match error {
                TakeError::Taken(address) => Ec2Error::AddressInUse(address),
                TakeError::Unusable(_) => refused(error),
            })?;
            address
        }
        None => *pool
            .take_addresses(1, draw)?
            .first()
            .ok_or(Ec2Error::NoFreeAddresses)?,
    };
    match take(pool, &new.wanted, draw) {
        Ok((secondary, prefixes)) => Ok(Holdings {
            primary,
            secondary,
            prefixes,
            ipv6: Vec::new(),
            ipv6_prefixes: Vec::new(),
        }),
        Err(error) => {
            pool.give_back(&[primary], &[]);
            Err(error)
        }
    }
}

/// Take what is wanted, or nothing.
pub(crate) fn take(
    pool: &mut Pool,
    wanted: &Wanted,
    draw: &mut Draw,
) -> Result<(Vec<Ipv4Addr>, Vec<Ipv4Net>), Ec2Error> {
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

fn refused(error: TakeError) -> Ec2Error {
    match error {
        TakeError::Taken(address) => Ec2Error::AlreadyAssigned(address.into()),
        TakeError::Unusable(address) => Ec2Error::InvalidValue {
            parameter: "privateIpAddress".to_owned(),
            value: address.to_string(),
            reason: "Address does not fall within the subnet's usable address range.",
        },
    }
}
