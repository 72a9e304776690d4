//! What evaluation may know of the world: the bundle, the run's frozen clock and id, the run's own environment, and how
//! much work it may still do. Nothing here reads the server's clock, environment or files.

use std::cell::{Cell, RefCell};

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use uuid::Uuid;

use super::{Request, late};
use crate::domain::bundle::Bundle;
use crate::domain::diagnostic::Diagnostic;

/// Steps one evaluation may take: a template of a thousand lines needs some ten thousand.
const MAX_STEPS: u64 = 3_000_000;
/// Faults of one expression that are told besides its first.
const MAX_FURTHER_FAULTS: usize = 50;
/// Bytes a single value may weigh.
pub const MAX_VALUE_WEIGHT: u64 = 4 * 1024 * 1024;
/// How deep a value may nest.
pub const MAX_VALUE_DEPTH: u32 = 100;
/// The version of Packer's language that templates are measured against (`packer.version`, `required_version`).
pub const PACKER_VERSION: &str = "1.16.0";

/// See the module's text.
#[derive(Debug)]
pub struct Runtime<'a> {
    pub bundle: &'a Bundle,
    pub now: DateTime<Utc>,
    pub run_id: Uuid,
    env: &'a IndexMap<String, String>,
    default_region: Option<&'a str>,
    git_sha: Option<&'a str>,
    uuids: Cell<u64>,
    /// The expression that they are made for, where the build evaluates it.
    ids_of: Cell<Option<u32>>,
    steps: Cell<u64>,
    further: RefCell<Vec<Diagnostic>>,
    /// What of the template waits for the build.
    pub late: late::Needs,
}

impl<'a> Runtime<'a> {
    #[must_use]
    pub fn new(request: &Request<'a>) -> Self {
        Self {
            bundle: request.bundle,
            now: request.now,
            run_id: request.run_id,
            env: request.env,
            default_region: request.default_region,
            git_sha: request.git_sha,
            uuids: Cell::new(0),
            ids_of: Cell::new(None),
            steps: Cell::new(0),
            further: RefCell::new(Vec::new()),
            late: late::Needs::default(),
        }
    }

    /// A variable of the run's own environment. `GIT_SHA` falls back to the run's `git_sha`.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        let own = self.env.get(name).map(String::as_str);
        if name == "GIT_SHA" { own.or(self.git_sha) } else { own }
    }

    /// The region of what names none: Packer takes it from the same variables, then from the machine that it runs on.
    #[must_use]
    pub fn default_region(&self) -> Option<&str> {
        let variable = |name: &str| self.env.get(name).map(String::as_str).filter(|region| !region.is_empty());
        variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).or(self.default_region)
    }

    /// The run's environment, for `PKR_VAR_` variables.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The next random-looking id. It depends on the run and on how many came before, so an evaluation can be repeated.
    #[must_use]
    pub fn next_uuid(&self) -> Uuid {
        let count = self.uuids.get() + 1;
        self.uuids.set(count);
        let name = match self.ids_of.get() {
            None => format!("uuid {count}"),
            Some(expression) => format!("uuid {count} of expression {expression}"),
        };
        let name = Uuid::new_v5(&self.run_id, name.as_bytes());
        uuid::Builder::from_random_bytes(*name.as_bytes()).into_uuid()
    }

    /// From here on ids are those of an expression that waited for the build: others than what the template's evaluation made.
    pub fn make_ids_of(&self, expression: u32) {
        self.uuids.set(0);
        self.ids_of.set(Some(expression));
    }

    /// How many further faults are noted; what was tried and failed forgets those that came after.
    #[must_use]
    pub fn further_faults(&self) -> usize {
        self.further.borrow().len()
    }

    /// Notes a fault besides the one that an evaluation returns: all of an expression's faults are told, not only the
    /// first.
    pub fn note(&self, fault: Diagnostic) {
        let mut further = self.further.borrow_mut();
        if further.len() < MAX_FURTHER_FAULTS {
            further.push(fault);
        }
    }

    /// Forgets the faults noted after the first `count`.
    pub fn forget(&self, count: usize) {
        self.further.borrow_mut().truncate(count);
    }

    /// Takes the faults that were noted.
    #[must_use]
    pub fn take_further(&self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.further.borrow_mut())
    }

    /// Counts work.
    ///
    /// # Errors
    /// When the evaluation has used up what it may do.
    pub fn spend(&self, steps: u64) -> Result<(), String> {
        let spent = self.steps.get().saturating_add(steps);
        self.steps.set(spent);
        if spent > MAX_STEPS {
            return Err("the template needs too much work to evaluate (more than 3,000,000 steps)".to_owned());
        }
        Ok(())
    }
}
