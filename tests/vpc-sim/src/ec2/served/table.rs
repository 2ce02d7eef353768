//! The table itself, one entry per action.

use super::super::page::Bounds;
use super::{PLAIN, Served};
use crate::model::request::Operation;

/// The page sizes of most actions (AWS documentation of each, and the model of the SDKs).
const PAGES: Option<Bounds> = Some(Bounds {
    least: 5,
    most: 1000,
    unless_set: None,
});
/// EC2 never gives more than 100 types at once, asked for pages or not (AWS documentation of the action).
const TYPE_PAGES: Option<Bounds> = Some(Bounds {
    least: 5,
    most: 100,
    unless_set: Some(100),
});

/// Several texts with the members that all permissions have.
macro_rules! with_permissions {
    ($($more:literal)?) => {
        concat!(
            $($more, " ",)?
            "GroupId IpPermissions.N.IpProtocol IpPermissions.N.FromPort IpPermissions.N.ToPort
            IpPermissions.N.Groups.N.GroupId IpPermissions.N.Groups.N.UserId IpPermissions.N.Groups.N.Description
            IpPermissions.N.IpRanges.N.CidrIp IpPermissions.N.IpRanges.N.Description
            IpPermissions.N.Ipv6Ranges.N.CidrIpv6 IpPermissions.N.Ipv6Ranges.N.Description"
        )
    };
}
const OWN_ACCOUNT: (&str, &str) = ("IpPermissions.N.Groups.N.UserId", "the own account");
const REVOKE_ERRORS: &str = "InvalidGroup.NotFound InvalidGroupId.Malformed InvalidParameterCombination
    InvalidParameterValue InvalidPermission.NotFound InvalidSecurityGroupRuleId.Malformed
    InvalidSecurityGroupRuleId.NotFound MissingParameter";
const TAG_KIND: &str = "what the action creates";

pub(super) fn of(operation: Operation) -> &'static Served {
    match operation {
        Operation::AssignIpv6Addresses => &ASSIGN_IPV6,
        Operation::AssignPrivateIpAddresses => &ASSIGN,
        Operation::AttachNetworkInterface => &ATTACH,
        Operation::AuthorizeSecurityGroupEgress => &AUTHORIZE_EGRESS,
        Operation::AuthorizeSecurityGroupIngress => &AUTHORIZE_INGRESS,
        Operation::CreateNetworkInterface => &CREATE_ENI,
        Operation::CreateSecurityGroup => &CREATE_GROUP,
        Operation::CreateSubnetCidrReservation => &CREATE_RESERVATION,
        Operation::CreateTags => &CREATE_TAGS,
        Operation::DeleteNetworkInterface => &DELETE_ENI,
        Operation::DeleteSecurityGroup => &DELETE_GROUP,
        Operation::DeleteSubnetCidrReservation => &DELETE_RESERVATION,
        Operation::DeleteTags => &DELETE_TAGS,
        Operation::DescribeAvailabilityZones => &DESCRIBE_ZONES,
        Operation::DescribeInstanceTypes => &DESCRIBE_TYPES,
        Operation::DescribeInstances => &DESCRIBE_INSTANCES,
        Operation::DescribeNetworkInterfaces => &DESCRIBE_ENIS,
        Operation::DescribeSecurityGroupRules => &DESCRIBE_RULES,
        Operation::DescribeSecurityGroups => &DESCRIBE_GROUPS,
        Operation::DescribeSubnets => &DESCRIBE_SUBNETS,
        Operation::DescribeTags => &DESCRIBE_TAGS,
        Operation::DescribeVpcs => &DESCRIBE_VPCS,
        Operation::DetachNetworkInterface => &DETACH,
        Operation::GetSubnetCidrReservations => &GET_RESERVATIONS,
        Operation::ModifyNetworkInterfaceAttribute => &MODIFY_ENI,
        Operation::RevokeSecurityGroupEgress => &REVOKE_EGRESS,
        Operation::RevokeSecurityGroupIngress => &REVOKE_INGRESS,
        Operation::RunInstances => &RUN_INSTANCES,
        Operation::TerminateInstances => &TERMINATE_INSTANCES,
        Operation::UnassignIpv6Addresses => &UNASSIGN_IPV6,
        Operation::UnassignPrivateIpAddresses => &UNASSIGN,
    }
}

