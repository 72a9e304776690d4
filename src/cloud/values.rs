//! Parameters of Systems Manager and secrets of Secrets Manager, for data sources.

use async_trait::async_trait;

use super::CloudResult;

/// Part of [`super::Cloud`].
#[async_trait]
pub trait Values: Send + Sync {
    /// `decrypt`: a `SecureString`'s value is its plain text, else what is stored. `NotFound` when there is none; a name may
    /// end in `:` and a version or label.
    async fn parameter(&self, region: &str, name: &str, decrypt: bool) -> CloudResult<Parameter>;
    /// `NotFound` when there is no such secret, version or stage.
    async fn secret_value(&self, region: &str, request: &SecretRequest) -> CloudResult<SecretValue>;
}

#[derive(Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub arn: String,
    pub value: String,
    pub version: i64,
    /// It is a `SecureString`.
    pub secure: bool,
}

/// One `GetSecretValue` request. With neither version nor stage it is the stage `AWSCURRENT`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretRequest {
    /// Name or ARN.
    pub id: String,
    pub version_id: Option<String>,
    pub version_stage: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    pub name: String,
    pub arn: String,
    pub version_id: String,
    pub content: SecretContent,
}

#[derive(Clone, PartialEq, Eq)]
pub enum SecretContent {
    Text(String),
    Binary(Vec<u8>),
}

// Values never get into logs.

impl std::fmt::Debug for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameter").field("arn", &self.arn).field("version", &self.version).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretValue").field("arn", &self.arn).field("version", &self.version_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretContent(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_printed() {
        let content = SecretContent::Text("hunter2".into());
        let secret = SecretValue { name: "db".into(), arn: "arn:s".into(), version_id: "v".into(), content };
        let value = "hunter2".to_owned();
        let parameter = Parameter { name: "p".into(), arn: "arn:p".into(), value, version: 1, secure: true };
        let printed = format!("{secret:?} {:?} {parameter:?}", secret.content);
        assert!(!printed.contains("hunter2") && printed.contains("arn:s") && printed.contains("arn:p"), "{printed}");
    }
}
