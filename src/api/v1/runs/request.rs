//! What a run asks for, from a JSON request or from a raw template with a query. `POST /v1/runs` and
//! `POST /v1/templates/validate` take the same.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::dedupe;
use crate::api::Limits;
use crate::api::body::unpack::check_files;
use crate::api::body::{Form, json};
use crate::api::query::Query;
use crate::config::units::parse_duration;
use crate::domain::bundle::Bundle;
use crate::domain::error::{Error, Result};
use crate::domain::hold::{LONGEST_HOLD, OnError, RunOptions};
use crate::engine::accept::{AcceptRequest, TemplateSource};

/// A run to be made. Either `template` or `files` is there.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunRequest {
    /// Name or id of a stored template.
    pub template: Option<String>,
    /// Version of the stored template; the newest when left out.
    pub version: Option<i32>,
    /// A small template inline: text by path.
    pub files: Option<BTreeMap<String, String>>,
    /// Template name for `files`; `inline-` and a hash when left out.
    pub name: Option<String>,
    /// Image family; when left out, `bucket_name` of the template's `hcp_packer_registry`, else the template's name.
    pub family: Option<String>,
    /// The template's account, else `default`, when left out.
    pub account: Option<String>,
    #[schema(value_type = Object)]
    pub variables: IndexMap<String, Value>,
    /// What `env()` in the template may read; `AWS_REGION` is the region of builders that name none. Kept nowhere in clear.
    #[schema(value_type = Object)]
    pub env: IndexMap<String, String>,
    /// Paths of variable files in the bundle; later ones count.
    pub var_files: Vec<String>,
    /// Packer's `-only`: patterns over build names.
    pub only: Vec<String>,
    /// Packer's `-except`.
    pub except: Vec<String>,
    pub git_sha: Option<String>,
    /// Time limit of each attempt, such as `2h` or `90m`.
    pub timeout: Option<String>,
    /// What happens when a step fails: `cleanup` (the default), `abort` (everything stays in place for `hold_limit`),
    /// `ask` (the build holds and waits for an answer), `run-cleanup-provisioner` (as `abort`, after the template's
    /// `error-cleanup-provisioner`). Packer's `-on-error`.
    pub on_error: Option<String>,
    /// Hold before each wave of steps until a person answers. Packer's `-debug`.
    pub debug: Option<bool>,
    /// How long the build holds at one place, and how long things stay after an `abort`: `1h` when left out, a week at most.
    pub hold_limit: Option<String>,
    /// Time limit of each step, such as `30m`.
    pub step_timeout: Option<String>,
    /// How many of the run's builds are at work at once; 0, or left out: as many as the servers take.
    pub parallel_builds: Option<u32>,
    /// -100 to 100, 0 when left out; higher is built first.
    pub priority: Option<i32>,
    #[schema(value_type = Object)]
    pub labels: IndexMap<String, String>,
    /// Take keys, history and machine identity out of the image; true when left out.
    pub clean_image: Option<bool>,
    /// Packer's `-force`: images of the account that have a new image's name, and that no stage points to, go before it is
    /// made, as with `force_deregister = true`.
    pub force: Option<bool>,
    /// Whether a run that makes the same will do: `never` (when left out), `join` (one in progress) or `reuse` (that, or one
    /// that has succeeded not long ago).
    pub dedupe: Option<String>,
    /// With `reuse`: how old that run may be, such as `12h` or `7d`; a week when left out.
    pub max_age: Option<String>,
}

impl RunRequest {
    /// The request of a body in any form with its query.
    ///
    /// # Errors
    /// `json-invalid`, `request-invalid`, `query-invalid`, `timeout-invalid`.
    pub fn read(form: Form, query: Query, limits: &Limits) -> Result<AcceptRequest> {
        match form {
            Form::Json(bytes) => {
                query.finish()?;
                json::parse::<Self>(&bytes)?.into_accept(limits)
            }
            Form::Bundle(bundle) => Self::of_query(query)?.into_accept_inline(bundle),
            Form::Described { request, bundle } => {
                query.finish()?;
                let request = json::parse::<Self>(&request)?;
                if request.template.is_some() || request.files.is_some() {
                    return Err(invalid("the form has the template, so \"template\" and \"files\" must be left out"));
                }
                request.into_accept_inline(bundle)
            }
        }
    }

    fn of_query(mut query: Query) -> Result<Self> {
        let text = |pairs: Vec<(String, String)>| pairs.into_iter().collect::<IndexMap<_, _>>();
        let request = Self {
            name: query.one("name")?,
            family: query.one("family")?,
            account: query.one("account")?,
            only: query.list("only"),
            except: query.list("except"),
            git_sha: query.one("git_sha")?,
            timeout: query.one("timeout")?,
            on_error: query.one("on_error")?,
            debug: query.parsed("debug")?,
            hold_limit: query.one("hold_limit")?,
            step_timeout: query.one("step_timeout")?,
            parallel_builds: query.parsed("parallel_builds")?,
            priority: query.parsed("priority")?,
            var_files: query.list("var_file"),
            clean_image: query.parsed("clean_image")?,
            force: query.parsed("force")?,
            dedupe: query.one("dedupe")?,
            max_age: query.one("max_age")?,
            variables: query.prefixed("var.").into_iter().map(|(name, value)| (name, Value::String(value))).collect(),
            env: text(query.prefixed("env.")),
            labels: text(query.prefixed("label.")),
            ..Self::default()
        };
        query.finish()?;
        Ok(request)
    }

