//! `AssignPrivateIpAddresses` and `UnassignPrivateIpAddresses`, and the choice of addresses or prefixes that create shares
//! with them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::query::{Params, parse_value};
use super::xml::Xml;
use crate::model::error::Ec2Error;
use crate::model::id::EniId;
use crate::model::request::{Request, Wanted};

/// What a caller may ask for; EC2 allows one of the four.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) count: Option<u32>,
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) prefix_count: Option<u32>,
    pub(super) prefixes: Vec<Ipv4Net>,
}

impl Choice {
    /// The one that was chosen.
    pub(super) fn wanted(self) -> Result<Wanted, Ec2Error> {
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
                "You may specify only one of a count of private IPv4 addresses, specific private IPv4 addresses, a count of IPv4 prefixes or specific IPv4 prefixes",
            )),
        }
    }
}

pub(super) fn parse_assign(params: &mut Params) -> Result<Request, Ec2Error> {
    let eni = params.id("NetworkInterfaceId")?;
    // EC2 moves an address from another ENI when this is true; false is what everybody else means.
    if params.flag("AllowReassignment")? == Some(true) {
        return Err(Ec2Error::Unsupported("AllowReassignment".to_owned()));
    }
    let choice = Choice {
        count: params.number("SecondaryPrivateIpAddressCount")?,
        addresses: addresses(params, "PrivateIpAddress")?,
        prefix_count: params.number("Ipv4PrefixCount")?,
        prefixes: prefixes(params, "Ipv4Prefix")?,
    };
    let wanted = choice.wanted()?;
    match wanted {
        Wanted::Nothing => Err(Ec2Error::MissingParameter("secondaryPrivateIpAddressCount")),
        Wanted::Addresses(0) => Err(zero("SecondaryPrivateIpAddressCount")),
        Wanted::Prefixes(0) => Err(zero("Ipv4PrefixCount")),
        wanted => Ok(Request::AssignPrivateIpAddresses { eni, wanted }),
    }
}

/// Nothing was asked for, in words.
pub(super) fn zero(parameter: &str) -> Ec2Error {
    Ec2Error::InvalidValue {
        parameter: parameter.to_owned(),
        value: "0".to_owned(),
        reason: "Expecting a positive number.",
    }
}

pub(super) fn parse_unassign(params: &mut Params) -> Result<Request, Ec2Error> {
    let eni = params.id("NetworkInterfaceId")?;
    let addresses = addresses(params, "PrivateIpAddress")?;
    let prefixes = prefixes(params, "Ipv4Prefix")?;
    if addresses.is_empty() && prefixes.is_empty() {
        return Err(Ec2Error::MissingParameter("privateIpAddress"));
    }
    Ok(Request::UnassignPrivateIpAddresses {
        eni,
        addresses,
        prefixes,
    })
}

fn addresses(params: &mut Params, name: &str) -> Result<Vec<Ipv4Addr>, Ec2Error> {
    let texts = params.list(name).into_iter();
    texts.map(|text| address(name, text)).collect()
}

fn prefixes(params: &mut Params, name: &str) -> Result<Vec<Ipv4Net>, Ec2Error> {
    let texts = params.list(name).into_iter();
    texts.map(|text| prefix(name, text)).collect()
}

pub(super) fn address(name: &str, text: String) -> Result<Ipv4Addr, Ec2Error> {
    parse_value(name, text, "Invalid IPv4 address.")
}

pub(super) fn prefix(name: &str, text: String) -> Result<Ipv4Net, Ec2Error> {
    parse_value(name, text, "Invalid IPv4 prefix.")
}

pub(super) fn write(xml: &mut Xml, eni: &EniId, addresses: &[Ipv4Addr], prefixes: &[Ipv4Net]) {
    xml.leaf("networkInterfaceId", eni);
    xml.list("assignedPrivateIpAddressesSet", addresses, |xml, address| {
        xml.leaf("privateIpAddress", address);
    });
    if !prefixes.is_empty() {
        xml.list("assignedIpv4PrefixSet", prefixes, |xml, prefix| {
            xml.leaf("ipv4Prefix", prefix);
        });
    }
}
