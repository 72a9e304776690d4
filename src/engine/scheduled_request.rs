//! What the runs of a schedule ask for, as it is kept sealed beside the schedule.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::run_request::{AcceptRequest, SENSITIVE, TemplateSource};
use crate::domain::error::{Error, Result};
use crate::domain::hold::RunOptions;

/// The parts of a run request that a schedule keeps. Stored ones are read by later versions: new fields need defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduledRequest {
    pub account: Option<String>,
    pub family: Option<String>,
    pub variables: IndexMap<String, Value>,
    pub env: IndexMap<String, String>,
    pub var_files: Vec<String>,
    pub only: Vec<String>,
    pub except: Vec<String>,
    pub git_sha: Option<String>,
    pub labels: IndexMap<String, String>,
    pub timeout_seconds: Option<u64>,
    /// `None`: as runs do by themselves.
    pub clean_image: Option<bool>,
}

/// A schedule's variables before a change, and what was shown of it.
pub struct Known<'a> {
    pub variables: IndexMap<String, Value>,
    pub shown: &'a Value,
}

impl Known<'_> {
    fn hides(&self, name: &str, value: &Value) -> bool {
        self.shown["variables"][name] == SENSITIVE && self.variables.get(name) == Some(value)
    }
}

impl ScheduledRequest {
    /// # Errors
    /// When the stored form can't be read.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            // Only the place: the text of the error may quote a value.
            let (line, column) = (error.line(), error.column());
            Error::internal(format!("a schedule's request can't be read: line {line}, column {column}"))
        })
    }

    /// # Errors
    /// When it can't be written as JSON, which is a fault of ours.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Zeroizing::new).map_err(|_| Error::internal("a schedule's request can't be written"))
    }

    /// The request of one run.
    #[must_use]
    pub fn into_accept(self, template: &str, version: Option<i32>) -> AcceptRequest {
        AcceptRequest {
            template: TemplateSource::Stored { name: template.to_owned(), version },
            family: self.family,
            account: self.account,
            variables: self.variables,
            env: self.env,
            var_files: self.var_files,
            only: self.only,
            except: self.except,
            git_sha: self.git_sha,
            timeout: self.timeout_seconds.map(Duration::from_secs),
            // Nobody watches a run that a clock starts, so it neither asks nor leaves things in place. A breakpoint of its
            // template holds all the same.
            options: RunOptions::default(),
            priority: 0,
            labels: self.labels,
            clean_image: self.clean_image.unwrap_or(true),
            force: false,
            // Each time of a schedule has a run of its own.
            dedupe: None,
        }
    }

    /// The same for people. `evaluated` are the variables as a run would show them: those that are hidden there, or that the
    /// template does not declare, are hidden here. Values of the environment always are. What was hidden before a change and
    /// is still the same value stays hidden, whatever the template says of it by now.
    #[must_use]
    pub fn shown(&self, evaluated: &IndexMap<String, Value>, before: Option<&Known<'_>>) -> Value {
        let hidden = |name: &String, value: &Value| {
            evaluated.get(name).is_none_or(|value| value == SENSITIVE)
                || before.is_some_and(|before| before.hides(name, value))
        };
        let variables: IndexMap<&String, Value> = self
            .variables
            .iter()
            .map(|(name, value)| (name, if hidden(name, value) { json!(SENSITIVE) } else { value.clone() }))
            .collect();
        let env: IndexMap<&String, &str> = self.env.keys().map(|name| (name, SENSITIVE)).collect();
        json!({
            "account": self.account, "family": self.family, "variables": variables, "env": env,
            "var_files": self.var_files, "only": self.only, "except": self.except, "git_sha": self.git_sha,
            "labels": self.labels, "timeout_seconds": self.timeout_seconds,
            "clean_image": self.clean_image.unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_in_a_run_is_hidden_in_its_schedule() {
        let request = ScheduledRequest {
            variables: [("password".to_owned(), json!("hunter2")), ("size".to_owned(), json!(3))].into(),
            env: [("TOKEN".to_owned(), "hunter3".to_owned())].into(),
            ..ScheduledRequest::default()
        };
        let evaluated = [("password".to_owned(), json!(SENSITIVE)), ("size".to_owned(), json!(3))].into();
        let shown = request.shown(&evaluated, None);
        assert!(!shown.to_string().contains("hunter"), "{shown}");
        assert_eq!((&shown["variables"]["size"], &shown["env"]["TOKEN"]), (&json!(3), &json!(SENSITIVE)));
        assert!(
            !request.shown(&[("size".to_owned(), json!(3))].into(), None).to_string().contains("hunter2"),
            "undeclared"
        );
        let unmarked = [("password".to_owned(), json!("hunter2"))].into();
        let known = Known { variables: request.variables.clone(), shown: &shown };
        assert!(!request.shown(&unmarked, Some(&known)).to_string().contains("hunter2"), "hidden before");
        let variables = [("password".to_owned(), json!("public"))].into();
        let given_anew = ScheduledRequest { variables, ..ScheduledRequest::default() };
        let unmarked = [("password".to_owned(), json!("public"))].into();
        assert_eq!(given_anew.shown(&unmarked, Some(&known))["variables"]["password"], "public");
        assert_eq!(ScheduledRequest::from_bytes(&request.to_bytes().unwrap()).unwrap(), request);
        assert_eq!(ScheduledRequest::from_bytes(b"{}").unwrap(), ScheduledRequest::default());
    }
}
