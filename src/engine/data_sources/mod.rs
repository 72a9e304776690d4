//! What templates' `data` blocks ask for, fetched before a run is accepted: the template says what it wants, this asks, and
//! the template is evaluated again with the answers. What is fetched is frozen with the run.

pub mod http;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use super::source_ami;
use crate::cloud::{Accounts, Cloud, CloudErrorClass, CloudResult, Filter, ImageQuery, SecretContent, SecretRequest};
use crate::domain::allowed_url::AllowedUrl;
use crate::domain::config::data_source::{
    AmazonAmiData, DataAccess, DataRequest, DataResult, DataResults, DataSourceConfig, HttpData, ParameterData,
    SecretData,
};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::policy::Policy;

/// Data sources that one template may have fetched.
pub const MOST: usize = 50;
/// Rounds of evaluating and fetching: the longest chain of data sources that need each other's results.
pub const MOST_ROUNDS: usize = 16;
/// For one data source, its repetitions included.
const LIMIT: Duration = Duration::from_secs(20);
/// Asked at once.
const AT_ONCE: usize = 8;
/// Throttled or briefly unreachable.
const TRIES: u32 = 4;

/// Where data sources are asked.
#[derive(Clone)]
pub struct DataSources {
    /// `None`: nowhere.
    pub accounts: Option<Arc<dyn Accounts>>,
    pub http_allow: Vec<AllowedUrl>,
}

