//! Systems Manager's parameters and Secrets Manager's secrets.

use async_trait::async_trait;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_ssm::types as ssm;

use super::account::AwsAccount;
use super::errors::incomplete;
use crate::cloud::{CloudResult, Parameter, SecretContent, SecretRequest, SecretValue, Values};

impl AwsAccount {
    pub(super) fn ssm(&self, region: &str) -> aws_sdk_ssm::Client {
        aws_sdk_ssm::Client::new(&self.config_in(region))
    }

    fn secrets(&self, region: &str) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config_in(region))
    }
}

#[async_trait]
impl Values for AwsAccount {
    async fn parameter(&self, region: &str, name: &str, decrypt: bool) -> CloudResult<Parameter> {
        const OPERATION: &str = "GetParameter";
        let request = self.ssm(region).get_parameter().name(name).with_decryption(decrypt);
        let answer = self.call(OPERATION, region).read(|| request.clone().send()).await?;
        answer.parameter().and_then(parameter).ok_or_else(|| incomplete(OPERATION, "value", false))
    }

    async fn secret_value(&self, region: &str, request: &SecretRequest) -> CloudResult<SecretValue> {
        const OPERATION: &str = "GetSecretValue";
        let request = self
            .secrets(region)
            .get_secret_value()
            .secret_id(&request.id)
            .set_version_id(request.version_id.clone())
            .set_version_stage(request.version_stage.clone());
        let answer = self.call(OPERATION, region).read(|| request.clone().send()).await?;
        secret_value(&answer).ok_or_else(|| incomplete(OPERATION, "value", false))
    }
}

fn parameter(found: &ssm::Parameter) -> Option<Parameter> {
    Some(Parameter {
        name: found.name().unwrap_or_default().to_owned(),
        arn: found.arn().unwrap_or_default().to_owned(),
        value: found.value()?.to_owned(),
        version: found.version(),
        secure: found.r#type() == Some(&ssm::ParameterType::SecureString),
    })
}

fn secret_value(answer: &GetSecretValueOutput) -> Option<SecretValue> {
    let text = answer.secret_string().map(|text| SecretContent::Text(text.to_owned()));
    let binary = || answer.secret_binary().map(|bytes| SecretContent::Binary(bytes.as_ref().to_vec()));
    Some(SecretValue {
        name: answer.name().unwrap_or_default().to_owned(),
        arn: answer.arn().unwrap_or_default().to_owned(),
        version_id: answer.version_id().unwrap_or_default().to_owned(),
        content: text.or_else(binary)?,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_secretsmanager::primitives::Blob;

    use super::*;

    #[test]
    fn a_secret_is_text_or_bytes() {
        let of = |answer: GetSecretValueOutput| secret_value(&answer).map(|secret| secret.content);
        let builder = || GetSecretValueOutput::builder().arn("arn:s");
        assert!(of(builder().secret_string("x").build()) == Some(SecretContent::Text("x".into())));
        assert!(of(builder().secret_binary(Blob::new([1, 2])).build()) == Some(SecretContent::Binary(vec![1, 2])));
        assert!(of(builder().build()).is_none());
    }

    #[test]
    fn a_secure_parameter_is_told_from_a_plain_one() {
        let of = |kind: ssm::ParameterType| {
            parameter(&ssm::Parameter::builder().name("p").value("x").version(3).r#type(kind).build()).unwrap()
        };
        assert!(of(ssm::ParameterType::SecureString).secure);
        let plain = of(ssm::ParameterType::String);
        assert_eq!((plain.secure, plain.version), (false, 3));
        assert!(parameter(&ssm::Parameter::builder().name("p").build()).is_none());
    }
}
