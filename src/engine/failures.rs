//! What a cloud error means to a person: its class, and what to do.

use super::step::StepError;
use crate::cloud::denial;
use crate::cloud::{CloudError, CloudErrorClass};
use crate::domain::failure::{Failure, FailureClass};

/// Codes of refusals that are about the credentials.
const CREDENTIALS: &[&str] = &[
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "no-credentials",
];

/// A cloud error as a step's failure.
#[must_use]
pub fn from_cloud(error: &CloudError) -> StepError {
    let failure = failure(error);
    match error.class {
        CloudErrorClass::UnknownOutcome => StepError::FailedUnknown(failure),
        _ if error.code == "lease-lost" => StepError::LeaseLost,
        _ => StepError::Failed(failure),
    }
}

/// Whether a refusal is about who we are rather than what we may do: such ones go away when credentials are renewed.
#[must_use]
pub fn is_about_credentials(code: &str) -> bool {
    CREDENTIALS.contains(&code)
}

/// The failure that a person reads.
#[must_use]
pub fn failure(error: &CloudError) -> Failure {
    let class = match error.class {
        CloudErrorClass::Capacity => FailureClass::Capacity,
        CloudErrorClass::Invalid | CloudErrorClass::Duplicate | CloudErrorClass::NotFound => FailureClass::User,
        _ => FailureClass::Cloud,
    };
    let mut message = format!("{} failed: {}: {}", error.operation, error.code, error.message);
    if let Some(id) = &error.request_id {
        message = format!("{message} (request {id})");
    }
    let failure = Failure::new(class, error.code.clone(), message);
    match advice(error) {
        Some(advice) => failure.with_advice(advice),
        None => failure,
    }
}

fn advice(error: &CloudError) -> Option<&'static str> {
    Some(match error.code.as_str() {
        "InsufficientInstanceCapacity" => {
            "Try another instance type, subnet or availability zone, or start the run again later."
        }
        "VcpuLimitExceeded" | "InstanceLimitExceeded" => {
            "Ask AWS to raise the account's quota for this instance family, or use a smaller type."
        }
        "InsufficientFreeAddressesInSubnet" => "Use a subnet with free addresses.",
        "UnauthorizedOperation" if error.message.ends_with(denial::NOT_DECODED) => {
            "Allow this call in the policy of the account's build role; deploy/aws has the whole policy. Allow the role sts:DecodeAuthorizationMessage too, and the message says which action on which resource is missing."
        }
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            "Allow this call in the policy of the account's build role."
        }
        code if is_about_credentials(code) => {
            "Check the server's identity, its clock, and the trust policy of the account's role."
        }
        "InvalidAMIName.Duplicate" => "Give the image another name, for instance with {{timestamp}} in ami_name.",
        "RequestLimitExceeded" | "Throttling" => {
            "The account makes too many API calls; start the run again when it is quieter."
        }
        _ if matches!(error.class, CloudErrorClass::Unavailable | CloudErrorClass::Throttled) => {
            "AWS was not reached or broke, also when asked again; start the run again when it is well."
        }
        _ if error.class == CloudErrorClass::UnknownOutcome => {
            "The call got no answer. What it may have made is searched for and removed; start the run again."
        }
        _ => return None,
    })
}
