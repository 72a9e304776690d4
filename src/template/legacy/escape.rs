//! Go's text/template escapers.

use std::fmt::Write;

/// Escapes text for HTML.
#[must_use]
pub fn html(text: &str) -> String {
    let mut result = String::new();
    for character in text.chars() {
        match character {
            '\0' => result.push('\u{fffd}'),
            '"' => result.push_str("&#34;"),
            '\'' => result.push_str("&#39;"),
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            other => result.push(other),
        }
    }
    result
}

/// Escapes text for a string in JavaScript.
#[must_use]
pub fn js(text: &str) -> String {
    let mut result = String::new();
    for character in text.chars() {
        match character {
            '\\' => result.push_str("\\\\"),
            '\'' => result.push_str("\\'"),
            '"' => result.push_str("\\\""),
            '<' | '>' | '&' | '=' => {
                let _ = write!(result, "\\u{:04X}", u32::from(character));
            }
            other if other.is_control() => {
                let _ = write!(result, "\\u{:04X}", u32::from(other));
            }
            other => result.push(other),
        }
    }
    result
}

/// Escapes text for the query of a URL as Go's `url.QueryEscape`: a space is `+`.
#[must_use]
pub fn url_query(text: &str) -> String {
    let mut result = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => result.push(char::from(byte)),
            b' ' => result.push('+'),
            other => {
                let _ = write!(result, "%{other:02X}");
            }
        }
    }
    result
}
