//! `{{ … }}` to `${ … }`.

use std::collections::{BTreeSet, HashSet};

use super::names::{Names, identifier};
use super::text::{Piece, operand};
use crate::domain::diagnostic::Diagnostic;
use crate::template::legacy::ast::{Command, Node, Operand, Pipeline};
use crate::template::legacy::fold;
use crate::template::legacy::parse::parse;
use crate::template::legacy::value::Value;
use crate::template::print;

/// Where a text stands: not every name is known everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A variable's default, the only place of `env`.
    Default,
    Local,
    /// A source or data source.
    Source,
    /// A provisioner or post-processor.
    Build,
}

/// What all texts of a template share.
#[derive(Debug)]
pub struct Shared<'n> {
    pub names: &'n Names,
    /// Variables that became locals.
    pub locals: HashSet<String>,
    pub timestamp: bool,
    pub isotime: bool,
    pub strftime: bool,
    /// Names in the environment that locals use.
    pub environment: BTreeSet<String>,
    /// `aws_secretsmanager`: name and key; the place counts from 1 in the data source's name.
    pub secrets: Vec<(String, Option<String>)>,
    /// What can't be written in HCL2.
    pub faults: Vec<Diagnostic>,
}

impl<'n> Shared<'n> {
    #[must_use]
    pub fn new(names: &'n Names) -> Self {
        Self {
            names,
            locals: HashSet::new(),
            timestamp: false,
            isotime: false,
            strftime: false,
            environment: BTreeSet::new(),
            secrets: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// A variable whose default calls one of these can't be a variable in HCL2.
pub const NEEDS_LOCAL: &[&str] = &[
    "aws_secretsmanager",
    "timestamp",
    "isotime",
    "strftime",
    "user",
    "template_dir",
    "pwd",
    "packer_version",
    "uuid",
    "lower",
    "upper",
    "split",
    "replace",
    "replace_all",
];

/// What HCL2 has in place of functions that stay, for the comment beside them.
const INSTEAD: &[(&str, &str)] = &[
    ("lower", "lower(var.example)"),
    ("upper", "upper(var.example)"),
    ("split", "split(separator, string)[index]"),
    ("replace", "replace(string, substring, replacement) or regex_replace(…)"),
    ("replace_all", "replace(string, substring, replacement)"),
    ("clean_resource_name", "regex_replace(string, pattern, \"-\")"),
];

/// The comment for a function that stays.
#[must_use]
pub fn comment(name: &str) -> String {
    let instead = INSTEAD.iter().find(|(known, _)| *known == name).map_or("", |(_, instead)| instead);
    format!("# {{{{ {name} }}}} is kept as it is. HCL2 has {instead}.\n")
}

/// Translates the texts of one block.
#[derive(Debug)]
pub struct Translator<'s, 'n> {
    pub shared: &'s mut Shared<'n>,
    pub place: Place,
    /// Functions that stay.
    pub left: BTreeSet<&'static str>,
}

impl<'s, 'n> Translator<'s, 'n> {
    pub fn new(shared: &'s mut Shared<'n>, place: Place) -> Self {
        Self { shared, place, left: BTreeSet::new() }
    }

    /// A text's pieces. A text that is no template stays as it is.
    pub fn pieces(&mut self, text: &str) -> Vec<Piece> {
        match parse(text) {
            Ok(nodes) if text.contains("{{") => self.nodes(&nodes),
            _ => vec![Piece::Text(text.to_owned())],
        }
    }

    fn nodes(&mut self, nodes: &[Node]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for node in nodes {
            match node {
                Node::Text(text) => pieces.push(Piece::Text(text.clone())),
                Node::Action { pipeline, .. } => match self.value(pipeline) {
                    Some(value) => pieces.extend(value),
                    None => pieces.push(Piece::Call(self.kept(pipeline))),
                },
                Node::Block(block) => {
                    let mut opening = vec![Piece::Text(format!("{} ", block.kind.word()))];
                    opening.extend(self.kept(&block.pipeline));
                    pieces.push(Piece::Call(opening));
                    pieces.extend(self.nodes(&block.body));
                    if !block.otherwise.is_empty() {
                        pieces.push(Piece::Text("{{ else }}".to_owned()));
                        pieces.extend(self.nodes(&block.otherwise));
                    }
                    pieces.push(Piece::Text("{{ end }}".to_owned()));
                }
                Node::Break(_) => pieces.push(Piece::Text("{{ break }}".to_owned())),
                Node::Continue(_) => pieces.push(Piece::Text("{{ continue }}".to_owned())),
            }
        }
        pieces
    }

    /// A pipeline's value in HCL2; `None` when it has none, and stays.
    fn value(&mut self, pipeline: &Pipeline) -> Option<Vec<Piece>> {
        if !pipeline.variables.is_empty() {
            return None;
        }
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped)?);
        }
        piped
    }

