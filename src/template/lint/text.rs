//! From text as a language decodes it back to the raw text of the file, and `{{ … }}` actions inside texts.

use super::model::{Hole, Kind, Piece, Place, Text, Use, Value};
use super::names;

/// Where each byte of a decoded text comes from in the raw text.
#[derive(Debug)]
pub struct Alignment {
    /// `None` where the two are the same.
    offsets: Option<Vec<usize>>,
    raw_length: usize,
}

impl Alignment {
    /// Knows JSON's and HCL's escapes, `$${` and `%%{`, and indentation that a here document loses.
    #[must_use]
    pub fn new(raw: &str, text: &str) -> Self {
        if raw == text {
            return Self { offsets: None, raw_length: raw.len() };
        }
        let mut offsets = Vec::with_capacity(text.len() + 1);
        let mut at = 0;
        for character in text.chars() {
            let rest = &raw[at..];
            let length = if rest.starts_with('\\') && character != '\\' || rest.starts_with("\\\\") {
                escape_length(rest, character)
            } else if rest.starts_with("$${") || rest.starts_with("%%{") {
                2
            } else {
                // A here document's stripped indentation.
                if !rest.starts_with(character) {
                    at += rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
                }
                raw[at..].chars().next().map_or(0, char::len_utf8)
            };
            offsets.extend(std::iter::repeat_n(at, character.len_utf8()));
            at += length;
            while !raw.is_char_boundary(at) {
                at += 1;
            }
        }
        Self { offsets: Some(offsets), raw_length: raw.len() }
    }

    /// The raw offset of a decoded one.
    #[must_use]
    pub fn raw(&self, offset: usize) -> usize {
        match &self.offsets {
            None => offset.min(self.raw_length),
            Some(offsets) => offsets.get(offset).copied().unwrap_or(self.raw_length).min(self.raw_length),
        }
    }
}

fn escape_length(rest: &str, decoded: char) -> usize {
    let digits = match rest.as_bytes().get(1) {
        Some(b'u') if u32::from(decoded) > 0xffff => 10,
        Some(b'u') => 4,
        Some(b'U') => 8,
        _ => 0,
    };
    (2 + digits).min(rest.len())
}

/// Splits a text at its `{{ … }}` actions. `variable` gives what ``{{ user `name` }}`` stands for.
pub fn pieces(
    text: &str,
    raw: &str,
    place: Place,
    variable: &mut dyn FnMut(&str) -> Option<Value>,
    into: &mut Vec<Piece>,
) {
    let alignment = Alignment::new(raw, text);
    let part = |start: usize, end: usize| Place {
        file: place.file,
        start: place.start + alignment.raw(start),
        end: place.start + alignment.raw(end),
    };
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let start = at + found;
        let Some(length) = action_length(&text[start..]) else { break };
        if start > at {
            let literal = text[at..start].to_owned();
            into.push(Piece::Literal { text: literal, place: part(at, start), via: None });
        }
        at = start + length;
        action(&text[start + 2..at - 2], part(start, at), variable, into);
    }
    if at < text.len() {
        into.push(Piece::Literal { text: text[at..].to_owned(), place: part(at, text.len()), via: None });
    }
}

/// The length of the action at the start of a text, both delimiters included.
fn action_length(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, character) in text.char_indices().skip(2) {
        match quote {
            Some(open) if character == open => quote = None,
            None if matches!(character, '"' | '`') => quote = Some(character),
            None if text[at..].starts_with("}}") => return Some(at + 2),
            Some(_) | None => {}
        }
    }
    None
}

