//! Reads text with `{{ … }}` actions.

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// `raw` is the action as it stands, delimiters included; `offset` is where it begins, in bytes.
    Action {
        raw: String,
        offset: usize,
        pipeline: Pipeline,
    },
}

/// `command | command | …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline(pub Vec<Command>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub operands: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A string, or a number's or bool's text.
    Text(String),
    /// `.A.B`.
    Field(Vec<String>),
    /// A function.
    Name(String),
    Group(Pipeline),
}

/// A fault in an action; the offset counts bytes from the start of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub offset: usize,
    pub message: String,
}

const MAX_NESTING: usize = 32;

/// Splits a text into what is literal and its parsed actions. Comments vanish, and `{{-` and `-}}` take the white space
/// beside them away.
///
/// # Errors
/// With the first fault.
pub fn parse(text: &str) -> Result<Vec<Part>, ParseError> {
    let mut parts = Vec::new();
    let mut rest = 0;
    let mut trim_next = false;
    while let Some(found) = text[rest..].find("{{") {
        let start = rest + found;
        let mut literal = &text[rest..start];
        if trim_next {
            literal = literal.trim_start();
        }
        let body_start = start + 2;
        let trims_before = text[body_start..].starts_with("- ") || text[body_start..].starts_with("-\n");
        if trims_before {
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.to_owned()));
        }
        let inner_start = if trims_before { body_start + 1 } else { body_start };
        let (pipeline, end, trims_after) = action(text, inner_start, start)?;
        if let Some(pipeline) = pipeline {
            parts.push(Part::Action { raw: text[start..end].to_owned(), offset: start, pipeline });
        }
        trim_next = trims_after;
        rest = end;
    }
    let literal = if trim_next { text[rest..].trim_start() } else { &text[rest..] };
    if !literal.is_empty() {
        parts.push(Part::Text(literal.to_owned()));
    }
    Ok(parts)
}