    fn command(&mut self, command: &Command, piped: Option<Vec<Piece>>) -> Option<Vec<Piece>> {
        let (first, rest) = command.operands.split_first()?;
        match first {
            Operand::Function(name) => {
                let mut arguments: Vec<Vec<Piece>> = Vec::new();
                for operand in rest {
                    arguments.push(self.argument(operand)?);
                }
                arguments.extend(piped);
                self.call(name, &arguments)
            }
            operand if rest.is_empty() && piped.is_none() => self.argument(operand),
            _ => None,
        }
    }

    fn argument(&mut self, operand: &Operand) -> Option<Vec<Piece>> {
        match operand {
            // Braces that an action gives are text; written plainly they would be an action.
            Operand::Constant(Value::Text(text)) if !text.contains("{{") => Some(vec![Piece::Text(text.clone())]),
            Operand::Constant(Value::Integer(number)) => Some(vec![Piece::Text(number.to_string())]),
            Operand::Function(name) => self.call(name, &[]),
            Operand::Group(inner, path) if path.is_empty() => self.value(inner),
            _ => None,
        }
    }

    fn call(&mut self, name: &str, arguments: &[Vec<Piece>]) -> Option<Vec<Piece>> {
        let name = current(name);
        let plain = |argument: &Vec<Piece>| match argument.as_slice() {
            [] => Some(String::new()),
            [Piece::Text(text)] => Some(text.clone()),
            _ => None,
        };
        let only = match arguments {
            [one] => plain(one),
            _ => None,
        };
        let in_hcl = |text: &str| super::text::quoted(&[Piece::Text(text.to_owned())]);
        let code = match (name, arguments.len()) {
            ("user", 1) => {
                let variable = only?;
                let kind = if self.shared.locals.contains(&variable) { "local" } else { "var" };
                let name = self.shared.names.variables.get(&variable).cloned();
                format!("{kind}.{}", name.unwrap_or_else(|| identifier(&variable)))
            }
            ("timestamp", 0) => {
                self.shared.timestamp = true;
                "local.timestamp".to_owned()
            }
            ("isotime", 0) => "timestamp()".to_owned(),
            ("isotime", 1) => {
                let layout = only?;
                self.shared.isotime = true;
                format!("legacy_isotime({})", in_hcl(&layout))
            }
            ("strftime", 1) => {
                let layout = only?;
                self.shared.strftime = true;
                format!("legacy_strftime({})", in_hcl(&layout))
            }
            ("env", 1) if self.place == Place::Default => format!("env({})", in_hcl(&only?)),
            // A local can't look at the environment; a variable can.
            ("env", 1) if self.place == Place::Local => {
                let name = only?;
                let code = format!("var.{}", environment_variable(&name));
                self.shared.environment.insert(name);
                code
            }
            ("build", 1) if self.place == Place::Build => format!("build.{}", only?),
            ("build_name", 0) if self.place == Place::Build => "build.name".to_owned(),
            ("build_type", 0) if self.place == Place::Build => "source.type".to_owned(),
            ("template_dir", 0) => "path.root".to_owned(),
            ("pwd", 0) => "path.cwd".to_owned(),
            ("packer_version", 0) => "packer.version".to_owned(),
            ("uuid", 0) => "uuidv4()".to_owned(),
            ("aws_secretsmanager", 1 | 2) => {
                let secret = (plain(&arguments[0])?, arguments.get(1).map_or(Some(String::new()), plain)?);
                self.secret(secret.0, Some(secret.1).filter(|key| !key.is_empty()))
            }
            ("lower" | "upper" | "clean_resource_name" | "replace_all" | "split", 1 | 3)
                if self.place == Place::Local && in_functions(name, arguments).is_some() =>
            {
                in_functions(name, arguments)?
            }
            ("lower" | "upper" | "clean_resource_name", 1) | ("replace_all" | "split", 3) | ("replace", 4) => {
                return self.legacy(name, arguments);
            }
            _ => return None,
        };
        Some(vec![Piece::Code(code)])
    }