fn action(inside: &str, place: Place, variable: &mut dyn FnMut(&str) -> Option<Value>, into: &mut Vec<Piece>) {
    let inside = inside.trim_matches(|c: char| c.is_whitespace() || c == '-');
    if let Some(name) = user_variable(inside) {
        let value = variable(name);
        if inside.ends_with(['`', '"'])
            && let Some(value) = &value
            && let Kind::Text(text) = &value.kind
        {
            return extend_via(text, name, place, into);
        }
        let mut hole = Hole { variables: vec![name.to_owned()], ..Hole::default() };
        hole.secret = names::is_secret(name);
        match value {
            Some(value) => {
                if let Kind::Unknown(known) = &value.kind {
                    hole = Hole { secret: hole.secret || known.secret, ..known.clone() };
                } else {
                    hole.changes = value.changes();
                    hole.parts.push(value);
                }
            }
            None => hole.changes = true,
        }
        into.push(Piece::Hole(place, hole));
        return;
    }
    if matches!(inside, "template_dir" | "pwd") {
        let via = Some(Use { place, variable: String::new() });
        return into.push(Piece::Literal { text: ".".to_owned(), place, via });
    }
    // Each build has its own name and type; all other actions have to do with time, randomness or the machine.
    let constant = matches!(inside, "build_name" | "build_type" | "packer_version");
    into.push(Piece::Hole(place, Hole { changes: !constant, ..Hole::default() }));
}

/// The name in ``user `name` ``, with or without a pipeline after it.
fn user_variable(inside: &str) -> Option<&str> {
    let at = inside.find("user ").filter(|at| *at == 0 || inside[..*at].ends_with([' ', '(']))?;
    let rest = inside[at + 5..].trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '`' | '"'))?;
    rest[1..].split_once(quote).map(|(name, _)| name)
}

/// Adds a value's text where it is used: its own place is kept, and the use is noted.
pub fn extend_via(text: &Text, variable: &str, used: Place, into: &mut Vec<Piece>) {
    for piece in &text.pieces {
        into.push(match piece {
            Piece::Literal { text, place, .. } => {
                let via = Some(Use { place: used, variable: variable.to_owned() });
                Piece::Literal { text: text.clone(), place: *place, via }
            }
            Piece::Hole(_, hole) => Piece::Hole(used, hole.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded_text_finds_its_raw_place() {
        let raw = r#"a\tb \"c\" \u00e4 $${x} \\n"#;
        let text = "a\tb \"c\" ä ${x} \\n";
        let alignment = Alignment::new(raw, text);
        let at = |part: &str| &raw[alignment.raw(text.find(part).unwrap())..];
        assert!(at("b ").starts_with("b "));
        assert!(at("c").starts_with('c'));
        assert!(at("ä").starts_with("\\u00e4"));
        assert!(at("{x").starts_with("{x"));
        assert!(at("\\n").starts_with("\\\\n"));
        let alignment = Alignment::new("  one\n  two\n", "one\ntwo\n");
        assert_eq!((alignment.raw(0), alignment.raw(4), alignment.raw(8)), (2, 8, 12));
    }

    #[test]
    fn actions_are_holes() {
        let text = "a-{{user `v`}}-{{ isotime \"2006}}\" }}-{{build_name}}{{";
        let mut found = Vec::new();
        let place = Place { file: 0, start: 10, end: 10 + text.len() };
        let mut variable = |name: &str| Some(Value::literal(&format!("<{name}>"), Place::default()));
        pieces(text, text, place, &mut variable, &mut found);
        let shown: Vec<String> = found
            .iter()
            .map(|piece| match piece {
                Piece::Literal { text, place, via } => format!("{text} {} {}", place.start, via.is_some()),
                Piece::Hole(place, hole) => format!("hole {} {}", place.start, hole.changes),
            })
            .collect();
        assert_eq!(
            shown,
            ["a- 10 false", "<v> 0 true", "- 24 false", "hole 25 true", "- 47 false", "hole 48 false", "{{ 62 false"]
        );
    }

    proptest::proptest! {
        #[test]
        fn aligning_never_panics(raw in "[\\\\uUn \"$%{aä0-9\n\t]{0,30}", text in "[\\\\un \"$%{aä0-9\n\t😀]{0,30}") {
            let alignment = Alignment::new(&raw, &text);
            for at in 0..=text.len() + 1 {
                proptest::prop_assert!(raw.is_char_boundary(alignment.raw(at)));
            }
            let mut found = Vec::new();
            pieces(&text, &raw, Place { file: 0, start: 0, end: raw.len() }, &mut |_| None, &mut found);
        }
    }
}
