//! From a script's text to its commands.

use std::collections::HashSet;
use std::ops::Range;

use super::{Assignment, Command, Redirect, Script, Word};

/// How deep substitutions and groups may nest; what is deeper is taken as text.
const MAX_DEPTH: usize = 24;
/// How deep scripts inside scripts are read: `sh -c '…'` and here documents for a shell.
const MAX_SCRIPTS: usize = 3;

/// Reads a script.
#[must_use]
pub fn parse(text: &str) -> Script {
    let mut reader = Reader::new(text, 0, text.len());
    reader.list(None);
    let mut script = Script { commands: reader.commands };
    let mut read = HashSet::new();
    for _ in 0..MAX_SCRIPTS {
        if !inner_scripts(text, &mut script, &mut read) {
            break;
        }
    }
    script
}

/// Reads the scripts that are given to a shell as `-c '…'` or as here document, once. Says whether there were new ones.
fn inner_scripts(text: &str, script: &mut Script, read: &mut HashSet<usize>) -> bool {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for command in &script.commands {
        let Some(simple) = super::simple(command) else { continue };
        if !matches!(simple.name, "sh" | "bash" | "dash" | "zsh" | "ksh" | "su") {
            continue;
        }
        let after_c = simple.arguments.iter().skip_while(|word| !is_command_flag(&word.text)).nth(1);
        ranges.extend(after_c.and_then(|word| literal_inside(text, word)));
        ranges.extend(command.redirects.iter().filter(|redirect| redirect.operator == "<<").map(|r| r.body.clone()));
    }
    ranges.retain(|range| !range.is_empty() && read.insert(range.start));
    let mut next = script.commands.iter().map(|command| command.pipeline + 1).max().unwrap_or(0);
    for range in &ranges {
        let mut reader = Reader::new(text, range.start, range.end);
        reader.pipeline = next;
        reader.list(None);
        next = reader.commands.iter().map(|command| command.pipeline + 1).max().unwrap_or(0).max(next);
        let base = script.commands.len();
        script.commands.extend(reader.commands.into_iter().map(|mut command| {
            let words = command.words.iter_mut().chain(command.assignments.iter_mut().map(|a| &mut a.value));
            for word in words.chain(command.redirects.iter_mut().map(|redirect| &mut redirect.target)) {
                word.inner = word.inner.start + base..word.inner.end + base;
            }
            command
        }));
    }
    !ranges.is_empty()
}

/// `-c`, also among other short options: `-ec`.
fn is_command_flag(word: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|flags| flags.ends_with('c') && flags.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// The inside of a word that is one quoted string and means what is written.
fn literal_inside(text: &str, word: &Word) -> Option<Range<usize>> {
    let raw = text.get(word.span.clone())?;
    let quote = raw.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inside = raw.strip_prefix(quote)?.strip_suffix(quote)?;
    // What a substitution alone gives was read with it.
    let substituted = quote == '"' && inside.trim_start().starts_with(['$', '`']);
    (!inside.contains(quote) && !substituted).then(|| word.span.start + 1..word.span.end - 1)
}

/// What ends a list of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    Parenthesis,
}

struct Heredoc {
    delimiter: String,
    strip_tabs: bool,
    /// Which redirect of which command gets the body: the command may still be unfinished.
    command: Option<usize>,
    redirect: usize,
}

pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
    pub(super) end: usize,
    depth: usize,
    nested: bool,
    pub(super) commands: Vec<Command>,
    current: Command,
    pipeline: usize,
    heredocs: Vec<Heredoc>,
    /// How many `case` are open.
    cases: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, at: usize, end: usize) -> Self {
        Self {
            text,
            at,
            end,
            depth: 0,
            nested: false,
            commands: Vec::new(),
            current: Command::default(),
            pipeline: 0,
            heredocs: Vec::new(),
            cases: 0,
        }
    }

    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at.min(self.end)..self.end]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn eat(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    /// Ends the command that is being read. Its pipeline goes on after a `|` only.
    fn finish(&mut self, piped: bool) {
        let mut command = std::mem::take(&mut self.current);
        if !command.words.is_empty() || !command.assignments.is_empty() || !command.redirects.is_empty() {
            command.pipeline = self.pipeline;
            command.nested = self.nested;
            let index = self.commands.len();
            for heredoc in self.heredocs.iter_mut().filter(|heredoc| heredoc.command.is_none()) {
                heredoc.command = Some(index);
            }
            self.commands.push(command);
        }
        if !piped {
            self.pipeline += 1;
        }
    }

    /// Reads commands up to the end or the closing bracket, which it takes.
    pub(super) fn list(&mut self, close: Option<Close>) {
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\r' => self.at += 1,
                '\\' if self.eat("\\\n") || self.eat("\\\r\n") => {}
                '#' => self.comment(),
                '\n' => {
                    self.at += 1;
                    self.finish(false);
                    self.bodies();
                }
                ';' => {
                    self.at += 1;
                    self.finish(false);
                }
                '|' => {
                    let piped = !self.eat("||");
                    if piped {
                        self.at += 1;
                        self.eat("&");
                    }
                    self.pipe(piped);
                }
                '&' if !self.rest().starts_with("&>") => {
                    self.at += 1;
                    self.eat("&");
                    self.finish(false);
                }
                ')' => {
                    self.at += 1;
                    if self.cases > 0 && close.is_none_or(|_| !self.current.words.is_empty()) {
                        // A pattern of `case`, not a command; `a | b)` looked like a pipeline.
                        self.current = Command::default();
                        while self.commands.last().is_some_and(|last| last.pipeline == self.pipeline) {
                            self.commands.pop();
                        }
                        self.pipeline += 1;
                        continue;
                    }
                    self.finish(false);
                    if close.is_some() {
                        return;
                    }
                }
                '(' => self.open(),
                '<' | '>' | '&' if !self.is_process_substitution() => self.redirect(),
                _ => self.word_or_assignment(),
            }
        }
        self.finish(false);
    }

    /// After `( … )` or `{ … }` the pipe belongs to the last command inside.
    fn pipe(&mut self, piped: bool) {
        let empty = self.current.words.is_empty() && self.current.assignments.is_empty();
        match self.commands.last() {
            Some(last) if piped && empty => self.pipeline = last.pipeline,
            _ => self.finish(piped),
        }
    }

    fn comment(&mut self) {
        let line = self.rest();
        self.at += line.find('\n').unwrap_or(line.len());
    }

    pub(super) fn is_process_substitution(&self) -> bool {
        self.rest().starts_with("<(") || self.rest().starts_with(">(")
    }

    fn open(&mut self) {
        let arithmetic = self.rest().starts_with("((");
        let assigned = self.current.words.is_empty()
            && self.current.assignments.last().is_some_and(|assignment| assignment.value.span.end == self.at);
        self.at += 1;
        if arithmetic && self.current.words.is_empty() {
            let rest = self.rest();
            self.at += rest.find("))").map_or(rest.len(), |found| found + 2);
        } else if assigned {
            // `name=(a b)`: the elements are words of no command.
            let (commands, pipeline) = (self.commands.len(), self.pipeline);
            let current = std::mem::take(&mut self.current);
            self.deeper(|reader| reader.list(Some(Close::Parenthesis)));
            self.commands.truncate(commands);
            self.pipeline = pipeline;
            self.current = current;
        } else if self.rest().trim_start().starts_with(')') && !self.current.words.is_empty() {
            // `name()` begins a function.
            self.at += self.rest().find(')').map_or(0, |found| found + 1);
            self.current = Command::default();
        } else if self.current.words.is_empty() {
            self.deeper(|reader| reader.list(Some(Close::Parenthesis)));
        }
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self)) {
        if self.depth >= MAX_DEPTH {
            self.at = self.end;
            return;
        }
        let cases = std::mem::take(&mut self.cases);
        self.depth += 1;
        read(self);
        self.depth -= 1;
        self.cases = cases;
    }

    fn redirect(&mut self) {
        const OPERATORS: &[&str] = &["&>>", "<<<", "<<-", "&>", ">>", ">&", ">|", "<<", "<&", "<>", ">", "<"];
        let start = self.at;
        let Some(operator) = OPERATORS.iter().find(|operator| self.rest().starts_with(**operator)) else {
            self.at += 1;
            return;
        };
        // `2>` : the number is no word.
        if self
            .current
            .words
            .last()
            .is_some_and(|word| word.span.end == start && word.text.bytes().all(|byte| byte.is_ascii_digit()))
        {
            self.current.words.pop();
        }
        self.at += operator.len();
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
        let target = self.word();
        if self.current.span.is_empty() {
            self.current.span = start..start;
        }
        self.current.span.end = self.at;
        let operator = if *operator == "<<-" { "<<" } else { operator };
        if operator == "<<" {
            self.heredocs.push(Heredoc {
                delimiter: target.text.clone(),
                strip_tabs: self.text[start..].starts_with("<<-"),
                command: None,
                redirect: self.current.redirects.len(),
            });
        }
        self.current.redirects.push(Redirect { operator, target, body: 0..0 });
    }

    /// Reads the here documents that the line before announced.
    fn bodies(&mut self) {
        for heredoc in std::mem::take(&mut self.heredocs) {
            let start = self.at;
            let mut body_end = self.end;
            while self.at < self.end {
                let line_start = self.at;
                let rest = self.rest();
                let line_end = rest.find('\n').unwrap_or(rest.len());
                let line = rest[..line_end].trim_end_matches('\r');
                self.at = (self.at + line_end + 1).min(self.end);
                let line = if heredoc.strip_tabs { line.trim_start_matches('\t') } else { line };
                if line == heredoc.delimiter {
                    body_end = line_start;
                    break;
                }
            }
            let command = heredoc.command.and_then(|index| self.commands.get_mut(index));
            if let Some(redirect) = command.and_then(|command| command.redirects.get_mut(heredoc.redirect)) {
                redirect.body = start..body_end;
            }
        }
    }

    fn word_or_assignment(&mut self) {
        let start = self.at;
        let word = self.word();
        if self.at == start {
            // Nothing that can begin a word; skip it.
            self.at += self.peek().map_or(1, char::len_utf8);
            return;
        }
        let raw = &self.text[word.span.clone()];
        if self.current.words.is_empty() {
            match raw {
                "if" | "then" | "else" | "elif" | "fi" | "do" | "done" | "while" | "until" | "{" | "}" | "!" => {
                    if self.current.assignments.is_empty() {
                        return;
                    }
                }
                "case" => self.cases += 1,
                "esac" => {
                    self.cases = self.cases.saturating_sub(1);
                    return;
                }
                _ => {
                    if let Some(name) = assigned_name(raw) {
                        return self.assign(name, word);
                    }
                }
            }
        } else if raw == "in" && self.current.words[0].text == "case" {
            self.current = Command::default();
            return;
        }
        self.extend(&word);
        self.current.words.push(word);
    }

    fn assign(&mut self, name: &str, word: Word) {
        self.extend(&word);
        let skipped = name.len() + 1 + usize::from(self.text[word.span.start + name.len()..].starts_with('+'));
        let text = word.text.get(skipped..).unwrap_or_default().to_owned();
        let value = Word { text, span: word.span.start + skipped..word.span.end, ..word };
        self.current.assignments.push(Assignment { name: name.to_owned(), value });
    }

    fn extend(&mut self, word: &Word) {
        if self.current.words.is_empty() && self.current.assignments.is_empty() && self.current.redirects.is_empty() {
            self.current.span = word.span.clone();
        }
        self.current.span.end = word.span.end;
    }

    /// Reads commands in the middle of another one.
    pub(super) fn inside(&mut self, read: impl FnOnce(&mut Self)) {
        let current = std::mem::take(&mut self.current);
        let heredocs = std::mem::take(&mut self.heredocs);
        let (nested, pipeline) = (std::mem::replace(&mut self.nested, true), self.pipeline);
        // Numbers only need to differ: the pipeline outside goes on with its own afterwards.
        self.pipeline += 1_000_000 + self.commands.len();
        self.deeper(read);
        self.pipeline = pipeline;
        self.nested = nested;
        self.heredocs = heredocs;
        self.current = current;
    }
}

/// The name of `NAME=…` or `NAME+=…`.
fn assigned_name(raw: &str) -> Option<&str> {
    let (name, _) = raw.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let good = name
        .bytes()
        .enumerate()
        .all(|(at, byte)| byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()));
    (good && !name.is_empty()).then_some(name)
}
