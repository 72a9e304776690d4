//! Packer templates, HCL2 and JSON, to evaluated and checked builds, with file, line and column for every complaint.
//! Uses `domain` only: no clock, no server environment, no files but the bundle's. The way of a template is
//! [`evaluate`] → `files` → `hcl::config` or `json::evaluate` → `assemble` → `decode`.

pub mod assemble;
pub mod console;
pub mod decode;
pub mod duration;
mod files;
pub mod hcl;
pub mod inspect;
pub mod json;
pub mod late;
pub mod legacy;
pub mod lint;
pub mod number;
mod number_text;
pub mod options;
pub mod packer;
pub mod print;
mod ranges;
pub mod runtime;
pub mod select;
pub mod source;
mod stack;
pub mod types;
pub mod unify;
pub mod upgrade;
pub mod value;
mod var_files;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::bundle::Bundle;
use crate::domain::config::BuildConfig;
use crate::domain::config::data_source::{DataRequest, DataResults};
use crate::domain::config::registry::RegistryConfig;
use crate::domain::diagnostic::{Diagnostic, Position, SourceLocation};
use files::Template;
use runtime::Runtime;
use select::Selection;

/// What a run asks for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub bundle: &'a Bundle,
    /// The request's variables. A string is literal for string, number, bool and untyped variables, and an HCL
    /// expression for others, as with Packer's `-var`; other JSON values are taken as they are.
    pub variables: &'a IndexMap<String, serde_json::Value>,
    /// Paths of variable files in the bundle; later ones count.
    pub var_files: &'a [String],
    /// The run's own environment, never the server's. `GIT_SHA` falls back to `git_sha`.
    pub env: &'a IndexMap<String, String>,
    /// The region of what names none, when `AWS_REGION` and `AWS_DEFAULT_REGION` of `env` name none either.
    pub default_region: Option<&'a str>,
    /// Packer's `-only`: patterns over build names.
    pub only: &'a [String],
    /// Packer's `-except`.
    pub except: &'a [String],
    pub git_sha: Option<&'a str>,
    /// The run's frozen time.
    pub now: DateTime<Utc>,
    /// `packer_run_uuid`; random-looking ids derive from it, so that an evaluation can be repeated.
    pub run_id: Uuid,
    pub clean_image: bool,
    /// What is known of the template's data sources.
    pub data: DataMode<'a>,
}

/// What is known of a template's data sources.
#[derive(Debug, Clone, Copy, Default)]
pub enum DataMode<'a> {
    /// Nothing, and nothing will be: their options are checked, their attributes are unknown (`packer validate`).
    #[default]
    Unknown,
    /// These results. What else is needed is in [`Evaluated::data_requests`].
    Given(&'a DataResults),
}

/// A template's evaluated builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    pub builds: Vec<BuildConfig>,
    pub variables: Vec<VariableValue>,
    /// Every string of sensitive variables and locals, and each line of those with several.
    pub sensitive_values: Vec<String>,
    pub warnings: Vec<Diagnostic>,
    pub description: Option<String>,
    /// What `hcp_packer_registry` says of the images: their family, labels and stages.
    pub registry: Option<RegistryConfig>,
    /// Data sources that must be fetched before the rest means anything: with any here, fetch them, add their results to
    /// [`Request::data`] and evaluate again. A data source that needs another one's result comes in a later round.
    /// Always empty with [`DataMode::Unknown`].
    pub data_requests: Vec<DataRequest>,
}

impl Evaluated {
    /// The evaluation, when it waits for nothing.
    ///
    /// # Errors
    /// With a complaint for each data source whose result is missing.
    pub fn complete(self) -> Result<Self, Vec<Diagnostic>> {
        if self.data_requests.is_empty() {
            return Ok(self);
        }
        let missing = self.data_requests.iter().map(|request| {
            Diagnostic::error(format!("the result of the data source {:?} is not known here", request.key()))
                .with_detail("give the value as a variable")
                .at(Some(request.at.clone()))
        });
        Err(missing.collect())
    }
}

/// A variable as the run uses it. The value of a sensitive one is here in plain text: whoever shows it hides it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariableValue {
    pub name: String,
    pub type_name: String,
    pub value: serde_json::Value,
    pub sensitive: bool,
    pub is_default: bool,
}

/// Which language a template is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Hcl2,
    Json,
}

/// What can be said of a template without variable values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    pub format: Format,
    pub description: Option<String>,
    pub variables: Vec<VariableOutline>,
    pub builds: Vec<BuildOutline>,
    /// `required_plugins`, by name; JSON templates have none.
    pub plugins: Vec<PluginOutline>,
    /// The template's data sources, as `type.name`.
    pub data_sources: Vec<String>,
}

