//! Parameters and secrets.

use async_trait::async_trait;

use super::GuardedCloud;
use crate::cloud::{CloudResult, Parameter, SecretRequest, SecretValue, Values};

#[async_trait]
impl Values for GuardedCloud {
    async fn parameter(&self, region: &str, name: &str, decrypt: bool) -> CloudResult<Parameter> {
        self.look(region, "GetParameter", self.inner.parameter(region, name, decrypt)).await
    }
    async fn secret_value(&self, region: &str, request: &SecretRequest) -> CloudResult<SecretValue> {
        self.look(region, "GetSecretValue", self.inner.secret_value(region, request)).await
    }
}
