//! Why IAM refused a call. EC2 hides it in an encoded part of its message; a role that may `sts:DecodeAuthorizationMessage`
//! can have it decoded (`docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html`).

use serde_json::Value;

/// What stands before the encoded part.
const LABEL: &str = "Encoded authorization failure message:";
/// Stands at the end of a message whose encoded part could not be decoded.
pub const NOT_DECODED: &str = "(the details are encoded)";

/// The part of a decoded refusal that tells what to allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// `ec2:RunInstances`.
    pub action: String,
    pub resource: String,
    /// A statement of a policy forbids it, so that allowing it elsewhere does not help.
    pub explicit: bool,
    /// Ids of the statements that forbid it, where they have some.
    pub statements: Vec<String>,
}

impl Denial {
    /// Reads what STS decodes; `None` when it has another form.
    #[must_use]
    pub fn from_decoded(text: &str) -> Option<Self> {
        let decoded: Value = serde_json::from_str(text).ok()?;
        let context = &decoded["context"];
        let matched = decoded["matchedStatements"]["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let statements = matched.iter().filter_map(|statement| statement["statementId"].as_str());
        Some(Self {
            action: context["action"].as_str()?.to_owned(),
            resource: context["resource"].as_str()?.to_owned(),
            explicit: decoded["explicitDeny"].as_bool()?,
            statements: statements.filter(|id| !id.is_empty()).map(str::to_owned).collect(),
        })
    }

    /// One sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { action, resource, .. } = self;
        match (self.explicit, self.statements.as_slice()) {
            (true, []) => format!("A policy denies {action} on {resource} explicitly."),
            (true, ids) => format!("A policy denies {action} on {resource} explicitly (statement {}).", ids.join(", ")),
            (false, _) => format!("No policy allows {action} on {resource}."),
        }
    }
}

/// A message without its encoded part, and that part; `None` when it has none.
#[must_use]
pub fn encoded_part(message: &str) -> Option<(&str, &str)> {
    let (before, after) = message.split_once(LABEL)?;
    let encoded = after.split_whitespace().next()?;
    Some((before.trim_end(), encoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoded_part_is_taken_out() {
        let message = "You are not authorized to perform this operation. Encoded authorization failure message: AbC-_1";
        assert_eq!(encoded_part(message), Some(("You are not authorized to perform this operation.", "AbC-_1")));
        assert_eq!(encoded_part("You are not authorized."), None);
        assert_eq!(encoded_part("Encoded authorization failure message: "), None);
    }

    #[test]
    fn a_decoded_refusal_becomes_one_sentence() {
        let decoded = r#"{"allowed": false, "explicitDeny": false, "matchedStatements": {"items": []}, "failures": {"items": []},
            "context": {"principal": {"id": "AROA:ingot", "arn": "arn:aws:sts::1:assumed-role/ingot/x"},
            "action": "ec2:RunInstances", "resource": "arn:aws:ec2:eu-west-1:1:instance/*", "conditions": {"items": []}}}"#;
        let denial = Denial::from_decoded(decoded).unwrap();
        assert_eq!(denial.sentence(), "No policy allows ec2:RunInstances on arn:aws:ec2:eu-west-1:1:instance/*.");

        let explicit = decoded.replace("\"explicitDeny\": false", "\"explicitDeny\": true").replace(
            "\"matchedStatements\": {\"items\": []}",
            "\"matchedStatements\": {\"items\": [{\"statementId\": \"StayInRegions\", \"effect\": \"DENY\"}]}",
        );
        let denial = Denial::from_decoded(&explicit).unwrap();
        assert!(denial.explicit);
        assert!(denial.sentence().ends_with("explicitly (statement StayInRegions)."), "{}", denial.sentence());
        for other in ["", "{}", "[]", r#"{"explicitDeny": true, "context": {"action": 1}}"#] {
            assert_eq!(Denial::from_decoded(other), None, "{other}");
        }
    }
}
