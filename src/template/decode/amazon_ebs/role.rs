//! `assume_role`, and the policy document of a temporary instance profile.

use serde_json::{Map, Value, json};

use super::super::body::Decoder;
use super::required;
use crate::domain::config::launch::AssumeRole;
use crate::template::legacy::early::NOW;
use crate::template::options::Options;

/// STS takes sessions from a quarter of an hour to twelve hours.
const DURATION: (i32, i32) = (900, 43_200);

/// `assume_role { … }`; without a `role_arn` it says nothing, as in Packer.
pub fn assume_role(decoder: &Decoder<'_>) -> Option<AssumeRole> {
    let options = decoder.block("assume_role")?;
    let inner = Decoder::new(&options, decoder.context);
    let role = read(&inner, inner.string("role_arn").unwrap_or_default());
    if role.role_arn.is_empty() && role != AssumeRole::default() && !inner.is_unknown("role_arn") {
        inner.error_at("role_arn", "assume_role needs role_arn", "name the role to take on, or leave the block out");
    }
    inner.finish("assume_role", &[]);
    (!role.role_arn.is_empty()).then_some(role)
}

/// `assume_role { … }` of a data source, with a complaint when it has no `role_arn`.
pub fn needed_role(decoder: &Decoder<'_>) -> Option<AssumeRole> {
    let options = decoder.block("assume_role")?;
    let inner = Decoder::new(&options, decoder.context);
    let role = read(&inner, required(&inner, "role_arn", "such as arn:aws:iam::123456789012:role/images"));
    inner.finish("assume_role", &[]);
    Some(role)
}

fn read(decoder: &Decoder<'_>, role_arn: String) -> AssumeRole {
    let role = AssumeRole {
        role_arn,
        duration_seconds: decoder.integer("duration_seconds", DURATION.0, DURATION.1),
        external_id: decoder.string("external_id"),
        policy: decoder.string("policy"),
        policy_arns: decoder.strings("policy_arns"),
        session_name: decoder.string("session_name"),
        tags: decoder.map("tags", NOW).into_iter().map(|(key, value)| (key.value, value.value.0)).collect(),
        transitive_tag_keys: decoder.strings("transitive_tag_keys"),
    };
    if let Some(policy) = &role.policy
        && !serde_json::from_str::<Value>(policy).is_ok_and(|policy| policy.is_object())
    {
        decoder.error_at("policy", "policy must be an IAM policy document in JSON", "write it with jsonencode({ … })");
    }
    role
}

/// `temporary_iam_instance_profile_policy_document { … }` as JSON.
pub fn policy_document(decoder: &Decoder<'_>) -> Option<String> {
    let name = "temporary_iam_instance_profile_policy_document";
    let options = decoder.block(name)?;
    let inner = Decoder::new(&options, decoder.context);
    let version = inner.string("Version").unwrap_or_else(|| "2012-10-17".to_owned());
    let statements: Vec<Value> = inner.blocks("Statement").iter().map(|options| statement(&inner, options)).collect();
    if statements.is_empty() && !inner.is_unknown("Statement") {
        decoder.error(
            &options.at,
            format!("{name} has no Statement"),
            "write Statement { Effect, Action and Resource }",
        );
    }
    inner.finish(name, &[]);
    Some(json!({ "Version": version, "Statement": statements }).to_string())
}

fn statement(decoder: &Decoder<'_>, options: &Options) -> Value {
    let inner = Decoder::new(options, decoder.context);
    let effect = required(&inner, "Effect", "Allow or Deny");
    if !matches!(effect.as_str(), "Allow" | "Deny" | "") {
        inner.error_at("Effect", format!("Effect must be \"Allow\" or \"Deny\", this is {effect:?}"), "");
    }
    let mut statement = Map::from_iter([("Effect".to_owned(), Value::String(effect))]);
    for name in ["Action", "Resource"] {
        let texts: Vec<Value> = inner.texts(name).into_iter().map(|text| Value::String(text.value)).collect();
        if texts.is_empty() && !inner.is_unknown(name) {
            inner.error_at(name, format!("{name} is missing"), format!("write {name} = [ … ]"));
        }
        statement.insert(name.to_owned(), Value::Array(texts));
    }
    inner.finish("Statement", &[]);
    Value::Object(statement)
}
