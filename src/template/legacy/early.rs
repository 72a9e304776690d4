//! Rendering at the time a run is accepted: what is known is put in, what is not stays as it stands.

use std::cell::RefCell;

use chrono::SecondsFormat;
use indexmap::IndexMap;

use super::parse::{Operand, Part, Pipeline};
use super::{Names, Obstacle, evaluate, functions, layout, parse};
use crate::template::runtime::{PACKER_VERSION, Runtime};
use crate::template::source::did_you_mean;

/// What an option may leave for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Fields without their dot.
    pub fields: &'static [&'static str],
    /// ``build `X` ``.
    pub build: bool,
    /// The text is rendered again, so `{{` in a value must be kept from being taken for an action.
    pub again: bool,
}

/// Nothing may stay open.
pub const NOW: Late = Late { fields: &[], build: false, again: false };
/// A JSON template's variables: what they can't render is for the options that use them.
pub const VARIABLE: Late = Late { fields: &["*"], build: true, again: false };
/// Tags and descriptions of the amazon builders.
pub const SOURCE_AMI: Late = Late {
    fields: &[
        "SourceAMI",
        "SourceAMIName",
        "SourceAMICreationDate",
        "SourceAMIOwner",
        "SourceAMIOwnerName",
        "SourceAMITags",
        "BuildRegion",
    ],
    build: true,
    again: true,
};
/// A provisioner's own strings.
pub const MACHINE: Late = Late { fields: &[], build: true, again: true };
/// The shell provisioner's `execute_command`.
pub const COMMAND: Late = Late { fields: &["Vars", "Path", "EnvVarFile"], build: true, again: true };

/// A fault in a text, with its offset in bytes.
pub type Fault = super::parse::ParseError;

/// The names known early.
#[derive(Debug)]
pub struct Early<'a> {
    pub runtime: &'a Runtime<'a>,
    /// A JSON template's variables; `None` in HCL2, where there is no `{{user}}`.
    pub user: Option<&'a IndexMap<String, String>>,
    pub build_name: &'a str,
    pub build_type: &'a str,
    /// In the `variables` of a JSON template a missing variable means "not yet", elsewhere it is empty.
    pub in_variables: bool,
    /// What was noticed on the way.
    pub warnings: RefCell<Vec<String>>,
}

impl<'a> Early<'a> {
    #[must_use]
    pub fn new(runtime: &'a Runtime<'a>, build_name: &'a str, build_type: &'a str) -> Self {
        Self { runtime, user: None, build_name, build_type, in_variables: false, warnings: RefCell::default() }
    }
}

/// Renders a text. Actions that `late` allows stay verbatim; anything else that can't be rendered is a fault. Where late
/// actions are allowed, `{{` in a rendered value is written so that the later rendering does not take it for an action.
///
/// # Errors
/// With the first fault.
pub fn render(text: &str, early: &Early<'_>, late: Late) -> Result<String, Fault> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let mut result = String::new();
    for part in parse::parse(text)? {
        let (raw, offset, pipeline) = match part {
            Part::Text(text) => {
                result.push_str(&text);
                continue;
            }
            Part::Action { raw, offset, pipeline } => (raw, offset, pipeline),
        };
        match evaluate(&pipeline, early) {
            Ok(value) if late.again => result.push_str(&value.replace("{{", "{{`{{`}}")),
            Ok(value) => result.push_str(&value),
            Err(Obstacle::Fault(message)) => return Err(Fault { offset, message }),
            Err(Obstacle::Late) => {
                allowed_late(&pipeline, late).map_err(|message| Fault { offset, message })?;
                result.push_str(&raw);
            }
        }
    }
    Ok(result)
}

