//! String templates: `"${…}"`, heredocs, `%{ if }` and `%{ for }`. Strip markers are the parser's.

use super::eval::{EvalResult, Evaluator, Scope};
use super::syntax::ast::{Expr, ForPart, IfPart, Part, Template};
use crate::domain::diagnostic::Diagnostic;
use crate::template::runtime::MAX_VALUE_WEIGHT;
use crate::template::value::{Kind, Late, Value};

/// Text being put together, with what it inherits from its parts.
#[derive(Default)]
struct Text {
    buffer: String,
    sensitive: bool,
    unknown: bool,
    late: bool,
}

impl Evaluator<'_> {
    /// Evaluates a template to a string. A template that is one `${…}` and nothing else keeps its value's type.
    pub(super) fn template(&self, template: &Template, scope: &Scope<'_>) -> EvalResult {
        if let [Part::Interpolation(only)] = template.parts.as_slice() {
            return self.eval(only, scope);
        }
        if let [Part::Literal(text, _)] = template.parts.as_slice() {
            return Ok(Value::string(std::sync::Arc::clone(text)));
        }
        let mut text = Text::default();
        self.parts(&template.parts, scope, &mut text)?;
        let value = if text.unknown { Value::UNKNOWN } else { Value::string(text.buffer) };
        Ok(value.marked(text.sensitive).with_late(if text.late { Late::Text } else { Late::No }))
    }

    fn parts(&self, parts: &[Part], scope: &Scope<'_>, text: &mut Text) -> Result<(), Box<Diagnostic>> {
        let mut first = None;
        for part in parts {
            let done = match part {
                Part::Literal(literal, span) => {
                    text.buffer.push_str(literal);
                    self.bound(text, span)
                }
                Part::Interpolation(expr) => self.interpolate(expr, scope, text),
                Part::If(part) => self.if_part(part, scope, text),
                Part::For(part) => self.for_part(part, scope, text),
            };
            self.unless_faulty(done, &mut first)?;
            // Going on only to find more faults must not make more text.
            if first.is_some() {
                text.buffer.clear();
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn bound(&self, text: &Text, at: &impl super::syntax::ast::Spanned) -> Result<(), Box<Diagnostic>> {
        if text.buffer.len() as u64 > MAX_VALUE_WEIGHT {
            return Err(self.fault(at, "this string is too large: more than 4 MiB"));
        }
        Ok(())
    }

    fn interpolate(&self, expr: &Expr, scope: &Scope<'_>, text: &mut Text) -> Result<(), Box<Diagnostic>> {
        let value = self.eval(expr, scope)?;
        text.sensitive |= value.is_sensitive();
        text.late |= value.is_late();
        if value.is_unknown() {
            text.unknown = true;
            return Ok(());
        }
        let Some(part) = value.to_text().filter(|_| !matches!(value.late(), Late::Collection(_))) else {
            let name = if value.is_late() { "list or map" } else { value.type_name() };
            let mut fault = self.fault(expr, format!("a {name} can't be put into a string"));
            fault.set_hint(match name {
                "null" => "the value is null here; use coalesce(…) or a condition",
                _ => "use join(…) or jsonencode(…) to make it text",
            });
            return Err(fault);
        };
        text.buffer.push_str(&part);
        self.spend(part.len() as u64 / 1024 + value.weight().min(64) / 8, expr)?;
        self.bound(text, expr)
    }

    fn if_part(&self, part: &IfPart, scope: &Scope<'_>, text: &mut Text) -> Result<(), Box<Diagnostic>> {
        let condition = self.eval(&part.condition, scope)?;
        text.sensitive |= condition.is_sensitive();
        if condition.is_unknown() || self.runtime.late.look_into(&condition) {
            text.unknown = true;
            return Ok(());
        }
        let chosen = if self.boolean(&condition, &part.condition, "a condition")? { &part.yes } else { &part.no };
        self.parts(chosen, scope, text)
    }

    fn for_part(&self, part: &ForPart, scope: &Scope<'_>, text: &mut Text) -> Result<(), Box<Diagnostic>> {
        let collection = self.eval(&part.collection, scope)?;
        text.sensitive |= collection.is_marked();
        if matches!(collection.kind(), Kind::Unknown) || self.runtime.late.look_at(&collection) {
            text.unknown = true;
            return Ok(());
        }
        for (key, item) in self.pairs(&collection, &part.collection)? {
            self.spend(1, &part.collection)?;
            let mut names = vec![(part.value_name.name.to_string(), item)];
            if let Some(key_name) = &part.key_name {
                names.push((key_name.name.to_string(), key));
            }
            self.parts(&part.body, &Scope::child(scope, &names), text)?;
        }
        Ok(())
    }
}