impl DataSources {
    /// Fetches, for a run of an account.
    ///
    /// # Errors
    /// With a complaint for each one that could not be had, at its place in the template.
    pub async fn fetch(
        &self,
        account: &str,
        policy: &Policy,
        requests: &[DataRequest],
        results: &mut DataResults,
    ) -> Result<(), Vec<Diagnostic>> {
        if results.0.len() + requests.len() > MOST {
            let summary = format!("the template has more than {MOST} data sources");
            let at = requests.first().map(|request| request.at.clone());
            return Err(vec![Diagnostic::error(summary).with_detail("give some of the values as variables").at(at)]);
        }
        let questions: Vec<BoxFuture<'_, _>> =
            requests.iter().map(|request| self.within_limit(account, policy, request).boxed()).collect();
        let mut complaints = Vec::new();
        let answers: Vec<_> = futures::stream::iter(questions).buffered(AT_ONCE).collect().await;
        for (request, answer) in requests.iter().zip(answers) {
            match answer {
                Ok(result) => {
                    results.0.insert(request.key(), result);
                }
                Err(why) => {
                    let summary = format!("the data source {} can't be read: {why}", request.key());
                    complaints.push(Diagnostic::error(summary).at(Some(request.at.clone())));
                }
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }

    async fn within_limit(&self, account: &str, policy: &Policy, request: &DataRequest) -> Result<DataResult, String> {
        let answer = tokio::time::timeout(LIMIT, self.one(account, policy, &request.config)).await;
        answer.unwrap_or_else(|_| Err(format!("there was no answer within {} s", LIMIT.as_secs())))
    }

    async fn one(&self, account: &str, policy: &Policy, config: &DataSourceConfig) -> Result<DataResult, String> {
        match config {
            DataSourceConfig::AmazonAmi(ami) => {
                let (cloud, region) = self.place(account, policy, &ami.access)?;
                image(&*cloud, &region, ami).await
            }
            DataSourceConfig::AmazonParameterstore(parameter) => {
                let (cloud, region) = self.place(account, policy, &parameter.access)?;
                stored_parameter(&*cloud, &region, parameter).await
            }
            DataSourceConfig::AmazonSecretsmanager(secret) => {
                let (cloud, region) = self.place(account, policy, &secret.access)?;
                stored_secret(&*cloud, &region, secret).await
            }
            DataSourceConfig::Http(question) => self.page(question).await,
        }
    }

    /// As whom and in which region an AWS data source asks.
    fn place(&self, account: &str, policy: &Policy, access: &DataAccess) -> Result<(Arc<dyn Cloud>, String), String> {
        let accounts = self.accounts.as_ref().ok_or("this server has no access to an account")?;
        let region = access.region.clone();
        let region = region.ok_or(
            "it names no region: name one, set AWS_REGION in the run's env, or give the server one for all ([aws] region)",
        )?;
        let unknown = || format!("the account {account:?} is not configured");
        let Some(role) = &access.assume_role else {
            return Ok((accounts.account(account).ok_or_else(unknown)?, region));
        };
        if !policy.allows_role(&role.role_arn) {
            return Err(format!(
                "{:?} is not allowed in this account: leave assume_role out, or have an administrator add the role to the account's allowed_roles",
                role.role_arn
            ));
        }
        Ok((accounts.account_with_role(account, role).ok_or_else(unknown)?, region))
    }

    async fn page(&self, question: &HttpData) -> Result<DataResult, String> {
        let question = http::Question {
            url: question.url.clone(),
            method: question.method.clone(),
            headers: question.request_headers.clone(),
            body: question.request_body.clone(),
        };
        let answer = http::ask(&question, &self.http_allow).await?;
        Ok(DataResult::Http { url: question.url, body: answer.body, request_headers: answer.headers })
    }
}

/// Asks again what was throttled or not reached.
async fn patiently<'a, T>(mut ask: impl FnMut() -> BoxFuture<'a, CloudResult<T>> + Send) -> Result<T, String> {
    let mut pause = Duration::from_millis(250);
    for _ in 1..TRIES {
        match ask().await {
            Err(error) if matches!(error.class, CloudErrorClass::Throttled | CloudErrorClass::Unavailable) => {
                tokio::time::sleep(pause).await;
            }
            answer => return answer.map_err(|error| error.to_string()),
        }
        pause *= 2;
    }
    ask().await.map_err(|error| error.to_string())
}

async fn image(cloud: &dyn Cloud, region: &str, wanted: &AmazonAmiData) -> Result<DataResult, String> {
    let query = ImageQuery {
        owners: wanted.owners.clone(),
        filters: wanted.filters.iter().map(|(name, values)| Filter::new(name, values)).collect(),
        include_deprecated: wanted.include_deprecated,
    };
    let found = patiently(|| cloud.find_images(region, &query)).await?;
    let mut candidates = source_ami::candidates(&wanted.owners, found);
    if candidates.len() > 1 && !wanted.most_recent {
        let count = candidates.len();
        return Err(format!(
            "{count} images match in {region}: set most_recent = true to take the newest, or narrow the filter"
        ));
    }
    candidates.truncate(1);
    let image = candidates
        .pop()
        .ok_or_else(|| format!("no image matches in {region}: check the filters, the owners and the region"))?;
    Ok(DataResult::AmazonAmi {
        id: image.id,
        name: image.name,
        creation_date: image.creation_date,
        owner: image.owner_id,
        owner_name: image.owner_alias.unwrap_or_default(),
        tags: image.tags.into_iter().collect(),
    })
}

async fn stored_parameter(cloud: &dyn Cloud, region: &str, wanted: &ParameterData) -> Result<DataResult, String> {
    let found = patiently(|| cloud.parameter(region, &wanted.name, wanted.with_decryption)).await?;
    Ok(DataResult::AmazonParameterstore {
        value: found.value,
        version: found.version.to_string(),
        arn: found.arn,
        secure: found.secure,
    })
}

async fn stored_secret(cloud: &dyn Cloud, region: &str, wanted: &SecretData) -> Result<DataResult, String> {
    let request = SecretRequest {
        id: wanted.name.clone(),
        version_id: wanted.version_id.clone(),
        version_stage: wanted.version_stage.clone(),
    };
    let found = patiently(|| cloud.secret_value(region, &request)).await?;
    let (text, binary) = match found.content {
        SecretContent::Text(text) => (text, String::new()),
        SecretContent::Binary(bytes) => (String::new(), STANDARD.encode(bytes)),
    };
    let value = value_of(&text, wanted.key.as_deref())?;
    Ok(DataResult::AmazonSecretsmanager {
        value,
        secret_string: text,
        secret_binary: binary,
        version_id: found.version_id,
    })
}

/// One key of a secret that is a JSON object; without a key its first value, as Packer documents it, or the text itself.
/// The complaint does not show the secret.
fn value_of(text: &str, key: Option<&str>) -> Result<String, String> {
    let object = match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Some(object),
        _ => None,
    };
    let shown = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (object, key) {
        (Some(object), Some(key)) => object.get(key).map(shown).ok_or_else(|| format!("the secret has no key {key:?}")),
        (None, Some(key)) => Err(format!("the secret is no JSON object, so it has no key {key:?}; leave key out")),
        (Some(object), None) => Ok(object.values().next().map(shown).unwrap_or_default()),
        (None, None) => Ok(text.to_owned()),
    }
}
