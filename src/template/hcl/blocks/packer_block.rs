//! `packer { … }`: which version of the language the template needs, and which plugins. Components are built in, so
//! nothing is installed: what a plugin is asked for is checked, and that its components exist is seen where they are used.

use super::{Collector, TOP_LEVEL};
use crate::domain::diagnostic::SourceLocation;
use crate::template::hcl::syntax::ast::{Attribute, Block, Expr, ExprKind, Item, ObjectItem, ObjectKey, Span};
use crate::template::packer;
use crate::template::source::did_you_mean;

/// An entry of `required_plugins`.
#[derive(Debug)]
pub struct Plugin {
    pub at: SourceLocation,
    pub end: crate::domain::diagnostic::Position,
    /// `github.com/hashicorp/amazon`.
    pub source: String,
    /// As it is written; empty for any version.
    pub version: String,
}

impl<'f> Collector<'_, 'f> {
    pub(super) fn packer(&mut self, block: &'f Block) {
        for item in &block.body.items {
            match item {
                Item::Attribute(attribute) if &*attribute.name.name == "required_version" => {
                    if let Some(constraint) = self.literal(attribute)
                        && let Err(message) = packer::check_version(&constraint)
                    {
                        self.complain(&attribute.value, format!("required_version: {message}"), "");
                    }
                }
                Item::Block(plugins) if &*plugins.kind.name == "required_plugins" => self.plugins(plugins),
                Item::Attribute(attribute) => {
                    let name = &attribute.name.name;
                    let hint = match &**name {
                        "required_plugins" => "it is a block: required_plugins { … }, without =".into(),
                        _ => did_you_mean(name, ["required_version", "required_plugins"]),
                    };
                    self.complain(&attribute.name, format!("packer has no option {name:?}"), hint);
                }
                Item::Block(other) => {
                    let name = &other.kind.name;
                    let hint = if TOP_LEVEL.contains(&&**name) {
                        self.config.misplaced = true;
                        format!("move it out of packer {{ … }}: {name} stands at the top level").into()
                    } else {
                        did_you_mean(name, ["required_version", "required_plugins"])
                    };
                    self.complain(&other.kind, format!("packer has no block {name:?}"), hint);
                }
            }
        }
    }

    fn plugins(&mut self, block: &'f Block) {
        for item in &block.body.items {
            match item {
                Item::Attribute(attribute) => self.plugin(attribute),
                Item::Block(inner) => {
                    let name = &inner.kind.name;
                    let detail = format!("write {name} = {{ … }}");
                    self.complain(&inner.kind, "required_plugins holds NAME = { … } only", detail);
                }
            }
        }
    }

    fn plugin(&mut self, attribute: &'f Attribute) {
        let name = &*attribute.name.name;
        let ExprKind::Object(items) = &attribute.value.kind else {
            let detail = format!("write {name} = {{ version = \">= 1.0\", source = \"github.com/hashicorp/{name}\" }}");
            return self.complain(&attribute.value, format!("required_plugins.{name} must be an object"), detail);
        };
        let (mut source, mut version) = (None, String::new());
        for item in items {
            let (option, span) = option(item);
            let Some(text) = item.value.literal() else {
                self.complain(&item.value, "this must be a plain string", "it is read before variables are");
                source = source.or((option.as_deref() == Some("source")).then(String::new));
                continue;
            };
            match option.as_deref() {
                Some("source") => {
                    self.plugin_source(name, &text, &item.value);
                    source = Some(text);
                }
                Some("version") => {
                    if let Err(message) = packer::check_constraint(&text) {
                        self.complain(&item.value, message, "");
                    }
                    version = text;
                }
                other => {
                    let other = other.unwrap_or_default();
                    let detail = "there are source and version";
                    self.complain(&span, format!("a required plugin has no option {other:?}"), detail);
                }
            }
        }
        let Some(source) = source else {
            let detail = format!("such as \"github.com/hashicorp/{name}\"");
            return self.complain(&attribute.name, format!("required_plugins.{name} needs a source"), detail);
        };
        let at = self.place(&attribute.name);
        if let Some(first) = self.config.plugins.get(name) {
            let first = first.at.clone();
            return self.twice("required plugin", name, attribute.name.span, &first);
        }
        let end = self.file.position(attribute.name.span.end as usize);
        self.config.plugins.insert(name.to_owned(), Plugin { at, end, source, version });
    }

    fn plugin_source(&mut self, name: &str, source: &str, at: &Expr) {
        let parts: Vec<&str> = source.split('/').collect();
        let well_formed = parts.len() >= 3
            && parts.iter().all(|part| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            });
        if !well_formed {
            let summary = format!("the source of plugin {name} must be host/namespace/name");
            self.complain(at, summary, "such as \"github.com/hashicorp/amazon\"");
        }
    }
}

/// The option that an entry sets, and where it is written.
fn option(item: &ObjectItem) -> (Option<String>, Span) {
    match &item.key {
        ObjectKey::Name(name) => (Some(name.name.to_string()), name.span),
        ObjectKey::Expr(expr) => (expr.literal(), expr.span),
    }
}
