//! `AssignIpv6Addresses` and `UnassignIpv6Addresses`.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::assign::zero;
use super::query::{Params, parse_value};
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::id::EniId;
use crate::model::request::{Request, Wanted, WantedIpv6};

/// What a caller may ask for in IPv6; EC2 allows one of the four.
#[derive(Debug, Default)]
pub(super) struct Ipv6Choice {
    pub(super) count: Option<u32>,
    pub(super) addresses: Vec<Ipv6Addr>,
    pub(super) prefix_count: Option<u32>,
    pub(super) prefixes: Vec<Ipv6Net>,
}

impl Ipv6Choice {
    /// The one that was chosen.
    pub(super) fn wanted(self) -> Result<WantedIpv6, Ec2Error> {
        let given = [
            self.count.map(Wanted::Addresses),
            Some(Wanted::ExplicitAddresses(self.addresses)).filter(|wanted| wanted.slots() > 0),
            self.prefix_count.map(Wanted::Prefixes),
            Some(Wanted::ExplicitPrefixes(self.prefixes)).filter(|wanted| wanted.slots() > 0),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (None, _) => Ok(Wanted::Nothing),
            (Some(wanted), None) => Ok(wanted),
            (Some(_), Some(_)) => Err(Ec2Error::InvalidCombination(
                "You may specify only one of a count of IPv6 addresses, specific IPv6 addresses, a count of IPv6 prefixes or specific IPv6 prefixes",
            )),
        }
    }

    /// As `CreateNetworkInterface` and `RunInstances` write it, below `prefix`.
    pub(super) fn read(params: &mut Params, prefix: &str, addresses: &str) -> Result<Self, Ec2Error> {
        let mut choice = Self {
            count: params.number(&format!("{prefix}Ipv6AddressCount"))?,
            prefix_count: params.number(&format!("{prefix}Ipv6PrefixCount"))?,
            ..Self::default()
        };
        for text in params.members(&format!("{prefix}{addresses}"), "Ipv6Address")? {
            choice.addresses.push(address("Ipv6Address", text)?);
        }
        for text in params.members(&format!("{prefix}Ipv6Prefix"), "Ipv6Prefix")? {
            choice.prefixes.push(net("Ipv6Prefix", text)?);
        }
        Ok(choice)
    }
}

pub(super) fn parse_assign(params: &mut Params) -> Result<Request, Ec2Error> {
    let eni = params.id("NetworkInterfaceId")?;
    let choice = Ipv6Choice {
        count: params.number("Ipv6AddressCount")?,
        addresses: addresses(params)?,
        prefix_count: params.number("Ipv6PrefixCount")?,
        prefixes: prefixes(params)?,
    };
    match choice.wanted()? {
        Wanted::Nothing => Err(Ec2Error::MissingParameter("ipv6AddressCount")),
        Wanted::Addresses(0) => Err(zero("Ipv6AddressCount")),
        Wanted::Prefixes(0) => Err(zero("Ipv6PrefixCount")),
        wanted => Ok(Request::AssignIpv6Addresses { eni, wanted }),
    }
}

pub(super) fn parse_unassign(params: &mut Params) -> Result<Request, Ec2Error> {
    let eni = params.id("NetworkInterfaceId")?;
    let addresses = addresses(params)?;
    let prefixes = prefixes(params)?;
    if addresses.is_empty() && prefixes.is_empty() {
        return Err(Ec2Error::MissingParameter("ipv6Addresses"));
    }
    Ok(Request::UnassignIpv6Addresses {
        eni,
        addresses,
        prefixes,
    })
}

fn addresses(params: &mut Params) -> Result<Vec<Ipv6Addr>, Ec2Error> {
    let texts = params.list("Ipv6Addresses").into_iter();
    texts.map(|text| address("Ipv6Addresses", text)).collect()
}

fn prefixes(params: &mut Params) -> Result<Vec<Ipv6Net>, Ec2Error> {
    let texts = params.list("Ipv6Prefix").into_iter();
    texts.map(|text| net("Ipv6Prefix", text)).collect()
}

fn address(name: &str, text: String) -> Result<Ipv6Addr, Ec2Error> {
    parse_value(name, text, "Invalid IPv6 address.")
}

fn net(name: &str, text: String) -> Result<Ipv6Net, Ec2Error> {
    parse_value(name, text, "Invalid IPv6 prefix.")
}

pub(super) fn write_assigned(xml: &mut Xml, eni: &EniId, addresses: &[Ipv6Addr], prefixes: &[Ipv6Net]) {
    xml.leaf("networkInterfaceId", eni);
    xml.texts("assignedIpv6Addresses", addresses);
    if !prefixes.is_empty() {
        xml.texts("assignedIpv6PrefixSet", prefixes);
    }
}

pub(super) fn write_unassigned(xml: &mut Xml, eni: &EniId, addresses: &[Ipv6Addr], prefixes: &[Ipv6Net]) {
    xml.leaf("networkInterfaceId", eni);
    xml.texts("unassignedIpv6Addresses", addresses);
    if !prefixes.is_empty() {
        xml.texts("unassignedIpv6PrefixSet", prefixes);
    }
}
