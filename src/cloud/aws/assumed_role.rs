//! A template's `assume_role`: a role that an account's identity assumes. The SDK's own provider can't say which of a
//! session's tags go on to the next one, so this asks STS itself.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::Client;
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::types as sts;

use crate::domain::config::launch::AssumeRole;

/// Unless the template names it.
const SESSION_NAME: &str = "ingot-template";
/// The most for a role that is assumed by a role
/// (`docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html`, "role chaining"), in seconds. Sessions are renewed, so no
/// build needs a longer one.
const LONGEST: i32 = 3600;

/// The account's configuration with the role as identity.
pub(super) fn identity(own: &SdkConfig, role: &AssumeRole) -> SdkConfig {
    let request = request(&Client::new(own), role);
    super::with_credentials(own, SharedCredentialsProvider::new(AssumedRole { request }))
}

fn request(client: &Client, role: &AssumeRole) -> AssumeRoleFluentBuilder {
    let policies = role.policy_arns.iter().map(|arn| sts::PolicyDescriptorType::builder().arn(arn).build());
    let policies: Vec<_> = policies.collect();
    let tags = role.tags.iter().filter_map(|(key, value)| sts::Tag::builder().key(key).value(value).build().ok());
    let tags: Vec<_> = tags.collect();
    let transitive = role.transitive_tag_keys.clone();
    client
        .assume_role()
        .role_arn(&role.role_arn)
        .role_session_name(role.session_name.as_deref().unwrap_or(SESSION_NAME))
        .set_duration_seconds(role.duration_seconds.map(|seconds| seconds.min(LONGEST)))
        .set_external_id(role.external_id.clone())
        .set_policy(role.policy.clone())
        .set_policy_arns((!policies.is_empty()).then_some(policies))
        .set_tags((!tags.is_empty()).then_some(tags))
        .set_transitive_tag_keys((!transitive.is_empty()).then_some(transitive))
}

/// Asks for a new session whenever it is asked.
#[derive(Debug)]
struct AssumedRole {
    request: AssumeRoleFluentBuilder,
}

impl AssumedRole {
    async fn load(&self) -> provider::Result {
        let answer = self.request.clone().send().await.map_err(CredentialsError::provider_error)?;
        let given = answer.credentials.ok_or_else(|| CredentialsError::unhandled("STS gave no credentials"))?;
        let ends = given.expiration.try_into().map_err(CredentialsError::unhandled)?;
        let token = Some(given.session_token);
        Ok(Credentials::new(given.access_key_id, given.secret_access_key, token, Some(ends), "assumed-role"))
    }
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
            .region(aws_sdk_sts::config::Region::from_static("us-east-1"))
            .build();
        Client::from_conf(config)
    }

    fn role() -> AssumeRole {
        AssumeRole {
            role_arn: "arn:aws:iam::210987654321:role/images".into(),
            duration_seconds: None,
            external_id: None,
            policy: None,
            policy_arns: vec![],
            session_name: None,
            tags: indexmap::IndexMap::new(),
            transitive_tag_keys: vec![],
        }
    }

    #[test]
    fn what_the_template_does_not_say_is_not_sent() {
        let call = request(&client(), &role());
        assert_eq!(call.get_role_session_name().as_deref(), Some("ingot-template"));
        assert_eq!((call.get_duration_seconds(), call.get_policy(), call.get_external_id()), (&None, &None, &None));
        assert!(call.get_policy_arns().is_none() && call.get_tags().is_none());
        assert_eq!(*call.get_transitive_tag_keys(), None);
    }

    #[test]
    fn what_it_says_is_sent_and_no_session_is_longer_than_an_hour() {
        let mut full = role();
        full.duration_seconds = Some(43_200);
        full.external_id = Some("id".into());
        full.policy = Some("{}".into());
        full.policy_arns = vec!["arn:p".into()];
        full.session_name = Some("mine".into());
        full.tags.insert("team".into(), "images".into());
        full.transitive_tag_keys = vec!["team".into()];
        let call = request(&client(), &full);
        assert_eq!((*call.get_duration_seconds(), call.get_external_id().as_deref()), (Some(3600), Some("id")));
        assert_eq!(call.get_role_session_name().as_deref(), Some("mine"));
        assert_eq!(call.get_policy_arns().as_ref().unwrap()[0].arn(), Some("arn:p"));
        let tag = &call.get_tags().as_ref().unwrap()[0];
        assert_eq!((tag.key(), tag.value()), ("team", "images"));
        assert_eq!(call.get_transitive_tag_keys().as_deref(), Some(&["team".to_owned()][..]));
    }
}
