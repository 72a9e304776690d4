//! `ingot inspect`: what a template is made of, as `packer inspect` prints it.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Context;
use super::complaint::count;
use super::error::CliResult;
use super::exit::Exit;
use super::inputs::{Inputs, TemplateArgs};
use super::voice::{Voice, VoiceArgs};
use crate::domain::diagnostic::Diagnostic;
use crate::template::inspect::{Inspection, inspect};
use crate::template::{self, Format};

#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

impl InspectArgs {
    pub(super) fn run(self, context: &Context, voice: &Voice) -> CliResult<Exit> {
        self.template.given.refuse_selection("inspect")?;
        let inputs = self.template.read(std::env::vars_os())?;
        match template::outline(&inputs.packed.bundle) {
            Ok(outline) if outline.format == Format::Json => legacy(&inputs, context, voice),
            Ok(_) | Err(_) => self.hcl2(&inputs, context, voice),
        }
    }

    fn hcl2(&self, inputs: &Inputs, context: &Context, voice: &Voice) -> CliResult<Exit> {
        let given = &self.template.given;
        let checked = given.look(inputs, given.git_sha.as_deref(), &*context.clock, inspect)?;
        let inspection = match &checked.outcome {
            Ok(inspection) => inspection,
            Err(diagnostics) => {
                let complaints = checked.complaints(diagnostics);
                let closing = format!("The template can't be read: {}", count(&complaints));
                voice.complain(&complaints, &checked.sources, Some(&closing))?;
                return Ok(Exit::Failed);
            }
        };
        if context.json() {
            context.print_json(&json!(inspection))?;
        } else {
            let text = inspection.to_string();
            // Packer says it in three parts, each with a line break of its own.
            let parts = ["> input-variables:", "> builds:"].map(|part| text.find(part).unwrap_or(text.len()));
            for part in [&text[..parts[0]], &text[parts[0]..parts[1]], &text[parts[1]..]] {
                voice.say(part.strip_suffix('\n').unwrap_or(part))?;
            }
        }
        // As Packer does: what is wrong does not keep the rest from being shown.
        let complaints = checked.complaints(&told(inspection));
        voice.complain(&complaints, &checked.sources, None)?;
        Ok(Exit::Success)
    }
}

/// What is worth telling: that a variable has no value is seen.
fn told(inspection: &Inspection) -> Vec<Diagnostic> {
    let has_no_value = |complaint: &&Diagnostic| !complaint.summary.ends_with(" has no value");
    inspection.complaints.iter().filter(has_no_value).cloned().collect()
}

/// A legacy JSON template, of which nothing is evaluated.
fn legacy(inputs: &Inputs, context: &Context, voice: &Voice) -> CliResult<Exit> {
    let texts = inputs.packed.templates();
    let documents = texts.filter_map(|text| serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')).ok());
    let template = documents.into_iter().find(|document| document["builders"].is_array()).unwrap_or_default();
    let parts = Legacy::read(&template);
    if context.json() {
        context.print_json(&parts.to_json())?;
    } else {
        parts.tell(voice)?;
    }
    Ok(Exit::Success)
}

/// What there is to tell of a legacy template.
struct Legacy {
    description: Option<String>,
    /// Name, default (`None`: it needs a value), by name.
    variables: Vec<(String, Option<String>)>,
    /// Name and type, by name.
    builders: Vec<(String, String)>,
    provisioners: Vec<String>,
}

const NOTE: &str = "\nNote: If your build names contain user variables or template\nfunctions such as 'timestamp', these are processed at build time,\nand therefore only show in their raw form here.";

impl Legacy {
    fn read(template: &Value) -> Self {
        let list = |key: &str| template[key].as_array().into_iter().flatten();
        let kind = |component: &Value| component["type"].as_str().unwrap_or_default().to_owned();
        let sensitive: Vec<&str> = list("sensitive-variables").filter_map(Value::as_str).collect();
        let default = |name: &str, value: &Value| match value {
            Value::Null => None,
            _ if sensitive.contains(&name) => Some("<sensitive>".to_owned()),
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let variables = template["variables"].as_object().into_iter().flatten();
        let mut variables: Vec<_> = variables.map(|(name, value)| (name.clone(), default(name, value))).collect();
        variables.sort();
        let name = |builder: &Value| builder["name"].as_str().map_or_else(|| kind(builder), str::to_owned);
        let mut builders: Vec<_> = list("builders").map(|builder| (name(builder), kind(builder))).collect();
        builders.sort();
        Self {
            description: template["description"].as_str().filter(|text| !text.is_empty()).map(str::to_owned),
            variables,
            builders,
            provisioners: list("provisioners").map(kind).collect(),
        }
    }

    fn to_json(&self) -> Value {
        let variables: Map<String, Value> =
            self.variables.iter().map(|(name, default)| (name.clone(), json!(default))).collect();
        let builders: Vec<Value> =
            self.builders.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
        json!({"description": self.description, "variables": variables, "builders": builders, "provisioners": self.provisioners})
    }

    fn tell(&self, voice: &Voice) -> CliResult<()> {
        voice.say("Packer Inspect: JSON mode")?;
        if let Some(description) = &self.description {
            voice.say("Description:\n")?;
            voice.say(&format!("{description}\n"))?;
        }
        self.tell_variables(voice)?;
        voice.say("")?;
        voice.say("Builders:\n")?;
        if self.builders.is_empty() {
            voice.say("  <No builders>")?;
        }
        let width = self.builders.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, kind) in &self.builders {
            voice.machine("", "template-builder", &[name, kind])?;
            let kind = if name == kind { String::new() } else { format!(" ({kind})") };
            voice.say(&format!("  {name:width$}{kind}"))?;
        }
        voice.say("")?;
        voice.say("Provisioners:\n")?;
        if self.provisioners.is_empty() {
            voice.say("  <No provisioners>")?;
        }
        for kind in &self.provisioners {
            voice.machine("", "template-provisioner", &[kind])?;
            voice.say(&format!("  {kind}"))?;
        }
        voice.say(NOTE)
    }

    fn tell_variables(&self, voice: &Voice) -> CliResult<()> {
        if self.variables.is_empty() {
            voice.say("Variables:\n")?;
            return voice.say("  <No variables>");
        }
        let required: Vec<&str> =
            self.variables.iter().filter(|(_, default)| default.is_none()).map(|(name, _)| name.as_str()).collect();
        if !required.is_empty() {
            voice.say("Required variables:\n")?;
            for name in required {
                voice.machine("", "template-variable", &[name, "", "1"])?;
                voice.say(&format!("  {name}"))?;
            }
            voice.say("")?;
        }
        voice.say("Optional variables and their defaults:\n")?;
        let width = self.variables.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, default) in &self.variables {
            let Some(default) = default else { continue };
            voice.machine("", "template-variable", &[name, default, "0"])?;
            voice.say(&format!("  {name:width$} = {default}"))?;
        }
        Ok(())
    }
}
