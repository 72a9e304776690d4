//! Reads text with `{{ … }}` actions into its tree.

use super::ast::{Block, BlockKind, Node, Pipeline, Span};
use super::operands::Reader;
use crate::domain::diagnostic::Hint;
use crate::template::source::did_you_mean;

/// A fault in an action; the range counts bytes from the start of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub offset: usize,
    /// Exclusive.
    pub end: usize,
    pub message: String,
    /// What to do about it.
    pub hint: Hint,
}

impl Fault {
    /// A fault of a range.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { offset: span.start, end: span.end, message: message.into(), hint: Hint::default() }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Hint>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The message and the hint as one line.
    #[must_use]
    pub fn line(&self) -> String {
        if self.hint.text.is_empty() { self.message.clone() } else { format!("{}: {}", self.message, self.hint.text) }
    }
}

/// How deep parentheses and blocks may nest.
pub const MAX_NESTING: usize = 32;

/// Words with a meaning of their own.
pub const KEYWORDS: &[&str] = &["if", "else", "end", "range", "with", "break", "continue"];
const REFUSED: &[&str] = &["define", "template", "block"];

/// Reads a text. Comments vanish, and `{{-` and `-}}` take the white space beside them away.
///
/// # Errors
/// With the first fault.
pub fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser { text, at: 0, trims: false, variables: Vec::new(), ranges: 0 };
    let (nodes, end) = parser.list(0)?;
    match end {
        End::Text => Ok(nodes),
        End::Close(span) => Err(Fault::new(span, "{{ end }} closes nothing").with_hint("take it out")),
        End::Else(span, _) => Err(Fault::new(span, "{{ else }} belongs to no {{ if }}, {{ with }} or {{ range }}")),
    }
}

/// What ended a list of nodes.
enum End {
    Text,
    Close(Span),
    /// With the block that `{{else if}}` opens, up to its own end.
    Else(Span, Option<(BlockKind, Pipeline)>),
}

/// What one action is.
enum Action {
    Nothing,
    Pipeline(Pipeline),
    Open(BlockKind, Pipeline),
    Break,
    Continue,
    End,
    Else(Option<(BlockKind, Pipeline)>),
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    /// The last action ended with `-}}`.
    trims: bool,
    /// Variables that can be named here.
    variables: Vec<String>,
    /// How many `{{range}}` are open.
    ranges: usize,
}

