//! Why a build did not succeed, as the API shows it.

use serde::{Deserialize, Serialize};

/// Whose fault it is, which decides what a person does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The template, its scripts or the request: change it and start again.
    User,
    /// The cloud refused or broke: see the code.
    Cloud,
    /// The cloud has no room at the moment: another zone, type or time.
    Capacity,
    /// Ingot or its machine.
    Ours,
    /// Somebody asked for the build to stop.
    Cancelled,
}

/// A step's failure: what happened, in which class, and what to do. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: FailureClass,
    /// The cloud's error code (`InvalidAMIName.Duplicate`) or our own in kebab-case (`ssh-timeout`).
    pub code: String,
    /// One sentence or two.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The step it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

impl Failure {
    pub fn new(class: FailureClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), advice: None, step: None }
    }

    pub fn user(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::User, code, message)
    }

    pub fn ours(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Ours, code, message)
    }

    pub fn cloud(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Cloud, code, message)
    }

    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}
