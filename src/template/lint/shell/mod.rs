//! A small reader of POSIX shell and bash: the simple commands of a script with their words, redirects and pipelines, each
//! with its place. It knows quotes, escapes, comments, here documents, substitutions and groups; it expands nothing and
//! evaluates no control flow. What it can't read it takes as words, and it never fails.

mod command;
mod parse;
#[cfg(test)]
mod tests;
mod word;

use std::ops::Range;

pub use command::{Simple, simple};
pub use parse::parse;

/// Commands of a pipeline that are looked at before and after one.
const MAX_PIPELINE: usize = 64;

/// Stands in a script's text for a value that is only known when the template is evaluated.
pub const HOLE: char = '\u{fffc}';

/// The commands of a script in the order of the text, those inside substitutions before the command that holds them.
#[derive(Debug, Default)]
pub struct Script {
    pub commands: Vec<Command>,
}

/// A simple command: `NAME=value word word >file`.
#[derive(Debug, Default, Clone)]
pub struct Command {
    pub assignments: Vec<Assignment>,
    pub words: Vec<Word>,
    pub redirects: Vec<Redirect>,
    /// In bytes of the script.
    pub span: Range<usize>,
    /// The same number for all commands joined by `|`, which follow each other.
    pub pipeline: usize,
    /// Whether it stands inside `$(…)`, backquotes or `<(…)`.
    pub nested: bool,
}

/// `NAME=value` before a command, or alone.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub name: String,
    pub value: Word,
}

/// A word with quotes and escapes taken off. Expansions stay as they are written.
#[derive(Debug, Clone, Default)]
pub struct Word {
    pub text: String,
    /// In bytes of the script, quotes included.
    pub span: Range<usize>,
    /// Whether something in it is only known when the script runs, or when the template is evaluated.
    pub expands: bool,
    /// Which commands of the script its substitutions hold.
    pub inner: Range<usize>,
}

/// `>file`, `<<EOF` and their like.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// `>`, `>>`, `<`, `<<`, `<<<`, `&>`, …
    pub operator: &'static str,
    /// The file, the here string, or the here document's delimiter.
    pub target: Word,
    /// The text of a here document.
    pub body: Range<usize>,
}

impl Redirect {
    /// Whether it writes what the command prints to a file.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.operator, ">" | ">>" | ">|" | "&>" | "&>>")
    }
}

impl Script {
    /// The commands that are joined with this one by `|`, itself included, and its place among them.
    #[must_use]
    pub fn pipeline(&self, index: usize) -> (&[Command], usize) {
        let number = self.commands[index].pipeline;
        let same = |command: &&Command| command.pipeline == number;
        let before = self.commands[..index].iter().rev().take(MAX_PIPELINE).take_while(same).count();
        let after = self.commands[index..].iter().take(MAX_PIPELINE).take_while(same).count();
        (&self.commands[index - before..index + after], before)
    }
}
