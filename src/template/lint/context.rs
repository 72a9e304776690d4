//! What rules look at, and where they put what they find.

use super::Input;
use super::model::{Build, Component, Model, Place, Value};
use super::rule::{self, Rule};
use super::scripts::{self, Script};
use crate::domain::config::amazon_ebs::SourceAmi;
use crate::domain::config::{AmazonEbs, BuilderConfig};
use crate::domain::lint::LintLevel;

/// A template, read.
#[derive(Debug)]
pub struct Context<'i> {
    pub input: &'i Input<'i>,
    pub model: Model,
    pub scripts: Vec<Script>,
}

/// One finding, before the policy has a word.
#[derive(Debug)]
pub struct Finding {
    pub rule: &'static Rule,
    /// Instead of the rule's own, where this case counts less or more.
    pub level: Option<LintLevel>,
    pub place: Place,
    pub summary: String,
    pub detail: String,
}

/// What the rules found, and where secrets stand, which are shown nowhere.
#[derive(Debug, Default)]
pub struct Findings {
    pub found: Vec<Finding>,
    pub secrets: Vec<Place>,
}

impl Findings {
    /// Adds a finding. `detail` says why it matters and what to do.
    pub fn add(&mut self, rule: &'static str, place: Place, summary: impl Into<String>, detail: impl Into<String>) {
        self.add_at(rule, None, place, summary, detail);
    }

    /// Adds a finding with a level of its own.
    pub fn add_at(
        &mut self,
        id: &'static str,
        level: Option<LintLevel>,
        place: Place,
        summary: impl Into<String>,
        detail: impl Into<String>,
    ) {
        // Each id that a rule's code uses is in the registry; a test has every rule found once.
        let Some(rule) = rule::rule(id) else { return };
        let known = self.found.iter().any(|finding| finding.rule.id == id && finding.place == place);
        if !known {
            self.found.push(Finding { rule, level, place, summary: summary.into(), detail: detail.into() });
        }
    }
}

impl<'i> Context<'i> {
    #[must_use]
    pub fn new(mut model: Model, input: &'i Input<'i>) -> Self {
        let scripts = scripts::collect(&mut model, input);
        Self { input, model, scripts }
    }

    /// The sources of a build.
    pub fn sources<'c>(&'c self, build: &'c Build) -> impl Iterator<Item = &'c Component> {
        build.sources.iter().filter_map(|index| self.model.sources.get(*index))
    }

    /// A source's options as one of its evaluated builds has them.
    #[must_use]
    pub fn evaluated(&self, source: &Component) -> Option<&'i AmazonEbs> {
        let builds = self.input.evaluated.into_iter().flat_map(|evaluated| &evaluated.builds);
        builds.filter(|build| build.source == source.name).find_map(|build| match &build.builder {
            BuilderConfig::AmazonEbs(ebs) => Some(&**ebs),
            #[allow(unreachable_patterns, reason = "there may be other builders")]
            _ => None,
        })
    }

    /// The SSH user, as far as it is known.
    #[must_use]
    pub fn ssh_user(&self, source: &Component) -> Option<String> {
        let written = source.text("ssh_username");
        written.or_else(|| self.evaluated(source).map(|ebs| ebs.communicator.username.clone())).filter(|user| !user.is_empty())
    }

    /// The base image's name and owners, as far as they are known.
    #[must_use]
    pub fn base_image(&self, source: &Component) -> (Option<String>, Vec<String>) {
        let mut name = source.text("source_ami_filter.filters.name");
        let owners = source.get("source_ami_filter.owners").and_then(Value::items);
        let mut owners: Vec<String> = owners.unwrap_or_default().iter().filter_map(Value::text).collect();
        if let Some(SourceAmi::Filter(filter)) = self.evaluated(source).map(|ebs| &ebs.source) {
            name = name.or_else(|| filter.filters.get("name").map(|names| names.join(",")));
            if owners.is_empty() {
                owners.clone_from(&filter.owners);
            }
        }
        (name, owners)
    }

    /// Whether all of a build's machines are reached as a user other than root.
    #[must_use]
    pub fn is_not_root(&self, build: &Build) -> bool {
        let mut users = self.sources(build).filter(|source| source.is_amazon()).map(|source| self.ssh_user(source)).peekable();
        users.peek().is_some() && users.all(|user| user.is_some_and(|user| user != "root"))
    }

    /// Whether a build makes an image of a machine: not with `null` and `file` only.
    #[must_use]
    pub fn makes_images(&self, build: &Build) -> bool {
        build.sources.is_empty() || self.sources(build).any(|source| !matches!(source.kind.as_str(), "null" | "file"))
    }

    /// The scripts of a build.
    pub fn scripts_of(&self, build: usize) -> impl Iterator<Item = &Script> {
        self.scripts.iter().filter(move |script| script.build == build)
    }
}
