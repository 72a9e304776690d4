//! Parsing with complaints a person can act on: the places where writers of Packer templates go wrong are named.

use hcl_edit::expr::Expression;
use hcl_edit::parser;
use hcl_edit::structure::Body;

use crate::domain::diagnostic::Diagnostic;
use crate::template::source::SourceFile;

/// A parsed file.
#[derive(Debug)]
pub struct HclFile {
    pub source: SourceFile,
    pub body: Body,
}

/// Parses a whole file.
///
/// # Errors
/// With the first syntax error, located.
pub fn file(source: SourceFile) -> Result<HclFile, Diagnostic> {
    match parser::parse_body(&source.text) {
        Ok(body) => Ok(HclFile { source, body }),
        Err(error) => Err(explain(&source, &error)),
    }
}

/// Parses one expression.
///
/// # Errors
/// With the first syntax error, located.
pub fn expression(source: &SourceFile) -> Result<Expression, Diagnostic> {
    parser::parse_expr(source.text.trim()).map_err(|error| explain(source, &error))
}

/// Says what is wrong at a syntax error.
pub(super) fn explain(source: &SourceFile, error: &parser::Error) -> Diagnostic {
    let offset = error.location().offset().min(source.text.len());
    let line = source.line_at(offset);
    let start = source.line_start(offset);
    if let Some(separator) = one_line_separator(source, offset) {
        let what = source.text[separator..].chars().next().unwrap_or(';');
        return Diagnostic::error(format!("attributes on one line are separated by {what:?}, which HCL2 does not have"))
            .with_detail("put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only")
            .at(Some(source.location(separator)));
    }
    // The parser counts bytes, and may stumble in the middle of a character.
    let column = (0..=offset.saturating_sub(start).min(line.len())).rev().find(|at| line.is_char_boundary(*at));
    let rest = &line[column.unwrap_or(0)..];
    let first = source.text.trim_start();
    let diagnostic = Diagnostic::error(format!("syntax error: {}", error.message()));
    let detail = if first.starts_with("{\n") || first.starts_with("{\"") || first.starts_with("{\r") {
        "this looks like JSON: name the file .json"
    } else if rest.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        "the quotes here are typographic ones; use the plain \" character"
    } else if rest.starts_with('\'') {
        "strings are written with \", not with '"
    } else if offset >= source.text.trim_end().len() {
        "the file ends here; a } or \" may be missing before"
    } else {
        ""
    };
    diagnostic.with_detail(detail).at(Some(source.location(offset)))
}

/// The `;` or `,` between two attributes of a block written on one line, where that is what the parser stumbled over.
fn one_line_separator(source: &SourceFile, offset: usize) -> Option<usize> {
    let start = source.line_start(offset);
    let line = source.line_at(offset);
    let mut in_string = false;
    let mut escaped = false;
    let mut brackets = 0_i32;
    let mut objects = 0_i32;
    let mut block_depth = 0_i32;
    let mut last_word_equals = false;
    for (at, character) in line.char_indices() {
        if in_string {
            match character {
                '"' if !escaped => in_string = false,
                _ => {}
            }
            escaped = character == '\\' && !escaped;
            continue;
        }
        match character {
            '"' => in_string = true,
            '#' => return None,
            '[' | '(' => brackets += 1,
            ']' | ')' => brackets -= 1,
            '{' if last_word_equals || brackets > 0 || objects > 0 => objects += 1,
            '{' => block_depth += 1,
            '}' if objects > 0 => objects -= 1,
            '}' => block_depth -= 1,
            ';' if brackets == 0 => return Some(start + at),
            ',' if brackets == 0 && objects == 0 && block_depth > 0 => return Some(start + at),
            _ => {}
        }
        if !character.is_whitespace() {
            last_word_equals = character == '=' || character == ':';
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        file(SourceFile::new("t.pkr.hcl", text)).unwrap_err().to_string()
    }

    #[test]
    fn one_line_blocks_are_explained() {
        insta::assert_snapshot!(complaint("variable \"app_version\" { type = string }\nvariable \"env\"         { type = string; default = \"dev\" }\n"), @"t.pkr.hcl:2:39: attributes on one line are separated by ';', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
        insta::assert_snapshot!(complaint("build {\n  post-processor \"manifest\" { output = \"manifest.json\"; strip_path = true }\n}\n"), @"t.pkr.hcl:2:55: attributes on one line are separated by ';', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
        insta::assert_snapshot!(complaint("variable \"env\" { type = string, default = \"dev\" }\n"), @"t.pkr.hcl:1:31: attributes on one line are separated by ',', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
        insta::assert_snapshot!(complaint("provisioner \"file\" {\n  source = \"a;b\"; destination = \"/tmp/x\"\n}\n"), @"t.pkr.hcl:2:17: attributes on one line are separated by ';', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
    }

    #[test]
    fn other_errors_have_a_place_and_a_hint() {
        insta::assert_snapshot!(complaint("a = 'x'\n"), @r#"t.pkr.hcl:1:5: syntax error: invalid expression; expected `"`, `[`, `{`, `-`, `!`, `(`, `_`, `<`, letter or digit: strings are written with ", not with '"#);
        insta::assert_snapshot!(complaint("source \"a\" \"b\" {\n  x = 1\n"), @r#"t.pkr.hcl:2:8: syntax error: invalid block body; expected `}`, newline or identifier: the file ends here; a } or " may be missing before"#);
        insta::assert_snapshot!(complaint("{\n  \"builders\": []\n}"), @"t.pkr.hcl:1:1: syntax error: unexpected token: this looks like JSON: name the file .json");
        insta::assert_snapshot!(complaint("ä = “x”\n"), @r#"t.pkr.hcl:1:5: syntax error: invalid expression; expected `"`, `[`, `{`, `-`, `!`, `(`, `_`, `<`, letter or digit: the quotes here are typographic ones; use the plain " character"#);
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let text = format!("a = {}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(file(SourceFile::new("t", &text)).is_err());
    }
}
