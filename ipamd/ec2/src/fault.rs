//! Every error code of EC2, once, into what we would do about it. Nobody else compares strings.
//!
//! Codes and messages: EC2 API reference, "Error codes", and answers of real calls seen in public reports.

use std::fmt::Debug;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use ipamd_core::action::Fault;

/// What to do about a failed call. `subject` is the subnet or ENI that it was about.
pub(crate) fn classify<E, R>(error: SdkError<E, R>, operation: &'static str, subject: &str) -> Fault
where
    E: ProvideErrorMetadata + Debug,
    R: Debug,
{
    match &error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("without a code");
            by_code(
                code,
                service.err().message().unwrap_or_default(),
                operation,
                subject,
            )
        }
        SdkError::ConstructionFailure(_) => Fault::Refused {
            code: "ConstructionFailure".to_owned(),
            message: "the request cannot be built".to_owned(),
        },
        SdkError::TimeoutError(_) => unknown("timed out"),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(connector) => unknown(&connector.to_string()),
            None => unknown("could not be sent"),
        },
        _ => unknown("the answer could not be read"),
    }
}

fn unknown(reason: &str) -> Fault {
    Fault::Unknown {
        reason: reason.to_owned(),
    }
}

/// What a code calls for, before it is told about whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Throttled,
    Unknown,
    Forbidden,
    /// The request is not from whom it says, or not from now.
    Credentials,
    SubnetFull,
    Fragmented,
    Limit,
    Stale,
    Gone,
    Busy,
    /// A setting names what is not there or may not be used; the text is the next step.
    Wrong(&'static str),
    /// Our own request is at fault.
    OurBug,
}