impl Parser<'_> {
    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, End), Fault> {
        let mut nodes = Vec::new();
        loop {
            let start = match self.text[self.at..].find("{{") {
                Some(found) => self.at + found,
                None => self.text.len(),
            };
            let mut literal = &self.text[self.at..start];
            if self.trims {
                literal = literal.trim_start();
            }
            let body = &self.text[start..];
            let trims_before = body.starts_with("{{-") && body[3..].starts_with(is_space);
            if trims_before {
                literal = literal.trim_end();
            }
            if !literal.is_empty() {
                nodes.push(Node::Text(literal.to_owned()));
            }
            self.trims = false;
            if start == self.text.len() {
                self.at = start;
                return Ok((nodes, End::Text));
            }
            self.at = start + if trims_before { 3 } else { 2 };
            let action = self.action(start)?;
            let span = Span { start, end: self.at };
            match action {
                Action::Nothing => {}
                Action::Pipeline(pipeline) => nodes.push(Node::Action { span, pipeline }),
                Action::Open(kind, pipeline) => nodes.push(self.block(kind, pipeline, start, depth)?),
                Action::Break | Action::Continue if self.ranges == 0 => {
                    return Err(Fault::new(span, "there is no {{ range }} around this"));
                }
                Action::Break => nodes.push(Node::Break(span)),
                Action::Continue => nodes.push(Node::Continue(span)),
                Action::End => return Ok((nodes, End::Close(span))),
                Action::Else(block) => return Ok((nodes, End::Else(span, block))),
            }
        }
    }

    /// Reads a block from after its opening action to after its `{{end}}`.
    fn block(&mut self, kind: BlockKind, pipeline: Pipeline, start: usize, depth: usize) -> Result<Node, Fault> {
        let opening = Span { start, end: self.at };
        if depth >= MAX_NESTING {
            return Err(Fault::new(opening, "the blocks nest too deep: more than 32 levels"));
        }
        let missing = || {
            let message = format!("{{{{ {} }}}} is not closed", kind.word());
            Err(Fault::new(opening, message).with_hint("write {{ end }} where it ends"))
        };
        // The pipeline's own variables live as long as the block.
        let outer = self.variables.len() - if pipeline.assigns { 0 } else { pipeline.variables.len() };
        let inner = self.variables.len();
        self.ranges += usize::from(kind == BlockKind::Range);
        let (body, end) = self.list(depth + 1)?;
        self.ranges -= usize::from(kind == BlockKind::Range);
        self.variables.truncate(inner);
        let mut otherwise = Vec::new();
        match end {
            End::Text => return missing(),
            End::Close(_) => {}
            // `{{else if}}` shares its `{{end}}` with what it belongs to.
            End::Else(span, Some((kind, pipeline))) => {
                otherwise.push(self.block(kind, pipeline, span.start, depth + 1)?);
            }
            End::Else(_, None) => {
                let (nodes, end) = self.list(depth + 1)?;
                otherwise = nodes;
                match end {
                    End::Text => return missing(),
                    End::Close(_) => {}
                    End::Else(span, _) => return Err(Fault::new(span, "there is an {{ else }} already")),
                }
            }
        }
        self.variables.truncate(outer);
        let span = Span { start, end: self.at };
        Ok(Node::Block(Box::new(Block { kind, span, pipeline, body, otherwise })))
    }

    /// Reads an action from after `{{` to after `}}`.
    fn action(&mut self, start: usize) -> Result<Action, Fault> {
        let inner = self.text[self.at..].trim_start();
        if inner.starts_with("/*") {
            self.at = self.text.len() - inner.len();
            return self.comment(start);
        }
        let mut reader = Reader::new(self.text, self.at, start, &mut self.variables);
        reader.space();
        let word = reader.peek_word();
        let known = KEYWORDS.contains(&word) || REFUSED.contains(&word) || word == "call";
        if known {
            reader.at += word.len();
        }
        let action = match word {
            "if" => Action::Open(BlockKind::If, reader.pipeline(false)?),
            "with" => Action::Open(BlockKind::With, reader.pipeline(false)?),
            "range" => Action::Open(BlockKind::Range, reader.pipeline(true)?),
            "break" => Action::Break,
            "continue" => Action::Continue,
            "end" => Action::End,
            "else" => {
                reader.space();
                let kind = match reader.peek_word() {
                    "if" => Some(BlockKind::If),
                    "with" => Some(BlockKind::With),
                    _ => None,
                };
                Action::Else(match kind {
                    Some(kind) => {
                        reader.at += kind.word().len();
                        Some((kind, reader.pipeline(false)?))
                    }
                    None => None,
                })
            }
            word if REFUSED.contains(&word) || word == "call" => {
                return Err(reader.fault(format!("{{{{ {word} }}}} is not supported")).with_hint(
                    "write the text where it is needed; an HCL2 template can use locals and templatefile()",
                ));
            }
            _ => Action::Pipeline(reader.pipeline(false)?),
        };
        let closed = reader.close();
        let (at, trims) = match closed {
            Ok(closed) => closed,
            Err(fault) => return Err(misspelled(fault, word, &action)),
        };
        self.at = at;
        self.trims = trims;
        Ok(action)
    }

    fn comment(&mut self, start: usize) -> Result<Action, Fault> {
        let end = self.text[self.at..].find("*/").map(|found| self.at + found + 2).and_then(|close| {
            let after = self.text[close..].trim_start();
            let trims = after.starts_with('-');
            let after = after.strip_prefix('-').unwrap_or(after);
            after.starts_with("}}").then(|| (self.text.len() - after.len() + 2, trims))
        });
        let span = Span { start, end: self.text.len().min(start + 2) };
        let (at, trims) = end.ok_or_else(|| Fault::new(span, "the comment in {{ }} does not end"))?;
        self.at = at;
        self.trims = trims;
        Ok(Action::Nothing)
    }
}

