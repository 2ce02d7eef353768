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

fn by_code(code: &str, message: &str, operation: &'static str, subject: &str) -> Fault {
    let named = || code.to_owned();
    match code {
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "EC2ThrottledException" => {
            Fault::Throttled { code: named() }
        }
        "InternalError" | "InternalFailure" | "Unavailable" | "ServiceUnavailable" => unknown(code),
        "UnauthorizedOperation" | "AccessDenied" | "AuthFailure" => Fault::Forbidden {
            operation: operation.to_owned(),
        },
        "InsufficientFreeAddressesInSubnet" => Fault::SubnetFull {
            subject: subject.to_owned(),
        },
        "InsufficientCidrBlocks" => Fault::Fragmented {
            subject: subject.to_owned(),
        },
        "AttachmentLimitExceeded"
        | "NetworkInterfaceLimitExceeded"
        | "SecurityGroupsPerInterfaceLimitExceeded"
        | "TagLimitExceeded" => Fault::Limit { code: named() },
        "PrivateIpAddressLimitExceeded" | "InvalidNetworkInterface.InUse" => Fault::Stale { code: named() },
        "InvalidNetworkInterfaceID.NotFound" | "InvalidAttachmentID.NotFound" => Fault::Gone {
            what: subject.to_owned(),
        },
        "IncorrectState" => Fault::Busy,
        "InvalidParameterValue" => by_message(message),
        _ => Fault::Refused {
            code: named(),
            message: short(message),
        },
    }
}

/// One code for several things: the words decide.
fn by_message(message: &str) -> Fault {
    if message.contains("currently in use") {
        Fault::Busy
    } else if message.contains("at device index") {
        Fault::Stale {
            code: "the device index is taken".to_owned(),
        }
    } else if message.contains("not assigned to interface") {
        Fault::Gone {
            what: "an address that was to be unassigned".to_owned(),
        }
    } else {
        Fault::Refused {
            code: "InvalidParameterValue".to_owned(),
            message: short(message),
        }
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
            Fault::Refused { .. }
        ));
        for (message, expected) in [
            ("Network interface 'eni-1' is currently in use.", Fault::Busy),
            (
                "Instance 'i-1' already has an interface attached at device index '1'.",
                Fault::Stale {
                    code: "the device index is taken".to_owned(),
                },
            ),
            (
                "Some of the specified addresses are not assigned to interface eni-1",
                Fault::Gone {
                    what: "an address that was to be unassigned".to_owned(),
                },
            ),
        ] {
            assert_eq!(fault("InvalidParameterValue", message), expected);
        }
    }
}
