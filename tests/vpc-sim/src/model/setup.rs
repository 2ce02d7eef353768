//! Building a VPC: what an operator makes before any client of ours asks for anything.
//!
//! Everything made here is seen by everybody at once. It leaves out who made it: these are not API calls.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};

use super::Model;
use super::error::Ec2Error;
use super::id::SubnetId;
use super::ipv6_pool::Ipv6Pool;
use super::pool::{Pool, Reservation};
use super::subnet::{Ipv6Subnet, NewSubnet, Subnet};
use super::timeline::{Facet, Timeline};

/// Why a VPC cannot be built so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Subnets are between /16 and /28 (AWS documentation, "Subnet sizing").
    #[error("subnet {0}: the prefix length must be between 16 and 28 and the host bits zero")]
    SubnetSize(Ipv4Net),
    /// Subnets lie inside the VPC.
    #[error("subnet {0} is inside no CIDR of the VPC")]
    SubnetOutside(Ipv4Net),
    /// The IPv6 half of a subnet is a /64 inside a CIDR of the VPC that no other subnet has.
    #[error("subnet {0}: give a /64 of an IPv6 CIDR of the VPC that no other subnet has")]
    Ipv6Subnet(Ipv6Net),
    /// Subnets are disjoint.
    #[error("subnet {subnet} overlaps {other}")]
    SubnetOverlap {
        /// The new one.
        subnet: Ipv4Net,
        /// The one that is there.
        other: Ipv4Net,
    },
    /// A reservation lies inside its subnet.
    #[error("reservation {0} is not inside its subnet")]
    ReservationOutside(Ipv4Net),
    /// The table lacks the type.
    #[error("the table of instance types has no {0}")]
    UnknownType(String),
    /// More public addresses than the documentation ranges have.
    #[error("no public address is left")]
    NoPublicAddress,
    /// EC2 would refuse it.
    #[error("EC2 refuses it")]
    Refused(#[from] Ec2Error),
}

impl Model {
    /// Add a subnet.
    ///
    /// # Errors
    /// When its CIDR is impossible.
    pub fn add_subnet(&mut self, new: NewSubnet) -> Result<SubnetId, SetupError> {
        let cidr = new.cidr;
        if !(16..=28).contains(&cidr.prefix_len()) || cidr.trunc() != cidr {
            return Err(SetupError::SubnetSize(cidr));
        }
        if !self.vpc.cidrs.iter().any(|vpc| vpc.contains(&cidr)) {
            return Err(SetupError::SubnetOutside(cidr));
        }
        let overlaps = |other: &&Subnet| other.cidr.contains(&cidr) || cidr.contains(&other.cidr);
        if let Some(other) = self.subnets.values().find(overlaps) {
            return Err(SetupError::SubnetOverlap {
                subnet: cidr,
                other: other.cidr,
            });
        }
        if let Some(ipv6) = new.ipv6_cidr {
            self.check_ipv6_subnet(ipv6)?;
        }
        let mut draw = self.chance.draw("subnet", &cidr.to_string());
        let id = SubnetId::numbered(draw.bits());
        let pool = Pool::new(cidr);
        let subnet = Subnet {
            id: id.clone(),
            cidr,
            zone: new.zone,
            internet: new.internet,
            router_mac: self.fresh_mac(&mut draw),
            available: Timeline::new(pool.available()),
            pool,
            ipv6: new.ipv6_cidr.map(|cidr| Ipv6Subnet {
                cidr,
                on_creation: new.ipv6_on_creation,
                pool: Ipv6Pool::new(cidr),
            }),
            reservations: BTreeMap::new(),
            tags: Facet::new(new.tags),
        };
        self.subnets.insert(id.clone(), subnet);
        Ok(id)
    }

    fn check_ipv6_subnet(&self, cidr: Ipv6Net) -> Result<(), SetupError> {
        let inside = self.vpc.ipv6_cidrs.iter().any(|vpc| vpc.contains(&cidr));
        let mut taken = self.subnets.values().filter_map(|subnet| subnet.ipv6.as_ref());
        let free = !taken.any(|ipv6| ipv6.cidr == cidr);
        if cidr.prefix_len() == 64 && cidr.trunc() == cidr && inside && free {
            Ok(())
        } else {
            Err(SetupError::Ipv6Subnet(cidr))
        }
    }

    /// Associate one more CIDR with the VPC.
    pub fn add_cidr(&mut self, cidr: Ipv4Net) {
        if !self.vpc.cidrs.contains(&cidr) {
            self.vpc.cidrs.push(cidr);
        }
    }

    /// Associate an IPv6 CIDR with the VPC; Amazon gives a /56. Groups let nothing of it out by themselves: only those
    /// made afterwards have the rule.
    pub fn add_ipv6_cidr(&mut self, cidr: Ipv6Net) {
        if !self.vpc.ipv6_cidrs.contains(&cidr) {
            self.vpc.ipv6_cidrs.push(cidr);
        }
    }

    /// Set a part of a subnet aside.
    ///
    /// # Errors
    /// When there is no such subnet or the part is not inside it.
    pub fn reserve(&mut self, subnet: &SubnetId, reservation: Reservation) -> Result<(), SetupError> {
        let subnet = self.subnet_mut(subnet)?;
        if !subnet.cidr.contains(&reservation.cidr) {
            return Err(SetupError::ReservationOutside(reservation.cidr));
        }
        subnet.pool.reserve(reservation);
        Ok(())
    }

    /// Delete a reservation; nothing in use is freed.
    ///
    /// # Errors
    /// When there is no such subnet.
    pub fn unreserve(&mut self, subnet: &SubnetId, cidr: Ipv4Net) -> Result<(), SetupError> {
        self.subnet_mut(subnet)?.pool.unreserve(cidr);
        Ok(())
    }
}