/// A fault after a word that is nearly a keyword says so.
fn misspelled(fault: Fault, word: &str, action: &Action) -> Fault {
    if matches!(action, Action::Pipeline(_)) && fault.hint.text.is_empty() && word.len() > 2 {
        let hint = did_you_mean(word, KEYWORDS.iter().copied());
        return if hint.suggestion.is_some() { fault.with_hint(hint) } else { fault };
    }
    fault
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::super::ast::{Node, user_references};
    use super::*;

    #[test]
    fn faults_are_explained() {
        let fault = |text: &str| parse(text).unwrap_err().line();
        insta::assert_snapshot!(fault("a {{ timestamp"), @"{{ is not closed by }}");
        insta::assert_snapshot!(fault("{{ if .X }}"), @"{{ if }} is not closed: write {{ end }} where it ends");
        insta::assert_snapshot!(fault("{{ if .X }}{{ else }}{{ else }}{{ end }}"), @"there is an {{ else }} already");
        insta::assert_snapshot!(fault("{{ end }}"), @"{{ end }} closes nothing: take it out");
        insta::assert_snapshot!(fault("{{ break }}"), @"there is no {{ range }} around this");
        insta::assert_snapshot!(fault("{{ }}"), @"a value is missing in {{ }}");
        insta::assert_snapshot!(fault("{{ env `X }}"), @"a ` is missing in {{ }}");
        insta::assert_snapshot!(fault("{{ $x }}"), @"there is no variable $x: declare it with {{ $x := … }}");
        insta::assert_snapshot!(fault("{{ if .X }}{{ $x := 1 }}{{ end }}{{ $x }}"), @"there is no variable $x: declare it with {{ $x := … }}");
        insta::assert_snapshot!(fault("{{ template `x` }}"), @"{{ template }} is not supported: write the text where it is needed; an HCL2 template can use locals and templatefile()");
        insta::assert_snapshot!(fault("{{ user \\\"x\\\" }}"), @r#"'\\' can't stand here in {{ }}: write the name in backquotes: `name`"#);
        assert_eq!(parse("${{ secrets }").unwrap_err().offset, 1);
        let span = parse("ab{{ user (.X }}").unwrap_err();
        assert_eq!((span.offset, span.message.as_str()), (2, "a ) is missing in {{ }}"));
    }

    #[test]
    fn comments_vanish() {
        assert_eq!(parse("a{{/* x */}}b").unwrap(), [Node::Text("a".to_owned()), Node::Text("b".to_owned())]);
        assert_eq!(parse("a {{- /* x */ -}} b").unwrap(), [Node::Text("a".to_owned()), Node::Text("b".to_owned())]);
    }

    #[test]
    fn user_variables_are_found_wherever_they_stand() {
        let text =
            "{{ user `a` }}{{ if eq (user `b`) `x` }}{{ `c` | user | upper }}{{ else }}{{ user \"d\" }}{{ end }}";
        assert_eq!(user_references(&parse(text).unwrap()), ["a", "b", "c", "d"]);
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(parse(&"{{if 1}}".repeat(100_000)).is_err());
        assert!(parse(&format!("{{{{ {} }}}}", "(".repeat(100_000))).is_err());
        assert!(parse(&format!("{{{{if 1}}}}{}{{{{end}}}}", "{{else if 1}}".repeat(100_000))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "(\\{\\{|\\}\\}|if |else |end|range |\\$x|:=|[-a. `'\"|()$ä\\\\/*0-9]){0,30}") {
            let _ = parse(&text);
        }
    }
}
