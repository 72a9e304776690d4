//! The direction of dependencies, read from the sources:
//!
//! `domain ← {template, cloud, communicator, provisioner, postprocess, store} ← {steps, engine, logs, auth} ←
//! {api, cli} ← app ← main`
//!
//! Beside it stand `config` (typed settings: reads a file with the template's source positions, and is read by the API,
//! the command line and `app`), `telemetry` (reads its settings, is started by `app`), `lifecycle` (how a server ends: for
//! `app`) and `gathering` (questions asked together: knows nothing of them). Tests inside of modules may use what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// A path that begins at the crate's root or above this module, and its next name.
static OWN_PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?-u:\b)(crate|super(?:::super)*)::([a-z0-9_]+|\{)").expect("a pattern"));
/// A name that begins a path: of a crate, or of something in scope.
static FIRST_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^a-zA-Z0-9_:$.])(?:::)?([a-z0-9_]+)(?:::|;| as )").expect("a pattern"));

const ENGINE_ROOM: &[&str] =
    &["domain", "template", "cloud", "communicator", "provisioner", "postprocess", "store", "engine", "logs", "auth"];

/// Which modules each module may use, besides itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("template", &["domain"]),
    ("cloud", &["domain"]),
    ("communicator", &["domain"]),
    // A provisioner is a client of the communicator.
    ("provisioner", &["domain", "communicator"]),
    ("postprocess", &["domain"]),
    ("store", &["domain", "gathering"]),
    ("config", &["domain", "template", "cloud"]),
    ("gathering", &[]),
    ("lifecycle", &["domain"]),
    ("telemetry", &["config"]),
    ("auth", &["domain", "store"]),
    ("logs", &["domain", "store", "communicator"]),
    (
        "engine",
        &["domain", "gathering", "template", "cloud", "communicator", "provisioner", "postprocess", "store", "logs"],
    ),
    // Steps are written against the engine's `Step` trait; the engine knows them only as a registry.
    ("steps", &["domain", "template", "cloud", "communicator", "provisioner", "postprocess", "engine"]),
    ("api", &["config", "domain", "template", "store", "engine", "logs", "auth"]),
    ("ui", &["config", "domain", "template", "store", "engine", "logs", "auth"]),
    ("cli", &["config", "domain", "template"]),
    ("app", &["api", "ui", "cli", "config", "lifecycle", "telemetry", "steps"]),
    ("lib", &[]),
    ("main", &["app"]),
];

/// Crates that stay in one folder; `*` stands for any ending.
const AT_HOME: &[(&str, &str)] = &[
    ("sqlx", "store"),
    ("aws_sdk_*", "cloud/aws"),
    ("aws_smithy_*", "cloud/aws"),
    ("aws_config", "cloud/aws"),
    ("aws_credential_types", "cloud/aws"),
    ("aws_sigv4", "cloud/aws"),
    ("tokio_tungstenite", "communicator/session_manager"),
    ("russh*", "communicator/ssh"),
    ("axum*", "api"),
    ("utoipa_axum", "api"),
    ("tower_http", "api"),
];

/// What pure rules do without.
const NOT_IN_DOMAIN: &[&str] = &["tokio*", "futures*", "reqwest", "rustix", "hyper*", "tower*", "clap"];

/// STYLE: about 500 lines. Only told, never failed: a table of options may be long.
const LONG_FILE: usize = 700;

/// A file of the sources: its path below `src`, without what is only compiled for tests.
struct Source {
    path: PathBuf,
    code: String,
}

