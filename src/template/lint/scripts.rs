//! The shell scripts of a template: inline commands, and script files of the bundle, with the way from their text back to
//! the files.

use std::ops::Range;

use super::Input;
use super::model::{Component, Kind, Model, Piece, Place, Text, Value};
use super::shell::{self, HOLE};
use super::text::Alignment;
use crate::domain::config::{LateString, ProvisionerBlock, ProvisionerConfig};
use crate::template::source::SourceFile;

/// Bytes of one script, and of all scripts together, that are looked at.
const MAX_SCRIPT: usize = 512 * 1024;
const MAX_SCRIPTS: usize = 4 * 1024 * 1024;

/// One script of a provisioner.
#[derive(Debug)]
pub struct Script {
    pub text: String,
    /// Empty when it is in another language.
    pub parsed: shell::Script,
    segments: Vec<Segment>,
    /// Indices into the model's builds and the build's provisioners.
    pub build: usize,
    pub provisioner: usize,
    /// The bundle's path of a script file; `None` for inline commands.
    pub path: Option<String>,
    /// Whether it runs as root by its `execute_command`.
    pub by_sudo: bool,
    /// Whether a failing command ends it.
    pub stops_on_error: bool,
}

#[derive(Debug)]
struct Segment {
    start: usize,
    length: usize,
    place: Place,
    /// `None` where the text stands for the whole place.
    alignment: Option<Alignment>,
}

impl Script {
    /// The place of a range of the script's text. What is put together from several files is cut at its first piece.
    #[must_use]
    pub fn place(&self, range: &Range<usize>) -> Place {
        let Some(first) = self.segment(range.start) else { return Place::default() };
        let start = first.raw(range.start, false);
        let last = self.segment(range.end.saturating_sub(1).max(range.start)).unwrap_or(first);
        let end = if last.place.file == first.place.file { last.raw(range.end, true) } else { 0 };
        let end = if end >= start { end } else { first.place.end.max(start) };
        Place { file: first.place.file, start, end }
    }

    fn segment(&self, offset: usize) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.start <= offset);
        self.segments.get(after.saturating_sub(1))
    }
}

impl Segment {
    fn raw(&self, offset: usize, end: bool) -> usize {
        match &self.alignment {
            Some(alignment) => {
                let inside = offset.saturating_sub(self.start).min(self.length);
                self.place.start + alignment.raw(inside)
            }
            None if end => self.place.end,
            None => self.place.start,
        }
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    segments: Vec<Segment>,
}

impl Writer {
    fn value(&mut self, value: &Value, model: &Model) {
        match &value.kind {
            Kind::Text(text) => self.pieces(text, model),
            Kind::Unknown(hole) if hole.parts.is_empty() => self.hole(value.place),
            Kind::Unknown(hole) => {
                for part in &hole.parts {
                    part.texts(&mut |text, _| {
                        self.pieces(text, model);
                        self.text.push('\n');
                    });
                }
            }
            _ => {}
        }
        self.text.push('\n');
    }

    fn pieces(&mut self, text: &Text, model: &Model) {
        for piece in &text.pieces {
            match piece {
                Piece::Literal { text, place, via: None } => {
                    let alignment = Alignment::new(model.raw(*place), text);
                    self.push(text, *place, Some(alignment));
                }
                Piece::Literal { text, via: Some(used), .. } => self.push(text, used.place, None),
                Piece::Hole(place, _) => self.hole(*place),
            }
        }
    }

    fn hole(&mut self, place: Place) {
        self.push(&HOLE.to_string(), place, None);
    }