static ASSIGN_IPV6: Served = Served {
    parameters: "NetworkInterfaceId Ipv6AddressCount Ipv6Addresses.N Ipv6PrefixCount Ipv6Prefix.N",
    errors: "InsufficientCidrBlocks InsufficientFreeAddressesInSubnet InvalidNetworkInterfaceID.Malformed
        InvalidNetworkInterfaceID.NotFound InvalidParameterCombination InvalidParameterValue MissingParameter
        PrivateIpAddressLimitExceeded Resource.AlreadyAssigned UnsupportedOperation",
    ..PLAIN
};

static ASSIGN: Served = Served {
    parameters:
        "NetworkInterfaceId SecondaryPrivateIpAddressCount PrivateIpAddress.N Ipv4PrefixCount Ipv4Prefix.N
        AllowReassignment",
    partly: &[("AllowReassignment", "`false`")],
    errors: "InsufficientCidrBlocks InsufficientFreeAddressesInSubnet InvalidNetworkInterfaceID.Malformed
        InvalidNetworkInterfaceID.NotFound InvalidParameterCombination InvalidParameterValue MissingParameter
        PrivateIpAddressLimitExceeded Resource.AlreadyAssigned UnsupportedOperation",
    ..PLAIN
};

static ATTACH: Served = Served {
    parameters: "NetworkInterfaceId InstanceId DeviceIndex NetworkCardIndex",
    errors: "AttachmentLimitExceeded IncorrectState InvalidInstanceID.Malformed InvalidInstanceID.NotFound
        InvalidNetworkInterface.InUse InvalidNetworkInterfaceID.Malformed InvalidNetworkInterfaceID.NotFound
        InvalidParameterCombination InvalidParameterValue MissingParameter PrivateIpAddressLimitExceeded
        UnsupportedOperation",
    ..PLAIN
};

static AUTHORIZE_EGRESS: Served = Served {
    parameters: with_permissions!(),
    partly: &[OWN_ACCOUNT],
    errors: "InvalidGroup.NotFound InvalidGroupId.Malformed InvalidParameterValue InvalidPermission.Duplicate
        MissingParameter RulesPerSecurityGroupLimitExceeded",
    ..PLAIN
};

static AUTHORIZE_INGRESS: Served = Served {
    parameters: with_permissions!("IpProtocol FromPort ToPort CidrIp"),
    partly: &[OWN_ACCOUNT],
    errors: "InvalidGroup.NotFound InvalidGroupId.Malformed InvalidParameterCombination InvalidParameterValue
        InvalidPermission.Duplicate MissingParameter RulesPerSecurityGroupLimitExceeded",
    ..PLAIN
};

static CREATE_ENI: Served = Served {
    parameters: "SubnetId Description SecurityGroupId.N PrivateIpAddress PrivateIpAddresses.N.PrivateIpAddress
        PrivateIpAddresses.N.Primary SecondaryPrivateIpAddressCount Ipv4PrefixCount Ipv4Prefix.N.Ipv4Prefix
        Ipv6AddressCount Ipv6Addresses.N.Ipv6Address Ipv6PrefixCount Ipv6Prefix.N.Ipv6Prefix InterfaceType ClientToken
        TagSpecification.N.ResourceType TagSpecification.N.Tag.N.Key TagSpecification.N.Tag.N.Value",
    partly: &[
        ("InterfaceType", "`interface`"),
        ("TagSpecification.N.ResourceType", TAG_KIND),
    ],
    errors: "IdempotentParameterMismatch InsufficientCidrBlocks InsufficientFreeAddressesInSubnet InvalidGroup.NotFound
        InvalidGroupId.Malformed InvalidIPAddress.InUse InvalidParameterCombination InvalidParameterValue
        InvalidSubnetID.Malformed InvalidSubnetID.NotFound MissingParameter NetworkInterfaceLimitExceeded
        PrivateIpAddressLimitExceeded Resource.AlreadyAssigned SecurityGroupsPerInterfaceLimitExceeded TagLimitExceeded",
    ..PLAIN
};

static CREATE_GROUP: Served = Served {
    parameters: "GroupName GroupDescription VpcId
        TagSpecification.N.ResourceType TagSpecification.N.Tag.N.Key TagSpecification.N.Tag.N.Value",
    partly: &[("TagSpecification.N.ResourceType", TAG_KIND)],
    errors: "InvalidGroup.Duplicate InvalidParameterValue InvalidVpcID.Malformed InvalidVpcID.NotFound
        MissingParameter SecurityGroupLimitExceeded TagLimitExceeded VPCIdNotSpecified",
    ..PLAIN
};

