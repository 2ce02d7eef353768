//! Changes of the kernel in words, close to those of `ip`.

use std::fmt;

use super::NetOp;
use crate::net::{Route, Rule, Via};

impl fmt::Display for NetOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetMtu { index, mtu_bytes } => write!(f, "an MTU of {mtu_bytes} on device {index}"),
            Self::SetReversePath { index } => write!(f, "rp_filter and src_valid_mark set on device {index}"),
            Self::SetUp { index } => write!(f, "device {index} up"),
            Self::AddAddress { index, address } => write!(f, "the address {address} on device {index}"),
            Self::RemoveAddress { index, address } => write!(f, "no address {address} on device {index}"),
            Self::SetRoute(route) => write!(f, "the route {route}"),
            Self::RemoveRoute(route) => write!(f, "no route {route}"),
            Self::AddRule(rule) => write!(f, "the rule {rule}"),
            Self::RemoveRule(rule) => write!(f, "no rule {rule}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.via {
            Via::Link { index, .. } => write!(f, "{} by device {index}", self.to)?,
            Via::Gateway { index, gateway } => write!(f, "{} via {gateway} by device {index}", self.to)?,
            Via::Blackhole => write!(f, "{} into a blackhole", self.to)?,
        }
        write!(f, " in table {}", self.table.0)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some((value, mask)) = self.mark {
            write!(f, " fwmark {value:#x}/{mask:#x}")?;
        }
        write!(f, " lookup {}", self.table.0)
    }
}
