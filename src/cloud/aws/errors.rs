//! What EC2's and STS's error codes mean to us. Codes:
//! docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;

use crate::cloud::{CloudError, CloudErrorClass};

use CloudErrorClass::{
    Busy, Capacity, Duplicate, Invalid, NotFound, Throttled, Unauthorized, Unavailable, UnknownOutcome,
};

/// Codes by their whole name. What is not here goes by its suffix, then by the HTTP status.
const CODES: &[(CloudErrorClass, &[&str])] = &[
    (
        NotFound,
        &[
            // Deregistered, or not yet usable.
            "InvalidAMIID.Unavailable",
            "ResourceNotFound",
            "ResourceNotFoundException",
            "NoSuchEntity",
            // A session that is over.
            "DoesNotExistException",
            "ParameterNotFound",
            "ParameterVersionNotFound",
        ],
    ),
    // The token was used for another request: like a name that is taken, what it made has to be looked up.
    (
        Duplicate,
        &[
            "IdempotentParameterMismatch",
            "IdempotentInstanceTerminated",
            "InvalidIdempotencyToken",
            "EntityAlreadyExists",
        ],
    ),
    (
        Throttled,
        &[
            "RequestLimitExceeded",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "EC2ThrottledException",
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
            "SlowDown",
            "SnapshotCreationPerVolumeRateExceeded",
        ],
    ),
    (
        Capacity,
        &[
            "InsufficientInstanceCapacity",
            "InsufficientHostCapacity",
            "InsufficientCapacity",
            "InsufficientCapacityOnHost",
            "InsufficientReservedInstanceCapacity",
            "InsufficientVolumeCapacity",
            "InsufficientAddressCapacity",
            "InsufficientFreeAddressesInSubnet",
            "UnfulfillableCapacity",
            "VcpuLimitExceeded",
            "InstanceLimitExceeded",
            "VolumeLimitExceeded",
            "MaxIOPSLimitExceeded",
            "SnapshotLimitExceeded",
            "PendingSnapshotLimitExceeded",
            "ConcurrentSnapshotLimitExceeded",
            "ConcurrentCreateImageNoRebootLimitExceeded",
            "ResourceCountExceeded",
            "ResourceLimitExceeded",
            "SecurityGroupLimitExceeded",
            "NetworkInterfaceLimitExceeded",
            "PrivateIpAddressLimitExceeded",
            "MaxSpotInstanceCountExceeded",
            "MaxSpotFleetRequestCountExceeded",
            // The price of the moment is higher.
            "SpotMaxPriceTooLow",
            // IAM's.
            "LimitExceeded",
        ],
    ),
    (
        Unauthorized,
        &[
            "UnauthorizedOperation",
            "AuthFailure",
            "AccessDenied",
            "AccessDeniedException",
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "InvalidClientTokenId",
            "InvalidAccessKeyId",
            "InvalidSecurity",
            "IncompleteSignature",
            "SignatureDoesNotMatch",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "UnrecognizedClientException",
            "NotAuthorized",
            "OptInRequired",
            "PendingVerification",
            "Blocked",
            "RegionDisabledException",
        ],
    ),
    (
        Busy,
        &[
            "DependencyViolation",
            // An instance whose SSM agent has not reported (yet).
            "TargetNotConnected",
            "IncorrectInstanceState",
            "IncorrectState",
            "IncorrectSpotRequestState",
            "InvalidState",
            "InvalidInstanceState",
            "InvalidSnapshot.InUse",
            "VolumeInUse",
            "ResourceInUse",
            "ResourceInUseException",
            "ConcurrentTagAccess",
            "ConcurrentModification",
            "DeleteConflict",
            "EntityTemporarilyUnmodifiable",
            "InstanceAlreadyLinked",
        ],
    ),
    // Refused at the door. `InternalError` and `ServiceUnavailable` are not here: see `class_of`.
    (Unavailable, &["Unavailable"]),
];

/// 5xx that may strike after the effect.
const BROKE: &[&str] = &["InternalError", "InternalFailure", "ServiceUnavailable", "RequestTimeout"];

