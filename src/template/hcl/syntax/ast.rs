//! The tree of an HCL2 file, with the place of everything in it. It keeps what evaluation and complaints need; comments
//! and white space live in the tokens only (`token`), where `fmt` works.

use std::sync::Arc;

/// A range of bytes of a file, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The range from the start of this one to the end of another.
    #[must_use]
    pub fn to(self, end: Self) -> Self {
        Self { start: self.start, end: end.end }
    }

    /// The range's text in its file, empty where the file has no such range.
    #[must_use]
    pub fn text(self, file: &str) -> &str {
        file.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// What has a place in its file.
pub trait Spanned {
    fn span(&self) -> Span;
}

impl Spanned for Span {
    fn span(&self) -> Span {
        *self
    }
}

/// A name as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    pub name: Arc<str>,
    pub span: Span,
}

/// The attributes and blocks of a file or block, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Body {
    pub items: Vec<Item>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub enum Item {
    Attribute(Attribute),
    Block(Block),
}

/// `name = value`.
#[derive(Debug, Clone)]
pub struct Attribute {
    pub name: Ident,
    pub value: Expr,
    pub span: Span,
}

/// `kind "label" … { … }`.
#[derive(Debug, Clone)]
pub struct Block {
    pub kind: Ident,
    pub labels: Vec<Label>,
    pub body: Body,
    pub span: Span,
}

/// A block's label, written as a string or bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub text: Arc<str>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub enum ExprKind {
    Null,
    Bool(bool),
    /// As it is written, for the evaluator to read exactly.
    Number(Arc<str>),
    /// A quoted string, a heredoc or a bare template. Strip markers and `<<-` are already applied: the literals are final
    /// text.
    Template(Template),
    Parenthesis(Box<Expr>),
    Variable(Ident),
    Call(Call),
    Conditional(Box<Conditional>),
    Unary(UnaryOperator, Box<Expr>),
    Binary(Box<Binary>),
    /// `base.name`.
    Attribute(Box<Expr>, Ident),
    /// `base[key]`, and `base.0`, whose key is a number.
    Index(Box<Expr>, Box<Expr>),
    /// `base.*` and `base[*]`. `each` is what follows, over [`ExprKind::SplatItem`]: only attributes (and legacy
    /// indices) after `.*`, everything after `[*]`.
    Splat {
        base: Box<Expr>,
        each: Box<Expr>,
    },
    /// The element that a splat looks at; only inside `each`.
    SplatItem,
    Tuple(Vec<Expr>),
    Object(Vec<ObjectItem>),
    For(Box<For>),
    /// What could not be read; its fault is among the parser's diagnostics. Evaluates to unknown.
    Invalid,
}

/// `name(a, b...)`. A name with namespaces is one name: `a::b`.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: Ident,
    pub arguments: Vec<Expr>,
    /// `...` after the last argument.
    pub expand: bool,
}

#[derive(Debug, Clone)]
pub struct Conditional {
    pub condition: Expr,
    pub yes: Expr,
    pub no: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOperator {
    Not,
    Negate,
}

#[derive(Debug, Clone)]
pub struct Binary {
    pub operator: BinaryOperator,
    pub left: Expr,
    pub right: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// `key = value` or `key : value`.
#[derive(Debug, Clone)]
pub struct ObjectItem {
    pub key: ObjectKey,
    pub value: Expr,
}

#[derive(Debug, Clone)]
pub enum ObjectKey {
    /// A bare name, which is taken as text; `true`, `false` and `null` are names here.
    Name(Ident),
    /// Anything else, such as `"text"` or `(expression)`. A path without parentheses (`a.b`, `a[0]`) parses, and is
    /// refused by the evaluator: nobody can tell whether it is text or a reference.
    Expr(Expr),
}

/// `[for k, v in c: value if condition]` and `{for k, v in c: key => value... if condition}`.
#[derive(Debug, Clone)]
pub struct For {
    /// The first of two names.
    pub key_name: Option<Ident>,
    pub value_name: Ident,
    pub collection: Expr,
    /// Given for an object.
    pub key: Option<Expr>,
    pub value: Expr,
    /// `...` after the value.
    pub group: bool,
    pub condition: Option<Expr>,
}

/// The parts of a string. A string that is one `${…}` and nothing else, so has one part only, keeps its value's type. White
/// space that a strip marker has eaten leaves an empty literal, so that such a string stays text. Literals are never next
/// to each other.
#[derive(Debug, Clone, Default)]
pub struct Template {
    pub parts: Vec<Part>,
    /// Whether it is written as a heredoc.
    pub heredoc: bool,
}

#[derive(Debug, Clone)]
pub enum Part {
    Literal(Arc<str>, Span),
    /// `${…}`.
    Interpolation(Expr),
    /// `%{ if … }…%{ else }…%{ endif }`.
    If(Box<IfPart>),
    /// `%{ for … }…%{ endfor }`.
    For(Box<ForPart>),
}

#[derive(Debug, Clone)]
pub struct IfPart {
    pub condition: Expr,
    pub yes: Vec<Part>,
    pub no: Vec<Part>,
}

#[derive(Debug, Clone)]
pub struct ForPart {
    pub key_name: Option<Ident>,
    pub value_name: Ident,
    pub collection: Expr,
    pub body: Vec<Part>,
}

macro_rules! spanned {
    ($($name:ident),*) => {
        $(impl Spanned for $name {
            fn span(&self) -> Span {
                self.span
            }
        })*
    };
}
spanned!(Ident, Body, Attribute, Block, Label, Expr);

impl Body {
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.items.iter().filter_map(|item| match item {
            Item::Attribute(attribute) => Some(attribute),
            Item::Block(_) => None,
        })
    }

    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.items.iter().filter_map(|item| match item {
            Item::Block(block) => Some(block),
            Item::Attribute(_) => None,
        })
    }

    /// The attribute of that name; the parser complains about a second one.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes().find(|attribute| &*attribute.name.name == name)
    }

    pub fn blocks_of<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = &'b Block> {
        self.blocks().filter(move |block| &*block.kind.name == kind)
    }
}

impl Item {
    /// An attribute's name, or a block's kind.
    #[must_use]
    pub fn name(&self) -> &Ident {
        match self {
            Self::Attribute(attribute) => &attribute.name,
            Self::Block(block) => &block.kind,
        }
    }
}

impl BinaryOperator {
    /// As it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

impl Template {
    /// The text, when there is nothing to work out.
    #[must_use]
    pub fn literal(&self) -> Option<String> {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(text, _) => Some(&**text),
            _ => None,
        });
        parts.collect()
    }
}

impl Expr {
    /// The text of a string without `${…}` and `%{…}`.
    #[must_use]
    pub fn literal(&self) -> Option<String> {
        match &self.kind {
            ExprKind::Template(template) => template.literal(),
            _ => None,
        }
    }
}