    /// A function that HCL2 has under another form: it stays, and a comment says so.
    fn legacy(&mut self, name: &str, arguments: &[Vec<Piece>]) -> Option<Vec<Piece>> {
        self.left.insert(INSTEAD.iter().find(|(known, _)| *known == name)?.0);
        let mut call = vec![Piece::Text(name.to_owned())];
        for (at, argument) in arguments.iter().enumerate() {
            call.push(Piece::Text(" ".to_owned()));
            let number = matches!((name, at), ("split" | "replace", 2));
            call.extend(if number { argument.clone() } else { operand(argument) });
        }
        Some(vec![Piece::Call(call)])
    }

    fn secret(&mut self, name: String, key: Option<String>) -> String {
        let secret = (name, key);
        let found = self.shared.secrets.iter().position(|known| *known == secret);
        let number = found.unwrap_or_else(|| {
            self.shared.secrets.push(secret);
            self.shared.secrets.len() - 1
        });
        format!("data.amazon-secretsmanager.autogenerated_{}.value", number + 1)
    }

    /// A pipeline that stays, with what has a value in HCL2 put in as text.
    fn kept(&mut self, pipeline: &Pipeline) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if !pipeline.variables.is_empty() {
            let names: Vec<String> = pipeline.variables.iter().map(|name| format!("${name}")).collect();
            let sign = if pipeline.assigns { "=" } else { ":=" };
            pieces.push(Piece::Text(format!("{} {sign} ", names.join(", "))));
        }
        for (at, command) in pipeline.commands.iter().enumerate() {
            if at > 0 {
                pieces.push(Piece::Text(" | ".to_owned()));
            }
            let is_call = matches!(command.operands.first(), Some(Operand::Function(_)));
            match if at == 0 && is_call { self.command(command, None) } else { None } {
                Some(value) => pieces.extend(operand(&value)),
                None => self.kept_command(command, &mut pieces),
            }
        }
        pieces
    }

    fn kept_command(&mut self, command: &Command, pieces: &mut Vec<Piece>) {
        for (at, part) in command.operands.iter().enumerate() {
            if at > 0 {
                pieces.push(Piece::Text(" ".to_owned()));
            }
            match part {
                Operand::Function(name) if at > 0 => match self.call(name, &[]) {
                    Some(value) => pieces.extend(operand(&value)),
                    None => pieces.push(Piece::Text(current(name).to_owned())),
                },
                Operand::Group(inner, path) => match self.value(inner) {
                    Some(value) if path.is_empty() => pieces.extend(operand(&value)),
                    _ => {
                        pieces.push(Piece::Text("(".to_owned()));
                        pieces.extend(self.kept(inner));
                        let path: String = path.iter().flat_map(|name| [".", name]).collect();
                        pieces.push(Piece::Text(format!("){path}")));
                    }
                },
                Operand::Constant(Value::Text(text)) => {
                    let raw = !text.contains('`');
                    pieces.push(Piece::Text(if raw { format!("`{text}`") } else { print::quoted(text) }));
                }
                Operand::Function(name) => pieces.push(Piece::Text(current(name).to_owned())),
                other => pieces.push(Piece::Text(fold::write_operand(other))),
            }
        }
    }
}

/// A function's name of today, as Packer's `fix` writes it.
fn current(name: &str) -> &str {
    if matches!(name, "clean_ami_name" | "clean_image_name") { "clean_resource_name" } else { name }
}

/// A call in functions of HCL2. Locals need that: what uses their value may be an action itself.
fn in_functions(name: &str, arguments: &[Vec<Piece>]) -> Option<String> {
    if arguments.iter().flatten().any(|piece| matches!(piece, Piece::Call(_))) {
        return None;
    }
    let code = |pieces: &Vec<Piece>| match pieces.as_slice() {
        [Piece::Code(code)] => code.clone(),
        pieces => super::text::quoted(pieces),
    };
    let arguments: Vec<String> = arguments.iter().map(code).collect();
    Some(match (name, arguments.as_slice()) {
        ("lower" | "upper", [text]) => format!("{name}({text})"),
        ("clean_resource_name", [text]) => format!("regex_replace({text}, {UNCLEAN}, \"-\")"),
        // HCL2's replace takes text between slashes for a pattern.
        ("replace_all", [old, new, text]) if !old.starts_with("\"/") => format!("replace({text}, {old}, {new})"),
        ("split", [text, separator, index]) => format!("split({separator}, {text})[{}]", index.trim_matches('"')),
        _ => return None,
    })
}

/// What an AMI's name can't hold, as a string of HCL2.
const UNCLEAN: &str = r#""[^a-zA-Z0-9()\\[\\] ./'@_-]""#;

/// The variable that stands for a name of the environment.
#[must_use]
pub fn environment_variable(name: &str) -> String {
    identifier(&format!("env_{name}"))
}
