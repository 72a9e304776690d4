//! `variable "x" { … }` and `variables { … }`.

use super::Collector;
use crate::template::hcl::syntax::ast::{Block, Expr, Ident, Item, Span};
use crate::template::source::{SourceFile, did_you_mean};

/// `variable "x" { … }`, or an entry of `variables { … }`.
#[derive(Debug)]
pub struct Variable<'f> {
    pub file: &'f SourceFile,
    pub span: Span,
    pub constraint: Option<&'f Expr>,
    pub default: Option<&'f Expr>,
    pub description: Option<String>,
    pub sensitive: bool,
    pub validations: Vec<Validation<'f>>,
}

#[derive(Debug)]
pub struct Validation<'f> {
    pub span: Span,
    pub condition: &'f Expr,
    pub message: &'f Expr,
}

const OPTIONS: &[&str] = &["type", "default", "description", "sensitive", "validation"];

impl<'f> Collector<'_, 'f> {
    fn declare_variable(&mut self, name: &str, variable: Variable<'f>) {
        if let Some(first) = self.config.variables.get(name) {
            let first = first.file.location(first.span.start as usize);
            return self.twice("variable", name, variable.span, &first);
        }
        self.config.variables.insert(name.to_owned(), variable);
    }

    fn empty_variable(&self, span: Span) -> Variable<'f> {
        Variable {
            file: self.file,
            span,
            constraint: None,
            default: None,
            description: None,
            sensitive: false,
            validations: Vec::new(),
        }
    }

    pub(super) fn variables(&mut self, block: &'f Block) {
        for item in &block.body.items {
            match item {
                Item::Attribute(attribute) => {
                    let mut variable = self.empty_variable(attribute.name.span);
                    variable.default = Some(&attribute.value);
                    self.declare_variable(&attribute.name.name, variable);
                }
                Item::Block(inner) => {
                    let detail = "use variable \"name\" { … } for more";
                    self.complain(&inner.kind, "variables holds NAME = default only", detail);
                }
            }
        }
    }

    pub(super) fn variable(&mut self, block: &'f Block) {
        let mut variable = self.empty_variable(block.kind.span);
        for item in &block.body.items {
            match item {
                Item::Attribute(attribute) => match &*attribute.name.name {
                    "type" => variable.constraint = Some(&attribute.value),
                    "default" => variable.default = Some(&attribute.value),
                    "description" => variable.description = self.literal(attribute),
                    "sensitive" => variable.sensitive = self.literal_bool(attribute),
                    name => {
                        let hint = did_you_mean(name, OPTIONS.iter().copied());
                        self.complain(&attribute.name, format!("a variable has no option {name:?}"), hint);
                    }
                },
                Item::Block(inner) if &*inner.kind.name == "validation" => {
                    variable.validations.extend(self.validation(inner));
                }
                Item::Block(inner) => {
                    let name = &inner.kind.name;
                    let hint = did_you_mean(name, OPTIONS.iter().copied());
                    self.complain(&inner.kind, format!("a variable has no block {name:?}"), hint);
                }
            }
        }
        self.declare_variable(&block.labels[0].text, variable);
    }

    fn validation(&mut self, block: &'f Block) -> Option<Validation<'f>> {
        for item in &block.body.items {
            let Ident { name, span } = item.name();
            if matches!(item, Item::Block(_)) || !matches!(&**name, "condition" | "error_message") {
                let detail = "there are condition and error_message";
                self.complain(span, format!("validation has no option {name:?}"), detail);
            }
        }
        let value = |name: &str| block.body.attribute(name).map(|attribute| &attribute.value);
        let (Some(condition), Some(message)) = (value("condition"), value("error_message")) else {
            self.complain(&block.kind, "validation needs condition and error_message", "");
            return None;
        };
        Some(Validation { span: block.kind.span, condition, message })
    }
}