/// The class of an answer that is an error. `changes`: the call changes the cloud, so that a server that broke half
/// way leaves the outcome unknown.
pub(super) fn class_of(code: &str, message: &str, status: u16, changes: bool) -> CloudErrorClass {
    // Some services put `Client.` or `Server.` in front.
    let code = code.strip_prefix("Client.").or_else(|| code.strip_prefix("Server.")).unwrap_or(code);
    if let Some((class, _)) = CODES.iter().find(|(_, codes)| codes.contains(&code)) {
        return *class;
    }
    // "Your requested instance type is not supported in your requested Availability Zone": another zone has it.
    if code == "Unsupported" && message.contains("Availability Zone") {
        return Capacity;
    }
    // A new instance profile is unknown to EC2 for some seconds, and so is the role in it.
    if code == "InvalidParameterValue"
        && (message.contains("Invalid IAM Instance Profile") || message.contains("no associated IAM Roles"))
    {
        return NotFound;
    }
    match code.rsplit('.').next().unwrap_or(code) {
        "NotFound" | "NotFoundException" => return NotFound,
        "Duplicate" | "AlreadyExistsException" => return Duplicate,
        "InUse" => return Busy,
        _ => {}
    }
    match status {
        _ if BROKE.contains(&code) => without_answer(changes),
        500.. => without_answer(changes),
        429 => Throttled,
        401 | 403 => Unauthorized,
        _ => Invalid,
    }
}

fn without_answer(changes: bool) -> CloudErrorClass {
    if changes { UnknownOutcome } else { Unavailable }
}

/// One attempt took too long.
pub(super) fn timed_out(operation: &'static str, changes: bool) -> CloudError {
    CloudError::new(without_answer(changes), operation, "timeout", "no answer within the time limit")
}

/// An answer without what it must hold.
pub(super) fn incomplete(operation: &'static str, missing: &str, changes: bool) -> CloudError {
    CloudError::new(without_answer(changes), operation, "incomplete-answer", format!("the answer holds no {missing}"))
}

/// Translates the SDK's error of one attempt (not of several: what came before must not be hidden).
pub(super) fn from_sdk<E>(operation: &'static str, changes: bool, failed: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let mut error = match failed {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let no_code = format!("http-{status}");
            let code = service.err().code().unwrap_or(&no_code);
            let message = service.err().message().unwrap_or("no message");
            let class = class_of(code, message, status, changes);
            CloudError::new(class, operation, code, message)
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let message = format!("the answer (HTTP {status}) can't be read");
            let class =
                if (400..500).contains(&status) { class_of("", "", status, changes) } else { without_answer(changes) };
            CloudError::new(class, operation, "unreadable-answer", message)
        }
        SdkError::DispatchFailure(dispatch) => match dispatch.as_connector_error() {
            Some(connector) => not_sent(operation, connector).unwrap_or_else(|| {
                CloudError::new(without_answer(changes), operation, "connection-lost", chain_text(connector))
            }),
            None => CloudError::new(without_answer(changes), operation, "connection-lost", "the connection broke"),
        },
        SdkError::ConstructionFailure(_) => {
            CloudError::new(Invalid, operation, "request-not-sendable", chain_text(failed))
        }
        _ => timed_out(operation, changes),
    };
    error.request_id = failed.request_id().map(str::to_owned);
    error
}

/// Recognises what happens before anything is sent: no credentials, no connection.
fn not_sent(operation: &'static str, connector: &(dyn Error + 'static)) -> Option<CloudError> {
    for cause in causes(connector) {
        if let Some(credentials) = cause.downcast_ref::<CredentialsError>() {
            return Some(no_credentials(operation, credentials));
        }
        // The HTTP client's error types are private or belong to crates we don't use otherwise; their text tells the
        // phase. `connections_that_fail_are_told_apart` fails should it change.
        let text = cause.to_string();
        if text.starts_with("client error (Connect)") || text.starts_with("HTTP connect timeout") {
            return Some(CloudError::new(Unavailable, operation, "unreachable", chain_text(connector)));
        }
    }
    None
}

fn no_credentials(operation: &'static str, failed: &CredentialsError) -> CloudError {
    for cause in causes(failed) {
        if let Some(refused) = cause.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>() {
            let inner = from_sdk("AssumeRole", false, refused);
            let class = if inner.class == Throttled { Unavailable } else { inner.class };
            return CloudError::new(class, operation, &inner.code, format!("AssumeRole: {}", inner.message));
        }
    }
    let class = match failed {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => Unavailable,
        _ => Unauthorized,
    };
    CloudError::new(class, operation, "no-credentials", chain_text(failed))
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause: &&'e (dyn Error + 'static)| (*cause).source())
}