impl Source {
    /// `engine` for `engine/worker.rs`, `app` for `app.rs`.
    fn module(&self) -> String {
        let first = self.path.iter().next().unwrap_or_default().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// How many `super` lead out of the crate's own modules: `engine/worker.rs` is two deep, `engine/mod.rs` one.
    fn depth(&self) -> usize {
        let parts = self.path.iter().count();
        if self.path.file_name().is_some_and(|name| name == "mod.rs") { parts - 1 } else { parts }
    }

    /// The crate's modules that this file names.
    fn used_modules(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for captures in OWN_PATH.captures_iter(&self.code) {
            let whole = captures.get(0).expect("a match");
            let (root, next) = (&captures[1], &captures[2]);
            if root != "crate" && root.matches("super").count() < self.depth() {
                continue;
            }
            if next == "{" {
                found.extend(first_names(&self.code[whole.end()..]));
            } else if next != "super" {
                found.insert(next.to_owned());
            }
        }
        found
    }

    /// Names that begin a path, foreign crates among them.
    fn first_names(&self) -> BTreeSet<&str> {
        let names = FIRST_NAME.captures_iter(&self.code);
        names.map(|captures| captures.get(1).expect("a match").as_str()).collect()
    }
}

/// The first name of each item in `a::b, c::{d, e}}…`, up to the brace that closes the group.
fn first_names(group: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let (mut depth, mut in_name) = (0_usize, true);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(String::new());
                in_name = true;
            }
            ':' => in_name = false,
            c if in_name && depth == 0 && (c.is_alphanumeric() || c == '_') => {
                names.last_mut().expect("never empty").push(c);
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The code without comments, and with what stands in quotes emptied.
fn without_comments_and_texts(code: &str) -> String {
    let bytes: Vec<char> = code.chars().collect();
    let at = |index: usize| bytes.get(index).copied().unwrap_or('\0');
    let mut out = String::with_capacity(code.len());
    let mut i = 0;
    while i < bytes.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => i = end_of_line(&bytes, i),
            ('/', '*') => {
                let (mut depth, mut j) = (1, i + 2);
                while depth > 0 && j < bytes.len() {
                    match (at(j), at(j + 1)) {
                        ('/', '*') => (depth, j) = (depth + 1, j + 2),
                        ('*', '/') => (depth, j) = (depth - 1, j + 2),
                        _ => j += 1,
                    }
                }
                i = j;
            }
            ('r', '"' | '#') if !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') || out.ends_with('b') => {
                let hashes = bytes[i + 1..].iter().take_while(|c| **c == '#').count();
                if at(i + 1 + hashes) == '"' {
                    i = end_of_raw_text(&bytes, i + 2 + hashes, hashes);
                    out.push_str("\"\"");
                } else {
                    out.push('r');
                    i += 1;
                }
            }
            ('"', _) => {
                i += 1;
                while i < bytes.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
                out.push_str("\"\"");
            }
            // A character; a lifetime has no closing quote.
            ('\'', '\\') => {
                let closing = bytes[i + 3..].iter().position(|c| *c == '\'').map_or(bytes.len(), |end| i + 3 + end);
                i = closing + 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (c, _) => {
                out.push(c);
                i += 1;
            }
        }
    }
    out
}

fn end_of_line(text: &[char], from: usize) -> usize {
    text[from..].iter().position(|c| *c == '\n').map_or(text.len(), |length| from + length)
}

fn end_of_raw_text(text: &[char], mut from: usize, hashes: usize) -> usize {
    while from < text.len() {
        if text[from] == '"' && text[from + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return from + 1 + hashes;
        }
        from += 1;
    }
    from
}

/// A test module that is a file of its own.
static MODULE_FILE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;").expect("a pattern")
});

/// Takes out items under `#[cfg(test)]`, and returns the names of test modules that are files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let (mut kept, mut files, mut rest) = (String::new(), Vec::new(), code);
    while let Some((before, item)) = rest.split_once(ATTRIBUTE) {
        kept.push_str(before);
        if let Some(captures) = MODULE_FILE.captures(item) {
            files.push(captures[1].to_owned());
        }
        rest = &item[item_end(item)..];
    }
    kept.push_str(rest);
    (kept, files)
}

