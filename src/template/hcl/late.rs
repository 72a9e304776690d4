//! Expressions that need more of the build than it has done yet: what they use is taken along, and the step evaluates
//! them again. `late_run` does that.

use std::collections::HashSet;

use super::eval::{EvalResult, Evaluator, Scope};
use super::parse;
use super::syntax::ast::{Expr, ExprKind};
use super::walk;
use crate::domain::config::late::{LateExpression, LateName, LateValue};
use crate::domain::diagnostic::Diagnostic;
use crate::template::late::{self, Waiting};
use crate::template::source::SourceFile;
use crate::template::value::{Kind, Late, Value};

const ADVICE: &str = "put it into text as it is and let the script work: inline = [\"ID='${build.ID}'; …\"]";

/// A value with the names that lead to it.
type Named = (Vec<String>, Value);

impl Evaluator<'_> {
    /// The value of an expression one of whose operations has looked into a late value. `now` is what came of the text
    /// that stands for it, `since` what was noted before.
    pub(super) fn deferred(&self, expr: &Expr, scope: &Scope<'_>, now: EvalResult, since: u64) -> EvalResult {
        self.runtime.late.wait(since);
        let now = match now {
            // What a function says of text that only stands for something means nothing.
            Err(_) if matches!(expr.kind, ExprKind::Call(_)) => Value::UNKNOWN,
            now => now?,
        };
        // What follows a splat is no expression of its own: the splat waits with all of it.
        if scope.splat_item().is_some() && has_splat_item(expr) {
            return Ok(Value::UNKNOWN);
        }
        let asked = asked(expr);
        // A heredoc ends with its line.
        let source = format!("{}\n", expr.span.text(&self.file.text));
        self.spend(16 + source.len() as u64 / 4, expr)?;
        if self.file.path.ends_with(".pkr.json") || parse::expression(&SourceFile::new("", &source)).is_err() {
            let summary = format!("{asked} is known only while the build runs, nothing can be worked out of it here");
            let mut fault = self.fault(expr, summary);
            fault.set_hint(ADVICE);
            return Err(fault);
        }
        let Some(names) = self.names_of(expr, scope)? else {
            return Ok(Value::UNKNOWN);
        };
        let sensitive = names.iter().any(|(_, value)| value.is_sensitive());
        let Some(names) = names.into_iter().map(|(path, value)| LateName::of(path, &value)).collect() else {
            return Ok(Value::UNKNOWN);
        };
        let expression = LateExpression { source, at: self.place(expr), names };
        let number = self.runtime.late.add(Waiting { expression, asked });
        let late = if is_collection(expr, &now) { Late::Collection(number) } else { Late::Expression(number) };
        Ok(Value::string(late::action(number)).with_late(late).marked(sensitive))
    }

    /// What an expression uses, but for what of `build` is late; `None` when something is unknown.
    fn names_of(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Option<Vec<Named>>, Box<Diagnostic>> {
        let Mentioned { paths, forgiving } = Mentioned::by(expr);
        let mut names: Vec<Named> = Vec::new();
        for (path, part) in paths {
            self.spend(1, part)?;
            let depth = if scope.get(path[0]).is_some() {
                1
            } else if path[0] == "data" {
                3
            } else {
                2
            };
            let path = &path[..path.len().min(depth)];
            if names.iter().any(|(known, _)| *known == *path) {
                continue;
            }
            let Some(value) = self.named(path, scope) else {
                // A name that a `for` inside of the expression brings in has no value here.
                if !forgiving && self.globals.contains_key(path[0]) {
                    self.eval(part, scope)?;
                }
                continue;
            };
            let build = path[0] == "build" && depth > 1;
            if build && value.is_late() {
                continue;
            }
            if matches!(value.kind(), Kind::Unknown) {
                return Ok(None);
            }
            self.spend(value.weight() / 8, part)?;
            names.push((path.iter().map(|name| (*name).to_owned()).collect(), value));
        }
        // Of a whole and its parts the whole counts, and is put in first.
        names.sort_by_key(|(path, _)| path.len());
        Ok(Some(names))
    }

    fn named(&self, path: &[&str], scope: &Scope<'_>) -> Option<Value> {
        let mut value = scope.get(path[0]).or_else(|| self.globals.get(path[0]))?.clone();
        for name in &path[1..] {
            let marked = value.is_marked();
            value = value.as_mapping()?.entries.get(*name)?.clone().marked(marked);
        }
        Some(value)
    }
}

/// The names that an expression mentions, as paths, with where each stands.
struct Mentioned<'e> {
    paths: Vec<(Vec<&'e str>, &'e Expr)>,
    /// Whether it may do without some of them: `try`, `can`.
    forgiving: bool,
}

impl<'e> Mentioned<'e> {
    fn by(expr: &'e Expr) -> Self {
        let mut mentioned = Self { paths: Vec::new(), forgiving: false };
        let mut inner: HashSet<*const Expr> = HashSet::new();
        walk::walk(expr, &mut |part| {
            mentioned.forgiving |= is_forgiving(part);
            let path = walk::path(part);
            if path.is_empty() {
                return;
            }
            if !inner.contains(&std::ptr::from_ref(part)) {
                mentioned.paths.push((path, part));
            }
            if let ExprKind::Attribute(base, _) | ExprKind::Index(base, _) = &part.kind {
                inner.insert(std::ptr::from_ref::<Expr>(base));
            }
        });
        mentioned
    }
}

/// Whether what is missing may be missing in it.
pub(super) fn is_forgiving(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Call(call) if matches!(&*call.name.name, "try" | "can"))
}

impl LateName {
    fn of(path: Vec<String>, value: &Value) -> Option<Self> {
        Some(Self { path, value: LateValue::of(value)? })
    }
}

/// Whether the value will be no text; where that is not clear, it may be.
fn is_collection(expr: &Expr, now: &Value) -> bool {
    match &expr.kind {
        ExprKind::For(_) | ExprKind::Splat { .. } | ExprKind::Tuple(_) | ExprKind::Object(_) => true,
        ExprKind::Unary(..) | ExprKind::Binary(_) | ExprKind::Template(_) => false,
        _ => matches!(now.late(), Late::Collection(_)) || matches!(now.kind(), Kind::Sequence(_) | Kind::Mapping(_)),
    }
}

fn has_splat_item(expr: &Expr) -> bool {
    let mut found = false;
    walk::walk(expr, &mut |part| found |= matches!(part.kind, ExprKind::SplatItem));
    found
}

/// What of the build an expression asks for, as it is written.
fn asked(expr: &Expr) -> String {
    let mut found = None;
    walk::walk(expr, &mut |expr| {
        if let ["build", name, ..] = walk::path(expr).as_slice() {
            found.get_or_insert_with(|| format!("build.{name}"));
        }
    });
    found.unwrap_or_else(|| "what this uses of build".to_owned())
}