/// Code, words of the message where one code has several meanings, and what to do. The first row that fits counts.
const TABLE: &[(&str, &str, Verdict)] = &[
    ("RequestLimitExceeded", "", Verdict::Throttled),
    ("Throttling", "", Verdict::Throttled),
    ("ThrottlingException", "", Verdict::Throttled),
    ("EC2ThrottledException", "", Verdict::Throttled),
    ("InternalError", "", Verdict::Unknown),
    ("InternalFailure", "", Verdict::Unknown),
    ("Unavailable", "", Verdict::Unknown),
    ("ServiceUnavailable", "", Verdict::Unknown),
    ("UnauthorizedOperation", "", Verdict::Forbidden),
    ("AccessDenied", "", Verdict::Forbidden),
    ("AuthFailure", "", Verdict::Credentials),
    ("ExpiredToken", "", Verdict::Credentials),
    ("ExpiredTokenException", "", Verdict::Credentials),
    ("RequestExpired", "", Verdict::Credentials),
    ("InvalidClientTokenId", "", Verdict::Credentials),
    ("SignatureDoesNotMatch", "", Verdict::Credentials),
    ("MissingAuthenticationToken", "", Verdict::Credentials),
    ("InsufficientFreeAddressesInSubnet", "", Verdict::SubnetFull),
    ("InsufficientCidrBlocks", "", Verdict::Fragmented),
    ("AttachmentLimitExceeded", "", Verdict::Limit),
    ("NetworkInterfaceLimitExceeded", "", Verdict::Limit),
    ("SecurityGroupsPerInterfaceLimitExceeded", "", Verdict::Limit),
    ("TagLimitExceeded", "", Verdict::Limit),
    ("PrivateIpAddressLimitExceeded", "", Verdict::Stale),
    ("InvalidNetworkInterface.InUse", "", Verdict::Stale),
    // Somebody took the address first: the ENI is read, and another one is asked for.
    ("Resource.AlreadyAssigned", "", Verdict::Stale),
    ("InvalidIPAddress.InUse", "", Verdict::Stale),
    // The token names an ENI of other parameters: the intent ends, what carries its tag is found by reading.
    ("IdempotentParameterMismatch", "", Verdict::Stale),
    ("InvalidNetworkInterfaceID.NotFound", "", Verdict::Gone),
    ("InvalidAttachmentID.NotFound", "", Verdict::Gone),
    ("IncorrectState", "", Verdict::Busy),
    ("InvalidParameterValue", "currently in use", Verdict::Busy),
    ("InvalidParameterValue", "at device index", Verdict::Stale),
    (
        "InvalidParameterValue",
        "not assigned to interface",
        Verdict::Gone,
    ),
    ("InvalidParameterValue", "", Verdict::OurBug),
    (
        "OperationNotPermitted",
        "",
        Verdict::Wrong(
            "somebody else manages this ENI, or it is the primary: tag it node.k8s.amazonaws.com/no_manage=true if Berth is to leave it alone",
        ),
    ),
    (
        "InvalidSubnetID.NotFound",
        "",
        Verdict::Wrong("the subnet is gone: untag it or give the node another one"),
    ),
    (
        "InvalidGroup.NotFound",
        "",
        Verdict::Wrong("a security group of the primary ENI is gone: give the instance groups that exist"),
    ),
    (
        "InvalidInstanceID.NotFound",
        "",
        Verdict::Wrong(
            "EC2 does not know this instance: it is terminating, or the Region is wrong (AWS_REGION)",
        ),
    ),
    (
        "InvalidInstanceType",
        "",
        Verdict::Wrong("EC2 does not know the instance type in this Region: upgrade Berth"),
    ),
    (
        "UnsupportedOperation",
        "",
        Verdict::Wrong(
            "the instance type or subnet cannot do that: turn prefix delegation off for this type",
        ),
    ),
    ("InvalidParameterCombination", "", Verdict::OurBug),
    ("InvalidFilter", "", Verdict::OurBug),
    ("InvalidMaxResults", "", Verdict::OurBug),
    ("InvalidPaginationToken", "", Verdict::OurBug),
    ("InvalidAction", "", Verdict::OurBug),
    ("UnknownParameter", "", Verdict::OurBug),
    ("MissingParameter", "", Verdict::OurBug),
    ("InvalidNetworkInterfaceID.Malformed", "", Verdict::OurBug),
    ("InvalidSubnetID.Malformed", "", Verdict::OurBug),
    ("InvalidInstanceID.Malformed", "", Verdict::OurBug),
    ("DryRunOperation", "", Verdict::OurBug),
];

fn verdict(code: &str, message: &str) -> Option<Verdict> {
    let mut rows = TABLE.iter();
    rows.find(|(known, words, _)| *known == code && message.contains(words))
        .map(|(_, _, verdict)| *verdict)
}

/// What to do about an answer with this code and message. `subject` is the subnet or ENI that the call was about.
#[must_use]
pub fn by_code(code: &str, message: &str, operation: &'static str, subject: &str) -> Fault {
    let code = code.to_owned();
    let subject = subject.to_owned();
    let Some(verdict) = verdict(&code, message) else {
        // Tried again with bounded, jittered pauses, and named.
        return Fault::Refused {
            message: format!("a code that Berth does not know: {}", short(message)),
            code,
        };
    };
    match verdict {
        Verdict::Throttled => Fault::Throttled { code },
        Verdict::Unknown => unknown(&code),
        Verdict::Forbidden => Fault::Forbidden {
            operation: operation.to_owned(),
        },
        Verdict::Credentials => Fault::Credentials { code },
        Verdict::SubnetFull => Fault::SubnetFull { subject },
        Verdict::Fragmented => Fault::Fragmented { subject },
        Verdict::Limit => Fault::Limit { code },
        Verdict::Stale => Fault::Stale { code },
        Verdict::Gone => Fault::Gone { what: subject },
        Verdict::Busy => Fault::Busy,
        Verdict::Wrong(step) => Fault::Wrong {
            code,
            subject,
            step: step.to_owned(),
        },
        Verdict::OurBug => Fault::Refused {
            message: short(message),
            code,
        },
    }
}