/// Where an item ends: after its `;`, or after the brace that closes its body.
fn item_end(item: &str) -> usize {
    let (mut depth, mut nested) = (0_usize, 0_usize);
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            ';' if depth == 0 && nested == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// All sources below a folder, test modules left out.
fn sources(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let mut found = Vec::new();
    let mut tests = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a source");
        let lines = text.lines().count();
        if lines > LONG_FILE {
            println!("{} has {lines} lines", path.display());
        }
        let (code, test_files) = without_tests(&without_comments_and_texts(&text));
        let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") | None => path.parent().expect("a parent").to_owned(),
            Some(stem) => path.with_file_name(stem),
        };
        tests.extend(test_files.into_iter().map(|name| folder.join(name)));
        let path = path.strip_prefix(root).expect("it was found there").to_owned();
        found.push(Source { path, code });
    }
    found.retain(|source| {
        let path = root.join(&source.path);
        !tests.iter().any(|test| path == test.with_extension("rs") || path.starts_with(test))
    });
    found
}

fn is_named(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

/// Every arrow that points back, and every crate that is away from home.
fn complaints(sources: &[Source], may_use: &[(&str, &[&str])]) -> Vec<String> {
    let may_use: BTreeMap<&str, &[&str]> = may_use.iter().copied().collect();
    let modules: BTreeSet<String> = sources.iter().map(Source::module).collect();
    let mut found = Vec::new();
    for source in sources {
        let (path, module) = (source.path.display(), source.module());
        let Some(allowed) = may_use.get(module.as_str()) else {
            found.push(format!(
                "{path}: module {module} has no place in the order; give it one in tests/it/architecture.rs"
            ));
            continue;
        };
        for used in source.used_modules() {
            // Macros and items of lib.rs are not modules.
            if modules.contains(&used) && used != module && module != "app" && !allowed.contains(&used.as_str()) {
                found.push(format!("{path}: {module} must not use {used}"));
            }
        }
        for used in source.first_names() {
            let away = AT_HOME.iter().find(|(name, home)| is_named(name, used) && !source.path.starts_with(home));
            if let Some((_, home)) = away {
                found.push(format!("{path}: {used} belongs into src/{home}"));
            } else if module == "domain" && NOT_IN_DOMAIN.iter().any(|name| is_named(name, used)) {
                found.push(format!("{path}: the rules are pure, and {used} is not for them"));
            }
        }
    }
    found.dedup();
    found
}

#[test]
fn dependencies_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = sources(&root);
    assert!(sources.len() > 100, "only {} sources were found", sources.len());
    let complaints = complaints(&sources, MAY_USE);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_order_itself_has_no_circle() {
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(module, uses)| (*module, uses.iter().copied().collect())).collect();
    while !left.is_empty() {
        let done: Vec<&str> = left.iter().filter(|(_, uses)| uses.is_empty()).map(|(module, _)| *module).collect();
        assert!(!done.is_empty(), "these use each other: {:?}", left.keys());
        left.retain(|module, _| !done.contains(module));
        for uses in left.values_mut() {
            uses.retain(|used| !done.contains(used));
        }
    }
    for module in ENGINE_ROOM {
        let (_, uses) = MAY_USE.iter().find(|(name, _)| name == module).expect("it has a place");
        let above = ["api", "ui", "cli", "app", "config"];
        assert!(!uses.iter().any(|used| above.contains(used)), "{module} uses what is above it");
    }
}

