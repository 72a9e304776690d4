//! Parameters and secrets of an account's region.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::FakeCloud;
use super::filters::refuse;
use crate::cloud::{CloudErrorClass, CloudResult, Parameter, SecretContent, SecretRequest, SecretValue, Values};

/// The stage of the version that counts.
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

#[async_trait]
impl Values for FakeCloud {
    async fn parameter(&self, region: &str, name: &str, decrypt: bool) -> CloudResult<Parameter> {
        self.look("GetParameter", region, name.to_owned(), |world, at| {
            let versions = world.region(at.account, at.region).parameters.get(name);
            let found = versions.and_then(|versions| versions.last()).cloned();
            let mut found = found.ok_or_else(|| refuse(CloudErrorClass::NotFound, "ParameterNotFound", name))?;
            if found.secure && !decrypt {
                found.value = STANDARD.encode(format!("encrypted:{}", found.value));
            }
            Ok(found)
        })
        .await
    }

    async fn secret_value(&self, region: &str, request: &SecretRequest) -> CloudResult<SecretValue> {
        self.look("GetSecretValue", region, request.id.clone(), |world, at| {
            let secrets = &world.region(at.account, at.region).secrets;
            let versions = secrets.iter().find(|(name, versions)| {
                **name == request.id || versions.iter().any(|version| version.arn == request.id)
            });
            let missing = || {
                refuse(
                    CloudErrorClass::NotFound,
                    "ResourceNotFoundException",
                    "Secrets Manager can't find the specified secret.",
                )
            };
            let (_, versions) = versions.ok_or_else(missing)?;
            let newest = versions.len().saturating_sub(1);
            let wanted = |place: &usize, version: &SecretValue| {
                let stage = request.version_stage.as_deref();
                let of_stage = match stage {
                    Some(CURRENT) => *place == newest,
                    Some(PREVIOUS) => *place + 1 == newest,
                    Some(_) => false,
                    None => request.version_id.is_some() || *place == newest,
                };
                of_stage && request.version_id.as_ref().is_none_or(|id| *id == version.version_id)
            };
            let found = versions.iter().enumerate().find(|(place, version)| wanted(place, version));
            found.map(|(_, version)| version.clone()).ok_or_else(missing)
        })
        .await
    }
}

impl FakeCloud {
    /// Sets a parameter, or a further version of one.
    pub fn set_parameter(&self, region: &str, name: &str, value: &str, secure: bool) {
        let account = self.account_number();
        let mut world = self.world();
        let versions = world.region(&account, region).parameters.entry(name.to_owned()).or_default();
        let version = i64::try_from(versions.len()).unwrap_or(i64::MAX - 1) + 1;
        let arn = format!("arn:aws:ssm:{region}:{account}:parameter/{}", name.trim_start_matches('/'));
        versions.push(Parameter { name: name.to_owned(), arn, value: value.to_owned(), version, secure });
    }

    /// Sets a secret, or a further version of one. Returns the version's id.
    #[must_use]
    pub fn set_secret(&self, region: &str, name: &str, content: SecretContent) -> String {
        let account = self.account_number();
        let mut world = self.world();
        let version_id = world.id("version");
        let arn = format!("arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf");
        let versions = world.region(&account, region).secrets.entry(name.to_owned()).or_default();
        versions.push(SecretValue { name: name.to_owned(), arn, version_id: version_id.clone(), content });
        version_id
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{EAST, code};
    use super::*;

    #[tokio::test]
    async fn parameters_have_versions_and_may_stay_encrypted() {
        let cloud = FakeCloud::new();
        assert_eq!(code(cloud.parameter(EAST, "/app/key", true).await), "ParameterNotFound");
        cloud.set_parameter(EAST, "/app/key", "old", true);
        cloud.set_parameter(EAST, "/app/key", "hunter2", true);
        let found = cloud.parameter(EAST, "/app/key", true).await.unwrap();
        assert_eq!((found.value.as_str(), found.version, found.secure), ("hunter2", 2, true));
        assert!(found.arn.ends_with(":parameter/app/key"), "{}", found.arn);
        assert_ne!(cloud.parameter(EAST, "/app/key", false).await.unwrap().value, "hunter2");
    }

    #[tokio::test]
    async fn secrets_are_found_by_name_arn_version_and_stage() {
        let cloud = FakeCloud::new();
        let old = cloud.set_secret(EAST, "db", SecretContent::Text("old".into()));
        let new = cloud.set_secret(EAST, "db", SecretContent::Text("new".into()));
        let ask = |version_id: Option<&str>, version_stage: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            SecretRequest { id: "db".into(), version_id: owned(version_id), version_stage: owned(version_stage) }
        };
        let current = cloud.secret_value(EAST, &ask(None, None)).await.unwrap();
        assert!(current.content == SecretContent::Text("new".into()) && current.version_id == new);
        let by_arn = SecretRequest { id: current.arn.clone(), ..SecretRequest::default() };
        assert_eq!(cloud.secret_value(EAST, &by_arn).await.unwrap(), current);
        for request in [ask(Some(&old), None), ask(None, Some("AWSPREVIOUS"))] {
            let found = cloud.secret_value(EAST, &request).await.unwrap();
            assert!(found.content == SecretContent::Text("old".into()));
        }
        for request in [ask(Some(&old), Some("AWSCURRENT")), ask(None, Some("mine"))] {
            assert_eq!(code(cloud.secret_value(EAST, &request).await), "ResourceNotFoundException");
        }
    }
}
