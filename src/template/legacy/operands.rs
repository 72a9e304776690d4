//! What stands inside `{{ … }}`: pipelines of commands, and their operands.

use super::ast::{Command, Operand, Pipeline, Span};
use super::parse::{Fault, MAX_NESTING};
use super::value::Value;

/// Reads one action.
pub struct Reader<'t, 'v> {
    text: &'t str,
    pub at: usize,
    /// Where the action begins.
    start: usize,
    /// Variables that can be named; what the action declares is added.
    variables: &'v mut Vec<String>,
}

impl<'t, 'v> Reader<'t, 'v> {
    pub fn new(text: &'t str, at: usize, start: usize, variables: &'v mut Vec<String>) -> Self {
        Self { text, at, start, variables }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// A fault of the action as far as it was read.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(Span { start: self.start, end: self.at.max(self.start + 2).min(self.text.len()) }, message)
    }

    pub fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// The word that stands here, or nothing.
    #[must_use]
    pub fn peek_word(&self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if rest.starts_with(|c: char| c.is_alphabetic() || c == '_') { &rest[..end] } else { "" }
    }

    /// Reads `}}`; gives where it ends and whether it was `-}}`.
    pub fn close(&mut self) -> Result<(usize, bool), Fault> {
        self.space();
        let trims = self.trims();
        if trims {
            self.at += 1;
        }
        if self.rest().starts_with("}}") {
            return Ok((self.at + 2, trims));
        }
        Err(match self.rest().chars().next() {
            None => self.fault("{{ is not closed by }}"),
            Some(other) => self.misplaced(other),
        })
    }

    /// Whether `-}}` stands here; white space before it is part of it.
    fn trims(&self) -> bool {
        self.rest().starts_with("-}}") && self.text[..self.at].ends_with([' ', '\t', '\r', '\n'])
    }

    fn misplaced(&self, character: char) -> Fault {
        let fault = self.fault(format!("{character:?} can't stand here in {{{{ }}}}"));
        if character == '\\' { fault.with_hint("write the name in backquotes: `name`") } else { fault }
    }

    /// Reads a pipeline with the variables it sets; `range` may set two.
    pub fn pipeline(&mut self, range: bool) -> Result<Pipeline, Fault> {
        let mut pipeline = Pipeline::default();
        self.space();
        if let Some((names, assigns)) = self.declaration(range)? {
            pipeline.variables = names;
            pipeline.assigns = assigns;
        }
        pipeline.commands = self.commands(0)?;
        // A variable can be used after its declaration only.
        if pipeline.assigns {
            for name in &pipeline.variables {
                self.known(name)?;
            }
        } else {
            self.variables.extend(pipeline.variables.iter().cloned());
        }
        Ok(pipeline)
    }

    /// `$x :=`, `$x =` or `$k, $v :=`, if one stands here.
    fn declaration(&mut self, range: bool) -> Result<Option<(Vec<String>, bool)>, Fault> {
        let begin = self.at;
        let mut names = Vec::new();
        while self.rest().starts_with('$') {
            self.at += 1;
            let name = self.peek_word();
            self.at += name.len();
            names.push(name.to_owned());
            self.space();
            if names.len() < 2 && self.rest().starts_with(',') {
                if !range {
                    return Err(self.fault("only {{ range }} sets two variables"));
                }
                self.at += 1;
                self.space();
                continue;
            }
            let assigns = self.rest().starts_with('=');
            if (assigns || self.rest().starts_with(":=")) && !names.iter().any(String::is_empty) {
                self.at += if assigns { 1 } else { 2 };
                return Ok(Some((names, assigns)));
            }
            break;
        }
        self.at = begin;
        Ok(None)
    }

    fn commands(&mut self, depth: usize) -> Result<Vec<Command>, Fault> {
        if depth > MAX_NESTING {
            return Err(self.fault("the action nests too deep: more than 32 levels"));
        }
        let mut commands = vec![self.command(depth)?];
        loop {
            self.space();
            if !self.rest().starts_with('|') {
                return Ok(commands);
            }
            self.at += 1;
            let command = self.command(depth)?;
            if let Some(Operand::Constant(_) | Operand::Dot) = command.operands.first() {
                return Err(self.fault("only a function can follow |"));
            }
            commands.push(command);
        }
    }