#[cfg(test)]
mod checker {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), code: without_tests(&without_comments_and_texts(text)).0 }
    }

    const EMPTY: [(&str, &str); 5] =
        [("domain/mod.rs", ""), ("store/mod.rs", ""), ("engine/mod.rs", ""), ("api/mod.rs", ""), ("cloud/mod.rs", "")];

    fn check(path: &str, text: &str) -> Vec<String> {
        let mut sources: Vec<Source> = EMPTY.iter().map(|(path, text)| source(path, text)).collect();
        sources.push(source(path, text));
        complaints(&sources, MAY_USE)
    }

    #[test]
    fn arrows_that_point_back_are_found() {
        let bad = [
            ("domain/ids.rs", "use crate::store::Store;"),
            ("store/runs.rs", "use crate::{\n    domain::ids::{RunId, BuildId},\n    engine::Engine,\n};"),
            ("store/runs.rs", "fn f() -> crate::engine::Engine { todo() }"),
            ("store/runs.rs", "use super::super::engine::Engine;"),
            ("store/mod.rs", "use super::engine::Engine;"),
            ("cloud/aws/mod.rs", "use crate::store;"),
            ("engine/mod.rs", "use crate::api::router;"),
            ("strange/mod.rs", ""),
        ];
        for (path, text) in bad {
            assert_eq!(check(path, text).len(), 1, "{path}: {text}: {:?}", check(path, text));
        }
    }

    #[test]
    fn crates_away_from_home_are_found() {
        let bad = [
            ("engine/lease.rs", "async fn f(pool: sqlx::PgPool) {}"),
            ("engine/lease.rs", "use aws_sdk_ec2::Client;"),
            ("cloud/mod.rs", "use aws_config::SdkConfig;"),
            ("engine/session.rs", "use russh_sftp::client;"),
            ("app.rs", "let serving = axum::serve(listener, router);"),
            ("domain/clock.rs", "use tokio::time::Instant;"),
        ];
        for (path, text) in bad {
            assert_eq!(check(path, text).len(), 1, "{path}: {text}: {:?}", check(path, text));
        }
    }

    #[test]
    fn what_is_allowed_is_left_alone() {
        let good = [
            ("domain/ids.rs", "//! Unlike crate::store, pure.\nuse super::plan; /* use crate::api::x; */"),
            ("engine/worker.rs", "use super::super::engine::lease; const A: &str = \"crate::api::x\";"),
            ("engine/worker.rs", "const A: &str = r#\"use crate::api::\"x\";\"#; let c = '\"'; let d: &'static str;"),
            ("domain/plan.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n    fn g() {}\n}"),
            ("store/runs.rs", "use sqlx::PgPool; use crate::domain::ids::RunId;"),
            ("cloud/aws/mod.rs", "use aws_config::SdkConfig; fn aws_config(c: &str) {}"),
            ("app.rs", "let c = aws_config(config, deployment); use crate::engine::Engine;"),
        ];
        for (path, text) in good {
            assert_eq!(check(path, text), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_left_out() {
        let (code, files) =
            without_tests("#[cfg(test)]\nmod tests;\npub mod runs;\n#[cfg(test)]\npub(crate) mod testing;\n");
        assert_eq!((code.trim(), files), ("pub mod runs;", vec!["tests".to_owned(), "testing".to_owned()]));
    }
}

/// Why: docs/decisions/0013.
#[test]
fn transactions_are_begun_in_one_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let begins = Regex::new(r"(?:pool|changes)\s*\.\s*begin|\.begin_with\(").expect("a pattern");
    let found: Vec<PathBuf> = sources(&folder)
        .into_iter()
        .filter(|source| begins.is_match(&source.code) && source.path != Path::new("mod.rs"))
        .map(|source| source.path)
        .collect();
    assert!(found.is_empty(), "these begin transactions that stay open when nobody waits for them: {found:?}");
}

/// The first argument of what makes a failure.
static FAILURE_CODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"Failure::(?:user|cloud|capacity|ours)\(\s*"([a-zA-Z.-]+)""#).expect("a pattern"));

#[test]
fn every_code_of_a_failed_build_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/failures.md")).expect("docs/failures.md");
    let mut codes = BTreeSet::new();
    let sources_of = root.join("src");
    for source in sources(&sources_of) {
        let text = fs::read_to_string(sources_of.join(source.path)).expect("a source");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        codes.extend(FAILURE_CODE.captures_iter(text).map(|found| found[1].to_owned()));
    }
    assert!(codes.len() > 20, "codes are written in another way: {codes:?}");
    let missing: Vec<&String> = codes.iter().filter(|code| !document.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/failures.md does not say what these mean: {missing:?}");
}
