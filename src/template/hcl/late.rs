//! Expressions that need more of the build than it has done yet.

use super::eval::{EvalResult, Evaluator};
use super::syntax::ast::Expr;
use super::walk;

const ADVICE: &str = "put it into text as it is and let the script work: inline = [\"ID='${build.ID}'; …\"]";

impl Evaluator<'_> {
    /// The value of an expression one of whose operations has looked into a late value; `since` is what was noted before.
    pub(super) fn deferred(&self, expr: &Expr, since: u64) -> EvalResult {
        self.runtime.late.wait(since);
        let summary = format!("{} is known only while the build runs, nothing can be worked out of it here", asked(expr));
        let mut fault = self.fault(expr, summary);
        fault.set_hint(ADVICE);
        Err(fault)
    }
}

/// What of the build an expression asks for, as it is written.
fn asked(expr: &Expr) -> String {
    let mut found = None;
    walk::walk(expr, &mut |expr| {
        if let ["build", name] = walk::path(expr).as_slice() {
            found.get_or_insert_with(|| format!("build.{name}"));
        }
    });
    found.unwrap_or_else(|| "what this uses of build".to_owned())
}
