//! String templates: `"${…}"`, heredocs, `%{ if }` and `%{ for }`, and the strip markers `~`.

use std::borrow::Cow;

use hcl_edit::expr::Expression;
use hcl_edit::template::{Directive, Element, ForDirective, IfDirective, Strip, Template};

use super::eval::{EvalResult, Evaluator, Scope};
use crate::domain::diagnostic::Diagnostic;
use crate::template::runtime::MAX_VALUE_WEIGHT;
use crate::template::value::Value;

/// Text being put together, with what it inherits from its parts.
#[derive(Default)]
struct Text {
    buffer: String,
    sensitive: bool,
    unknown: bool,
}

impl Evaluator<'_> {
    /// Evaluates a template to a string. A template that is one `${…}` and nothing else keeps its value's type, when
    /// `unwrap` says so.
    pub(super) fn template(&self, template: &Template, scope: &Scope<'_>, unwrap: bool) -> EvalResult {
        if let (true, Some(Element::Interpolation(only)), 1) = (unwrap, template.get(0), template.len()) {
            return self.eval(&only.expr, scope);
        }
        let mut text = Text::default();
        self.elements(template, scope, &mut text, (false, false))?;
        if text.unknown {
            return Ok(Value::UNKNOWN);
        }
        Ok(Value::string(text.buffer).marked(text.sensitive))
    }

    /// Writes a template's elements. `strip` says whether the markers around the template eat its outer white space.
    fn elements(
        &self,
        template: &Template,
        scope: &Scope<'_>,
        text: &mut Text,
        strip: (bool, bool),
    ) -> Result<(), Box<Diagnostic>> {
        let elements: Vec<&Element> = template.iter().collect();
        for (position, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(literal) => {
                    let mut part = Cow::Borrowed(literal.as_str());
                    let before = position.checked_sub(1).map_or(strip.0, |at| strips_after(elements[at]));
                    let after = elements.get(position + 1).map_or(strip.1, |next| strips_before(next));
                    if before {
                        part = Cow::Owned(part.trim_start().to_owned());
                    }
                    if after {
                        part = Cow::Owned(part.trim_end().to_owned());
                    }
                    text.buffer.push_str(&part);
                }
                Element::Interpolation(interpolation) => self.interpolate(&interpolation.expr, scope, text)?,
                Element::Directive(directive) => match &**directive {
                    Directive::If(directive) => self.if_directive(directive, scope, text)?,
                    Directive::For(directive) => self.for_directive(directive, scope, text)?,
                },
            }
        }
        Ok(())
    }

    fn interpolate(&self, expr: &Expression, scope: &Scope<'_>, text: &mut Text) -> Result<(), Box<Diagnostic>> {
        let value = self.eval(expr, scope)?;
        text.sensitive |= value.is_sensitive();
        if value.is_unknown() {
            text.unknown = true;
            return Ok(());
        }
        let Some(part) = value.to_text() else {
            let name = value.type_name();
            let mut fault = self.fault(expr, format!("a {name} can't be put into a string"));
            fault.detail = match name {
                "null" => "the value is null here; use coalesce(…) or a condition".to_owned(),
                _ => "use join(…) or jsonencode(…) to make it text".to_owned(),
            };
            return Err(fault);
        };
        text.buffer.push_str(&part);
        if text.buffer.len() as u64 > MAX_VALUE_WEIGHT {
            return Err(self.fault(expr, "this string is too large: more than 4 MiB"));
        }
        Ok(())
    }

    fn if_directive(&self, directive: &IfDirective, scope: &Scope<'_>, text: &mut Text) -> Result<(), Box<Diagnostic>> {
        let condition = self.eval(&directive.if_expr.cond_expr, scope)?;
        if condition.is_unknown() {
            text.unknown = true;
            return Ok(());
        }
        text.sensitive |= condition.is_sensitive();
        let chosen = self.boolean(&condition, &directive.if_expr.cond_expr, "a condition")?;
        let end = directive.endif_expr.strip.strip_start();
        let start = directive.if_expr.strip.strip_end();
        match (&directive.else_expr, chosen) {
            (None, true) => self.elements(&directive.if_expr.template, scope, text, (start, end)),
            (Some(other), true) => {
                self.elements(&directive.if_expr.template, scope, text, (start, other.strip.strip_start()))
            }
            (Some(other), false) => self.elements(&other.template, scope, text, (other.strip.strip_end(), end)),
            (None, false) => Ok(()),
        }
    }

    fn for_directive(
        &self,
        directive: &ForDirective,
        scope: &Scope<'_>,
        text: &mut Text,
    ) -> Result<(), Box<Diagnostic>> {
        let intro = &directive.for_expr;
        let collection = self.eval(&intro.collection_expr, scope)?;
        if collection.is_unknown() {
            text.unknown = true;
            return Ok(());
        }
        text.sensitive |= collection.is_sensitive();
        let strip = (intro.strip.strip_end(), directive.endfor_expr.strip.strip_start());
        for (key, item) in self.pairs(&collection, &intro.collection_expr)? {
            self.runtime.spend(1).map_err(|message| self.fault(&intro.collection_expr, message))?;
            let mut names = vec![(intro.value_var.as_str().to_owned(), item)];
            if let Some(key_var) = &intro.key_var {
                names.push((key_var.as_str().to_owned(), key));
            }
            self.elements(&intro.template, &Scope::child(scope, names), text, strip)?;
            if text.buffer.len() as u64 > MAX_VALUE_WEIGHT {
                return Err(self.fault(&intro.collection_expr, "this string is too large: more than 4 MiB"));
            }
        }
        Ok(())
    }
}

fn strips_before(element: &Element) -> bool {
    outer_strip(element).0
}

fn strips_after(element: &Element) -> bool {
    outer_strip(element).1
}

/// Whether an element's markers eat the white space before and after it.
fn outer_strip(element: &Element) -> (bool, bool) {
    let (first, last): (Strip, Strip) = match element {
        Element::Literal(_) => return (false, false),
        Element::Interpolation(interpolation) => (interpolation.strip, interpolation.strip),
        Element::Directive(directive) => match &**directive {
            Directive::If(directive) => (directive.if_expr.strip, directive.endif_expr.strip),
            Directive::For(directive) => (directive.for_expr.strip, directive.endfor_expr.strip),
        },
    };
    (first.strip_start(), last.strip_end())
}
