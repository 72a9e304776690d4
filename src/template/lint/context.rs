//! What rules look at.

use super::Input;
use super::model::{Build, Component, Model, Value};
use super::scripts::{self, Script};
use crate::domain::config::AmazonEbs;
use crate::domain::config::amazon_ebs::SourceAmi;

/// A template, read.
#[derive(Debug)]
pub struct Context<'i> {
    pub input: &'i Input<'i>,
    pub model: Model,
    /// Those that run on the machines.
    pub scripts: Vec<Script>,
    /// Those of `shell-local`, which say nothing of an image.
    pub local_scripts: Vec<Script>,
}

impl<'i> Context<'i> {
    #[must_use]
    pub fn new(mut model: Model, input: &'i Input<'i>) -> Self {
        let scripts = scripts::collect("shell", &mut model, input);
        let local_scripts = scripts::collect("shell-local", &mut model, input);
        Self { input, model, scripts, local_scripts }
    }

    /// The sources of a build.
    pub fn sources<'c>(&'c self, build: &'c Build) -> impl Iterator<Item = &'c Component> {
        build.sources.iter().filter_map(|index| self.model.sources.get(*index))
    }

    /// A source's options as one of its evaluated builds has them.
    #[must_use]
    pub fn evaluated(&self, source: &Component) -> Option<&'i AmazonEbs> {
        let builds = self.input.evaluated.into_iter().flat_map(|evaluated| &evaluated.builds);
        builds.filter(|build| build.source == source.name).find_map(|build| build.builder.ebs())
    }

    /// The SSH user, as far as it is known.
    #[must_use]
    pub fn ssh_user(&self, source: &Component) -> Option<String> {
        let written = source.text("ssh_username");
        written
            .or_else(|| self.evaluated(source).map(|ebs| ebs.communicator.username.clone()))
            .filter(|user| !user.is_empty())
    }

    /// The base image's name and owners, as far as they are known.
    #[must_use]
    pub fn base_image(&self, source: &Component) -> (Option<String>, Vec<String>) {
        let (mut name, owners) = match self.data_source(source) {
            Some(data) => (data.text("filters.name"), data.get("owners")),
            None => (source.text("source_ami_filter.filters.name"), source.get("source_ami_filter.owners")),
        };
        let owners = owners.and_then(Value::items);
        let mut owners: Vec<String> = owners.unwrap_or_default().iter().filter_map(Value::text).collect();
        if let Some(SourceAmi::Filter(filter)) = self.evaluated(source).map(|ebs| &ebs.source) {
            name = name.or_else(|| filter.filters.get("name").map(|names| names.join(",")));
            if owners.is_empty() {
                owners.clone_from(&filter.owners);
            }
        }
        (name, owners)
    }

    /// The data source that a source takes its base image from.
    fn data_source(&self, source: &Component) -> Option<&Component> {
        let written = self.model.raw(source.get("source_ami")?.place);
        let rest = &written[written.find("data.")? + 5..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.')).unwrap_or(rest.len());
        let name = rest[..end].split('.').take(2).collect::<Vec<_>>().join(".");
        self.model.data.iter().find(|data| data.kind == "amazon-ami" && data.name == name)
    }

    /// Whether all of a build's machines are reached as a user other than root.
    #[must_use]
    pub fn is_not_root(&self, build: &Build) -> bool {
        let mut users =
            self.sources(build).filter(|source| source.is_amazon()).map(|source| self.ssh_user(source)).peekable();
        users.peek().is_some() && users.all(|user| user.is_some_and(|user| user != "root"))
    }

    /// Whether a build makes an image of a machine: not with `null` and `file` only.
    #[must_use]
    pub fn makes_images(&self, build: &Build) -> bool {
        let makes = |source: &Component| {
            !matches!(source.kind.as_str(), "null" | "file") && (source.makes_ami() || !source.is_amazon())
        };
        build.sources.is_empty() || self.sources(build).any(makes)
    }

    /// The scripts of a build.
    pub fn scripts_of(&self, build: usize) -> impl Iterator<Item = &Script> {
        self.scripts.iter().filter(move |script| script.build == build)
    }
}
