//! What secrets look like: tokens of well-known services by their form, and values that stand behind a secret's name.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::names;
use super::shell::HOLE;

/// A secret that was recognised by its form.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    pub range: Range<usize>,
    /// "an AWS access key"
    pub what: &'static str,
}

/// What it is, a text in small letters that is always in it, and the pattern, whose group 1 is the secret. The forms are those
/// that the services document for secret scanning.
const FORMS: &[(&str, &str, &str)] = &[
    ("an AWS access key", "ia", r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    (
        "an AWS secret key",
        "aws",
        r#"(?i)aws.{0,20}?(?:secret|private).{0,20}?["'\s:=]{1,8}([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"#,
    ),
    (
        "a private key",
        "private key",
        r"(-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s\\]{0,8000}-----END)?)",
    ),
    ("a GitHub token", "_", r"\b(gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
    ("a GitLab token", "gl", r"\b(gl(?:pat|dt|rt|ptt|soat)-[A-Za-z0-9_-]{20,255})"),
    ("a Slack token", "xox", r"\b(xox[abeoprs]-[A-Za-z0-9-]{10,250})"),
    ("a Slack webhook", "hooks.slack.com", r"(hooks\.slack\.com/services/T[A-Za-z0-9_]+/B[A-Za-z0-9_]+/[A-Za-z0-9_]+)"),
    ("a Stripe key", "k_live_", r"\b([rs]k_live_[0-9A-Za-z]{16,250})"),
    ("a Google API key", "aiza", r"\b(AIza[0-9A-Za-z_-]{35})"),
    ("an npm token", "npm_", r"\b(npm_[A-Za-z0-9]{36})\b"),
    ("a PyPI token", "pypi-age", r"\b(pypi-AgE[A-Za-z0-9_-]{50,500})"),
    ("a SendGrid key", "sg.", r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    ("a Vault token", "hv", r"\b(hv[sbr]\.[A-Za-z0-9_-]{24,300})"),
    ("a Terraform token", ".atlasv1.", r"\b([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,80})"),
    ("a DigitalOcean token", "_v1_", r"\b(do[opr]_v1_[a-f0-9]{64})\b"),
    ("a Docker Hub token", "dckr_pat_", r"\b(dckr_pat_[A-Za-z0-9_-]{20,100})"),
    ("an API key", "sk-", r"\b(sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,250})"),
    ("a Databricks token", "dapi", r"\b(dapi[0-9a-f]{32})\b"),
    ("a storage account key", "accountkey=", r"AccountKey=([A-Za-z0-9+/]{80,90}={0,2})"),
    ("a JSON web token", "eyj", r"\b(eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000})"),
    (
        "a password in an address",
        "://",
        r#"[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s:/@'"$\{<]{1,100}:([^\s:/@'"$\{<]{3,100})@[A-Za-z0-9]"#,
    ),
    ("a password", "'", r"(?i)(?:identified\s+by|with\s+password|set\s+password\s*=)\s+'([^'$\{]{3,100})'"),
    (
        "an access token",
        "authorization:",
        r"(?i)authorization:\s*(?:bearer|basic|token)\s+([A-Za-z0-9._~+/=-]{12,2000})",
    ),
];

struct Pattern {
    what: &'static str,
    needle: &'static str,
    regex: Regex,
}

static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let compile = |(what, needle, pattern): &(&'static str, &'static str, &str)| {
        Regex::new(pattern).ok().map(|regex| Pattern { what, needle, regex })
    };
    FORMS.iter().filter_map(compile).collect()
});

/// Secrets that are recognised by their form alone.
#[must_use]
pub fn tokens(text: &str) -> Vec<Form> {
    let mut found = Vec::new();
    let small = text.to_ascii_lowercase();
    for Pattern { what, regex, .. } in PATTERNS.iter().filter(|pattern| small.contains(pattern.needle)) {
        for captures in regex.captures_iter(text) {
            if let Some(secret) = captures.get(1) {
                found.push(Form { range: secret.range(), what });
            }
        }
    }
    found
}

/// Values behind the name of a secret, as they are written in shell, YAML, properties and JSON; with the name.
#[must_use]
pub fn assignments(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = all_assignments(text);
    found.retain(|(_, range)| is_value(&text[range.clone()]));
    found
}

/// Values behind the name of a secret that come from a variable: `DB_PASSWORD=$PASSWORD`.
#[must_use]
pub fn open_assignments(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = all_assignments(text);
    found.retain(|(_, range)| {
        let value = &text[range.clone()];
        value.starts_with(HOLE) || (value.starts_with('$') && value.len() > 1 && !value.starts_with("$("))
    });
    found
}

/// `name = value`, `name: value`, `"name" => "value"` with a secret's name.
fn all_assignments(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(['=', ':']) {
        let Some(name) = name_before(text, at) else { continue };
        if !names::is_secret(name) {
            continue;
        }
        let operator = &text[at..];
        let length = if operator.starts_with(":=") || operator.starts_with("=>") { 2 } else { 1 };
        // `==` and `=~` compare.
        if !operator[length..].starts_with(['=', '~']) {
            found.extend(value_after(text, at + length).map(|range| (name, range)));
        }
    }
    found
}

const MAX_NAME: usize = 80;
const MAX_VALUE: usize = 300;
const MAX_SPACE: usize = 20;

/// The name that ends before an operator.
fn name_before(text: &str, at: usize) -> Option<&str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let bytes = text.as_bytes();
    let back = |from: usize, most: usize, good: &dyn Fn(u8) -> bool| {
        from - bytes[from.saturating_sub(most)..from].iter().rev().take_while(|byte| good(**byte)).count()
    };
    let end = back(at, MAX_SPACE, &|byte| matches!(byte, b' ' | b'\t'));
    let end = back(end, 1, &|byte| matches!(byte, b'"' | b'\''));
    let start = back(end, MAX_NAME, &is_name);
    let name = text[start..end].trim_start_matches(|c: char| !c.is_ascii_alphabetic() && c != '_');
    // `$PASSWORD`, `${PASSWORD:-x}`, `user.password`, `path/password`.
    let before = text[..end - name.len()].chars().next_back();
    (!name.is_empty() && !matches!(before, Some('$' | '{' | '.' | '/'))).then_some(name)
}