/// Reads an action from after `{{` to after `}}`.
fn action(text: &str, from: usize, start: usize) -> Result<(Option<Pipeline>, usize, bool), ParseError> {
    let comment = text[from..].trim_start();
    if comment.starts_with("/*") {
        let comment_start = text.len() - comment.len();
        let close = text[comment_start..].find("*/").map(|at| comment_start + at + 2);
        let end = close.and_then(|close| {
            let after = text[close..].trim_start();
            let trims = after.starts_with('-');
            let after = after.strip_prefix('-').unwrap_or(after);
            after.starts_with("}}").then(|| (text.len() - after.len() + 2, trims))
        });
        return match end {
            Some((end, trims)) => Ok((None, end, trims)),
            None => Err(ParseError { offset: start, message: "the comment in {{ }} does not end".to_owned() }),
        };
    }
    let mut reader = Reader { text, at: from, start };
    let pipeline = reader.pipeline(0)?;
    reader.space();
    let trims = reader.rest().starts_with("-}}");
    if trims {
        reader.at += 1;
    }
    if !reader.rest().starts_with("}}") {
        let found = reader.rest().chars().next();
        return Err(reader.error(match found {
            None => "{{ is not closed by }}".to_owned(),
            Some(other) => format!("{other:?} can't stand here in {{{{ }}}}"),
        }));
    }
    Ok((Some(pipeline), reader.at + 2, trims))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    start: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn error(&self, message: String) -> ParseError {
        ParseError { offset: self.start, message }
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, ParseError> {
        if depth > MAX_NESTING {
            return Err(self.error("the action nests too deep".to_owned()));
        }
        let mut commands = vec![self.command(depth)?];
        loop {
            self.space();
            if !self.rest().starts_with('|') {
                return Ok(Pipeline(commands));
            }
            self.at += 1;
            commands.push(self.command(depth)?);
        }
    }

    fn command(&mut self, depth: usize) -> Result<Command, ParseError> {
        let mut operands = Vec::new();
        loop {
            self.space();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(self.error("{{ is not closed by }}".to_owned()));
            };
            if first == '|' || first == ')' || first == '}' || rest.starts_with("-}}") {
                if operands.is_empty() {
                    return Err(self.error("a value is missing in {{ }}".to_owned()));
                }
                return Ok(Command { operands });
            }
            operands.push(self.operand(first, depth)?);
        }
    }

    fn operand(&mut self, first: char, depth: usize) -> Result<Operand, ParseError> {
        match first {
            '(' => {
                self.at += 1;
                let inner = self.pipeline(depth + 1)?;
                self.space();
                if !self.rest().starts_with(')') {
                    return Err(self.error("a ) is missing in {{ }}".to_owned()));
                }
                self.at += 1;
                Ok(Operand::Group(inner))
            }
            '"' => self.quoted(),
            '`' => {
                let body = &self.rest()[1..];
                let Some(end) = body.find('`') else {
                    return Err(self.error("a ` is missing in {{ }}".to_owned()));
                };
                self.at += end + 2;
                Ok(Operand::Text(body[..end].to_owned()))
            }
            '.' => {
                let word = self.word();
                let path: Vec<String> = word[1..].split('.').map(str::to_owned).collect();
                if path.iter().any(String::is_empty) {
                    return Err(self.error(format!("{word:?} is no field; a field is .Name")));
                }
                Ok(Operand::Field(path))
            }
            '$' => Err(self.error("variables ($x) in {{ }} are not supported yet".to_owned())),
            '0'..='9' | '-' | '+' => Ok(Operand::Text(self.word().to_owned())),
            c if c.is_alphabetic() || c == '_' => {
                let word = self.word();
                match word {
                    "if" | "else" | "end" | "range" | "with" | "define" | "template" | "block" | "break"
                    | "continue" => Err(self.error(format!("{{{{ {word} }}}} is not supported yet"))),
                    "true" | "false" => Ok(Operand::Text(word.to_owned())),
                    _ => Ok(Operand::Name(word.to_owned())),
                }
            }
            other => Err(self.error(format!("{other:?} can't stand here in {{{{ }}}}"))),
        }
    }

    /// Reads on to the next white space or delimiter.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| !(c.is_alphanumeric() || matches!(c, '_' | '.')))
            .map_or(rest.len(), |(at, _)| at);
        self.at += end;
        &rest[..end]
    }

    fn quoted(&mut self) -> Result<Operand, ParseError> {
        let body = &self.rest()[1..];
        let mut value = String::new();
        let mut characters = body.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += at + 2;
                    return Ok(Operand::Text(value));
                }
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some(escaped @ ('"' | '\\')) => value.push(escaped),
                    _ => return Err(self.error("an escape in {{ }} is not known".to_owned())),
                },
                other => value.push(other),
            }
        }
        Err(self.error("a \" is missing in {{ }}".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_explained() {
        let fault = |text: &str| parse(text).unwrap_err().message;
        insta::assert_snapshot!(fault("a {{ timestamp"), @"{{ is not closed by }}");
        insta::assert_snapshot!(fault("{{ if .X }}{{ end }}"), @"{{ if }} is not supported yet");
        insta::assert_snapshot!(fault("{{ }}"), @"a value is missing in {{ }}");
        insta::assert_snapshot!(fault("{{ env `X }}"), @"a ` is missing in {{ }}");
        insta::assert_snapshot!(fault("{{ $x }}"), @"variables ($x) in {{ }} are not supported yet");
        assert_eq!(parse("${{ secrets }").unwrap_err().offset, 1);
    }

    #[test]
    fn comments_vanish() {
        assert_eq!(parse("a{{/* x */}}b").unwrap(), [Part::Text("a".to_owned()), Part::Text("b".to_owned())]);
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "(\\{\\{|\\}\\}|[-a. `\"|()$ä\\\\/*]){0,30}") {
            let _ = parse(&text);
        }
    }
}
