//! The top-level blocks of all files of a template: what is declared, before anything is evaluated.

use hcl_edit::expr::Expression;
use hcl_edit::prelude::*;
use hcl_edit::structure::{Attribute, Block, Body, Structure};
use indexmap::IndexMap;

use super::parse::HclFile;
use crate::domain::diagnostic::{Diagnostic, Hint, SourceLocation};
use crate::template::packer;
use crate::template::source::{SourceFile, did_you_mean};

/// `variable "x" { … }`, or an entry of `variables { … }`.
#[derive(Debug)]
pub struct Variable<'f> {
    pub file: &'f SourceFile,
    pub at: SourceLocation,
    pub constraint: Option<&'f Expression>,
    pub default: Option<&'f Expression>,
    pub description: Option<String>,
    pub sensitive: bool,
    pub validations: Vec<Validation<'f>>,
}

#[derive(Debug)]
pub struct Validation<'f> {
    pub at: SourceLocation,
    pub condition: &'f Expression,
    pub message: &'f Expression,
}

#[derive(Debug)]
pub struct Local<'f> {
    pub file: &'f SourceFile,
    pub at: SourceLocation,
    pub expression: &'f Expression,
    pub sensitive: bool,
}

/// `source "type" "name" { … }`.
#[derive(Debug)]
pub struct Source<'f> {
    pub file: &'f SourceFile,
    pub at: SourceLocation,
    pub body: &'f Body,
}

#[derive(Debug)]
pub struct Build<'f> {
    pub file: &'f SourceFile,
    pub at: SourceLocation,
    pub body: &'f Body,
    pub name: Option<&'f Expression>,
    pub description: Option<&'f Expression>,
}

/// Everything a template declares.
#[derive(Debug, Default)]
pub struct Config<'f> {
    pub variables: IndexMap<String, Variable<'f>>,
    pub locals: IndexMap<String, Local<'f>>,
    /// By `type.name`.
    pub sources: IndexMap<String, Source<'f>>,
    pub builds: Vec<Build<'f>>,
    pub complaints: Vec<Diagnostic>,
}

const TOP_LEVEL: &[&str] = &["packer", "source", "variables", "variable", "locals", "local", "data", "build"];

/// Reads the top-level blocks of a template's files.
#[must_use]
pub fn collect(files: &[HclFile]) -> Config<'_> {
    let mut config = Config::default();
    for file in files {
        let mut collector = Collector { file: &file.source, config: &mut config };
        for structure in &file.body {
            match structure {
                Structure::Block(block) => collector.top_level(block),
                Structure::Attribute(attribute) => {
                    let name = attribute.key.as_str();
                    let detail = if name == "builders" {
                        "this looks like a JSON template; name the file .json"
                    } else {
                        "only blocks can stand here: packer, variable, locals, source, build"
                    };
                    collector.complain(&attribute.key, format!("the attribute {name:?} can't stand here"), detail);
                }
            }
        }
    }
    config
}

struct Collector<'c, 'f> {
    file: &'f SourceFile,
    config: &'c mut Config<'f>,
}