    fn command(&mut self, depth: usize) -> Result<Command, Fault> {
        self.space();
        let start = self.at;
        let mut operands = Vec::new();
        let mut end = start;
        loop {
            self.space();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(self.fault("{{ is not closed by }}"));
            };
            if matches!(first, '|' | ')' | '}') || self.trims() {
                if operands.is_empty() {
                    return Err(self.fault("a value is missing in {{ }}"));
                }
                if operands == [Operand::Constant(Value::Nil)] {
                    return Err(self.fault("nil is nothing that can stand by itself in {{ }}"));
                }
                return Ok(Command { span: Span { start, end }, operands });
            }
            operands.push(self.operand(first, depth)?);
            end = self.at;
        }
    }

    fn operand(&mut self, first: char, depth: usize) -> Result<Operand, Fault> {
        match first {
            '(' => {
                self.at += 1;
                let commands = self.commands(depth + 1)?;
                self.space();
                if !self.rest().starts_with(')') {
                    return Err(self.fault("a ) is missing in {{ }}"));
                }
                self.at += 1;
                let path = self.path()?;
                Ok(Operand::Group(Box::new(Pipeline { commands, ..Pipeline::default() }), path))
            }
            '"' => self.quoted(),
            '\'' => self.character(),
            '`' => {
                let body = &self.rest()[1..];
                let end = body.find('`').ok_or_else(|| self.fault("a ` is missing in {{ }}"))?;
                self.at += end + 2;
                Ok(Operand::Constant(Value::text(&body[..end])))
            }
            '.' => {
                if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) {
                    return self.number();
                }
                let path = self.path()?;
                if path.is_empty() {
                    self.at += 1;
                    return Ok(Operand::Dot);
                }
                Ok(Operand::Field(path))
            }
            '$' => {
                self.at += 1;
                let name = self.peek_word();
                self.at += name.len();
                self.known(name)?;
                Ok(Operand::Variable(name.to_owned(), self.path()?))
            }
            '0'..='9' | '-' | '+' => self.number(),
            c if c.is_alphabetic() || c == '_' => {
                let word = self.peek_word();
                self.at += word.len();
                Ok(match word {
                    "true" | "false" => Operand::Constant(Value::Bool(word == "true")),
                    "nil" => Operand::Constant(Value::Nil),
                    _ if super::parse::KEYWORDS.contains(&word) => {
                        return Err(self.fault(format!("{word} stands first in {{{{ }}}} only")));
                    }
                    _ => Operand::Function(word.to_owned()),
                })
            }
            other => Err(self.misplaced(other)),
        }
    }

    fn known(&self, name: &str) -> Result<(), Fault> {
        if name.is_empty() || self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        let fault = self.fault(format!("there is no variable ${name}"));
        Err(fault.with_hint(format!("declare it with {{{{ ${name} := … }}}}")))
    }

    /// Reads `.A.B` as far as it goes; a lone dot is left.
    fn path(&mut self) -> Result<Vec<String>, Fault> {
        let mut path = Vec::new();
        while self.rest().starts_with('.') {
            self.at += 1;
            let name = self.peek_word();
            if name.is_empty() {
                if path.is_empty() && !self.rest().starts_with('.') {
                    self.at -= 1;
                    return Ok(path);
                }
                return Err(self.fault("a name is missing after the dot in {{ }}").with_hint("a field is .Name"));
            }
            self.at += name.len();
            path.push(name.to_owned());
        }
        Ok(path)
    }

    /// Go's numbers: decimal, `0x`, `0o`, `0b`, with `_` between digits, and those with a point or exponent.
    fn number(&mut self) -> Result<Operand, Fault> {
        let rest = self.rest();
        let mut end = 0;
        for (at, character) in rest.char_indices() {
            let sign = matches!(character, '-' | '+');
            let signed = at == 0 || (matches!(&rest[at - 1..at], "e" | "E") && !rest[..at].contains(['x', 'X']));
            if !(character.is_ascii_alphanumeric() || matches!(character, '.' | '_') || (sign && signed)) {
                break;
            }
            end = at + 1;
        }
        let word = &rest[..end];
        self.at += end;
        let plain = word.replace('_', "");
        let (negative, digits) = match plain.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
        };
        let lower = digits.to_ascii_lowercase();
        let radix =
            |prefix: &str, radix| lower.strip_prefix(prefix).and_then(|hex| i64::from_str_radix(hex, radix).ok());
        let integer = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
        // A zero before other digits makes it octal.
        let octal = lower.strip_prefix('0').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        let integer = match octal {
            Some(digits) => i64::from_str_radix(digits, 8).ok(),
            None => integer.or_else(|| lower.parse().ok()),
        };
        if let Some(integer) = integer.filter(|_| digits.starts_with(|c: char| c.is_ascii_digit())) {
            return Ok(Operand::Constant(Value::Integer(if negative { -integer } else { integer })));
        }
        let float = lower.parse::<f64>().ok().filter(|_| lower.starts_with(|c: char| c.is_ascii_digit() || c == '.'));
        match float.filter(|float| float.is_finite()) {
            Some(float) => Ok(Operand::Constant(Value::Float(if negative { -float } else { float }))),
            None => Err(self.fault(format!("{word:?} is no number"))),
        }
    }

    /// `'a'` is a character's number.
    fn character(&mut self) -> Result<Operand, Fault> {
        let (text, length) = self.escaped('\'')?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) => {
                self.at += length;
                Ok(Operand::Constant(Value::Integer(i64::from(u32::from(one)))))
            }
            _ => Err(self.fault("'…' holds one character in {{ }}").with_hint("a string is in \" or `")),
        }
    }

    fn quoted(&mut self) -> Result<Operand, Fault> {
        let (text, length) = self.escaped('"')?;
        self.at += length;
        Ok(Operand::Constant(Value::Text(text)))
    }

    /// The text between quotes, and its length in the source with them.
    fn escaped(&self, quote: char) -> Result<(String, usize), Fault> {
        let body = &self.rest()[1..];
        let mut value = String::new();
        let mut characters = body.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                end if end == quote => return Ok((value, at + 2)),
                '\n' => break,
                '\\' => {
                    let unknown = || self.fault("an escape in {{ }} is not known").with_hint("a backslash is \\\\");
                    let (_, escape) = characters.next().ok_or_else(unknown)?;
                    let (radix, digits) = match escape {
                        'x' => (16, 2),
                        'u' => (16, 4),
                        'U' => (16, 8),
                        '0'..='7' => (8, 3),
                        _ => {
                            value.push(simple_escape(escape).ok_or_else(unknown)?);
                            continue;
                        }
                    };
                    let from = if radix == 8 { at + 1 } else { at + 2 };
                    let code = body.get(from..from + digits).and_then(|text| u32::from_str_radix(text, radix).ok());
                    value.push(code.and_then(char::from_u32).ok_or_else(unknown)?);
                    for _ in 0..from + digits - at - 2 {
                        characters.next();
                    }
                }
                other => value.push(other),
            }
        }
        Err(self.fault(format!("a {quote} is missing in {{{{ }}}}")))
    }
}

fn simple_escape(escape: char) -> Option<char> {
    Some(match escape {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        '"' | '\\' | '\'' => escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::ast::Node;
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn constants() {
        let constant = |text: &str| match parse(&format!("{{{{ print {text} }}}}")).unwrap().as_slice() {
            [Node::Action { pipeline, .. }] => match &pipeline.commands[0].operands[1] {
                Operand::Constant(value) => value.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(constant("-12"), Value::Integer(-12));
        assert_eq!(constant("0x1F"), Value::Integer(31));
        assert_eq!(constant("1_000"), Value::Integer(1000));
        assert_eq!(constant("1.5e3"), Value::Float(1500.0));
        assert_eq!(constant("1e-3"), Value::Float(0.001));
        assert_eq!(constant(".5"), Value::Float(0.5));
        assert_eq!(constant("'a'"), Value::Integer(97));
        assert_eq!(constant(r#""a\tb\x41\u00e4\101\"""#), Value::text("a\tbAäA\""));
        assert_eq!(constant("`a\\n`"), Value::text("a\\n"));
        assert_eq!(constant("nil"), Value::Nil);
        assert!(parse("{{ print 1x }}").is_err());
        assert!(parse("{{ print `a` | `b` }}").is_err());
    }
}
