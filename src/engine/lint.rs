//! Lint rules, over what a request asks for.

use std::sync::Arc;
use std::time::Duration;

use super::evaluation::blocking;
use super::run_request::AcceptRequest;
use crate::domain::bundle::Bundle;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::lint::LintPolicy;
use crate::template::Evaluated;
use crate::template::lint::{Input, lint};

/// What the rules find in a template. `evaluated` is its evaluation, where it has one.
///
/// # Errors
/// `evaluation-too-slow`, after `limit`.
pub async fn findings(
    bundle: Arc<Bundle>,
    request: Arc<AcceptRequest>,
    evaluated: Option<Evaluated>,
    policy: LintPolicy,
    limit: Duration,
) -> Result<Vec<Diagnostic>> {
    let work = blocking(move || {
        lint(&Input {
            bundle: &bundle,
            variables: &request.variables,
            evaluated: evaluated.as_ref(),
            clean_image: request.clean_image,
            policy: &policy,
        })
    });
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let public = format!("The template could not be linted within {} s.", limit.as_secs());
        Err(Error::unprocessable("evaluation-too-slow", public))
    })
}
