//! The tree of a text with `{{ … }}` actions: Go's text/template as Packer's templates use it. `define`, `template`,
//! `block` and `call` are not part of it: Packer gives templates nothing that they could be used with.

use super::value::Value;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Text(String),
    Action {
        span: Span,
        pipeline: Pipeline,
    },
    /// `{{if}}`, `{{with}}` or `{{range}}` up to its `{{end}}`.
    Block(Box<Block>),
    Break(Span),
    Continue(Span),
}

/// A range of bytes of the text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    If,
    With,
    Range,
}

impl BlockKind {
    /// The word that opens such a block.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::With => "with",
            Self::Range => "range",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub kind: BlockKind,
    /// From the opening action to the end of `{{end}}`.
    pub span: Span,
    pub pipeline: Pipeline,
    pub body: Vec<Node>,
    /// What follows `{{else}}`; `{{else if}}` is a block in here.
    pub otherwise: Vec<Node>,
}

/// `command | command | …`, with `$x :=` or `$x =` before it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pipeline {
    /// Names without the `$`; two only in `{{range $key, $value := …}}`.
    pub variables: Vec<String>,
    /// `=` instead of `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// A function with its arguments, or a single value.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub span: Span,
    pub operands: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Constant(Value),
    /// `.`
    Dot,
    /// `.A.B`.
    Field(Vec<String>),
    /// `$x.A.B`; the name is empty for `$`.
    Variable(String, Vec<String>),
    /// A function.
    Function(String),
    /// `(pipeline).A.B`.
    Group(Box<Pipeline>, Vec<String>),
}

impl Pipeline {
    /// Calls `see` for every operand, those in groups too.
    pub fn visit<'p>(&'p self, see: &mut dyn FnMut(&'p Operand)) {
        for operand in self.commands.iter().flat_map(|command| &command.operands) {
            see(operand);
            if let Operand::Group(inner, _) = operand {
                inner.visit(see);
            }
        }
    }
}

/// Calls `see` for every pipeline of a text.
pub fn pipelines<'n>(nodes: &'n [Node], see: &mut dyn FnMut(&'n Pipeline)) {
    for node in nodes {
        match node {
            Node::Action { pipeline, .. } => see(pipeline),
            Node::Block(block) => {
                see(&block.pipeline);
                pipelines(&block.body, see);
                pipelines(&block.otherwise, see);
            }
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

/// The variables that a text names with `{{ user }}`.
#[must_use]
pub fn user_references(nodes: &[Node]) -> Vec<String> {
    fn walk(pipeline: &Pipeline, found: &mut Vec<String>) {
        let mut piped: Option<&Value> = None;
        for command in &pipeline.commands {
            let is_user = matches!(command.operands.first(), Some(Operand::Function(name)) if name == "user");
            let given = match command.operands.get(1) {
                Some(Operand::Constant(value)) => Some(value),
                _ => piped,
            };
            if let (true, Some(Value::Text(name))) = (is_user, given) {
                found.push(name.clone());
            }
            piped = match command.operands.as_slice() {
                [Operand::Constant(value)] => Some(value),
                _ => None,
            };
            for operand in &command.operands {
                if let Operand::Group(inner, _) = operand {
                    walk(inner, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    pipelines(nodes, &mut |pipeline| walk(pipeline, &mut found));
    found
}
