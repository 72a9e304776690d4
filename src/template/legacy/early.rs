//! Rendering at the time a run is accepted: what is known is put in, what is not stays for later.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use chrono::SecondsFormat;
use indexmap::IndexMap;

use super::ast::{self, Node, Operand, Span};
use super::execute::{self, Stop};
use super::value::Value;
use super::{Names, Obstacle, Trouble, builtins, fold, functions, layout, parse};
use crate::domain::diagnostic::{Hint, Position, SourceLocation};
use crate::template::json;
use crate::template::runtime::{PACKER_VERSION, Runtime};
use crate::template::source::{SourceFile, did_you_mean};

/// What an option may leave for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Fields without their dot.
    pub fields: &'static [&'static str],
    /// ``build `X` ``.
    pub build: bool,
    /// The text is rendered again. Then a `{{` that an action gives is kept from being taken for an action, unless it
    /// comes from a user variable: those may hold late actions.
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
/// The shell-local provisioner's `execute_command`.
pub const LOCAL_COMMAND: Late = Late { fields: &["Vars", "Script", "Command"], build: true, again: true };

/// How often the value of a user variable may hold actions that name another one.
const MAX_PASSES: u32 = 8;

/// A fault in a text, with its range in bytes.
pub type Fault = parse::Fault;

/// The names known early.
#[derive(Debug)]
pub struct Early<'a> {
    pub runtime: &'a Runtime<'a>,
    /// A JSON template's variables; `None` in HCL2, where there is no `{{user}}`.
    pub user: Option<&'a IndexMap<String, String>>,
    /// Those of them that have no value, which was already complained about.
    pub faulty: Option<&'a HashSet<String>>,
    /// A fault is there because of these only: nothing more is to be said of it.
    pub told: Cell<bool>,
    pub build_name: &'a str,
    pub build_type: &'a str,
    /// In the `variables` of a JSON template a missing variable means "not yet", elsewhere it is empty.
    pub in_variables: bool,
    /// The JSON template that texts come from: then a fault inside a string can be placed exactly.
    pub source: Option<&'a SourceFile>,
    /// What was noticed on the way.
    pub warnings: RefCell<Vec<String>>,
}

impl<'a> Early<'a> {
    #[must_use]
    pub fn new(runtime: &'a Runtime<'a>, build_name: &'a str, build_type: &'a str) -> Self {
        Self {
            runtime,
            user: None,
            faulty: None,
            told: Cell::new(false),
            build_name,
            build_type,
            in_variables: false,
            source: None,
            warnings: RefCell::default(),
        }
    }

    /// Where a fault in the text that begins at `at` stands, and where it ends: exact in JSON, the text's beginning
    /// in HCL2.
    #[must_use]
    pub fn place(&self, at: &SourceLocation, fault: &Fault) -> (SourceLocation, Option<Position>) {
        let exact = self.source.and_then(|source| json::ranges::inside(source, at, fault.offset, fault.end));
        exact.map_or_else(|| (at.clone(), None), |(at, end)| (at, Some(end)))
    }
}

/// Renders a text. Actions that `late` allows stay; anything else that can't be rendered is a fault.
///
/// # Errors
/// With the first fault.
pub fn render(text: &str, early: &Early<'_>, late: Late) -> Result<String, Fault> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    render_pass(text, early, late, 0)
}

fn render_pass(text: &str, early: &Early<'_>, late: Late, pass: u32) -> Result<String, Fault> {
    let whole = Span { start: 0, end: text.len() };
    let work = 1 + u64::try_from(text.len() / 64).unwrap_or(u64::MAX);
    early.runtime.spend(work).map_err(|message| Fault::new(whole, message))?;
    let nodes = parse::parse(text)?;
    // A variable of the text ties its actions together: then all of it is rendered now, or all of it later.
    let declares = |node: &Node| matches!(node, Node::Action { pipeline, .. } if !pipeline.variables.is_empty());
    let groups: Vec<&[Node]> = if nodes.iter().any(declares) { vec![&nodes] } else { nodes.chunks(1).collect() };
    let mut result = String::new();
    for (at, group) in groups.iter().enumerate() {
        let (rendered, steps) = execute::render_counted(group, &Scope { early, late });
        early.runtime.spend(u64::from(steps / 4)).map_err(|message| Fault::new(whole, message))?;
        let piece = match rendered {
            Ok(value) if matches!(group, [Node::Text(_)]) => Piece::Known(value),
            Ok(value) => known(value, group, early, late, pass)?,
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Late) => Piece::Open(remaining(text, group, early, late)?),
        };
        match piece {
            Piece::Open(text) => result.push_str(&text),
            Piece::Known(value) if late.again => {
                result.push_str(&fold::literal_text(&value, at + 1 < groups.len()));
            }
            Piece::Known(value) => result.push_str(&value),
        }
    }
    if result.len() > execute::MAX_OUTPUT {
        return Err(Fault::new(whole, "the text becomes too long: more than 4 MiB"));
    }
    Ok(result)
}

