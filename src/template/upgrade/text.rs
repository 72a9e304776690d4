//! Text of HCL2: strings with `${…}` in them.

use std::fmt::Write;

use crate::template::print;

/// A piece of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// An expression of HCL2.
    Code(String),
    /// A call of `{{ … }}` that stays, without the braces.
    Call(Vec<Piece>),
}

/// A string in quotes.
#[must_use]
pub fn quoted(pieces: &[Piece]) -> String {
    let mut result = String::from("\"");
    let flat = flat(pieces);
    for (at, piece) in flat.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let before_code = matches!(flat.get(at + 1), Some(Piece::Code(_)));
                match text.strip_suffix('$') {
                    // `$${` would be text.
                    Some(text) if before_code => {
                        escape(text, &mut result);
                        result.push_str("${\"$\"}");
                    }
                    _ => escape(text, &mut result),
                }
            }
            Piece::Code(code) => {
                let _ = write!(result, "${{{code}}}");
            }
            Piece::Call(_) => {}
        }
    }
    result.push('"');
    result
}

/// Text and code only, no text next to another.
fn flat(pieces: &[Piece]) -> Vec<Piece> {
    let mut result: Vec<Piece> = Vec::new();
    let mut add = |piece: Piece| match (result.last_mut(), piece) {
        (Some(Piece::Text(last)), Piece::Text(text)) => last.push_str(&text),
        (_, piece) => result.push(piece),
    };
    for piece in pieces {
        match piece {
            Piece::Call(inner) => {
                add(Piece::Text("{{ ".to_owned()));
                flat(inner).into_iter().for_each(&mut add);
                add(Piece::Text(" }}".to_owned()));
            }
            other => add(other.clone()),
        }
    }
    result
}

/// Escapes text for a string in quotes, as hclwrite does.
fn escape(text: &str, into: &mut String) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '$' | '%' if characters.peek() == Some(&'{') => {
                into.push(character);
                into.push(character);
            }
            other if other.is_control() => {
                let _ = write!(into, "\\u{:04x}", u32::from(other));
            }
            other => into.push(other),
        }
    }
}

/// Pieces as one operand of an action that stays: in backquotes where that goes.
#[must_use]
pub fn operand(pieces: &[Piece]) -> Vec<Piece> {
    if let [Piece::Call(call)] = pieces {
        return around("(", call.clone(), ")");
    }
    if pieces.iter().any(|piece| matches!(piece, Piece::Call(_))) {
        let mut result = vec![Piece::Text("(print".to_owned())];
        for piece in pieces {
            result.push(Piece::Text(" ".to_owned()));
            result.extend(operand(std::slice::from_ref(piece)));
        }
        result.push(Piece::Text(")".to_owned()));
        return result;
    }
    let raw = !pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('`')));
    if raw {
        return around("`", pieces.to_vec(), "`");
    }
    let inner = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => {
            let quoted = print::quoted(text);
            Piece::Text(quoted[1..quoted.len() - 1].to_owned())
        }
        other => other.clone(),
    });
    around("\"", inner.collect(), "\"")
}

fn around(open: &str, inner: Vec<Piece>, close: &str) -> Vec<Piece> {
    let mut result = vec![Piece::Text(open.to_owned())];
    result.extend(inner);
    result.push(Piece::Text(close.to_owned()));
    result
}