/// The value that begins after an operator, without quotes.
fn value_after(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = &text[at..];
    let space = rest.bytes().take(MAX_SPACE).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let start = at + space;
    let rest = &text[start..];
    let length = |rest: &str, ends: &dyn Fn(char) -> bool| rest.find(ends).unwrap_or(rest.len());
    if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let inside = length(&rest[1..], &|c| c == quote || c == '\n');
        let closed = rest[1 + inside..].starts_with(quote);
        return (closed && inside <= MAX_VALUE).then_some(start + 1..start + 1 + inside);
    }
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | '`' | ';' | ',' | '&' | '|' | '<' | '>' | '(' | ')' | '{' | '}' | '[' | ']' | '\\'
            )
    };
    let inside = length(rest, &ends);
    // `password: function(x)` and `password = list[0]` are code.
    let code = rest[inside..].starts_with(['(', '[']);
    (inside > 0 && inside <= MAX_VALUE && !code).then_some(start..start + inside)
}

/// Whether a value may be a secret: not empty, not a variable, a path or a placeholder.
#[must_use]
pub fn is_value(value: &str) -> bool {
    const PLACEHOLDERS: &[&str] = &[
        "true",
        "false",
        "yes",
        "no",
        "none",
        "null",
        "nil",
        "undefined",
        "todo",
        "redacted",
        "hidden",
        "required",
        "optional",
        "files",
        "compat",
        "systemd",
        "sss",
        "ldap",
        "string",
        "vagrant",
        "packer",
        "prompt",
    ];
    let value = value.trim();
    let lower = value.to_lowercase();
    let open = value.contains(['$', '`', HOLE, '<', '%']) || value.contains("{{") || value.contains("}}");
    let path = value.starts_with(['/', '~', '.', '-', '=', '!', '@']) || value.contains("://") || value.contains('(');
    let placeholder = PLACEHOLDERS.contains(&lower.as_str())
        || value.chars().all(|c| matches!(c, 'x' | 'X' | '*' | '.' | '-' | '_' | '#'))
        || ["your", "replace", "insert ", "example_", "my-secret-here"].iter().any(|part| lower.starts_with(part));
    let reference = ["var.", "local.", "data.", "env.", "os.", "secrets.", "vault:", "ssm:", "arn:", "id="]
        .iter()
        .any(|part| lower.starts_with(part));
    value.chars().count() >= 3 && !open && !path && !placeholder && !reference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<&str> {
        assignments(text).into_iter().map(|(_, range)| &text[range]).collect()
    }

    #[test]
    fn all_patterns_compile() {
        assert_eq!(PATTERNS.len(), FORMS.len());
    }

    #[test]
    fn tokens_have_a_form() {
        // Put together here, so that nobody takes this file for a leak.
        let key = |parts: &[&str]| parts.concat();
        for (text, what) in [
            (key(&["id AKIA", "IOSFODNN7EXAMPLE end"]), "an AWS access key"),
            (key(&["AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY"]), "an AWS secret key"),
            (key(&["-----BEGIN OPENSSH ", "PRIVATE KEY-----"]), "a private key"),
            (key(&["git clone https://x:ghp_", &"a1".repeat(18), "@github.com/y"]), "a GitHub token"),
            (key(&["postgres://app:hunter2", "@db.example/x"]), "a password in an address"),
            (key(&["CREATE USER a IDENTIFIED BY ", "'hunter2'"]), "a password"),
        ] {
            assert!(tokens(&text).iter().any(|form| form.what == what), "{what}");
        }
        for text in [
            "https://example.com:8080/a@b",
            "AKIA",
            "git@github.com:a/b.git",
            "https://$USER:$PASS@x.y",
            "user:${var.x}@h",
        ] {
            assert_eq!(tokens(text), [], "{text}");
        }
    }

    #[test]
    fn named_values() {
        assert_eq!(named("echo 'DB_PASSWORD=hunter2' >> x"), ["hunter2"]);
        assert_eq!(named("password: \"hunter 2\"\nuser: bob"), ["hunter 2"]);
        assert_eq!(named("{\"api_key\": \"abc123\", \"b\": 1}"), ["abc123"]);
        assert_eq!(named("--extra-vars db_password=hunter2"), ["hunter2"]);
        for text in [
            "PASSWORD=$1",
            "password: {{ vault }}",
            "TOKEN=$(curl x)",
            "PASSWORD=",
            "password_file=/etc/x",
            "[ \"$PASSWORD\" = \"x1y2\" ]",
            "http_tokens = required",
            "token=\u{fffc}",
            "PasswordAuthentication no",
            "password=<secret>",
            "--password-stdin",
            "PWD=/tmp",
            "if [ $password == abcdef ]; then",
            "secret: /etc/secret",
            "token: var.token",
        ] {
            assert_eq!(named(text), [""; 0], "{text}");
        }
        assert_eq!(open_assignments("A_PASSWORD=$X B_TOKEN=$(x) C=$Y").len(), 1);
    }
}
