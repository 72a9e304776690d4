//! Data sources: what a template's `data` blocks ask for, and what came back. The template only says what it wants
//! ([`DataRequest`]); whoever evaluates it fetches that, and evaluates again with the [`DataResults`].

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::launch::AssumeRole;
use crate::domain::diagnostic::SourceLocation;

/// One `data` block whose configuration is known and whose result is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataRequest {
    /// The block's second label.
    pub name: String,
    /// Where the block stands, for complaints about what can't be fetched.
    pub at: SourceLocation,
    pub config: DataSourceConfig,
}

impl DataRequest {
    /// `amazon-ami.ubuntu`: what the result goes by.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}", self.config.kind(), self.name)
    }
}

/// The data sources that something has to be fetched for. The tag is Packer's data source type. (`null` needs nothing.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum DataSourceConfig {
    #[serde(rename = "amazon-ami")]
    AmazonAmi(AmazonAmiData),
    #[serde(rename = "amazon-parameterstore")]
    AmazonParameterstore(ParameterData),
    #[serde(rename = "amazon-secretsmanager")]
    AmazonSecretsmanager(SecretData),
    #[serde(rename = "http")]
    Http(HttpData),
}

impl DataSourceConfig {
    /// Packer's data source type, such as `amazon-ami`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AmazonAmi(_) => "amazon-ami",
            Self::AmazonParameterstore(_) => "amazon-parameterstore",
            Self::AmazonSecretsmanager(_) => "amazon-secretsmanager",
            Self::Http(_) => "http",
        }
    }
}

/// Where and as whom an AWS data source asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataAccess {
    /// `None`: the account's own region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,
}

/// `amazon-ami`: one image by the filters of `source_ami_filter`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AmazonAmiData {
    pub access: DataAccess,
    /// Filter name to its values; Packer splits values on commas.
    pub filters: IndexMap<String, Vec<String>>,
    /// At least one.
    pub owners: Vec<String>,
    /// With several hits the newest counts; without it several hits are an error.
    pub most_recent: bool,
    pub include_deprecated: bool,
}

/// `amazon-parameterstore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterData {
    pub access: DataAccess,
    /// May end in `:3` for a version or `:label`.
    pub name: String,
    pub with_decryption: bool,
}

/// `amazon-secretsmanager`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretData {
    pub access: DataAccess,
    /// Name or ARN.
    pub name: String,
    /// One key of a secret that is a JSON object. Without it a secret of one key has that one as its value.
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub version_id: Option<String>,
    /// `None`: `AWSCURRENT`.
    #[serde(default)]
    pub version_stage: Option<String>,
}

/// `http`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpData {
    pub url: String,
    /// Upper case; `GET` by default.
    pub method: String,
    #[serde(default)]
    pub request_headers: IndexMap<String, String>,
    #[serde(default)]
    pub request_body: String,
}

/// What was fetched, by [`DataRequest::key`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataResults(pub IndexMap<String, DataResult>);

/// The result of one data source, with Packer's attribute names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum DataResult {
    #[serde(rename = "amazon-ami")]
    AmazonAmi {
        id: String,
        name: String,
        creation_date: String,
        /// The account's id.
        owner: String,
        /// The owner's alias, such as `amazon`; empty when it has none.
        owner_name: String,
        tags: IndexMap<String, String>,
    },
    #[serde(rename = "amazon-parameterstore")]
    AmazonParameterstore {
        value: String,
        version: String,
        arn: String,
        /// Whether the parameter is a secure string: its value then is treated as a secret.
        secure: bool,
    },
    #[serde(rename = "amazon-secretsmanager")]
    AmazonSecretsmanager {
        value: String,
        secret_string: String,
        /// Base64.
        secret_binary: String,
        version_id: String,
    },
    #[serde(rename = "http")]
    Http {
        url: String,
        body: String,
        /// The response's headers.
        request_headers: IndexMap<String, String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_storage() {
        let result = DataResult::AmazonParameterstore {
            value: "v".to_owned(),
            version: "3".to_owned(),
            arn: "arn:aws:ssm:eu-central-1:1:parameter/x".to_owned(),
            secure: true,
        };
        let results = DataResults(IndexMap::from([("amazon-parameterstore.x".to_owned(), result)]));
        let text = serde_json::to_string(&results).unwrap();
        assert!(text.contains(r#""type":"amazon-parameterstore""#), "{text}");
        assert_eq!(serde_json::from_str::<DataResults>(&text).unwrap(), results);
    }
}
