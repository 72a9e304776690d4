//! Evaluating a template for a request: on a thread of its own, within a time limit, and again with the answers of the
//! data sources that it asks for.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::data_sources::{self, DataSources};
use super::run_request::AcceptRequest;
use crate::domain::bundle::Bundle;
use crate::domain::config::data_source::DataResults;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::policy::Policy;
use crate::template::{self, DataMode, Evaluated};

/// What is known of the results of data sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// Nothing: they are not asked.
    Unknown,
    /// What they answer now.
    Fetched,
}

/// The template and what it is evaluated for.
#[derive(Clone)]
pub(super) struct Subject {
    pub bundle: Arc<Bundle>,
    pub request: Arc<AcceptRequest>,
    pub account: String,
    /// Of what names none.
    pub default_region: Option<String>,
    pub now: DateTime<Utc>,
    pub run_id: Uuid,
}

/// Evaluates as often as data sources need each other's results. `limit` is for each evaluation.
///
/// # Errors
/// `template-invalid`, also for data sources that can't be read; `evaluation-too-slow`.
pub(super) async fn evaluate(
    subject: &Subject,
    data: Data,
    (sources, policy): (&DataSources, &Policy),
    limit: Duration,
) -> Result<(Evaluated, DataResults)> {
    let mut results = DataResults::default();
    for _ in 0..data_sources::MOST_ROUNDS {
        let given = (data == Data::Fetched).then(|| results.clone());
        let evaluation = evaluate_once(subject.clone(), given, limit).await?;
        if evaluation.data_requests.is_empty() {
            return Ok((evaluation, results));
        }
        let fetched = sources.fetch(&subject.account, policy, &evaluation.data_requests, &mut results).await;
        fetched.map_err(template_invalid)?;
    }
    let summary = format!("data sources need each other's results in more than {} rounds", data_sources::MOST_ROUNDS);
    Err(template_invalid(vec![Diagnostic::error(summary)]))
}

async fn evaluate_once(subject: Subject, data: Option<DataResults>, limit: Duration) -> Result<Evaluated> {
    let work = blocking(move || {
        let Subject { bundle, request, default_region, now, run_id, .. } = &subject;
        let data = data.as_ref().map_or(DataMode::Unknown, DataMode::Given);
        template::evaluate(&of_request(request, bundle, default_region.as_deref(), (*now, *run_id), data))
    });
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done?.map_err(template_invalid),
        Err(_) => Err(Error::unprocessable(
            "evaluation-too-slow",
            format!("The template could not be evaluated within {} s.", limit.as_secs()),
        )),
    }
}

/// What a request asks of the evaluation.
pub(super) fn of_request<'a>(
    request: &'a AcceptRequest,
    bundle: &'a Bundle,
    default_region: Option<&'a str>,
    (now, run_id): (DateTime<Utc>, Uuid),
    data: DataMode<'a>,
) -> template::Request<'a> {
    template::Request {
        bundle,
        variables: &request.variables,
        var_files: &request.var_files,
        env: &request.env,
        default_region,
        only: &request.only,
        except: &request.except,
        git_sha: request.git_sha.as_deref(),
        now,
        run_id,
        clean_image: request.clean_image,
        data,
    }
}

/// Does work that keeps a processor busy where it holds up no other task.
///
/// # Errors
/// When the work panics.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(format!("evaluation ended: {error}")))
}

pub(super) fn template_invalid(found: Vec<Diagnostic>) -> Error {
    let errors = found.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let first = found.iter().find(|diagnostic| diagnostic.is_error());
    let first = first.map_or_else(String::new, |diagnostic| match &diagnostic.at {
        Some(at) => format!("{at}: {}", diagnostic.summary),
        None => diagnostic.summary.clone(),
    });
    let public = match errors {
        1 => format!("The template can't be built: {first}."),
        count => format!("The template can't be built; it has {count} errors, the first: {first}."),
    };
    Error::unprocessable("template-invalid", public).with_diagnostics(found)
}