static CREATE_RESERVATION: Served = Served {
    parameters: "SubnetId Cidr ReservationType Description
        TagSpecification.N.ResourceType TagSpecification.N.Tag.N.Key TagSpecification.N.Tag.N.Value",
    partly: &[("TagSpecification.N.ResourceType", TAG_KIND)],
    errors: "InvalidCidr.Conflict InvalidParameterValue InvalidSubnetID.Malformed InvalidSubnetID.NotFound
        MissingParameter TagLimitExceeded",
    ..PLAIN
};

static CREATE_TAGS: Served = Served {
    parameters: "ResourceId.N Tag.N.Key Tag.N.Value",
    errors: "InvalidGroup.NotFound InvalidID InvalidInstanceID.NotFound InvalidNetworkInterfaceID.NotFound
        InvalidParameterValue InvalidSubnetCidrReservationID.NotFound InvalidSubnetID.NotFound InvalidVpcID.NotFound
        MissingParameter TagLimitExceeded",
    ..PLAIN
};

static DELETE_ENI: Served = Served {
    parameters: "NetworkInterfaceId",
    errors: "InvalidNetworkInterfaceID.Malformed InvalidNetworkInterfaceID.NotFound InvalidParameterValue
        MissingParameter",
    ..PLAIN
};

static DELETE_GROUP: Served = Served {
    parameters: "GroupId",
    errors: "CannotDelete DependencyViolation InvalidGroup.NotFound InvalidGroupId.Malformed MissingParameter",
    ..PLAIN
};

static DELETE_RESERVATION: Served = Served {
    parameters: "SubnetCidrReservationId",
    errors: "InvalidSubnetCidrReservationID.Malformed InvalidSubnetCidrReservationID.NotFound MissingParameter",
    ..PLAIN
};

static DELETE_TAGS: Served = Served {
    parameters: "ResourceId.N Tag.N.Key Tag.N.Value",
    errors: "InvalidGroup.NotFound InvalidID InvalidInstanceID.NotFound InvalidNetworkInterfaceID.NotFound
        InvalidParameterValue InvalidSubnetCidrReservationID.NotFound InvalidSubnetID.NotFound InvalidVpcID.NotFound
        MissingParameter",
    ..PLAIN
};

static DESCRIBE_ZONES: Served = Served {
    parameters: "ZoneName.N ZoneId.N AllAvailabilityZones Filter.N.Name Filter.N.Value.N",
    filters: "group-name opt-in-status region-name state zone-id zone-name zone-type",
    absent: "message parent-zone-id parent-zone-name",
    errors: "InvalidParameterValue MissingParameter",
    ..PLAIN
};

static DESCRIBE_TYPES: Served = Served {
    parameters: "InstanceType.N Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "bare-metal current-generation hypervisor instance-type memory-info.size-in-mib
        network-info.efa-info.maximum-efa-interfaces network-info.efa-supported network-info.ena-support
        network-info.encryption-in-transit-supported network-info.ipv4-addresses-per-interface
        network-info.ipv6-addresses-per-interface network-info.ipv6-supported network-info.maximum-network-cards
        network-info.maximum-network-interfaces network-info.network-performance
        processor-info.supported-architecture vcpu-info.default-cores vcpu-info.default-threads-per-core
        vcpu-info.default-vcpus",
    pages: TYPE_PAGES,
    errors: "InvalidInstanceType InvalidMaxResults InvalidPaginationToken InvalidParameterCombination
        InvalidParameterValue MissingParameter",
    ..PLAIN
};