/// EC2's words without what only fills logs: an authorization failure carries an encoded blob of kilobytes.
fn short(message: &str) -> String {
    const LONGEST: usize = 300;
    message.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_consequence() {
        let fault = |code, message| by_code(code, message, "AttachNetworkInterface", "eni-1");
        assert_eq!(
            fault("RequestLimitExceeded", ""),
            Fault::Throttled {
                code: "RequestLimitExceeded".to_owned()
            }
        );
        assert!(matches!(fault("InternalError", ""), Fault::Unknown { .. }));
        assert_eq!(
            fault("UnauthorizedOperation", "You are not authorized"),
            Fault::Forbidden {
                operation: "AttachNetworkInterface".to_owned()
            }
        );
        assert!(matches!(
            fault("AttachmentLimitExceeded", ""),
            Fault::Limit { .. }
        ));
        assert!(matches!(
            fault("PrivateIpAddressLimitExceeded", ""),
            Fault::Stale { .. }
        ));
        assert!(matches!(
            fault("InsufficientFreeAddressesInSubnet", ""),
            Fault::SubnetFull { .. }
        ));
        assert!(matches!(
            fault("InvalidAttachmentID.NotFound", ""),
            Fault::Gone { .. }
        ));
        assert!(matches!(
            fault("OperationNotPermitted", "no"),
            Fault::Wrong { .. }
        ));
        for (message, expected) in [
            ("Network interface 'eni-1' is currently in use.", Fault::Busy),
            (
                "Instance 'i-1' already has an interface attached at device index '1'.",
                Fault::Stale {
                    code: "InvalidParameterValue".to_owned(),
                },
            ),
            (
                "Some of the specified addresses are not assigned to interface eni-1",
                Fault::Gone {
                    what: "eni-1".to_owned(),
                },
            ),
        ] {
            assert_eq!(fault("InvalidParameterValue", message), expected);
        }
    }

    /// Every code of EC2's that calls we make can meet, as the reference lists them. What our own request would have to be
    /// wrong for is told apart from what is an operator's or passes by itself.
    #[test]
    fn no_listed_code_is_refused_by_accident() {
        const OTHERS: &str = "RequestLimitExceeded UnauthorizedOperation AttachmentLimitExceeded \
            PrivateIpAddressLimitExceeded InsufficientFreeAddressesInSubnet InsufficientCidrBlocks \
            InvalidNetworkInterfaceID.NotFound InvalidNetworkInterface.InUse OperationNotPermitted \
            InvalidAttachmentID.NotFound Resource.AlreadyAssigned NetworkInterfaceLimitExceeded \
            SecurityGroupsPerInterfaceLimitExceeded TagLimitExceeded InvalidSubnetID.NotFound \
            InvalidGroup.NotFound InvalidInstanceID.NotFound IncorrectState InternalError Unavailable \
            ServiceUnavailable AuthFailure IdempotentParameterMismatch ExpiredToken RequestExpired";
        const OUR_BUGS: &str = "InvalidParameterValue InvalidParameterCombination DryRunOperation InvalidFilter \
            InvalidMaxResults InvalidPaginationToken InvalidAction UnknownParameter MissingParameter \
            InvalidNetworkInterfaceID.Malformed InvalidSubnetID.Malformed InvalidInstanceID.Malformed";
        for code in OTHERS.split_whitespace() {
            let fault = by_code(code, "", "AttachNetworkInterface", "eni-1");
            assert!(!matches!(fault, Fault::Refused { .. }), "{code}: {fault}");
        }
        for code in OUR_BUGS.split_whitespace() {
            assert_eq!(verdict(code, ""), Some(Verdict::OurBug), "{code}");
        }
        let stranger = by_code("Colour.NotBlue", "no", "AttachNetworkInterface", "eni-1");
        assert!(stranger.to_string().contains("Colour.NotBlue"), "{stranger}");
    }
}
