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
    /// Image family; the template's name when left out.
    pub family: Option<String>,
    /// The template's account, else `default`, when left out.
    pub account: Option<String>,
    #[schema(value_type = Object)]
    pub variables: IndexMap<String, Value>,
    /// What `env()` in the template may read. Kept nowhere in clear.
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
    #[schema(value_type = Object)]
    pub labels: IndexMap<String, String>,
    /// Take keys, history and machine identity out of the image; true when left out.
    pub clean_image: Option<bool>,
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
            var_files: query.list("var_file"),
            clean_image: query.parsed("clean_image")?,
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
            timeout: self.timeout.as_deref().map(read_timeout).transpose()?,
            labels: self.labels,
            clean_image: self.clean_image.unwrap_or(true),
            dedupe: dedupe::read(self.dedupe.as_deref(), self.max_age.as_deref())?,
        })
    }
}

fn read_timeout(text: &str) -> Result<Duration> {
    parse_duration(text).map_err(|error| Error::unprocessable("timeout-invalid", format!("The timeout {error}.")))
}

fn invalid(what: &str) -> Error {
    Error::bad_request("request-invalid", format!("The request is not complete: {what}."))
}