enum Piece {
    /// Final text.
    Known(String),
    /// Text with actions for later.
    Open(String),
}

/// A rendered value. One of a user variable that holds actions itself is rendered too, where Packer does that: in texts
/// that it renders again while the build runs.
fn known(value: String, group: &[Node], early: &Early<'_>, late: Late, pass: u32) -> Result<Piece, Fault> {
    if !late.again || !value.contains("{{") || ast::user_references(group).is_empty() {
        return Ok(Piece::Known(value));
    }
    let span = match group {
        [Node::Action { span, .. }] => *span,
        [Node::Block(block)] => block.span,
        _ => Span::default(),
    };
    if pass >= MAX_PASSES {
        return Err(Fault::new(span, "the value of the variable names variables without end"));
    }
    match render_pass(&value, early, late, pass + 1) {
        Ok(text) => Ok(Piece::Open(text)),
        Err(fault) => {
            let message = format!("in the variable's value: {}", fault.message);
            Err(Fault::new(span, message).with_hint(fault.hint))
        }
    }
}

/// The text of nodes that can't be rendered yet.
fn remaining(text: &str, nodes: &[Node], early: &Early<'_>, late: Late) -> Result<String, Fault> {
    let folded = fold::nodes(nodes, &Scope { early, late })?;
    allowed(&folded, true, late)?;
    let raw = match nodes {
        [Node::Action { span, .. }] => &text[span.start..span.end],
        [Node::Block(block)] => &text[block.span.start..block.span.end],
        _ => "",
    };
    // As it stands, where that is the same: the texts beside it are trimmed already, and must not be once more.
    if folded.as_slice() == nodes && !raw.is_empty() && !raw.contains("{{-") && !raw.contains("-}}") {
        return Ok(raw.to_owned());
    }
    Ok(fold::write(&folded))
}

/// Checks that what stays can be rendered later. `root` says whether `.` is all data.
fn allowed(nodes: &[Node], root: bool, late: Late) -> Result<(), Fault> {
    for node in nodes {
        match node {
            Node::Action { pipeline, .. } => allowed_pipeline(pipeline, root, late)?,
            Node::Block(block) => {
                allowed_pipeline(&block.pipeline, root, late)?;
                allowed(&block.body, root && block.kind == ast::BlockKind::If, late)?;
                allowed(&block.otherwise, root, late)?;
            }
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
    Ok(())
}

fn allowed_pipeline(pipeline: &ast::Pipeline, root: bool, late: Late) -> Result<(), Fault> {
    for command in &pipeline.commands {
        for operand in &command.operands {
            let fault = |message: String| Fault::new(command.span, message);
            match operand {
                Operand::Constant(_) => {}
                Operand::Group(inner, _) => allowed_pipeline(inner, root, late)?,
                Operand::Field(_) | Operand::Variable(..) | Operand::Dot => {
                    let path = data_path(operand, root);
                    path.map_or(Ok(()), |path| field(path, late)).map_err(|t| fault(t.message).with_hint(t.hint))?;
                }
                Operand::Function(name) if name == "build" || name == "expression" => {
                    if !late.build {
                        return Err(fault("{{ build … }} has no value in this option".to_owned()));
                    }
                }
                Operand::Function(name) if fold::runs_late(name) || late == VARIABLE => {}
                Operand::Function(name) => {
                    let message =
                        format!("{name} can't be combined with a value that is only known while the build runs");
                    return Err(fault(message));
                }
            }
        }
    }
    Ok(())
}

/// The path of an operand that looks at the data; `root` says whether `.` is all of it.
fn data_path(operand: &Operand, root: bool) -> Option<&[String]> {
    match operand {
        Operand::Field(path) if root => Some(path),
        Operand::Variable(name, path) if name.is_empty() && !path.is_empty() => Some(path),
        _ => None,
    }
}

fn field(path: &[String], late: Late) -> Result<(), Trouble> {
    let name = path[0].as_str();
    if late.fields == ["*"] || late.fields.contains(&name) {
        return Ok(());
    }
    let hint = match name {
        // What Packer's `fix` made of the field that there was before.
        "CreateTime" => Hint { text: "write {{ timestamp }}".to_owned(), suggestion: Some("timestamp".to_owned()) },
        _ => did_you_mean(name, late.fields.iter().copied()),
    };
    Err(Trouble::new(format!("{{{{ .{} }}}} has no value in this option", path.join("."))).with_hint(hint))
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

/// Functions that reach out of the template, or are gone; with what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("sed", "Packer dropped it; use replace or replace_all"),
    ("consul_key", "the server reads no Consul; give the value as a variable of the run"),
    ("vault", "the server reads no Vault; give the value as a sensitive variable of the run"),
    ("aws_secretsmanager", SECRET),
    ("aws_secretsmanager_raw", SECRET),
];
const SECRET: &str = "use the data source amazon-secretsmanager of HCL2, or give the value as a sensitive variable";

/// What a text of an option may name.
struct Scope<'e> {
    early: &'e Early<'e>,
    late: Late,
}

impl Names for Scope<'_> {
    fn root(&self) -> Result<Value, Obstacle> {
        Err(Obstacle::Late)
    }

    fn field(&self, _: &[String]) -> Result<Value, Obstacle> {
        Err(Obstacle::Late)
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, Obstacle> {
        if let Some(result) = functions::pure(name, arguments) {
            return result.map_err(Obstacle::Fault);
        }
        if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            let trouble = Trouble::new(format!("{{{{ {name} … }}}} can't be used here"));
            return Err(Obstacle::Fault(trouble.with_hint(*instead)));
        }
        let early = self.early;
        let now = early.runtime.now;
        match name {
            "isotime" if !arguments.is_empty() => {
                let layout = one_text(name, arguments)?;
                return Ok(Value::Text(layout::format(now, layout)));
            }
            "strftime" => {
                let pattern = one_text(name, arguments)?;
                return Ok(Value::Text(layout::strftime(now, pattern)));
            }
            "env" => return self.environment(one_text(name, arguments)?),
            "user" => return early.user_variable(one_text(name, arguments)?),
            "expression" => {
                let number = one_text(name, arguments)?.parse();
                let known = number.is_ok_and(|number| early.runtime.late.mark_used(number));
                return Err(if known { Obstacle::Late } else { Obstacle::Fault(unknown(name)) });
            }
            "build" => {
                one_text(name, arguments)?;
                return Err(Obstacle::Late);
            }
            _ => {}
        }
        let value = match name {
            "timestamp" => now.timestamp().to_string(),
            "isotime" => now.to_rfc3339_opts(SecondsFormat::Secs, true),
            "uuid" => early.runtime.next_uuid().to_string(),
            "build_name" => early.build_name.to_owned(),
            "build_type" => early.build_type.to_owned(),
            "template_dir" | "pwd" => ".".to_owned(),
            "packer_version" => PACKER_VERSION.to_owned(),
            _ => return Err(Obstacle::Fault(unknown(name))),
        };
        if arguments.is_empty() {
            return Ok(Value::Text(value));
        }
        Err(Obstacle::fault(format!("{name} takes no arguments, not {}", arguments.len())))
    }
}

