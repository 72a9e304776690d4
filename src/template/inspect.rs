//! What `packer inspect` tells of an HCL2 template: variables and locals with their values, and what each build is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::files::{self, Template};
use super::hcl::config::{self, Scene};
use super::hcl::plan;
use super::print::{printed, quoted};
use super::runtime::Runtime;
use super::{Request, finish, stack};
use crate::domain::diagnostic::Diagnostic;

/// See the module's text. [`fmt::Display`] prints it as `packer inspect` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// By name.
    pub variables: Vec<InspectedValue>,
    /// By name.
    pub locals: Vec<InspectedValue>,
    /// In the order of the template.
    pub builds: Vec<InspectedBuild>,
    /// What is wrong with the template, warnings among them. A variable without a value is an error, and shown as
    /// `<unknown>`.
    pub complaints: Vec<Diagnostic>,
}

/// A variable or local. Sensitive values read `<sensitive>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedValue {
    pub name: String,
    pub value: String,
    pub sensitive: bool,
}

/// A build block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedBuild {
    /// Empty without one.
    pub name: String,
    pub description: String,
    /// `type.name` of the sources as declared.
    pub sources: Vec<String>,
    /// `type`, or `type.name` for one that has a name.
    pub provisioners: Vec<String>,
    /// Chains.
    pub post_processors: Vec<Vec<String>>,
}

/// Inspects an HCL2 template.
///
/// # Errors
/// When the template can't be read at all, or is a legacy JSON one.
pub fn inspect(request: &Request<'_>) -> Result<Inspection, Vec<Diagnostic>> {
    stack::with_room(|| inspect_here(request))
}

fn inspect_here(request: &Request<'_>) -> Result<Inspection, Vec<Diagnostic>> {
    let files = match files::load(request.bundle).map_err(|faults| finish(faults, &[], request.bundle))? {
        Template::Hcl2(files) => files,
        // What is wrong with it says more than that it is no HCL2.
        Template::Json(_) => {
            super::outline(request.bundle)?;
            return Err(vec![Diagnostic::error("this is a legacy JSON template")]);
        }
    };
    let runtime = Runtime::new(request);
    let mut complaints = Vec::new();
    let Scene { config, globals, variables, graph } = config::scene(&files, request, &runtime, &mut complaints);
    let plan = plan::plan(&config, &runtime, &globals, &mut complaints);
    let builds = plan::inspected(&plan, &runtime, &globals, &mut complaints);
    let secrets = &variables.sensitive_values;
    let shown = |name: &str, value: &super::value::Value, sensitive: bool| {
        let mut text = printed(value);
        super::hide_in(&mut text, secrets);
        if sensitive {
            "<sensitive>".clone_into(&mut text);
        }
        InspectedValue { name: name.to_owned(), value: text, sensitive }
    };
    let vars = globals.get("var").and_then(|value| value.as_mapping());
    let mut inspected: Vec<InspectedValue> = vars
        .into_iter()
        .flat_map(|vars| &vars.entries)
        .map(|(name, value)| shown(name, value, config.variables.get(name).is_some_and(|variable| variable.sensitive)))
        .collect();
    inspected.sort_by(|a, b| a.name.cmp(&b.name));
    let mut locals: Vec<InspectedValue> =
        graph.locals.iter().map(|(name, value)| shown(name, value, value.is_marked())).collect();
    locals.sort_by(|a, b| a.name.cmp(&b.name));
    let complaints = finish(complaints, secrets, request.bundle);
    Ok(Inspection { variables: inspected, locals, builds, complaints })
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Packer Inspect: HCL2 mode\n")?;
        writeln!(f, "> input-variables:\n")?;
        for variable in &self.variables {
            writeln!(f, "var.{}: {}", variable.name, quoted(&variable.value))?;
        }
        writeln!(f, "\n> local-variables:\n")?;
        for local in &self.locals {
            writeln!(f, "local.{}: {}", local.name, quoted(&local.value))?;
        }
        writeln!(f, "\n> builds:\n")?;
        for (index, build) in self.builds.iter().enumerate() {
            build.fmt(index, f)?;
        }
        Ok(())
    }
}

impl InspectedBuild {
    fn fmt(&self, index: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            writeln!(f, "  > <unnamed build {index}>:\n")?;
        } else {
            writeln!(f, "  > {}:\n", self.name)?;
        }
        if !self.description.is_empty() {
            writeln!(f, "  > Description: {}\n", self.description)?;
        }
        writeln!(f, "    sources:\n")?;
        if self.sources.is_empty() {
            writeln!(f, "      <no source>\n")?;
        }
        for source in &self.sources {
            writeln!(f, "      {source}\n")?;
        }
        writeln!(f, "    provisioners:\n")?;
        if self.provisioners.is_empty() {
            writeln!(f, "      <no provisioner>\n")?;
        }
        for provisioner in &self.provisioners {
            writeln!(f, "      {provisioner}")?;
        }
        if !self.provisioners.is_empty() {
            writeln!(f)?;
        }
        writeln!(f, "    post-processors:\n")?;
        if self.post_processors.is_empty() {
            writeln!(f, "      <no post-processor>\n")?;
        }
        for (index, chain) in self.post_processors.iter().enumerate() {
            writeln!(f, "      {index}:")?;
            for post_processor in chain {
                writeln!(f, "        {post_processor}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
