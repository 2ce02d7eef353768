//! EC2's refusals: each variant is one cause, with the code and the text that a client of EC2 gets.
//!
//! Texts marked observed are what real calls returned; EC2 documents only codes (AWS documentation, "Error codes for
//! the Amazon EC2 API").

use std::net::{IpAddr, Ipv4Addr};

use super::id::{
    AttachmentId, CidrReservationId, EniId, InstanceId, MalformedId, SecurityGroupId, SecurityGroupRuleId,
    SubnetId, VpcId,
};
use super::request::Operation;
use super::security_group::Allowed;

/// Why EC2 does not do what was asked. The display text is EC2's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ec2Error {
    /// The caller's token bucket is empty.
    #[error("Request limit exceeded.")]
    Throttled,
    /// IAM denies the action.
    #[error(
        "You are not authorized to perform this operation. User: arn:aws:sts::{account}:{principal} is not authorized to perform: ec2:{operation} on resource: {resource} because no identity-based policy allows the ec2:{operation} action. Encoded authorization failure message: c2ltdWxhdGVkLWRlbmlhbA"
    )]
    Denied {
        /// The account of the caller.
        account: String,
        /// Who asked.
        principal: String,
        /// For what.
        operation: Operation,
        /// On what.
        resource: String,
    },
    /// No more ENIs fit on the card.
    #[error("Interface count {count} exceeds the limit for {instance_type}")]
    AttachmentLimit {
        /// How many there would be.
        count: usize,
        /// The type of the instance.
        instance_type: String,
    },
    /// No more address slots on the ENI.
    #[error("Number of private addresses will exceed limit.")]
    AddressLimit,
    /// The subnet has too few free addresses.
    #[error("The specified subnet does not have enough free addresses to satisfy the request.")]
    NoFreeAddresses,
    /// The subnet has too few free /28 blocks.
    #[error("The specified subnet does not have enough free cidr blocks to satisfy the request.")]
    NoFreeBlocks,
    /// No such ENI, or not yet visible.
    #[error("The networkInterface ID '{0}' does not exist")]
    EniNotFound(EniId),
    /// No such subnet.
    #[error("The subnet ID '{0}' does not exist")]
    SubnetNotFound(SubnetId),
    /// No such instance.
    #[error("The instance ID '{0}' does not exist")]
    InstanceNotFound(InstanceId),
    /// No such VPC.
    #[error("The vpc ID '{0}' does not exist")]
    VpcNotFound(VpcId),
    /// No such security group.
    #[error("The security group '{0}' does not exist")]
    GroupNotFound(SecurityGroupId),
    /// No such attachment, or it is already ending. The text is assumed.
    #[error("The attachment ID '{0}' does not exist")]
    AttachmentNotFound(AttachmentId),
    /// No such instance type.
    #[error("The following supplied instance types do not exist: [{}]", .0.join(", "))]
    InstanceTypeNotFound(Vec<String>),
    /// An id that names nothing taggable.
    #[error("The ID '{0}' is not valid")]
    InvalidId(String),
    /// Deleted too early.
    #[error("Network interface '{0}' is currently in use.")]
    EniInUse(EniId),
    /// Attached twice.
    #[error("Interface: [{0}] in use.")]
    EniAttached(EniId),
    /// The device index has an ENI.
    #[error("Instance '{instance}' already has an interface attached at device index '{index}'.")]
    IndexTaken {
        /// Where.
        instance: InstanceId,
        /// The index.
        index: u32,
    },
    /// Unassigned what was not assigned.
    #[error("Some of the specified addresses are not assigned to interface {0}")]
    NotAssigned(EniId),
    /// The primary address cannot be unassigned. The text is assumed.
    #[error("The primary private IP address {0} cannot be unassigned")]
    PrimaryAddress(Ipv4Addr),
    /// The primary ENI cannot be detached.
    #[error("The network interface at device index {index} and networkCard index {card} cannot be detached.")]
    PrimaryDetach {
        /// Its device index.
        index: u32,
        /// Its card.
        card: u32,
    },
    /// An explicit address has an owner. The text is assumed.
    #[error("The address {0} is already assigned to another interface")]
    AlreadyAssigned(IpAddr),
    /// The explicit primary address of a new ENI has an owner.
    #[error("Address {0} is in use.")]
    AddressInUse(Ipv4Addr),
    /// ENI and instance are in different zones.
    #[error(
        "You may not attach a network interface to an instance if they are not in the same availability zone"
    )]
    OtherZone,
    /// The type cannot hold prefixes. The text is assumed.
    #[error("Prefixes are not supported on instance type {0}")]
    PrefixesUnsupported(String),
    /// The instance is not running.
    #[error("The instance '{0}' is not in a valid state for this operation.")]
    IncorrectState(InstanceId),
    /// No more IPv6 slots on the ENI. Code and text are assumed: those of IPv4.
    #[error("Number of IPv6 addresses will exceed limit.")]
    Ipv6Limit,
    /// The subnet has no IPv6 CIDR. Code and text are assumed.
    #[error("The subnet '{0}' has no IPv6 CIDR block")]
    NoIpv6(SubnetId),
    /// The type has no IPv6. Code and text are assumed.
    #[error("IPv6 is not supported on instance type {0}")]
    Ipv6Unsupported(String),
    /// A name that the VPC has already.
    #[error("The security group '{name}' already exists for VPC '{vpc}'")]
    GroupDuplicate {
        /// The name.
        name: String,
        /// The VPC.
        vpc: VpcId,
    },
    /// An ENI or another group's rule needs it.
    #[error("resource {0} has a dependent object")]
    GroupInUse(SecurityGroupId),
    /// The default group stays.
    #[error("the specified group: \"{0}\" name: \"default\" cannot be deleted by a user")]
    DefaultGroup(SecurityGroupId),
    /// The rule is there. EC2 writes it in words of its own; these are assumed.
    #[error("the specified rule \"{0}\" already exists")]
    RuleDuplicate(Allowed),
    /// No such rule.
    #[error("The specified rule does not exist in this security group.")]
    RuleNotFound,
    /// No such rule.
    #[error("The security group rule ID '{0}' does not exist")]
    RuleIdNotFound(SecurityGroupRuleId),
    /// Too many rules of one direction.
    #[error("The maximum number of rules per security group has been reached.")]
    RuleQuota,
    /// Too many groups.
    #[error("The maximum number of security groups for VPC has been reached.")]
    GroupsQuota,
    /// No such zone.
    #[error("Invalid availability zone: [{0}]")]
    ZoneNotFound(String),
    /// No such reservation. The text is assumed.
    #[error("The subnet CIDR reservation ID '{0}' does not exist")]
    ReservationNotFound(CidrReservationId),
    /// The part is set aside already. Code and text are assumed.
    #[error("The CIDR {0} conflicts with an existing subnet CIDR reservation")]
    ReservationConflict(String),
    /// There is no default VPC to launch into.
    #[error("No default VPC for this user. Specify a subnet.")]
    NoDefaultVpc,
    /// No public address is left.
    #[error("The maximum number of addresses has been reached.")]
    PublicAddressQuota,
    /// The same client token came with other parameters.
    #[error("The client token provided was already used with different parameters")]
    TokenMismatch,
    /// The account's ENI quota.
    #[error("The maximum number of network interfaces has been reached.")]
    EniQuota,
    /// Too many groups for one ENI.
    #[error("The maximum number of security groups per interface has been reached.")]
    GroupQuota,
    /// Too many tags on one resource.
    #[error("More than {0} tags specified")]
    TagQuota(usize),
    /// An id of the wrong shape.
    #[error(transparent)]
    Malformed(#[from] MalformedId),
    /// A value that cannot be.
    #[error("Value ({value}) for parameter {parameter} is invalid. {reason}")]
    InvalidValue {
        /// As the client named it.
        parameter: String,
        /// As the client gave it.
        value: String,
        /// Why.
        reason: &'static str,
    },
    /// Parameters that exclude each other.
    #[error("{0}")]
    InvalidCombination(&'static str),
    /// A required parameter is missing.
    #[error("The request must contain the parameter {0}")]
    MissingParameter(&'static str),
    /// A parameter that the action does not have.
    #[error("The parameter {0} is not recognized")]
    UnknownParameter(String),
    /// An action that EC2 (or this simulation of it) does not have.
    #[error("The action {0} is not valid for this web service.")]
    InvalidAction(String),
    /// An API version that EC2 does not have.
    #[error("The requested version {0} is not valid")]
    InvalidVersion(String),
    /// EC2 has it and this simulation does not: refused, never ignored.
    #[error("The parameter {0} is not supported by this simulation")]
    Unsupported(String),
    /// The caller asked only whether it may.
    #[error("Request would have succeeded, but DryRun flag is set.")]
    DryRun,
    /// A body that is no form.
    #[error("The request body could not be read as form parameters")]
    UnreadableForm,
    /// An unknown filter (observed: the code is that of a wrong value).
    #[error("The filter '{0}' is invalid")]
    InvalidFilter(String),
    /// A page size out of bounds.
    #[error(
        "Value ( {value} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}."
    )]
    InvalidMaxResults {
        /// As given.
        value: i64,
        /// The smallest page.
        least: i64,
        /// The largest page.
        most: i64,
    },
    /// A page token that was never given out.
    #[error("The pagination token is invalid")]
    InvalidPaginationToken,
    /// Credentials of nobody.
    #[error("AWS was not able to validate the provided access credentials")]
    AuthFailure,
    /// No credentials at all.
    #[error("Request is missing Authentication Token")]
    MissingAuthenticationToken,
    /// The service's own fault; the effect may have happened.
    #[error("An internal error has occurred")]
    Internal,
    /// The service is overloaded; the effect may have happened.
    #[error("The server is overloaded and can't handle the request.")]
    Unavailable,
    /// Whatever a test wants to see.
    #[error("{message}")]
    Scripted {
        /// EC2's code.
        code: String,
        /// EC2's text.
        message: String,
        /// The HTTP status.
        status: u16,
    },
}

