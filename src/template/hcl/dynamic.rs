//! `dynamic` blocks: a body's blocks with those that `dynamic` makes, in order. They can stand wherever blocks can.

use std::rc::Rc;
use std::sync::Arc;

use super::eval::{Evaluator, Names};
use super::syntax::ast::{Block, Body, Expr, ExprKind, Ident, Item, Label, Span, Spanned};
use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::source::did_you_mean;
use crate::template::value::{Kind, Late, Value};

/// Blocks that dynamic blocks of one body make at most.
const MAX_BLOCKS: usize = 10_000;

/// A block as it counts: written, or made by `dynamic`.
#[derive(Debug, Clone)]
pub struct Expanded<'f> {
    pub kind: Arc<str>,
    /// Where its kind is written.
    pub at: Span,
    pub labels: Vec<Label>,
    pub body: &'f Body,
    /// What the expressions in its body can name, besides what is known everywhere.
    pub names: Rc<Names>,
    /// A `dynamic` block made it.
    pub made: bool,
    /// It stands for a number of blocks that is not known yet.
    pub open: bool,
}

impl Spanned for Expanded<'_> {
    fn span(&self) -> Span {
        self.at
    }
}

impl<'f> Expanded<'f> {
    /// A block as it is written.
    #[must_use]
    pub fn written(block: &'f Block, names: &Rc<Names>) -> Self {
        Self {
            kind: Arc::clone(&block.kind.name),
            at: block.kind.span,
            labels: block.labels.clone(),
            body: &block.body,
            names: Rc::clone(names),
            made: false,
            open: false,
        }
    }

    /// The text of a label.
    #[must_use]
    pub fn label(&self, at: usize) -> Option<&str> {
        self.labels.get(at).map(|label| &*label.text)
    }
}

/// The blocks of a body. `evaluator` works out what dynamic blocks go through; its names are replaced by the body's own.
/// Faults go to `complaints`.
pub fn blocks<'f>(
    body: &'f Body,
    names: &Rc<Names>,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<Expanded<'f>> {
    let mut all = Vec::new();
    for item in &body.items {
        let Item::Block(block) = item else { continue };
        if &*block.kind.name == "dynamic" {
            expand(block, names, evaluator, &mut all, complaints);
        } else {
            all.push(Expanded::written(block, names));
        }
    }
    all
}

/// What a dynamic block says of itself.
struct Dynamic<'f> {
    for_each: &'f Expr,
    iterator: Arc<str>,
    labels: Option<&'f Expr>,
    content: &'f Body,
}

const OPTIONS: &[&str] = &["for_each", "iterator", "labels", "content"];

impl<'f> Dynamic<'f> {
    fn read(block: &'f Block, kind: &Label, evaluator: &Evaluator<'_>) -> Result<Self, Box<Diagnostic>> {
        let fault = |at: &dyn Fn() -> Span, summary: String, hint: Hint| {
            let mut fault = evaluator.fault(&at(), summary);
            fault.set_hint(hint);
            fault
        };
        let mut content = None;
        for item in &block.body.items {
            let Ident { name, span } = item.name();
            if let (Item::Block(inner), "content", None) = (item, &**name, content) {
                content = Some(&inner.body);
                continue;
            }
            let known = OPTIONS.contains(&&**name) && matches!(item, Item::Attribute(_)) && &**name != "content";
            if !known {
                let what = if &**name == "content" { "one content block only" } else { "no such option or block" };
                let hint = did_you_mean(name, OPTIONS.iter().copied());
                return Err(fault(&|| *span, format!("a dynamic block has {what}: {name:?}"), hint));
            }
        }
        let Some(content) = content else {
            return Err(fault(
                &|| block.kind.span,
                "a dynamic block needs a content block".to_owned(),
                format!("write content {{ … }} with what each {:?} block holds", kind.text).into(),
            ));
        };
        let Some(for_each) = block.body.attribute("for_each") else {
            return Err(fault(
                &|| block.kind.span,
                "a dynamic block needs for_each".to_owned(),
                "for_each takes a list, a set or a map".into(),
            ));
        };
        let iterator = match block.body.attribute("iterator").map(|attribute| &attribute.value) {
            None => Arc::clone(&kind.text),
            Some(Expr { kind: ExprKind::Variable(name), .. }) => Arc::clone(&name.name),
            Some(other) => {
                return Err(fault(
                    &|| other.span,
                    "iterator is a bare name".to_owned(),
                    "such as iterator = item".into(),
                ));
            }
        };
        let labels = block.body.attribute("labels").map(|attribute| &attribute.value);
        Ok(Self { for_each: &for_each.value, iterator, labels, content })
    }
}