impl<'f> Collector<'_, 'f> {
    fn place(&self, what: &impl Span) -> SourceLocation {
        self.file.location(what.span().map_or(0, |span| span.start))
    }

    fn complain(&mut self, at: &impl Span, summary: impl Into<String>, detail: impl Into<Hint>) {
        let at = self.place(at);
        self.config.complaints.push(Diagnostic::error(summary).with_detail(detail).at(Some(at)));
    }

    fn top_level(&mut self, block: &'f Block) {
        let kind = block.ident.as_str();
        let labels = match kind {
            "source" | "data" => 2,
            "variable" | "local" | "communicator" => 1,
            _ => 0,
        };
        if TOP_LEVEL.contains(&kind) && block.labels.len() != labels {
            let example = match kind {
                "source" => "source \"amazon-ebs\" \"name\" { … }",
                "data" => "data \"type\" \"name\" { … }",
                "variable" | "local" => "variable \"name\" { … }",
                _ => "the block takes no labels",
            };
            return self.complain(
                &block.ident,
                format!("{kind} needs {labels} labels, it has {}", block.labels.len()),
                example,
            );
        }
        match kind {
            "packer" => self.packer(block),
            "variable" => self.variable(block),
            "variables" => self.variables(block),
            "locals" => self.locals(block),
            "local" => self.local(block),
            "source" => self.source(block),
            "build" => self.build(block),
            "data" => {
                let name = block.labels[0].as_str();
                let detail = "give the value as a variable; for an image use source_ami_filter";
                self.complain(&block.ident, format!("data source {name:?} is not supported yet"), detail);
            }
            "hcp_packer_registry" => {
                let detail = "remove it: images are registered by this server itself";
                self.complain(&block.ident, "hcp_packer_registry is not supported yet", detail);
            }
            // Packer reads this block and makes no use of it.
            "communicator" => {}
            "dynamic" => self.complain(&block.ident, "dynamic blocks are not supported yet", "write the blocks out"),
            "provisioner" | "post-processor" | "post-processors" => {
                self.complain(&block.ident, format!("{kind} can't stand here"), "put it into a build block");
            }
            other => self.complain(
                &block.ident,
                format!("there is no block {other:?}"),
                did_you_mean(other, TOP_LEVEL.iter().copied()),
            ),
        }
    }

    /// An attribute that must be a written-out string.
    fn literal(&mut self, attribute: &Attribute) -> Option<String> {
        let text = match &attribute.value {
            Expression::String(text) => Some(text.as_str().to_owned()),
            Expression::HeredocTemplate(heredoc) => {
                let parts = heredoc.template.iter().map(|element| element.as_literal().map(|literal| literal.as_str()));
                parts.collect::<Option<String>>()
            }
            _ => None,
        };
        if text.is_some() {
            return text;
        }
        let name = attribute.key.as_str();
        self.complain(
            &attribute.value,
            format!("{name} must be a plain string here"),
            "it is read before variables are",
        );
        None
    }

    fn packer(&mut self, block: &'f Block) {
        for structure in &block.body {
            match structure {
                Structure::Attribute(attribute) if attribute.has_key("required_version") => {
                    if let Some(constraint) = self.literal(attribute)
                        && let Err(message) = packer::check_version(&constraint)
                    {
                        self.complain(&attribute.value, format!("required_version: {message}"), "");
                    }
                }
                Structure::Block(plugins) if plugins.has_ident("required_plugins") => self.plugins(plugins),
                Structure::Attribute(attribute) => {
                    let name = attribute.key.as_str();
                    let hint = did_you_mean(name, ["required_version", "required_plugins"]);
                    self.complain(&attribute.key, format!("packer has no option {name:?}"), hint);
                }
                Structure::Block(other) => {
                    let name = other.ident.as_str();
                    let hint = did_you_mean(name, ["required_version", "required_plugins"]);
                    self.complain(&other.ident, format!("packer has no block {name:?}"), hint);
                }
            }
        }
    }

    /// Plugins are not installed: what they name is checked, and that their components exist is seen where they are used.
    fn plugins(&mut self, block: &'f Block) {
        for attribute in block.body.attributes() {
            let name = attribute.key.as_str();
            let Expression::Object(object) = &attribute.value else {
                let detail =
                    format!("write {name} = {{ version = \">= 1.0\", source = \"github.com/hashicorp/{name}\" }}");
                self.complain(&attribute.value, format!("required_plugins.{name} must be an object"), detail);
                continue;
            };
            let mut source = None;
            for (key, value) in object {
                let expr = value.expr();
                let text = expr.as_str();
                match (
                    key.as_ident().map(hcl_edit::Ident::as_str).or(key.as_expr().and_then(|key| match key {
                        Expression::Variable(name) => Some(name.as_str()),
                        other => other.as_str(),
                    })),
                    text,
                ) {
                    (Some("source"), Some(text)) => {
                        source = Some(());
                        if text.split('/').filter(|part| !part.is_empty()).count() < 3 {
                            let detail = "such as \"github.com/hashicorp/amazon\"";
                            self.complain(
                                expr,
                                format!("the source of plugin {name} must be host/namespace/name"),
                                detail,
                            );
                        }
                    }
                    (Some("version"), Some(text)) => {
                        if let Err(message) = packer::check_constraint(text) {
                            self.complain(expr, message, "");
                        }
                    }
                    (Some("source" | "version"), None) => {
                        self.complain(expr, "this must be a plain string", "it is read before variables are");
                    }
                    (other, _) => {
                        let other = other.unwrap_or_default().to_owned();
                        self.complain(
                            expr,
                            format!("a required plugin has no option {other:?}"),
                            "there are source and version",
                        );
                    }
                }
            }
            if source.is_none() {
                let detail = format!("such as \"github.com/hashicorp/{name}\"");
                self.complain(&attribute.key, format!("required_plugins.{name} needs a source"), detail);
            }
        }
    }

    fn declare(&mut self, name: &str, variable: Variable<'f>) {
        if let Some(first) = self.config.variables.get(name) {
            let diagnostic = Diagnostic::error(format!("the variable {name:?} is declared twice"))
                .with_detail(format!("the first time at {}", first.at));
            self.config.complaints.push(diagnostic.at(Some(variable.at)));
            return;
        }
        self.config.variables.insert(name.to_owned(), variable);
    }

    fn variables(&mut self, block: &'f Block) {
        for structure in &block.body {
            match structure {
                Structure::Attribute(attribute) => {
                    let at = self.place(&attribute.key);
                    let variable = Variable {
                        file: self.file,
                        at,
                        constraint: None,
                        default: Some(&attribute.value),
                        description: None,
                        sensitive: false,
                        validations: Vec::new(),
                    };
                    self.declare(attribute.key.as_str(), variable);
                }
                Structure::Block(inner) => {
                    self.complain(
                        &inner.ident,
                        "variables holds NAME = default only",
                        "use variable \"name\" { … } for more",
                    );
                }
            }
        }
    }

    fn variable(&mut self, block: &'f Block) {
        let mut variable = Variable {
            file: self.file,
            at: self.place(&block.ident),
            constraint: None,
            default: None,
            description: None,
            sensitive: false,
            validations: Vec::new(),
        };
        for structure in &block.body {
            match structure {
                Structure::Attribute(attribute) => match attribute.key.as_str() {
                    "type" => variable.constraint = Some(&attribute.value),
                    "default" => variable.default = Some(&attribute.value),
                    "description" => variable.description = self.literal(attribute),
                    "sensitive" => variable.sensitive = self.literal_bool(attribute),
                    name => {
                        let hint = did_you_mean(name, ["type", "default", "description", "sensitive", "validation"]);
                        self.complain(&attribute.key, format!("a variable has no option {name:?}"), hint);
                    }
                },
                Structure::Block(inner) if inner.has_ident("validation") => {
                    variable.validations.extend(self.validation(inner));
                }
                Structure::Block(inner) => {
                    let name = inner.ident.as_str();
                    self.complain(
                        &inner.ident,
                        format!("a variable has no block {name:?}"),
                        did_you_mean(name, ["validation"]),
                    );
                }
            }
        }
        self.declare(block.labels[0].as_str(), variable);
    }

    fn literal_bool(&mut self, attribute: &Attribute) -> bool {
        if let Some(flag) = attribute.value.as_bool() {
            return flag;
        }
        let name = attribute.key.as_str();
        self.complain(&attribute.value, format!("{name} must be true or false"), "");
        false
    }

    fn validation(&mut self, block: &'f Block) -> Option<Validation<'f>> {
        let condition = block.body.get_attribute("condition").map(|attribute| &attribute.value);
        let message = block.body.get_attribute("error_message").map(|attribute| &attribute.value);
        for attribute in block.body.attributes().filter(|a| !a.has_key("condition") && !a.has_key("error_message")) {
            let name = attribute.key.as_str();
            self.complain(
                &attribute.key,
                format!("validation has no option {name:?}"),
                "there are condition and error_message",
            );
        }
        let (Some(condition), Some(message)) = (condition, message) else {
            self.complain(&block.ident, "validation needs condition and error_message", "");
            return None;
        };
        Some(Validation { at: self.place(&block.ident), condition, message })
    }

    fn declare_local(&mut self, name: &str, local: Local<'f>) {
        if let Some(first) = self.config.locals.get(name) {
            let diagnostic = Diagnostic::error(format!("the local {name:?} is declared twice"))
                .with_detail(format!("the first time at {}", first.at));
            self.config.complaints.push(diagnostic.at(Some(local.at)));
            return;
        }
        self.config.locals.insert(name.to_owned(), local);
    }

    fn locals(&mut self, block: &'f Block) {
        for structure in &block.body {
            match structure {
                Structure::Attribute(attribute) => {
                    let at = self.place(&attribute.key);
                    let local = Local { file: self.file, at, expression: &attribute.value, sensitive: false };
                    self.declare_local(attribute.key.as_str(), local);
                }
                Structure::Block(inner) => self.complain(&inner.ident, "locals holds NAME = value only", ""),
            }
        }
    }

    fn local(&mut self, block: &'f Block) {
        let Some(expression) = block.body.get_attribute("expression") else {
            return self.complain(&block.ident, "a local block needs expression = …", "");
        };
        let mut sensitive = false;
        for attribute in block.body.attributes() {
            match attribute.key.as_str() {
                "expression" => {}
                "sensitive" => sensitive = self.literal_bool(attribute),
                name => self.complain(
                    &attribute.key,
                    format!("a local has no option {name:?}"),
                    "there are expression and sensitive",
                ),
            }
        }
        let local = Local { file: self.file, at: self.place(&block.ident), expression: &expression.value, sensitive };
        self.declare_local(block.labels[0].as_str(), local);
    }

    fn source(&mut self, block: &'f Block) {
        let name = format!("{}.{}", block.labels[0].as_str(), block.labels[1].as_str());
        let source = Source { file: self.file, at: self.place(&block.ident), body: &block.body };
        if let Some(first) = self.config.sources.get(&name) {
            let detail = format!("the first time at {}", first.at);
            return self.complain(&block.ident, format!("the source {name:?} is declared twice"), detail);
        }
        self.config.sources.insert(name, source);
    }

    fn build(&mut self, block: &'f Block) {
        let value = |name: &str| block.body.get_attribute(name).map(|attribute| &attribute.value);
        let (name, description) = (value("name"), value("description"));
        let at = self.place(&block.ident);
        self.config.builds.push(Build { file: self.file, at, body: &block.body, name, description });
    }
}