impl Ec2Error {
    /// The code by which clients tell errors apart.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Throttled => "RequestLimitExceeded",
            Self::Denied { .. } => "UnauthorizedOperation",
            Self::AttachmentLimit { .. } => "AttachmentLimitExceeded",
            Self::AddressLimit | Self::Ipv6Limit => "PrivateIpAddressLimitExceeded",
            Self::GroupDuplicate { .. } => "InvalidGroup.Duplicate",
            Self::GroupInUse(_) => "DependencyViolation",
            Self::DefaultGroup(_) => "CannotDelete",
            Self::RuleDuplicate(_) => "InvalidPermission.Duplicate",
            Self::RuleNotFound => "InvalidPermission.NotFound",
            Self::RuleIdNotFound(_) => "InvalidSecurityGroupRuleId.NotFound",
            Self::RuleQuota => "RulesPerSecurityGroupLimitExceeded",
            Self::GroupsQuota => "SecurityGroupLimitExceeded",
            Self::ReservationNotFound(_) => "InvalidSubnetCidrReservationID.NotFound",
            Self::ReservationConflict(_) => "InvalidCidr.Conflict",
            Self::NoDefaultVpc => "VPCIdNotSpecified",
            Self::PublicAddressQuota => "AddressLimitExceeded",
            Self::NoFreeAddresses => "InsufficientFreeAddressesInSubnet",
            Self::NoFreeBlocks => "InsufficientCidrBlocks",
            Self::EniNotFound(_) => "InvalidNetworkInterfaceID.NotFound",
            Self::SubnetNotFound(_) => "InvalidSubnetID.NotFound",
            Self::InstanceNotFound(_) => "InvalidInstanceID.NotFound",
            Self::VpcNotFound(_) => "InvalidVpcID.NotFound",
            Self::GroupNotFound(_) => "InvalidGroup.NotFound",
            Self::AttachmentNotFound(_) => "InvalidAttachmentID.NotFound",
            Self::InstanceTypeNotFound(_) => "InvalidInstanceType",
            Self::InvalidId(_) => "InvalidID",
            Self::EniInUse(_)
            | Self::IndexTaken { .. }
            | Self::NotAssigned(_)
            | Self::PrimaryAddress(_)
            | Self::NoIpv6(_)
            | Self::ZoneNotFound(_)
            | Self::InvalidFilter(_)
            | Self::InvalidValue { .. } => "InvalidParameterValue",
            Self::EniAttached(_) => "InvalidNetworkInterface.InUse",
            Self::PrimaryDetach { .. } => "OperationNotPermitted",
            Self::AlreadyAssigned(_) => "Resource.AlreadyAssigned",
            Self::AddressInUse(_) => "InvalidIPAddress.InUse",
            Self::OtherZone | Self::InvalidCombination(_) => "InvalidParameterCombination",
            Self::PrefixesUnsupported(_) | Self::Ipv6Unsupported(_) | Self::Unsupported(_) => {
                "UnsupportedOperation"
            }
            Self::IncorrectState(_) => "IncorrectState",
            Self::TokenMismatch => "IdempotentParameterMismatch",
            Self::EniQuota => "NetworkInterfaceLimitExceeded",
            Self::GroupQuota => "SecurityGroupsPerInterfaceLimitExceeded",
            Self::TagQuota(_) => "TagLimitExceeded",
            Self::Malformed(id) => malformed_code(id.prefix),
            Self::MissingParameter(_) => "MissingParameter",
            Self::UnknownParameter(_) => "UnknownParameter",
            Self::InvalidAction(_) => "InvalidAction",
            Self::InvalidVersion(_) => "NoSuchVersion",
            Self::DryRun => "DryRunOperation",
            Self::UnreadableForm => "MalformedQueryString",
            Self::InvalidMaxResults { .. } => "InvalidMaxResults",
            Self::InvalidPaginationToken => "InvalidPaginationToken",
            Self::AuthFailure => "AuthFailure",
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::Internal => "InternalError",
            Self::Unavailable => "Unavailable",
            Self::Scripted { code, .. } => code,
        }
    }

    /// The HTTP status: 400 for almost everything.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Throttled | Self::Unavailable => 503,
            Self::Denied { .. } | Self::MissingAuthenticationToken => 403,
            Self::AuthFailure => 401,
            Self::DryRun => 412,
            Self::Internal => 500,
            Self::Scripted { status, .. } => *status,
            _ => 400,
        }
    }
}

fn malformed_code(prefix: &str) -> &'static str {
    match prefix {
        "eni" => "InvalidNetworkInterfaceID.Malformed",
        "subnet" => "InvalidSubnetID.Malformed",
        "i" => "InvalidInstanceID.Malformed",
        "vpc" => "InvalidVpcID.Malformed",
        "sg" => "InvalidGroupId.Malformed",
        "sgr" => "InvalidSecurityGroupRuleId.Malformed",
        "scr" => "InvalidSubnetCidrReservationID.Malformed",
        "eni-attach" => "InvalidNetworkInterfaceAttachmentID.Malformed",
        _ => "InvalidID",
    }
}