/// Adds the blocks that a dynamic block makes, and says whether that is all of them: those whose labels are not known yet
/// are left out. Faults go to `complaints`.
pub fn expand<'f>(
    block: &'f Block,
    names: &Rc<Names>,
    evaluator: &Evaluator<'_>,
    all: &mut Vec<Expanded<'f>>,
    complaints: &mut Vec<Diagnostic>,
) -> bool {
    make(block, names, evaluator, all, complaints).unwrap_or_else(|fault| {
        complaints.push(*fault);
        false
    })
}

fn make<'f>(
    block: &'f Block,
    names: &Rc<Names>,
    evaluator: &Evaluator<'_>,
    all: &mut Vec<Expanded<'f>>,
    complaints: &mut Vec<Diagnostic>,
) -> Result<bool, Box<Diagnostic>> {
    let mut complete = true;
    let [kind] = block.labels.as_slice() else {
        let mut fault = evaluator.fault(&block.kind, "a dynamic block has one label: the kind of block it makes");
        fault.set_hint("such as dynamic \"provisioner\" { … }");
        return Err(fault);
    };
    let dynamic = Dynamic::read(block, kind, evaluator)?;
    let here = evaluator.with_names(names);
    let collection = here.value(dynamic.for_each)?;
    let open = matches!(collection.kind(), Kind::Unknown);
    let pairs = match collection.kind() {
        _ if collection.late() != Late::No => {
            let summary = "for_each is needed before the build runs, and what it uses of build is known only then";
            return Err(evaluator.fault(dynamic.for_each, summary));
        }
        // Nobody knows how many there are: one stands for all of them.
        Kind::Unknown => vec![(Value::UNKNOWN, Value::UNKNOWN)],
        Kind::Sequence(_) | Kind::Mapping(_) => here.pairs(&collection, dynamic.for_each)?,
        _ => {
            let summary = format!("for_each needs a list, a set or a map, this is {}", collection.type_name());
            return Err(evaluator.fault(dynamic.for_each, summary));
        }
    };
    for (key, value) in pairs {
        here.spend(10 + names.len() as u64, &block.kind)?;
        if all.len() >= MAX_BLOCKS {
            return Err(evaluator.fault(&block.kind, format!("more than {MAX_BLOCKS} blocks are made here")));
        }
        let element = [("key".to_owned(), key), ("value".to_owned(), value)];
        let mut inner = vec![(dynamic.iterator.to_string(), Value::object(element.into_iter().collect()))];
        inner.extend(names.iter().cloned());
        let inner = Rc::new(inner);
        let labels = match dynamic.labels {
            None => Vec::new(),
            Some(expr) => match labels(expr, &evaluator.with_names(&inner)) {
                Ok(Some(labels)) => labels,
                // What nobody knows the name of yet is left out until it has one.
                Ok(None) => {
                    complete = false;
                    continue;
                }
                Err(fault) => {
                    complaints.push(*fault);
                    complete = false;
                    continue;
                }
            },
        };
        all.push(Expanded {
            kind: Arc::clone(&kind.text),
            at: kind.span,
            labels,
            body: dynamic.content,
            names: inner,
            made: true,
            open,
        });
    }
    Ok(complete)
}

/// The labels; `None` when one is not known yet.
fn labels(expr: &Expr, evaluator: &Evaluator<'_>) -> Result<Option<Vec<Label>>, Box<Diagnostic>> {
    let value = evaluator.value(expr)?;
    if value.is_unknown() {
        return Ok(None);
    }
    if value.is_late() {
        let summary = "labels are needed before the build runs, and what these use of build is known only then";
        return Err(evaluator.fault(expr, summary));
    }
    let bad = || evaluator.fault(expr, "labels is a list of strings");
    let items = value.as_items().ok_or_else(bad)?;
    let written = match &expr.kind {
        ExprKind::Tuple(written) if written.len() == items.len() => Some(written),
        _ => None,
    };
    let label = |(at, item): (usize, &Value)| {
        let span = written.map_or(expr.span, |written| written[at].span);
        item.to_text().map(|text| Label { text, span }).ok_or_else(bad)
    };
    items.iter().enumerate().map(label).collect::<Result<_, _>>().map(Some)
}