/// The only argument, a string.
fn one_text<'a>(name: &str, arguments: &'a [Value]) -> Result<&'a str, Obstacle> {
    functions::texts::<1>(name, arguments).map(|[text]| text).map_err(Obstacle::Fault)
}

fn unknown(name: &str) -> Trouble {
    let hint = match name {
        // What Packer's `fix` calls them now.
        "clean_ami_name" | "clean_image_name" => Hint {
            text: "it is clean_resource_name now".to_owned(),
            suggestion: Some("clean_resource_name".to_owned()),
        },
        _ => did_you_mean(name, functions::PURE.iter().chain(IMPURE).chain(builtins::NAMES).copied()),
    };
    Trouble::new(format!("there is no function {name:?} for {{{{ }}}}")).with_hint(hint)
}

impl Scope<'_> {
    /// The run's own environment. Packer has it in a JSON template's variables only, and complains about it elsewhere,
    /// save in the options that it looks at only once the build runs: there it can as well be given.
    fn environment(&self, name: &str) -> Result<Value, Obstacle> {
        let early = self.early;
        let looked_at_late = self.late.again && !self.late.fields.is_empty();
        if !early.in_variables && !looked_at_late {
            let instead = if early.user.is_some() {
                format!("declare a variable with the default \"{{{{ env `{name}` }}}}\", and use {{{{ user }}}} here")
            } else {
                format!("declare a variable with default = env({name:?}), and use it here")
            };
            let trouble = Trouble::new(format!("{{{{ env `{name}` }}}} has no value in this option"));
            return Err(Obstacle::Fault(trouble.with_hint(instead)));
        }
        let value = early.runtime.env(name);
        if value.is_none() {
            let message = format!("{{{{ env `{name}` }}}} is empty: the run's env has no {name}");
            early.warnings.borrow_mut().push(message);
        }
        Ok(Value::text(value.unwrap_or_default()))
    }
}

impl Early<'_> {
    fn user_variable(&self, name: &str) -> Result<Value, Obstacle> {
        let Some(user) = self.user else {
            let message = format!("{{{{ user `{name}` }}}} is for JSON templates");
            return Err(Obstacle::Fault(Trouble::new(message).with_hint(format!("in HCL2 write ${{var.{name}}}"))));
        };
        if self.faulty.is_some_and(|faulty| faulty.contains(name)) {
            self.told.set(true);
            return Err(Obstacle::fault("the variable has no value"));
        }
        match user.get(name) {
            Some(value) => Ok(Value::text(value.as_str())),
            None if self.in_variables => Err(Obstacle::Late),
            None => {
                let hint = did_you_mean(name, user.keys().map(String::as_str));
                let hint = if hint.text.is_empty() { String::new() } else { format!("; {}", hint.text) };
                let message = format!("{{{{ user `{name}` }}}} is empty: the template declares no such variable{hint}");
                self.warnings.borrow_mut().push(message);
                Ok(Value::text(""))
            }
        }
    }
}