/// A plugin that the template requires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginOutline {
    pub name: String,
    /// `github.com/hashicorp/amazon`.
    pub source: String,
    /// A constraint; empty for any version.
    pub version: String,
    /// Whether its components are part of Ingot.
    pub built_in: bool,
    pub at: SourceLocation,
    pub end: Position,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariableOutline {
    pub name: String,
    pub type_name: String,
    pub description: Option<String>,
    pub required: bool,
    pub sensitive: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildOutline {
    pub name: String,
    pub builder_type: String,
}

/// Evaluates a template for a run.
///
/// # Errors
/// With all complaints, warnings among them, when one of them is an error.
pub fn evaluate(request: &Request<'_>) -> Result<Evaluated, Vec<Diagnostic>> {
    stack::with_room(|| evaluate_here(request))
}

fn evaluate_here(request: &Request<'_>) -> Result<Evaluated, Vec<Diagnostic>> {
    let template = files::load(request.bundle).map_err(|faults| finish(faults, &[], request.bundle))?;
    let selection = Selection::new(request.only, request.except)?;
    let runtime = Runtime::new(request);
    let mut complaints = Vec::new();
    let mut evaluated = match &template {
        Template::Hcl2(files) => hcl::config::evaluate(files, request, &runtime, &selection, &mut complaints),
        Template::Json(source) => json::evaluate::evaluate(source, request, &runtime, &selection, &mut complaints)
            .map_err(|faults| finish(faults, &[], request.bundle))?,
    };
    let complaints = finish(complaints, &evaluated.sensitive_values, request.bundle);
    if complaints.iter().any(Diagnostic::is_error) {
        return Err(complaints);
    }
    evaluated.warnings = complaints;
    Ok(evaluated)
}

/// Checks a template's syntax and structure, and describes it.
///
/// # Errors
/// With all complaints.
pub fn outline(bundle: &Bundle) -> Result<Outline, Vec<Diagnostic>> {
    stack::with_room(|| outline_here(bundle))
}

fn outline_here(bundle: &Bundle) -> Result<Outline, Vec<Diagnostic>> {
    let template = files::load(bundle).map_err(|faults| finish(faults, &[], bundle))?;
    let nothing = IndexMap::new();
    let variables = IndexMap::new();
    let request = Request {
        bundle,
        variables: &variables,
        var_files: &[],
        env: &nothing,
        default_region: None,
        only: &[],
        except: &[],
        git_sha: None,
        now: DateTime::UNIX_EPOCH,
        run_id: Uuid::nil(),
        clean_image: true,
        data: DataMode::Unknown,
    };
    let runtime = Runtime::new(&request);
    let mut complaints = Vec::new();
    let outline = match &template {
        Template::Hcl2(files) => hcl::config::outline(files, &runtime, &mut complaints),
        Template::Json(source) => {
            json::evaluate::outline(source, &runtime, &mut complaints).map_err(|faults| finish(faults, &[], bundle))?
        }
    };
    let complaints = finish(complaints, &[], bundle);
    if complaints.iter().any(Diagnostic::is_error) { Err(complaints) } else { Ok(outline) }
}

/// What every list of complaints goes through before anybody sees it.
fn finish(complaints: Vec<Diagnostic>, sensitive: &[String], bundle: &Bundle) -> Vec<Diagnostic> {
    let mut complaints = tidy(complaints);
    ranges::fill(&mut complaints, bundle);
    hide(&mut complaints, sensitive);
    complaints
}

/// Takes sensitive values out of complaints, some of which show the value they complain about, or the line it stands in.
fn hide(complaints: &mut [Diagnostic], sensitive: &[String]) {
    for complaint in complaints {
        let suggestion = complaint.suggestion.as_mut();
        let line = complaint.source_line.as_mut();
        for text in [&mut complaint.summary, &mut complaint.detail].into_iter().chain(suggestion).chain(line) {
            hide_in(text, sensitive);
        }
    }
}

/// Replaces sensitive values in a text, the longest first.
fn hide_in(text: &mut String, sensitive: &[String]) {
    let mut found: Vec<&String> =
        sensitive.iter().filter(|value| !value.is_empty() && text.contains(value.as_str())).collect();
    found.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for value in found {
        *text = text.replace(value.as_str(), "<sensitive>");
    }
}

/// Complaints that are shown at most.
const MAX_COMPLAINTS: usize = 1000;

/// One fault seen in several builds is one complaint; errors come by place. Of very many the last are only counted.
fn tidy(mut complaints: Vec<Diagnostic>) -> Vec<Diagnostic> {
    complaints.sort_by(|a, b| a.at.cmp(&b.at));
    let mut tidy: Vec<Diagnostic> = Vec::new();
    for complaint in complaints {
        let same_place = tidy.iter().rev().take_while(|known| known.at == complaint.at);
        if !same_place.take(MAX_COMPLAINTS).any(|known| *known == complaint) {
            tidy.push(complaint);
        }
    }
    let more = tidy.len().saturating_sub(MAX_COMPLAINTS);
    if more > 0 {
        let error = tidy[MAX_COMPLAINTS..].iter().any(Diagnostic::is_error);
        tidy.truncate(MAX_COMPLAINTS);
        let summary = format!("{more} more faults are not shown");
        tidy.push(if error { Diagnostic::error(summary) } else { Diagnostic::warning(summary) });
    }
    tidy
}