fn chain_text(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_class() {
        let table = [
            ("InvalidInstanceID.NotFound", 400, NotFound),
            ("InvalidAMIID.NotFound", 400, NotFound),
            ("InvalidAMIID.Unavailable", 400, NotFound),
            ("InvalidGroup.NotFound", 400, NotFound),
            ("InvalidKeyPair.Duplicate", 400, Duplicate),
            ("InvalidGroup.Duplicate", 400, Duplicate),
            ("InvalidPermission.Duplicate", 400, Duplicate),
            ("InvalidAMIName.Duplicate", 400, Duplicate),
            ("IdempotentParameterMismatch", 400, Duplicate),
            ("InvalidLaunchTemplateId.NotFound", 400, NotFound),
            ("NoSuchEntity", 404, NotFound),
            ("ParameterNotFound", 400, NotFound),
            ("ResourceNotFoundException", 400, NotFound),
            ("EntityAlreadyExists", 409, Duplicate),
            ("LimitExceeded", 409, Capacity),
            ("DeleteConflict", 409, Busy),
            ("InvalidLaunchTemplateName.NotFoundException", 400, NotFound),
            ("InvalidLaunchTemplateName.AlreadyExistsException", 400, Duplicate),
            ("RequestLimitExceeded", 503, Throttled),
            ("Client.RequestLimitExceeded", 503, Throttled),
            ("Throttling", 400, Throttled),
            ("InsufficientInstanceCapacity", 500, Capacity),
            ("InsufficientFreeAddressesInSubnet", 400, Capacity),
            ("VcpuLimitExceeded", 400, Capacity),
            ("InstanceLimitExceeded", 400, Capacity),
            ("MaxSpotInstanceCountExceeded", 400, Capacity),
            ("SpotMaxPriceTooLow", 400, Capacity),
            ("UnauthorizedOperation", 403, Unauthorized),
            ("AuthFailure", 401, Unauthorized),
            ("ExpiredToken", 400, Unauthorized),
            ("RequestExpired", 400, Unauthorized),
            ("DependencyViolation", 400, Busy),
            ("TargetNotConnected", 400, Busy),
            ("DoesNotExistException", 400, NotFound),
            ("IncorrectInstanceState", 400, Busy),
            ("IncorrectState", 400, Busy),
            ("InvalidSnapshot.InUse", 400, Busy),
            ("InvalidNetworkInterface.InUse", 400, Busy),
            ("Unavailable", 503, Unavailable),
            ("InvalidParameterValue", 400, Invalid),
            ("InvalidAMIID.Malformed", 400, Invalid),
            ("MissingParameter", 400, Invalid),
            ("SomethingNew", 403, Unauthorized),
            ("SomethingNew", 429, Throttled),
        ];
        for (code, status, class) in table {
            for changes in [false, true] {
                assert_eq!(class_of(code, "", status, changes), class, "{code}");
            }
        }
    }

    #[test]
    fn a_server_that_broke_leaves_a_change_in_doubt() {
        for (code, status) in [("InternalError", 500), ("ServiceUnavailable", 503), ("unknown", 502), ("unknown", 504)]
        {
            assert_eq!(class_of(code, "", status, true), UnknownOutcome, "{code}");
            assert_eq!(class_of(code, "", status, false), Unavailable, "{code}");
        }
    }

    #[test]
    fn a_type_that_a_zone_lacks_is_a_matter_of_room() {
        let message = "Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e).";
        assert_eq!(class_of("Unsupported", message, 400, true), Capacity);
        assert_eq!(class_of("Unsupported", "The operation is not supported.", 400, true), Invalid);
    }

    #[test]
    fn a_profile_that_ec2_does_not_know_yet_is_not_found() {
        for message in [
            "Value (web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
            "IAM Instance Profile \"arn:aws:iam::1:instance-profile/web\" has no associated IAM Roles",
        ] {
            assert_eq!(class_of("InvalidParameterValue", message, 400, true), NotFound);
        }
    }

    #[test]
    fn no_code_stands_in_two_classes() {
        let mut codes: Vec<&str> =
            CODES.iter().flat_map(|(_, codes)| codes.iter().copied()).chain(BROKE.iter().copied()).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