    fn into_accept(mut self, limits: &Limits) -> Result<AcceptRequest> {
        match (self.template.take(), self.files.take()) {
            (Some(name), None) => {
                if self.name.is_some() {
                    return Err(invalid(
                        "\"name\" names a template that comes with the request; with \"template\" leave it out",
                    ));
                }
                let version = self.version;
                self.build(TemplateSource::Stored { name, version })
            }
            (None, Some(files)) => {
                let bundle = check_files(files, limits)?;
                self.into_accept_inline(bundle)
            }
            (None, None) => {
                Err(invalid("it needs \"template\" (the name of a stored one) or \"files\" (the template itself)"))
            }
            (Some(_), Some(_)) => Err(invalid("\"template\" and \"files\" exclude each other")),
        }
    }

    fn into_accept_inline(mut self, bundle: Bundle) -> Result<AcceptRequest> {
        if self.version.is_some() {
            return Err(invalid("\"version\" belongs to a stored template (\"template\")"));
        }
        let name = self.name.take();
        self.build(TemplateSource::Inline { name, bundle })
    }

    fn build(self, template: TemplateSource) -> Result<AcceptRequest> {
        let mut options = read_options(
            self.on_error.as_deref(),
            self.debug,
            self.hold_limit.as_deref(),
            self.step_timeout.as_deref(),
        )?;
        options.parallel_builds = self.parallel_builds.filter(|builds| *builds > 0);
        let dedupe = dedupe::read(self.dedupe.as_deref(), self.max_age.as_deref())?;
        if dedupe.is_some() && (options.debug || options.on_error == OnError::Ask) {
            return Err(Error::unprocessable(
                "dedupe-invalid",
                "A run that waits for a person (`debug`, `on_error: ask`) can't be shared; leave `dedupe` out.",
            ));
        }
        if dedupe.is_some() && self.force == Some(true) {
            let public = "A run that removes images of the same name (`force`) makes its own; leave `dedupe` out.";
            return Err(Error::unprocessable("dedupe-invalid", public));
        }
        Ok(AcceptRequest {
            template,
            family: self.family,
            account: self.account,
            variables: self.variables,
            env: self.env,
            var_files: self.var_files,
            only: self.only,
            except: self.except,
            git_sha: self.git_sha,
            timeout: self.timeout.as_deref().map(|text| read_limit("timeout", "timeout-invalid", text)).transpose()?,
            options,
            priority: read_priority(self.priority)?,
            labels: self.labels,
            clean_image: self.clean_image.unwrap_or(true),
            force: self.force.unwrap_or(false),
            dedupe,
        })
    }
}

fn read_limit(what: &str, code: &'static str, text: &str) -> Result<Duration> {
    parse_duration(text).map_err(|error| Error::unprocessable(code, format!("The {what} {error}.")))
}

fn read_options(
    on_error: Option<&str>,
    debug: Option<bool>,
    hold_limit: Option<&str>,
    step_timeout: Option<&str>,
) -> Result<RunOptions> {
    let mut options = RunOptions { debug: debug.unwrap_or(false), ..RunOptions::default() };
    if let Some(text) = on_error {
        options.on_error =
            text.parse().map_err(|error| Error::unprocessable("on-error-invalid", format!("on_error: {error}.")))?;
    }
    if let Some(text) = hold_limit {
        let limit = read_limit("hold_limit", "hold-limit-invalid", text)?;
        if limit.is_zero() || limit > LONGEST_HOLD {
            let public = format!("The hold_limit {text:?} is not possible: it may be up to 168h.");
            return Err(Error::unprocessable("hold-limit-invalid", public));
        }
        options.hold_limit_seconds = limit.as_secs().max(1);
    }
    if let Some(text) = step_timeout {
        let limit = read_limit("step_timeout", "step-timeout-invalid", text)?;
        if limit.is_zero() {
            return Err(Error::unprocessable("step-timeout-invalid", "The step_timeout must be longer than nothing."));
        }
        options.step_timeout_seconds = Some(limit.as_secs().max(1));
    }
    Ok(options)
}

fn read_priority(priority: Option<i32>) -> Result<i32> {
    let priority = priority.unwrap_or(0);
    if (-100..=100).contains(&priority) {
        return Ok(priority);
    }
    Err(Error::unprocessable("priority-invalid", format!("The priority {priority} is not between -100 and 100.")))
}

fn invalid(what: &str) -> Error {
    Error::bad_request("request-invalid", format!("The request is not complete: {what}."))
}