static DESCRIBE_INSTANCES: Served = Served {
    parameters: "InstanceId.N IncludeManagedResources Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "architecture availability-zone availability-zone-id
        capacity-reservation-specification.capacity-reservation-preference client-token current-instance-boot-mode
        ebs-optimized ena-support enclave-options.enabled hibernation-options.configured hypervisor
        iam-instance-profile.arn iam-instance-profile.id image-id instance-id instance-state-code
        instance-state-name instance-type instance.group-id instance.group-name ip-address ipv6-address
        launch-index launch-time maintenance-options.auto-recovery metadata-options.http-endpoint
        metadata-options.http-protocol-ipv4 metadata-options.http-protocol-ipv6
        metadata-options.http-put-response-hop-limit metadata-options.http-tokens
        metadata-options.instance-metadata-tags metadata-options.state monitoring-state
        network-interface.addresses.association.ip-owner-id network-interface.addresses.association.public-ip
        network-interface.addresses.primary network-interface.addresses.private-dns-name
        network-interface.addresses.private-ip-address network-interface.association.ip-owner-id
        network-interface.association.public-ip network-interface.attachment.attach-time
        network-interface.attachment.attachment-id network-interface.attachment.delete-on-termination
        network-interface.attachment.device-index network-interface.attachment.instance-id
        network-interface.attachment.instance-owner-id network-interface.attachment.network-card-index
        network-interface.attachment.status network-interface.availability-zone network-interface.description
        network-interface.group-id network-interface.group-name network-interface.ipv4-prefixes.ipv4-prefix
        network-interface.deny-all-igw-traffic network-interface.ipv6-address network-interface.ipv6-native
        network-interface.ipv6-addresses.ipv6-address network-interface.ipv6-addresses.is-primary-ipv6
        network-interface.ipv6-prefixes.ipv6-prefix network-interface.mac-address
        network-interface.network-interface-id network-interface.operator.managed network-interface.owner-id
        network-interface.private-dns-name network-interface.private-ip-address network-interface.requester-id
        network-interface.requester-managed network-interface.source-dest-check network-interface.status
        network-interface.subnet-id network-interface.tag-key network-interface.tag-value network-interface.vpc-id
        network-performance-options.bandwidth-weighting operator.managed owner-id platform-details
        private-dns-name private-dns-name-options.enable-resource-name-dns-a-record
        private-dns-name-options.enable-resource-name-dns-aaaa-record private-dns-name-options.hostname-type
        private-ip-address reason reservation-id root-device-name root-device-type source-dest-check state-reason-code
        state-reason-message subnet-id tenancy usage-operation usage-operation-update-time virtualization-type vpc-id",
    absent: "affinity block-device-mapping.attach-time block-device-mapping.delete-on-termination
        block-device-mapping.device-name block-device-mapping.status block-device-mapping.volume-id boot-mode
        capacity-reservation-id
        capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id
        capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn
        dns-name host-id instance-lifecycle kernel-id key-name
        network-interface.addresses.association.allocation-id network-interface.addresses.association.association-id
        network-interface.addresses.association.carrier-ip network-interface.addresses.association.customer-owned-ip
        network-interface.addresses.association.public-dns-name network-interface.association.allocation-id
        network-interface.association.association-id network-interface.association.carrier-ip
        network-interface.association.customer-owned-ip network-interface.association.public-dns-name
        network-interface.operator.principal network-interface.outpost-arn network-interface.public-dns-name
        operator.principal outpost-arn placement-group-name placement-partition-number platform product-code
        product-code.type ramdisk-id requester-id spot-instance-request-id tpm-support",
    pages: PAGES,
    errors: "InvalidInstanceID.Malformed InvalidInstanceID.NotFound InvalidMaxResults InvalidPaginationToken
        InvalidParameterCombination InvalidParameterValue MissingParameter",
    ..PLAIN
};

static DESCRIBE_ENIS: Served = Served {
    parameters: "NetworkInterfaceId.N IncludeManagedResources Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "addresses.association.owner-id addresses.association.public-ip addresses.primary
        addresses.private-ip-address association.ip-owner-id association.public-ip attachment.attach-time
        attachment.attachment-id attachment.delete-on-termination attachment.device-index attachment.instance-id
        attachment.instance-owner-id attachment.status availability-zone availability-zone-id description group-id
        interface-type ipv6-addresses.ipv6-address mac-address network-interface-id operator.managed owner-id
        private-dns-name private-ip-address requester-id requester-managed source-dest-check status subnet-id vpc-id",
    absent: "association.allocation-id association.association-id association.public-dns-name operator.principal",
    pages: PAGES,
    errors: "InvalidMaxResults InvalidNetworkInterfaceID.Malformed InvalidNetworkInterfaceID.NotFound
        InvalidPaginationToken InvalidParameterCombination InvalidParameterValue MissingParameter",
    ..PLAIN
};