/// Checks that an action that stays can be rendered later.
fn allowed_late(pipeline: &Pipeline, late: Late) -> Result<(), String> {
    for operand in pipeline.0.iter().flat_map(|command| &command.operands) {
        match operand {
            Operand::Text(_) => {}
            Operand::Group(inner) => allowed_late(inner, late)?,
            Operand::Field(path) if late.fields == ["*"] || late.fields.contains(&path[0].as_str()) => {}
            Operand::Field(path) => {
                let hint = did_you_mean(&path[0], late.fields.iter().copied());
                let hint = if hint.text.is_empty() { String::new() } else { format!("; {}", hint.text) };
                return Err(format!("{{{{ .{} }}}} has no value in this option{hint}", path.join(".")));
            }
            Operand::Name(name) if name == "build" => {
                if !late.build {
                    return Err("{{ build … }} has no value in this option".to_owned());
                }
            }
            Operand::Name(name) if functions::PURE.contains(&name.as_str()) => {}
            Operand::Name(name) => {
                return Err(format!("{name} can't be combined with a value that is only known while the build runs"));
            }
        }
    }
    Ok(())
}

const IMPURE: &[&str] = &[
    "timestamp",
    "isotime",
    "strftime",
    "env",
    "user",
    "uuid",
    "build_name",
    "build_type",
    "template_dir",
    "pwd",
    "packer_version",
    "build",
];

impl Names for Early<'_> {
    fn field(&self, _: &[String]) -> Result<String, Obstacle> {
        Err(Obstacle::Late)
    }

    fn call(&self, name: &str, args: &[String]) -> Result<String, Obstacle> {
        if let Some(result) = functions::pure(name, args) {
            return result;
        }
        let now = self.runtime.now;
        match (name, args) {
            ("timestamp", []) => Ok(now.timestamp().to_string()),
            ("isotime", []) => Ok(now.to_rfc3339_opts(SecondsFormat::Secs, true)),
            ("isotime", [layout]) => Ok(layout::format(now, layout)),
            ("strftime", [pattern]) => layout::strftime(now, pattern).map_err(Obstacle::Fault),
            ("uuid", []) => Ok(self.runtime.next_uuid().to_string()),
            ("build_name", []) => Ok(self.build_name.to_owned()),
            ("build_type", []) => Ok(self.build_type.to_owned()),
            ("template_dir" | "pwd", []) => Ok(".".to_owned()),
            ("packer_version", []) => Ok(PACKER_VERSION.to_owned()),
            ("build", [_]) => Err(Obstacle::Late),
            ("env", [name]) => Ok(self.environment(name)),
            ("user", [name]) => self.user_variable(name),
            ("sed" | "consul_key" | "vault" | "aws_secretsmanager" | "aws_secretsmanager_raw", _) => {
                Err(Obstacle::Fault(format!("{{{{ {name} … }}}} is not supported yet; give the value as a variable")))
            }
            _ if IMPURE.contains(&name) => {
                Err(Obstacle::Fault(format!("{name} does not take {} arguments", args.len())))
            }
            _ => {
                let hint = did_you_mean(name, functions::PURE.iter().chain(IMPURE).copied());
                let hint = if hint.text.is_empty() { String::new() } else { format!("; {}", hint.text) };
                Err(Obstacle::Fault(format!("there is no function {name:?} for {{{{ }}}}{hint}")))
            }
        }
    }
}

impl Early<'_> {
    fn environment(&self, name: &str) -> String {
        let value = self.runtime.env(name);
        if value.is_none() {
            let message = format!("{{{{ env `{name}` }}}} is empty: the run's env has no {name}");
            self.warnings.borrow_mut().push(message);
        }
        value.unwrap_or_default().to_owned()
    }

    fn user_variable(&self, name: &str) -> Result<String, Obstacle> {
        let Some(user) = self.user else {
            let message = format!("{{{{ user `{name}` }}}} is for JSON templates; in HCL2 write ${{var.{name}}}");
            return Err(Obstacle::Fault(message));
        };
        match user.get(name) {
            Some(value) => Ok(value.clone()),
            None if self.in_variables => Err(Obstacle::Late),
            None => {
                let hint = did_you_mean(name, user.keys().map(String::as_str));
                let hint = if hint.text.is_empty() { String::new() } else { format!("; {}", hint.text) };
                let message = format!("{{{{ user `{name}` }}}} is empty: the template declares no such variable{hint}");
                self.warnings.borrow_mut().push(message);
                Ok(String::new())
            }
        }
    }
}