    fn push(&mut self, text: &str, place: Place, alignment: Option<Alignment>) {
        if self.text.len() + text.len() <= MAX_SCRIPT {
            self.segments.push(Segment { start: self.text.len(), length: text.len(), place, alignment });
            self.text.push_str(text);
        }
    }
}

/// Collects the scripts of all provisioners of a kind, `shell` or `shell-local`. Script files become files of the model.
pub fn collect(kind: &str, model: &mut Model, input: &Input<'_>) -> Vec<Script> {
    let mut scripts = Vec::new();
    let mut total = 0;
    for build in 0..model.builds.len() {
        for provisioner in 0..model.builds[build].provisioners.len() {
            let component = model.builds[build].provisioners[provisioner].clone();
            if component.kind != kind {
                continue;
            }
            let first = scripts.len();
            if let Some(value) = component.get("inline").or_else(|| component.get("command")) {
                scripts.extend(inline(value, &component, model, input));
            }
            for path in script_paths(&component, model, input) {
                scripts.extend(file(&path, &component, model, input));
            }
            for script in &mut scripts[first..] {
                (script.build, script.provisioner) = (build, provisioner);
                total += script.text.len();
            }
            if total > MAX_SCRIPTS {
                return scripts;
            }
        }
    }
    scripts
}

fn inline(value: &Value, component: &Component, model: &Model, input: &Input<'_>) -> Option<Script> {
    let mut writer = Writer::default();
    let unknown = matches!(value.kind, Kind::Unknown(_));
    let evaluated = if unknown { evaluated_inline(component, model, input) } else { None };
    match (evaluated, value.items()) {
        (Some(lines), _) => writer.push(&lines, value.place, None),
        (None, Some(items)) => items.iter().for_each(|item| writer.value(item, model)),
        (None, None) => writer.value(value, model),
    }
    let shebang = component.text("inline_shebang");
    let first = writer.text.lines().next().filter(|line| line.starts_with("#!")).map(|line| line[2..].to_owned());
    let shebang = shebang.or(first).unwrap_or_else(|| "/bin/sh -e".to_owned());
    let stops = !component.gives("inline_shebang") && !writer.text.starts_with("#!") || stops_on_error(&shebang);
    finish(writer, &shebang, stops, None, &execute_command(component, model))
}

/// As it is written, where it is written: it always holds `{{ .Path }}`.
fn execute_command(component: &Component, model: &Model) -> String {
    let Some(value) = component.get("execute_command") else { return String::new() };
    let mut written = model.raw(value.place).to_owned();
    value.literals(&mut |text, _| {
        written.push(' ');
        written.push_str(text);
    });
    written
}

/// The commands as the evaluated template has them, where the text alone does not tell.
fn evaluated_inline(component: &Component, model: &Model, input: &Input<'_>) -> Option<String> {
    let (inline, _) = evaluated_shell(component, model, input)?;
    let lines: Vec<&str> = inline.iter().map(|line| line.0.as_str()).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Its commands and its script files.
fn evaluated_shell<'i>(
    component: &Component,
    model: &Model,
    input: &Input<'i>,
) -> Option<(&'i [LateString], &'i [String])> {
    let builds = input.evaluated.into_iter().flat_map(|evaluated| &evaluated.builds);
    let here = |block: &&ProvisionerBlock| block.at.as_ref().is_some_and(|at| model.holds(component.extent, at));
    builds.flat_map(|build| &build.provisioners).filter(here).find_map(|block| match &block.config {
        ProvisionerConfig::Shell(shell) => Some((&*shell.inline, &*shell.scripts)),
        ProvisionerConfig::ShellLocal(local) => Some((&*local.inline, &*local.scripts)),
        _ => None,
    })
}

/// The paths of script files.
fn script_paths(component: &Component, model: &Model, input: &Input<'_>) -> Vec<String> {
    let mut paths = Vec::new();
    for value in ["script", "scripts"].iter().filter_map(|name| component.get(name)) {
        let known: Option<Vec<String>> = value.items().and_then(|items| items.iter().map(Value::text).collect());
        match (known, evaluated_shell(component, model, input)) {
            (Some(known), _) => paths.extend(known),
            (None, Some((_, scripts))) => paths.extend(scripts.iter().cloned()),
            (None, None) => {}
        }
    }
    paths
}

fn file(path: &str, component: &Component, model: &mut Model, input: &Input<'_>) -> Option<Script> {
    let (path, index) = add_file(path, model, input)?;
    let text = &model.files[index].text;
    if text.len() > MAX_SCRIPT {
        return None;
    }
    let text = text.clone();
    let first = text.lines().next().and_then(|line| line.strip_prefix("#!")).map(str::trim);
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let other = matches!(extension, "py" | "rb" | "pl" | "ps1" | "js" | "php");
    let shebang = first.unwrap_or(if other { extension } else { "sh" }).to_owned();
    let stops = stops_on_error(&shebang) || stops_on_error(&execute_command(component, model));
    let mut writer = Writer::default();
    let place = Place { file: index, start: 0, end: text.len() };
    let alignment = Alignment::new(&text, &text);
    writer.push(&text, place, Some(alignment));
    finish(writer, &shebang, stops, Some(path), &execute_command(component, model))
}

/// Makes a text file of the bundle one of the model's. Gives its path and number.
pub fn add_file(path: &str, model: &mut Model, input: &Input<'_>) -> Option<(String, usize)> {
    let (path, file) = input.bundle.resolve(path).ok().flatten()?;
    if let Some(index) = model.files.iter().position(|known| known.path == path) {
        return Some((path.to_owned(), index));
    }
    let text = std::str::from_utf8(&file.bytes).ok()?;
    model.files.push(SourceFile::new(path, text));
    Some((path.to_owned(), model.files.len() - 1))
}

fn finish(writer: Writer, shebang: &str, stops: bool, path: Option<String>, execute: &str) -> Option<Script> {
    if writer.segments.is_empty() {
        return None;
    }
    let parsed = if is_shell(shebang) { shell::parse(&writer.text) } else { shell::Script::default() };
    let by_sudo = execute.split([' ', ';', '"', '|', '&']).any(|word| matches!(word, "sudo" | "doas" | "su"));
    let stops_on_error = stops || parsed.commands.iter().any(sets_errexit);
    Some(Script {
        text: writer.text,
        parsed,
        segments: writer.segments,
        build: 0,
        provisioner: 0,
        path,
        by_sudo,
        stops_on_error,
    })
}

fn is_shell(shebang: &str) -> bool {
    let program = |word: &str| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "dash" | "zsh" | "ksh" | "ash"));
    shebang.split_whitespace().any(program)
}

/// Whether a shell's options hold `-e`.
fn stops_on_error(line: &str) -> bool {
    let words: Vec<&str> = line.split([' ', ';', '"', '\t']).collect();
    let shell = words.iter().position(|word| is_shell(word));
    let options = shell.map(|at| &words[at + 1..]).unwrap_or_default();
    options.iter().any(|word| {
        *word == "errexit"
            || word.strip_prefix('-').is_some_and(|flags| flags.chars().all(char::is_alphabetic) && flags.contains('e'))
    })
}

/// `set -e`, `set -euo pipefail`, `set -o errexit`.
fn sets_errexit(command: &shell::Command) -> bool {
    shell::simple(command).is_some_and(|simple| {
        simple.name == "set"
            && (simple.has("errexit") || simple.has_short('e') || simple.arguments.iter().any(|word| word.text == "-e"))
    })
}