static DESCRIBE_RULES: Served = Served {
    parameters: "SecurityGroupRuleId.N Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "group-id security-group-rule-id",
    absent: "tag:",
    pages: PAGES,
    errors:
        "InvalidMaxResults InvalidPaginationToken InvalidParameterValue InvalidSecurityGroupRuleId.Malformed
        InvalidSecurityGroupRuleId.NotFound MissingParameter",
    ..PLAIN
};

static DESCRIBE_GROUPS: Served = Served {
    parameters: "GroupId.N Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters:
        "description egress.ip-permission.cidr egress.ip-permission.from-port egress.ip-permission.group-id
        egress.ip-permission.group-name egress.ip-permission.ipv6-cidr egress.ip-permission.protocol
        egress.ip-permission.to-port egress.ip-permission.user-id group-id group-name ip-permission.cidr
        ip-permission.from-port ip-permission.group-id ip-permission.group-name ip-permission.ipv6-cidr
        ip-permission.protocol ip-permission.to-port ip-permission.user-id owner-id vpc-id",
    absent: "egress.ip-permission.prefix-list-id ip-permission.prefix-list-id",
    pages: PAGES,
    errors: "InvalidGroup.NotFound InvalidGroupId.Malformed InvalidMaxResults InvalidPaginationToken
        InvalidParameterValue MissingParameter",
    ..PLAIN
};

static DESCRIBE_SUBNETS: Served = Served {
    parameters: "SubnetId.N Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "availability-zone availability-zone-id available-ip-address-count cidr-block default-for-az enable-dns64
        ipv6-cidr-block-association.association-id ipv6-cidr-block-association.ipv6-cidr-block
        ipv6-cidr-block-association.state ipv6-native map-customer-owned-ip-on-launch map-public-ip-on-launch owner-id
        private-dns-name-options-on-launch.enable-resource-name-dns-a-record
        private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record
        private-dns-name-options-on-launch.hostname-type state subnet-arn subnet-id vpc-id",
    absent: "customer-owned-ipv4-pool enable-lni-at-device-index outpost-arn",
    pages: PAGES,
    errors: "InvalidMaxResults InvalidPaginationToken InvalidParameterValue InvalidSubnetID.Malformed
        InvalidSubnetID.NotFound MissingParameter",
    ..PLAIN
};

static DESCRIBE_TAGS: Served = Served {
    parameters: "Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "key resource-id resource-type value",
    pages: PAGES,
    errors: "InvalidMaxResults InvalidPaginationToken InvalidParameterValue MissingParameter",
    ..PLAIN
};

static DESCRIBE_VPCS: Served = Served {
    parameters: "VpcId.N Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "cidr cidr-block-association.association-id cidr-block-association.cidr-block
        cidr-block-association.state dhcp-options-id ipv6-cidr-block-association.association-id
        ipv6-cidr-block-association.ipv6-cidr-block ipv6-cidr-block-association.ipv6-pool
        ipv6-cidr-block-association.state is-default owner-id state vpc-id",
    pages: PAGES,
    errors: "InvalidMaxResults InvalidPaginationToken InvalidParameterValue InvalidVpcID.Malformed
        InvalidVpcID.NotFound MissingParameter",
    ..PLAIN
};

static DETACH: Served = Served {
    parameters: "AttachmentId Force",
    errors: "InvalidAttachmentID.NotFound InvalidNetworkInterfaceAttachmentID.Malformed InvalidParameterValue
        MissingParameter OperationNotPermitted",
    ..PLAIN
};

static GET_RESERVATIONS: Served = Served {
    parameters: "SubnetId Filter.N.Name Filter.N.Value.N MaxResults NextToken",
    filters: "reservationType subnet-id",
    pages: PAGES,
    errors: "InvalidMaxResults InvalidPaginationToken InvalidParameterValue InvalidSubnetID.Malformed
        InvalidSubnetID.NotFound MissingParameter",
    ..PLAIN
};

static MODIFY_ENI: Served = Served {
    parameters:
        "NetworkInterfaceId Description.Value SourceDestCheck.Value SecurityGroupId.N Attachment.AttachmentId
        Attachment.DeleteOnTermination",
    errors: "InvalidAttachmentID.NotFound InvalidGroup.NotFound InvalidGroupId.Malformed
        InvalidNetworkInterfaceAttachmentID.Malformed InvalidNetworkInterfaceID.Malformed
        InvalidNetworkInterfaceID.NotFound InvalidParameterCombination InvalidParameterValue MissingParameter
        SecurityGroupsPerInterfaceLimitExceeded",
    ..PLAIN
};

static REVOKE_EGRESS: Served = Served {
    parameters: with_permissions!("SecurityGroupRuleId.N"),
    partly: &[OWN_ACCOUNT],
    errors: REVOKE_ERRORS,
    ..PLAIN
};

static REVOKE_INGRESS: Served = Served {
    parameters: with_permissions!("SecurityGroupRuleId.N IpProtocol FromPort ToPort CidrIp"),
    partly: &[OWN_ACCOUNT],
    errors: REVOKE_ERRORS,
    ..PLAIN
};

static RUN_INSTANCES: Served = Served {
    parameters: "ImageId InstanceType MinCount MaxCount SubnetId SecurityGroupId.N PrivateIpAddress Ipv6AddressCount
        Ipv6Address.N.Ipv6Address ClientToken Placement.AvailabilityZone IamInstanceProfile.Arn IamInstanceProfile.Name
        MetadataOptions.HttpTokens MetadataOptions.HttpPutResponseHopLimit MetadataOptions.HttpEndpoint
        MetadataOptions.HttpProtocolIpv6
        TagSpecification.N.ResourceType TagSpecification.N.Tag.N.Key TagSpecification.N.Tag.N.Value
        NetworkInterface.N.AssociatePublicIpAddress NetworkInterface.N.DeleteOnTermination
        NetworkInterface.N.Description NetworkInterface.N.DeviceIndex NetworkInterface.N.SecurityGroupId.N
        NetworkInterface.N.Ipv6AddressCount NetworkInterface.N.Ipv6Addresses.N.Ipv6Address
        NetworkInterface.N.NetworkInterfaceId NetworkInterface.N.PrivateIpAddress
        NetworkInterface.N.PrivateIpAddresses.N.Primary NetworkInterface.N.PrivateIpAddresses.N.PrivateIpAddress
        NetworkInterface.N.SecondaryPrivateIpAddressCount NetworkInterface.N.SubnetId
        NetworkInterface.N.InterfaceType NetworkInterface.N.NetworkCardIndex
        NetworkInterface.N.Ipv4Prefix.N.Ipv4Prefix NetworkInterface.N.Ipv4PrefixCount
        NetworkInterface.N.Ipv6Prefix.N.Ipv6Prefix NetworkInterface.N.Ipv6PrefixCount",
    partly: &[
        ("MetadataOptions.HttpTokens", "`required`"),
        ("NetworkInterface.N.InterfaceType", "`interface`"),
        ("TagSpecification.N.ResourceType", "`instance`, `network-interface`"),
    ],
    errors: "AddressLimitExceeded AttachmentLimitExceeded IdempotentParameterMismatch InsufficientCidrBlocks
        InsufficientFreeAddressesInSubnet InvalidGroup.NotFound InvalidGroupId.Malformed InvalidIPAddress.InUse
        InvalidNetworkInterface.InUse InvalidNetworkInterfaceID.Malformed InvalidNetworkInterfaceID.NotFound
        InvalidParameterCombination InvalidParameterValue InvalidSubnetID.Malformed InvalidSubnetID.NotFound
        MissingParameter NetworkInterfaceLimitExceeded PrivateIpAddressLimitExceeded Resource.AlreadyAssigned
        SecurityGroupsPerInterfaceLimitExceeded TagLimitExceeded UnsupportedOperation VPCIdNotSpecified",
    ..PLAIN
};

static TERMINATE_INSTANCES: Served = Served {
    parameters: "InstanceId.N Force SkipOsShutdown",
    errors: "InvalidInstanceID.Malformed InvalidInstanceID.NotFound InvalidParameterValue MissingParameter",
    ..PLAIN
};

static UNASSIGN_IPV6: Served = Served {
    parameters: "NetworkInterfaceId Ipv6Addresses.N Ipv6Prefix.N",
    errors: "InvalidNetworkInterfaceID.Malformed InvalidNetworkInterfaceID.NotFound InvalidParameterValue
        MissingParameter",
    ..PLAIN
};

static UNASSIGN: Served = Served {
    parameters: "NetworkInterfaceId PrivateIpAddress.N Ipv4Prefix.N",
    errors: "InvalidNetworkInterfaceID.Malformed InvalidNetworkInterfaceID.NotFound InvalidParameterValue
        MissingParameter",
    ..PLAIN
};
